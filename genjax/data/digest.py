"""What a data set is, in a few bytes that do not depend on the order of its examples."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from genjax.core.schema import Schema, Source

_BATCH = 1024
_BYTES = 16


def example_digests(source: Source) -> np.ndarray:
    """Hashes each example.

    Args:
      source: the examples.

    Returns:
      Of each one its BLAKE2b of 16 bytes over all its fields, sorted by their names; [count], of
      NumPy's type ``S16``-like void, which sorts as bytes do.
    """
    found = bytearray()
    for start in range(0, source.count, _BATCH):
        numbers = np.arange(start, min(start + _BATCH, source.count))
        found += _digest_rows(source.read(numbers), len(numbers))
    return np.frombuffer(bytes(found), np.dtype((np.void, _BYTES)))


def _digest_rows(arrays: Mapping[str, Any], count: int) -> bytes:
    rows = [
        np.ascontiguousarray(np.asarray(arrays[name])).reshape(count, -1).view(np.uint8)
        for name in sorted(arrays)
    ]
    joined = np.concatenate(rows, axis=1) if len(rows) > 1 else rows[0]
    return b"".join(
        hashlib.blake2b(row, digest_size=_BYTES).digest() for row in np.ascontiguousarray(joined)
    )


def content_digest(source: Source) -> str:
    """Hashes a source, whatever the order of its examples.

    Args:
      source: the examples.

    Returns:
      64 hexadecimal digits: SHA-256 of the fields' names, shapes and types and of the sorted
      digests of the examples.
    """
    return _combine(_describe(source.schema), example_digests(source))


def ragged_digest(examples: Iterable[Mapping[str, np.ndarray]]) -> str:
    """Hashes examples of unequal lengths, whatever their order.

    Args:
      examples: at least one; the arrays of each, by field.

    Returns:
      64 hexadecimal digits, as `content_digest`; shapes are left out.
    """
    found, described = bytearray(), ""
    for example in examples:
        digest = hashlib.blake2b(digest_size=_BYTES)
        for name in sorted(example):
            digest.update(np.ascontiguousarray(example[name]).data)
        described = ";".join(f"{name}:{example[name].dtype}" for name in sorted(example))
        found += digest.digest()
    return _combine(described, np.frombuffer(bytes(found), np.dtype((np.void, _BYTES))))


def window_digest(digest: str, length: int) -> str:
    """Of examples that are so much of what has a digest."""
    return hashlib.sha256(f"{digest}:{length}".encode()).hexdigest()


def _combine(described: str, digests: np.ndarray) -> str:
    digest = hashlib.sha256(described.encode())
    digest.update(np.sort(_sortable(digests)).tobytes())
    return digest.hexdigest()


def _sortable(digests: np.ndarray) -> np.ndarray:
    """Digests as pairs of big-endian words: NumPy does not sort bytes without a type."""
    return digests.view(np.dtype([("high", ">u8"), ("low", ">u8")]))


def _describe(schema: Schema) -> str:
    return ";".join(
        f"{name}:{schema.fields[name].dtype}{list(schema.fields[name].shape)}"
        for name in sorted(schema.fields)
    )
