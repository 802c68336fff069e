"""Imports of every form of source, and that a fault leaves nothing behind."""

import dataclasses
import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from genjax.config import DataConfig
from genjax.core.schema import Source
from genjax.data import idx, images, importer, sources, standard
from genjax.data.importer import import_dataset
from genjax.errors import UserError

T = TypeVar("T")
Bytes = npt.NDArray[np.uint8]

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"
RNG = np.random.default_rng(0)


def pixels(*shape: int) -> Bytes:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def load(name: str, directory: Path, split: str = "train", **options: Any) -> Source:
    config = DataConfig(name=name, split=split, directory=str(directory), **options)
    return sources.load(config)


def assert_same_examples(data: Source, raw: Bytes, labels: Iterable[int]) -> None:
    """Compares as sets of examples, because TFDS shuffles what it stores."""
    assert data.arrays["image"].dtype == np.uint8
    assert "label" in data.arrays
    assert data.arrays["label"].dtype == np.int32
    given = sorted((x.tobytes(), int(y)) for x, y in zip(raw, labels, strict=True))
    stored = zip(data.arrays["image"], data.arrays["label"], strict=True)
    kept = sorted((x.tobytes(), int(y)) for x, y in stored)
    assert data.arrays["image"].shape == raw.shape
    assert kept == given


def write_idx(folder: Path, prefix: str, raw: Bytes, labels: Bytes) -> None:
    folder.mkdir(exist_ok=True)
    for kind, array in (("images", raw), ("labels", labels)):
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"{prefix}-{kind}-idx{array.ndim}-ubyte").write_bytes(head + array.tobytes())


def write_image(path: Path, array: Bytes, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def write_classes(folder: Path, names: Iterable[str], size: int = 6) -> dict[str, Bytes]:
    written = {}
    for name in names:
        written[name] = pixels(2, size, size, 3)
        for i, array in enumerate(written[name]):
            write_image(folder / name / f"{i}.png", array)
    return written


def test_idx_round_trip(tmp_path: Path) -> None:
    train, test = pixels(30, 7, 5), pixels(9, 7, 5)
    train_labels, test_labels = np.arange(30, dtype=np.uint8) % 4, np.arange(9, dtype=np.uint8) % 3
    write_idx(tmp_path / "raw", "train", train, train_labels)
    write_idx(tmp_path / "raw", "t10k", test, test_labels)
    result = import_dataset("letters", tmp_path / "raw", tmp_path / "out")
    assert result.splits == {"train": 30, "test": 9}
    assert (result.shape, result.classes, result.warnings) == ((7, 5, 1), 4, ())
    data = load("letters", tmp_path / "out")
    assert data.schema.classes == 4
    assert_same_examples(data, train[..., None], train_labels)
    assert_same_examples(load("letters", tmp_path / "out", "test"), test[..., None], test_labels)


def test_a_readme_may_lie_beside_official_files(tmp_path: Path) -> None:
    write_idx(tmp_path / "raw", "train", pixels(9, 7, 5), np.arange(9, dtype=np.uint8) % 2)
    (tmp_path / "raw" / "README.txt").write_text("letters")
    assert import_dataset("letters", tmp_path / "raw", tmp_path / "out").shape == (7, 5, 1)


def test_real_mnist_test_split(tmp_path: Path) -> None:
    if not MNIST.is_dir():
        pytest.skip(f"the MNIST files aren't in {MNIST}")
    (tmp_path / "raw").mkdir()
    for path in MNIST.glob("t10k*"):
        (tmp_path / "raw" / path.name).symlink_to(path)
    with pytest.raises(UserError, match=r"'mnist' has .*60000.*another name"):
        import_dataset("mnist", tmp_path / "raw", tmp_path / "out")
    import_dataset("mnist_test", tmp_path / "raw", tmp_path / "out")
    data = load("mnist_test", tmp_path / "out", "test")
    assert "label" in data.arrays
    assert data.arrays["image"].shape == (10_000, 28, 28, 1)
    raw, labels = idx.read_split(idx.find(tmp_path / "raw")["test"])
    assert standard.content_hash(raw, labels) == standard.STANDARD["mnist"].contents["test"]
    assert_same_examples(data, raw, labels)


@pytest.mark.smoke
def test_standard_sets_are_read_by_tfds_under_their_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = dataclasses.replace(standard.STANDARD["mnist"], counts={"train": 20})
    monkeypatch.setattr(importer, "STANDARD", {"mnist": small})
    raw, labels = pixels(20, 28, 28), np.arange(20, dtype=np.uint8) % 10
    write_idx(tmp_path / "raw", "train", raw, labels)
    result = import_dataset("mnist", tmp_path / "raw", tmp_path / "out")
    assert result.path == tmp_path / "out" / "mnist" / "3.0.1"
    assert len(result.warnings) == 1
    assert "differ from the official mnist" in result.warnings[0]

    import tensorflow_datasets as tfds

    stock = tfds.data_source("mnist", split="train", data_dir=str(tmp_path / "out"))
    data = load("mnist", tmp_path / "out")
    assert "label" in data.arrays
    assert len(stock) == 20
    for position, example in enumerate(stock):
        np.testing.assert_array_equal(example["image"], data.arrays["image"][position])
        assert example["label"] == data.arrays["label"][position]


def test_the_official_contents_give_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, labels = pixels(20, 28, 28, 1), np.arange(20) % 10
    official = {"train": standard.content_hash(raw, labels.astype(np.int32))}
    small = dataclasses.replace(standard.STANDARD["mnist"], counts={"train": 20}, contents=official)
    monkeypatch.setattr(importer, "STANDARD", {"mnist": small})
    np.savez(tmp_path / "mnist.npz", x_train=raw[..., 0], y_train=labels)
    assert import_dataset("mnist", tmp_path / "mnist.npz", tmp_path / "out").warnings == ()


@pytest.mark.parametrize(
    ("raw", "labels", "message"),
    [
        (pixels(10, 8, 8), np.arange(10, dtype=np.uint8), "images of shape"),
        (pixels(10, 28, 28), np.arange(1, 11, dtype=np.uint8), "label 10"),
        (pixels(9, 28, 28), np.arange(9, dtype=np.uint8), "numbers of images"),
    ],
)
def test_data_unlike_the_standard_needs_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: Bytes, labels: Bytes, message: str
) -> None:
    small = dataclasses.replace(standard.STANDARD["mnist"], counts={"train": 10})
    monkeypatch.setattr(importer, "STANDARD", {"mnist": small})
    write_idx(tmp_path / "raw", "train", raw, labels)
    with pytest.raises(UserError, match=f"{message}.*another name"):
        import_dataset("mnist", tmp_path / "raw", tmp_path / "out")


