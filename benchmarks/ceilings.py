"""What a device reaches at best: in matrix products, and in reading and writing its memory."""

import statistics
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.timing import timed
from genjax.config import ComputeDtype
from genjax.core.compiler import jit

_SIDE = {"cpu": 2048, "gpu": 8192}
_BYTES = 256 * 2**20
_REPEATS = 7


class Ceilings(NamedTuple):
    """Of one device; all CPU devices are the same cores, and count as one.

    Attributes:
      flops: FLOP/s of a large matrix product, at JAX's default precision.
      bandwidth: bytes/s read and written by ``x + 1``.
    """

    flops: float
    bandwidth: float


def _median_seconds(call: Callable[[], Any]) -> float:
    call()
    return statistics.median(timed(call)[0] for _ in range(_REPEATS))


@cache
def measure_ceilings(dtype: ComputeDtype) -> Ceilings:
    """Measures the default device.

    Args:
      dtype: of the matrices.

    Returns:
      Its ceilings.
    """
    side = _SIDE.get(jax.default_backend(), _SIDE["gpu"])
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side), jnp.dtype(dtype)) for key in keys)
    product = jit(jnp.matmul)
    seconds = _median_seconds(lambda: jax.block_until_ready(product(a, b)))
    return Ceilings(2 * side**3 / seconds, _measure_bandwidth())


@cache
def _measure_bandwidth() -> float:
    # Donated, because the pages of a new array cost a CPU more than the copy.
    increment = jit(lambda x: x + 1, donate_argnums=0)
    arrays = [jnp.zeros(_BYTES // 4, jnp.float32)]
    seconds = _median_seconds(lambda: arrays.append(jax.block_until_ready(increment(arrays.pop()))))
    return 2 * _BYTES / seconds
