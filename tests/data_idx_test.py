"""IDX files: what is read, and what every fault says."""

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from genjax.data import idx
from genjax.errors import UserError


def encode(array: npt.NDArray[np.uint8]) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([2, 0, 1], np.uint8)


def test_reads_plain_and_gzipped_files(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "plain", tmp_path / "zipped"
    plain.write_bytes(encode(IMAGES))
    zipped.write_bytes(gzip.compress(encode(IMAGES)))
    np.testing.assert_array_equal(idx.read(plain), IMAGES)
    np.testing.assert_array_equal(idx.read(zipped), IMAGES)
    assert idx.count(plain) == idx.count(zipped) == 3


# Without a date: two workers that collect a second apart must name the same cases.
ZIPPED = gzip.compress(encode(IMAGES), mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file"),
        (b"\x89PNG\r\n", "no IDX file"),
        (b"\0\0\x0d" + encode(IMAGES)[3:], "type 0x0d"),
        (encode(IMAGES)[:9], "within its header"),
        (encode(IMAGES)[:-1], "truncated"),
        (encode(IMAGES) + b"x", "trailing"),
        (ZIPPED[:-9], "cannot read"),
        (ZIPPED[:-6] + b"broken", "cannot read"),
    ],
)
def test_faults_name_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "some-file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        idx.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_finds_both_spellings(tmp_path: Path, dot: str, suffix: str) -> None:
    for name, array in (("images", IMAGES), ("labels", LABELS)):
        content = encode(array)
        path = tmp_path / f"t10k-{name}{dot}idx{array.ndim}-ubyte{suffix}"
        path.write_bytes(gzip.compress(content) if suffix else content)
    pairs = idx.find(tmp_path)
    assert list(pairs) == ["test"]
    images, labels = idx.read_split(pairs["test"])
    np.testing.assert_array_equal(images[..., 0], IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == np.int32


def test_images_without_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(encode(IMAGES))
    with pytest.raises(UserError, match="train-labels-idx1"):
        idx.find(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, LABELS[:2], "3 images but .* 2 labels"),
        (LABELS, LABELS, "1 dimensions where 3"),
        (IMAGES[:0], LABELS[:0], "is empty"),
    ],
)
def test_pairs_must_agree(
    tmp_path: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], message: str
) -> None:
    pair = (tmp_path / "images", tmp_path / "labels")
    for path, array in zip(pair, (images, labels), strict=True):
        path.write_bytes(encode(array))
    with pytest.raises(UserError, match=message):
        idx.read_split(pair)
