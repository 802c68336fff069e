"""IDX files, the format of MNIST: big-endian dimensions, then the values."""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genjax.errors import UserError, reason

Pair = tuple[Path, Path]
Split = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]

_UINT8 = 8
_PREFIXES: Mapping[str, str] = {"train": "train", "test": "t10k"}


def read(path: Path) -> npt.NDArray[np.uint8]:
    """Reads one IDX file of bytes, gzipped or plain.

    Args:
      path: the file.

    Returns:
      uint8 array of the shape that the file states.

    Raises:
      UserError: the file isn't a whole IDX file of unsigned bytes.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise UserError(f"cannot read {path}: {reason(error)}; get the file again") from error
    shape = _shape(path, content)
    start = 4 + 4 * len(shape)
    expected, actual = start + math.prod(shape), len(content)
    if actual != expected:
        what = "truncated" if actual < expected else "followed by trailing bytes"
        raise UserError(
            f"{path} is {what}: {actual} bytes uncompressed where its header "
            f"{shape} asks for {expected}; get the file again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def find(folder: Path) -> dict[str, Pair]:
    """Finds the files of an MNIST-like set.

    Args:
      folder: where to look.

    Returns:
      From split (``train``, ``test``) to the files of images and labels; empty if there are none.

    Raises:
      UserError: images without labels, or labels without images.
    """
    found: dict[str, Pair] = {}
    for split, prefix in _PREFIXES.items():
        images = _existing(folder, prefix, "images", 3)
        labels = _existing(folder, prefix, "labels", 1)
        if images and labels:
            found[split] = (images, labels)
        elif images or labels:
            missing = "labels-idx1" if images else "images-idx3"
            raise UserError(
                f"{images or labels} has no {prefix}-{missing}-ubyte[.gz] beside it; "
                "put both files into the folder"
            )
    return found


def read_split(pair: Pair) -> Split:
    """Reads the images and labels of a split.

    Args:
      pair: the files of images and labels.

    Returns:
      Images, uint8 [n, h, w, 1], and labels, int32 [n].

    Raises:
      UserError: a file is faulty, or the two don't belong together.
    """
    images, labels = read(pair[0]), read(pair[1])
    for path, array, rank in ((pair[0], images, 3), (pair[1], labels, 1)):
        if array.ndim != rank:
            raise UserError(f"{path} has {array.ndim} dimensions where {rank} were expected")
        if not array.size:
            raise UserError(f"{path} is empty: its header says {array.shape}")
    if len(images) != len(labels):
        raise UserError(
            f"{pair[0]} holds {len(images)} images but {pair[1]} {len(labels)} labels; "
            "they don't belong together"
        )
    return images[..., None], labels.astype(np.int32)


def count(path: Path) -> int:
    """Reads how many items a file holds, from its header alone.

    Args:
      path: an IDX file, gzipped or plain.

    Returns:
      The first dimension.

    Raises:
      UserError: the file isn't an IDX file of unsigned bytes.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            head = stream.read(16)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {reason(error)}; get the file again") from error
    return _shape(path, head)[0]


def _shape(path: Path, content: bytes) -> tuple[int, ...]:
    if len(content) < 4 or content[:2] != b"\0\0" or not content[3]:
        raise UserError(
            f"{path} is no IDX file: it starts with {content[:4].hex() or 'nothing'}, "
            "not with 0000, a type and a number of dimensions"
        )
    if content[2] != _UINT8:
        raise UserError(
            f"{path} holds IDX type 0x{content[2]:02x}; only unsigned bytes (0x08) are images"
        )
    rank = content[3]
    if len(content) < 4 + 4 * rank:
        raise UserError(f"{path} is truncated within its header; get the file again")
    return struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])


def _existing(folder: Path, prefix: str, kind: str, rank: int) -> Path | None:
    for dot in ("-", "."):
        for suffix in ("", ".gz"):
            path = folder / f"{prefix}-{kind}{dot}idx{rank}-ubyte{suffix}"
            if path.is_file():
                return path
    return None
