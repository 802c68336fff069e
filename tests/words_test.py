"""What is said where data can't be used: the numbers as they are, and what to do."""

import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image

from genjax.config import DataConfig
from genjax.data.importer import import_dataset
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.evals.inputs import examples, open_images, shape_of, with_channels

SIZES = ("--model.generator.name", "mlp", "--model.discriminator.name", "mlp", "--mode", "jit")
SIZES += ("--model.discriminator.norm", "none", "--batch-size", "1", "--steps", "1")


def write(folder, count, channels=1, grey=True):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (8, 8, 1 if grey else channels), dtype=np.uint8)
        pixels = np.repeat(pixels, channels // pixels.shape[-1], axis=-1)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(folder / f"{number}.png")
    return folder


def test_one_image_is_refused_before_it_is_learnt(tmp_path):
    import_dataset("mine", write(tmp_path / "raw", 1), tmp_path / "out")
    own = ("--data.name", "mine", "--data.directory", tmp_path / "out", "--out", tmp_path / "run")
    error = refusal("train", *SIZES, *own)
    assert "'mine' has one example in 'train'" in error
    assert "set eval.rank to none" in error
    assert not list(tmp_path.glob("run/config.json"))
    outcome = genjax("train", *SIZES, *own, "--eval.rank", "none")
    assert outcome.status == 0, outcome


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 70_000], r"labels from 0 to 70000, and none may be above 65,535; number .* no gaps"),
        ([-1, 3], r"labels from -1 to 3, and none may be below 0; number the classes from 0 on"),
    ],
)
def test_labels_out_of_bounds_name_the_bound(tmp_path, labels, words):
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((2, 8, 8), np.uint8), labels=np.array(labels))
    with pytest.raises(UserError, match=words.replace("no gaps", "without gaps")):
        import_dataset("mine", path, tmp_path / "out")


@pytest.mark.parametrize(("splits", "chosen"), [(["test"], "test"), (["train", "test"], "train")])
def test_a_reference_is_the_split_that_there_is(tmp_path, splits, chosen):
    for split in splits:
        write(tmp_path / "raw" / split, 3)
    import_dataset("mine", tmp_path / "raw", tmp_path / "out")
    reference, held_out = open_images("mine", directory=str(tmp_path / "out"))
    assert (reference.split, reference.count) == (chosen, 3)
    assert (held_out is None) == (chosen == "test")
    with pytest.raises(UserError, match="'validation'"):
        open_images("mine:validation", directory=str(tmp_path / "out"))


def test_grey_images_may_be_stored_in_colour_and_are_scored_as_grey(tmp_path):
    digits = load(DataConfig("digits"))
    grey, _ = open_images(str(write(tmp_path / "grey", 4)))
    stored, _ = open_images(str(write(tmp_path / "rgb", 4, channels=3)))
    assert shape_of(stored) == (8, 8, 3)
    converted = with_channels(stored, shape_of(digits)[-1], "digits")
    assert shape_of(converted) == shape_of(digits)
    np.testing.assert_array_equal(examples(converted), examples(grey))
    assert converted.digest() == grey.digest()
    back = with_channels(grey, 3, "others")
    np.testing.assert_array_equal(examples(back), examples(stored))
    assert with_channels(grey, 1, "digits") is grey
    folder = write(tmp_path / "colour", 4, channels=3, grey=False)
    coloured = with_channels(open_images(str(folder))[0], 1, "digits")
    with pytest.raises(UserError, match="colour has images in colour, but those of digits are"):
        examples(coloured)
