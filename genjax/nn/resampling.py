"""Doubling and halving a map with the filter [1, 3, 3, 1], in the form that the platform runs fast.

XLA has a convolution of each channel for itself for them, which on CPUs takes up to 300 times as
long as what they are here, sums of shifted maps. Each is the other's adjoint but for a factor, so
that the two are closed under differentiation.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax.config import Convolutions
from genjax.core.compiler import REFERENCE, target_platform
from genjax.nn.conv_forms import FeatureMap, stock_conv

_TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def stock_downsample(x: FeatureMap) -> FeatureMap:
    """`downsample` as a convolution."""
    channels = x.shape[-1]
    kernel = jnp.asarray(np.tile(_TAPS[:, :, None, None], channels), x.dtype)
    return stock_conv(x, kernel, 2, channels)


def stock_upsample(x: FeatureMap) -> FeatureMap:
    """`upsample` as a transposed convolution."""
    channels = x.shape[-1]
    return jax.lax.conv_general_dilated(
        x,
        jnp.asarray(np.tile(4 * _TAPS[:, :, None, None], channels), x.dtype),
        (1, 1),
        ((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )


def _shift(x: FeatureMap, axis: int, step: int) -> FeatureMap:
    """Moves a map by one place along an axis, forwards (1) or backwards (-1); zeros come in."""
    zeros = [(0, 0, 0)] * x.ndim
    zeros[axis] = (step, -step, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), zeros)


def _double(x: FeatureMap, axis: int) -> FeatureMap:
    near, far = 0.75 * x, 0.25 * x
    pairs = jnp.stack([near + _shift(far, axis, 1), near + _shift(far, axis, -1)], axis + 1)
    shape = list(x.shape)
    shape[axis] *= 2
    return pairs.reshape(shape)


def _halve(x: FeatureMap, axis: int) -> FeatureMap:
    pairs = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])
    even, odd = (jax.lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in (0, 1))
    return 0.375 * (even + odd) + 0.125 * (_shift(odd, axis, 1) + _shift(even, axis, -1))


@jax.custom_vjp
def fast_upsample(x: FeatureMap) -> FeatureMap:
    """`stock_upsample` with all derivatives fast; equal up to rounding."""
    return _double(_double(x, 1), 2)


@jax.custom_vjp
def fast_downsample(x: FeatureMap) -> FeatureMap:
    """`stock_downsample` with all derivatives fast; equal up to rounding."""
    return _halve(_halve(x, 1), 2)


def _forward(operation: Any, x: FeatureMap) -> tuple[FeatureMap, None]:
    return operation(x), None


fast_upsample.defvjp(partial(_forward, fast_upsample), lambda saved, dy: (4 * fast_downsample(dy),))
fast_downsample.defvjp(
    partial(_forward, fast_downsample), lambda saved, dy: (0.25 * fast_upsample(dy),)
)


def upsample(x: FeatureMap, form: Convolutions = "auto") -> FeatureMap:
    """Doubles a map by linear interpolation, with zeros around it.

    Along each axis ``y_2i = (3 x_i + x_(i-1)) / 4`` and ``y_(2i+1) = (3 x_i + x_(i+1)) / 4``.

    Args:
      x: [batch, height, width, channels].
      form: stock for XLA's own operations.

    Returns:
      [batch, 2 height, 2 width, channels].
    """
    stock = form == "stock" or target_platform() == REFERENCE
    return stock_upsample(x) if stock else fast_upsample(x)


def downsample(x: FeatureMap, form: Convolutions = "auto") -> FeatureMap:
    """Halves a map after a low-pass filter, with zeros around it.

    Along each axis ``y_i = (x_(2i-1) + 3 x_2i + 3 x_(2i+1) + x_(2i+2)) / 8``.

    Args:
      x: [batch, height, width, channels]; both sides even.
      form: stock for XLA's own operations.

    Returns:
      [batch, height / 2, width / 2, channels].
    """
    stock = form == "stock" or target_platform() == REFERENCE
    return stock_downsample(x) if stock else fast_downsample(x)
