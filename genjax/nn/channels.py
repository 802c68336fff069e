"""Sums over all axes but the last, and their adjoint, in the form that is fast on the platform.

On CPUs that is a product with a vector of ones. Alone it takes as long as XLA's reduction
(`benchmarks/convolutions.py`), but steps were some percent slower with reductions.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.compiler import target_platform

LINEAR = "linear"
"""What the outputs of convolutions and dense layers are called, for `jax.checkpoint`."""


@jax.custom_vjp
def sum_rows(x: Float[Array, "rows channels"]) -> Float[Array, "channels"]:
    """Sums each channel over the rows."""
    if target_platform() != "cpu":
        return jnp.sum(x, axis=0)
    return jnp.ones(x.shape[0], x.dtype) @ x


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def spread_rows(channels: Float[Array, "channels"], rows: int) -> Float[Array, "rows channels"]:
    """Repeats a value of each channel in every row: the adjoint of `sum_rows`."""
    return jnp.broadcast_to(channels, (rows, *channels.shape))


def _sum_forward(x: Any) -> Any:
    return sum_rows(x), x.shape[0]


def _sum_backward(rows: int, dy: Any) -> Any:
    return (spread_rows(dy, rows),)


def _spread_forward(channels: Any, rows: int) -> Any:
    return spread_rows(channels, rows), None


def _spread_backward(rows: int, saved: None, dy: Any) -> Any:
    return (sum_rows(dy),)


sum_rows.defvjp(_sum_forward, _sum_backward)
spread_rows.defvjp(_spread_forward, _spread_backward)


def channel_means(x: Float[Array, "*rows channels"]) -> Float[Array, "channels"]:
    """The mean of each channel over all other axes."""
    rows = x.reshape(-1, x.shape[-1])
    return sum_rows(rows) / rows.shape[0]


def like(
    values: Float[Array, "*some channels"], x: Float[Array, "*rows channels"]
) -> Float[Array, "*rows channels"]:
    """Repeats values to the shape of `x`; if there is one a channel, with a fast gradient."""
    if values.ndim > 1:
        return jnp.broadcast_to(values, x.shape)
    rows = x.size // x.shape[-1]
    return spread_rows(values, rows).reshape(x.shape)
