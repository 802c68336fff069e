"""Pictures as cameras and phones write them: turned, and with more than one in a file."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from genjax.config import DataConfig
from genjax.data import images, importer, standard
from genjax.data.importer import import_dataset
from genjax.data.sources import load
from genjax.errors import UserError

ORIENTATION = 0x0112


def upright() -> np.ndarray:
    """Of 16 x 24, with another colour in each quarter, flat enough for JPEG."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :16], pixels[:8, 16:], pixels[8:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return pixels


def written(kind: str, orientation: int | None) -> bytes:
    picture, stream = Image.fromarray(upright()), io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    picture.save(stream, kind, exif=exif, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_pictures_are_turned_upright(kind, orientation):
    """As Pillow's own function does it; also their sizes."""
    content = written(kind, orientation)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert (expected.shape[0] == 24) == (orientation in (5, 6, 7, 8))
    np.testing.assert_array_equal(images.decode(content, 3, "it"), expected)
    assert images.describe(content, "it") == expected.shape
    square = images.decode(content, 3, "it", 8)
    np.testing.assert_array_equal(square, images.resize(expected, 8))


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_there_is_not_is_none(value):
    assert images.describe(written("JPEG", value), "it") == (16, 24, 3)


def test_damaged_exif_does_not_lose_a_picture():
    content = written("JPEG", 6)
    place = content.index(b"Exif\0\0") + 6
    for damaged in (b"\xff" * 14, b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"):
        cut = content[:place] + damaged + content[place + len(damaged) :]
        assert images.decode(cut, 3, "it").size == upright().size


def test_of_several_pictures_of_a_phone_the_first_counts(tmp_path):
    first, second = Image.fromarray(upright()), Image.new("RGB", (6, 6))
    path = tmp_path / "raw" / "phone.jpg"
    path.parent.mkdir()
    options = {"quality": 100, "subsampling": 0}
    first.save(path, "MPO", save_all=True, append_images=[second], **options)
    with Image.open(path) as picture:
        assert (picture.format, picture.n_frames) == ("MPO", 2)
    assert import_dataset("phone", path.parent, tmp_path / "out").shape == (16, 24, 3)
    stored = load(DataConfig("phone", directory=str(tmp_path / "out"))).arrays["image"][0]
    assert np.abs(stored.astype(int) - upright()).max() <= 3


def test_animations_are_still_refused():
    stream = io.BytesIO()
    frames = [Image.new("L", (4, 4), shade) for shade in (0, 255)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="is animated"):
        images.describe(stream.getvalue(), "it")


@pytest.mark.parametrize("colour", [False, True])
def test_grey_pictures_of_a_standard_set_may_be_stored_in_colour(tmp_path, monkeypatch, colour):
    small = dataclasses.replace(standard.STANDARD["mnist"], counts={"train": 10})
    monkeypatch.setattr(importer, "STANDARD", {"mnist": small})
    grey = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    for digit, pixels in enumerate(grey):
        folder = tmp_path / "raw" / str(digit)
        folder.mkdir(parents=True)
        rgb = np.stack([pixels] * 3, axis=-1)
        rgb[0, 0, 0] ^= colour and digit == 9
        Image.fromarray(rgb).save(folder / "0.png")
    if colour:
        with pytest.raises(UserError, match=r"images of shape \(28, 28, 3\)"):
            import_dataset("mnist", tmp_path / "raw", tmp_path / "out")
        return
    assert import_dataset("mnist", tmp_path / "raw", tmp_path / "out").shape == (28, 28, 1)
    source = load(DataConfig("mnist", directory=str(tmp_path / "out")))
    order = np.argsort(source.arrays["label"])
    np.testing.assert_array_equal(source.arrays["image"][order, ..., 0], grey)
