"""3 x 3 convolutions that double or halve a map, filtered with [1, 3, 3, 1] (Karras et al. 2020).

The filter sees what a transposed convolution makes beyond the border, which resampling and
convolving one after the other would cut off.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from genjax.config import Convolutions
from genjax.nn.conv import conv, conv_transpose
from genjax.nn.conv_forms import FeatureMap, Kernel

_TAPS = (0.125, 0.375, 0.375, 0.125)


def _filter(x: FeatureMap, gain: float, before: int, after: int) -> FeatureMap:
    """Filters along both axes, with so many zeros around; each axis grows by them less 3."""
    for axis in (1, 2):
        zeros = [(0, 0, 0)] * x.ndim
        zeros[axis] = (before, after, 0)
        wide = jax.lax.pad(x, jnp.zeros((), x.dtype), zeros)
        count = wide.shape[axis] - len(_TAPS) + 1
        x = sum(
            (
                tap * gain * jax.lax.slice_in_dim(wide, i, i + count, axis=axis)
                for i, tap in enumerate(_TAPS)
            ),
            jnp.zeros((), x.dtype),
        )
    return x


def _grow(x: FeatureMap) -> Array:
    """Adds a row and a column of zeros behind."""
    return jax.lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0, 0)))


def conv_up(x: FeatureMap, kernel: Kernel, form: Convolutions = "auto") -> FeatureMap:
    """Zeros between the pixels, the convolution, then the filter of gain 4.

    Args:
      x: [batch, height, width, inputs].
      kernel: [3, 3, inputs, outputs], not turned round.
      form: of the convolution.

    Returns:
      [batch, 2 height, 2 width, outputs].
    """
    _, h, w, _ = x.shape
    y = conv_transpose(_grow(x), kernel, 2, form)[:, : 2 * h + 1, : 2 * w + 1]
    return _filter(y, 2.0, 1, 1)


def conv_down(x: FeatureMap, kernel: Kernel, form: Convolutions = "auto") -> FeatureMap:
    """The filter, then the convolution at every other pixel.

    Args:
      x: [batch, height, width, inputs]; both sides even.
      kernel: [3, 3, inputs, outputs].
      form: of the convolution.

    Returns:
      [batch, height / 2, width / 2, outputs].
    """
    _, h, w, _ = x.shape
    return conv(_grow(_filter(x, 1.0, 2, 2)), kernel, 2, form)[:, : h // 2, : w // 2]