def test_folders_of_a_standard_set_without_classes_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FFHQ comes: a thousand images in each of 00000, 01000, and so on."""
    small = dataclasses.replace(standard.STANDARD["ffhq64"], counts={"train": 4}, shape=(8, 8, 3))
    monkeypatch.setattr(importer, "STANDARD", {"ffhq64": small})
    written = write_classes(tmp_path / "raw", ["00000", "01000"], 8)
    import_dataset("ffhq64", tmp_path / "raw", tmp_path / "out")
    source = load("ffhq64", tmp_path / "out")
    assert source.schema == small.schema
    assert not source.schema.classes
    found = {image.tobytes() for image in source.read(np.arange(4))["image"]}
    assert found == {image.tobytes() for images in written.values() for image in images}


def test_a_standard_set_whose_classes_are_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = standard.STANDARD["imagenet64"].class_names
    assert names == tuple(map(str, range(1000)))
    small = dataclasses.replace(
        standard.STANDARD["imagenet64"], counts={"train": 6}, shape=(8, 8, 3), class_names=names[:3]
    )
    monkeypatch.setattr(importer, "STANDARD", {"imagenet64": small})
    written = write_classes(tmp_path / "raw", ["2", "0", "1"], 8)
    import_dataset("imagenet64", tmp_path / "raw", tmp_path / "out")
    expected = np.concatenate([written[name] for name in "012"])
    assert_same_examples(load("imagenet64", tmp_path / "out"), expected, np.repeat(range(3), 2))
    write_classes(tmp_path / "other", ["n01440764", "n01443537"], 8)
    with pytest.raises(UserError, match=r"class 'n01440764'; .* exactly: 0 to 2"):
        import_dataset("imagenet64", tmp_path / "other", tmp_path / "again")


def test_cifar10_folders_get_the_standard_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = standard.STANDARD["cifar10"].class_names
    small = dataclasses.replace(standard.STANDARD["cifar10"], counts={"train": 20, "test": 20})
    monkeypatch.setattr(importer, "STANDARD", {"cifar10": small})
    folders = [name.upper() for name in reversed(names)]
    written = write_classes(tmp_path / "raw" / "train", folders, 32)
    write_classes(tmp_path / "raw" / "test", folders, 32)
    result = import_dataset("cifar10", tmp_path / "raw", tmp_path / "out")
    assert result.path.name == "3.0.2"
    assert "could not be compared" in result.warnings[0]
    expected = np.concatenate([written[name.upper()] for name in names])
    assert_same_examples(load("cifar10", tmp_path / "out"), expected, np.repeat(range(10), 2))

    import tensorflow_datasets as tfds

    stock = tfds.data_source("cifar10", split="test", data_dir=str(tmp_path / "out"))
    assert stock[0]["id"].startswith(b"test_000")

    (tmp_path / "raw" / "train" / "TRUCK").rename(tmp_path / "raw" / "train" / "lorry")
    (tmp_path / "raw" / "test" / "TRUCK").rename(tmp_path / "raw" / "test" / "lorry")
    with pytest.raises(UserError, match=r"'lorry'.*airplane, automobile"):
        import_dataset("cifar10", tmp_path / "raw", tmp_path / "out2")


@pytest.mark.smoke
@pytest.mark.parametrize("as_file", [True, False])
def test_npz_as_keras_writes_it(tmp_path: Path, as_file: bool) -> None:
    train, test = pixels(12, 6, 6, 3), pixels(4, 6, 6, 3)
    labels = np.arange(12)[:, None] % 3
    path = tmp_path / "set.npz"
    np.savez_compressed(path, x_train=train, y_train=labels, x_test=test, y_test=labels[:4])
    result = import_dataset("colours", path if as_file else tmp_path, tmp_path / "out")
    assert result.splits == {"train": 12, "test": 4}
    assert result.classes == 3
    assert_same_examples(load("colours", tmp_path / "out"), train, labels[:, 0])


def test_npz_without_labels(tmp_path: Path) -> None:
    raw = pixels(5, 6, 6)
    np.savez(tmp_path / "set.npz", images=raw)
    assert import_dataset("plain", tmp_path, tmp_path / "out").classes == 0
    data = load("plain", tmp_path / "out")
    assert "label" not in data.arrays
    assert data.schema.classes == 0
    assert {x.tobytes() for x in data.arrays["image"]} == {x.tobytes() for x in raw}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": pixels(2, 4, 4)}, "pictures.*accepted"),
        ({"images": np.zeros((2, 4, 4))}, "float64"),
        ({"images": pixels(2, 3, 4, 4)}, "shape"),
        ({"images": pixels(0, 4, 4)}, "no images"),
        ({"images": pixels(2, 4, 4), "labels": np.zeros(3, int)}, "labels"),
        ({"images": pixels(2, 4, 4), "labels": np.zeros(2)}, "float64"),
        ({"images": pixels(2, 4, 4), "labels": np.array([0, -1])}, "number the classes from 0"),
        ({"images": np.array([object(), None])}, "pickle"),
        ({"x_train": pixels(2, 4, 4), "x_test": pixels(2, 5, 5)}, "differ in the shape"),
        (
            {"x_train": pixels(2, 4, 4), "x_test": pixels(2, 4, 4), "y_train": np.zeros(2, int)},
            "labels",
        ),
    ],
)
def test_faulty_npz(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "set.npz", allow_pickle=True, **arrays)
    with pytest.raises(UserError, match=message):
        import_dataset("mine", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=pixels(50, 4, 4))
    content = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "set.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"set\.npz"):
        import_dataset("mine", tmp_path, tmp_path / "out")


def test_class_folders(tmp_path: Path) -> None:
    written = write_classes(tmp_path / "raw", ["10", "9", "2"])
    for name in (".hidden", "README.md"):
        (tmp_path / "raw" / name).touch()
    result = import_dataset("numbers", tmp_path / "raw", tmp_path / "out")
    assert result.splits == {"train": 6}
    assert result.classes == 3
    expected = np.concatenate([written["2"], written["9"], written["10"]])
    assert_same_examples(load("numbers", tmp_path / "out"), expected, [0, 0, 1, 1, 2, 2])


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_classes(tmp_path / "raw", ["train", "plane"])
    result = import_dataset("vehicles", tmp_path / "raw", tmp_path / "out")
    assert result.splits == {"train": 4}
    assert result.classes == 2


def test_folder_without_classes(tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / "raw" / "train" / f"{i}.png", pixels(5, 5))
    result = import_dataset("plain", tmp_path / "raw", tmp_path / "out")
    assert (result.shape, result.classes, result.splits) == ((5, 5, 1), 0, {"train": 3})
    assert "label" not in load("plain", tmp_path / "out").arrays


def test_modes_become_rgb_unless_all_are_grey(tmp_path: Path) -> None:
    rgb = Image.fromarray(pixels(4, 4, 3))
    (tmp_path / "raw").mkdir()
    for mode, suffix in (("RGBA", "png"), ("CMYK", "jpg"), ("P", "png"), ("L", "png")):
        rgb.convert(mode).save(tmp_path / "raw" / f"{mode}.{suffix}")
    result = import_dataset("modes", tmp_path / "raw", tmp_path / "out")
    assert result.shape == (4, 4, 3)
    data = load("modes", tmp_path / "out")
    assert rgb.tobytes() in {image.tobytes() for image in data.arrays["image"]}


def test_mixed_sizes_need_a_resolution(tmp_path: Path) -> None:
    write_image(tmp_path / "raw" / "a.png", pixels(8, 6))
    write_image(tmp_path / "raw" / "b.png", pixels(5, 9))
    result = import_dataset("mixed", tmp_path / "raw", tmp_path / "out")
    assert result.shape == (None, None, 1)
    with pytest.raises(UserError, match=r"several sizes.*--data\.resolution"):
        load("mixed", tmp_path / "out")
    assert load("mixed", tmp_path / "out", resolution=4).arrays["image"].shape == (2, 4, 4, 1)
    result = import_dataset("square", tmp_path / "raw", tmp_path / "out", resolution=4)
    assert result.shape == (4, 4, 1)
    np.testing.assert_array_equal(
        np.sort(load("square", tmp_path / "out").arrays["image"], axis=0),
        np.sort(load("mixed", tmp_path / "out", resolution=4).arrays["image"], axis=0),
    )


def animated() -> bytes:
    stream = io.BytesIO()
    frames = [Image.fromarray(pixels(4, 4)) for _ in range(2)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    return stream.getvalue()


def deep() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(stream, "PNG")
    return stream.getvalue()


WHOLE = images.encode(pixels(32, 32, 3))
# A header that says 16 bits a channel; its checksum covers bytes 12 to 28.
DEEP_HEADER = WHOLE[12:24] + b"\x10" + WHOLE[25:29]
DEEP_COLOUR = WHOLE[:12] + DEEP_HEADER + zlib.crc32(DEEP_HEADER).to_bytes(4) + WHOLE[33:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"GIF89a", "neither PNG nor JPEG"),
        (WHOLE[: len(WHOLE) // 2], "cannot read the image"),
        (animated(), "animated"),
        (deep(), "8 bits"),
        (DEEP_COLOUR, "8 bits"),
    ],
    ids=["empty", "gif", "truncated", "animated", "16-bit grey", "16-bit colour"],
)
def test_unusable_images_are_named_and_nothing_is_left(
    tmp_path: Path, content: bytes, message: str
) -> None:
    write_classes(tmp_path / "raw", ["good", "odd"])
    bad = tmp_path / "raw" / "odd" / "bad.png"
    bad.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        import_dataset("mine", tmp_path / "raw", tmp_path / "out")
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    bad.unlink()
    assert import_dataset("mine", tmp_path / "raw", tmp_path / "out").splits == {"train": 4}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interruption_halfway_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def breaking(items: Iterable[T], description: str, total: int) -> Iterable[T]:
        for count, item in enumerate(items):
            if description == "storing mine train" and count == total // 2:
                raise error("halfway")
            yield item

    np.savez(tmp_path / "set.npz", images=pixels(50, 4, 4))
    with pytest.raises(error, match=r"^halfway$"):
        import_dataset("mine", tmp_path, tmp_path / "out", breaking)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    with pytest.raises(UserError, match="unknown data set 'mine'"):
        load("mine", tmp_path / "out")


def test_an_import_does_not_replace_another(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=pixels(5, 4, 4))
    path = import_dataset("mine", tmp_path, tmp_path / "out").path
    with pytest.raises(UserError, match=f"already in {path}; delete"):
        import_dataset("mine", tmp_path, tmp_path / "out")


@pytest.mark.parametrize("name", ["Mine", "my-set", "1st", "", "../mine", "a/b"])
def test_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="isn't usable"):
        import_dataset(name, tmp_path, tmp_path / "out")


def test_digits_cannot_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="embedded"):
        import_dataset("digits", tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is empty; accepted"),
        (["a/1.png", "b/"], "class folder .*b is empty"),
        (["a/1.png", "b/deep/1.png"], "is a folder in a class folder"),
        (["a/1.png", "stray.PNG"], r"'stray\.PNG' beside class folders"),
        (["a/1.png", "b/1.webp"], r"1\.webp isn't PNG or JPEG"),
        (["train/a/1.png", "val/a/1.png"], "'val' beside train"),
        (["train/1.png", "test/1.png", "val/1.png"], "'val' beside train, test"),
        (["train/a/1.png", "test/b/1.png"], "differ in their classes: a, b"),
        (["a.npz", "b.npz"], r"several \.npz"),
    ],
)
def test_folders_laid_out_otherwise(tmp_path: Path, files: list[str], message: str) -> None:
    (tmp_path / "raw").mkdir()
    for name in files:
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(WHOLE)
    with pytest.raises(UserError, match=message):
        import_dataset("mine", tmp_path / "raw", tmp_path / "out")


def test_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"doesn't exist; accepted: IDX"):
        import_dataset("mine", tmp_path / "nowhere", tmp_path / "out")
