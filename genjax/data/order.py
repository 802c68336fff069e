"""The order in which examples are seen, as a function of (seed, step) alone.

Position p of an epoch shows example ``permute(p)``, where `permute` is a keyed bijection on
``[0, n)``: a Feistel network over the next power of two, applied again while the result falls
outside ("cycle walking", Black & Rogaway 2002). No permutation is stored and no generator has a
state, so a resumed run can't lose its place.
"""

import functools
import zlib
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt32

from genjax.errors import UserError

_ROUNDS = 6
_BLOCK = 2**16
_U32 = np.uint32


def _mix(value: Any) -> Any:
    """Scrambles 32-bit words (the finaliser of MurmurHash3, a bijection)."""
    value = (value ^ (value >> _U32(16))) * _U32(0x85EBCA6B)
    value = (value ^ (value >> _U32(13))) * _U32(0xC2B2AE35)
    return value ^ (value >> _U32(16))


def _round_keys(seed: int, epoch: int) -> UInt32[np.ndarray, "rounds"]:
    words = np.array([seed, epoch, zlib.crc32(b"data order")], dtype=np.uint32)
    state = np.zeros((), np.uint32)
    for word in words:
        state = _mix(_mix(word) ^ (state + _U32(0x9E3779B9)))
    return _mix(np.arange(1, _ROUNDS + 1, dtype=np.uint32) * _U32(0x9E3779B9) ^ state)


def permute(
    position: Int64[np.ndarray, "k"], size: int, seed: int, epoch: int
) -> Int64[np.ndarray, "k"]:
    """Maps positions of an epoch to examples, one to one.

    Args:
      position: int64 [k], each in [0, size).
      size: number of examples, in [1, 2**31).
      seed: seed of the order, in [0, 2**32).
      epoch: which pass over the data; each has an order of its own.

    Returns:
      int64 [k], the examples' numbers in [0, size).

    Example:
      >>> sorted(permute(np.arange(5), 5, seed=1, epoch=0).tolist())
      [0, 1, 2, 3, 4]
    """
    # A network over fewer bits would not mix well enough.
    bits = max(8, (size - 1).bit_length())
    low = bits // 2
    high = bits - low

    def encrypt(value: UInt32[np.ndarray, "k"]) -> UInt32[np.ndarray, "k"]:
        # The halves may differ by one bit, so each round changes one of them in place.
        left, right = value >> _U32(low), value & _U32((1 << low) - 1)
        for number, key in enumerate(keys):
            if number % 2 == 0:
                left = (left ^ _mix(right ^ key)) & _U32((1 << high) - 1)
            else:
                right = (right ^ _mix(left ^ key)) & _U32((1 << low) - 1)
        return (left << _U32(low)) | right

    with np.errstate(over="ignore"):
        keys = _round_keys(seed, epoch)
        value = encrypt(position.astype(np.uint32))
        while (outside := value >= size).any():
            value[outside] = encrypt(value[outside])
    return value.astype(np.int64)


@functools.lru_cache(maxsize=4)
def _block(number: int, size: int, seed: int, epoch: int) -> Int64[np.ndarray, "k"]:
    """Examples of many positions at once: the cost is of the operations, not of their length."""
    positions = np.arange(number * _BLOCK, min((number + 1) * _BLOCK, size), dtype=np.int64)
    return permute(positions, size, seed, epoch)


def batch_indices(step: int, batch: int, size: int, seed: int) -> Int64[np.ndarray, "batch"]:
    """Examples of the batch that a step sees.

    An epoch has ``size // batch`` steps; the few examples left over are others in each epoch.

    Args:
      step: number of the step, from 0.
      batch: examples in a step.
      size: examples in the data set.
      seed: seed of the run.

    Returns:
      int64 [batch], distinct.

    Raises:
      UserError: the batch is larger than the data set.
    """
    steps_per_epoch = size // batch
    if steps_per_epoch == 0:
        raise UserError(
            f"a step needs {batch} examples but the data set has {size}; lower batch_size"
        )
    epoch, position = divmod(step, steps_per_epoch)
    first, last = position * batch, (position + 1) * batch
    blocks = range(first // _BLOCK, (last - 1) // _BLOCK + 1)
    found = np.concatenate([_block(number, size, seed, epoch) for number in blocks])
    return found[first - blocks[0] * _BLOCK :][:batch]
