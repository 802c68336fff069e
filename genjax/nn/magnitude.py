"""Layers that keep the magnitude of what they are given (Karras et al. 2024, EDM2).

The magnitude is the root mean square, expected over random weights. Kernels begin as N(0, 1) and
count by their direction alone; nothing has a bias.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from genjax.config import Convolutions
from genjax.core.magnitude import DIRECTION, unit_kernel
from genjax.nn.channels import LINEAR
from genjax.nn.conv import conv

_SILU = 0.596
"""Magnitude of ``silu(x)`` for x ~ N(0, 1)."""
CONSTANTS = "constants"
"""The collection of what is drawn once and never changes."""


def mp_silu(x: Float[Array, "*units"]) -> Float[Array, "*units"]:
    """``silu(x) / 0.596`` (Karras et al. 2024, equation 81)."""
    return nn.silu(x) / _SILU


def mp_sum(
    a: Float[Array, "*units"], b: Float[Array, "*units"], share: float
) -> Float[Array, "*units"]:
    """``((1 - t) a + t b) / sqrt((1 - t)^2 + t^2)``, with the share t (equation 88)."""
    return ((1 - share) * a + share * b) / math.hypot(1 - share, share)


def mp_concatenate(
    a: Float[Array, "*map m"], b: Float[Array, "*map n"], share: float
) -> Float[Array, "*map both"]:
    """Joins channels so that b has the share t of what comes of them (equation 103).

    ``sqrt((m + n) / ((1 - t)^2 + t^2)) [(1 - t) a / sqrt(m), t b / sqrt(n)]``
    """
    m, n = a.shape[-1], b.shape[-1]
    whole = math.sqrt(m + n) / math.hypot(1 - share, share)
    parts = [whole * (1 - share) / math.sqrt(m) * a, whole * share / math.sqrt(n) * b]
    return jnp.concatenate(parts, axis=-1)


def _direction(module: nn.Module, *shape: int) -> Array:
    """A layer's kernel over ``sqrt(inputs)``, float32, within its compact call."""

    def init(key: Array, shape: tuple[int, ...]) -> Array:
        return unit_kernel(jax.random.normal(key, shape))

    kernel: Array = module.param(DIRECTION, init, shape)
    return unit_kernel(kernel) / math.sqrt(math.prod(shape[:-1]))


class MPDense(nn.Module):
    """``g x W / |W|``, with the norm of each output's weights (equation 47).

    Attributes:
      features: outputs.
    """

    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch inputs"], gain: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "batch features"]:
        return checkpoint_name(x @ (gain * _direction(self, x.shape[-1], self.features)), LINEAR)


class MPConv(nn.Module):
    """The convolution of x and ``g W / |W|``, with the norm of each output's weights.

    Attributes:
      features: output channels.
      kernel: side of the kernel.
      dtype: type of the computation.
      form: of the convolution.
    """

    features: int
    kernel: int
    dtype: Any = jnp.float32
    form: Convolutions = "auto"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], gain: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "batch h w features"]:
        kernel = gain * _direction(self, self.kernel, self.kernel, x.shape[-1], self.features)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        return checkpoint_name(conv(x, kernel, 1, self.form), LINEAR)


class MPFourier(nn.Module):
    """``sqrt(2) cos(2 pi (f_i x + p_i))``, with f of N(0, 1) and p of U(0, 1) (equation 75).

    Both are drawn when the network is initialised, and are no parameters.

    Attributes:
      features: of each number.
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch *times"]) -> Float[Array, "batch features"]:
        def drawn(name: str, draw: Any) -> Array:
            def init() -> Array:
                found: Array = 2 * math.pi * draw(self.make_rng("params"), (self.features,))
                return found

            value: Array = self.variable(CONSTANTS, name, init).value
            return value

        frequencies = drawn("frequencies", jax.random.normal)
        phases = drawn("phases", jax.random.uniform)
        angles = x.astype(jnp.float32)[..., None] * frequencies + phases
        return math.sqrt(2) * jnp.cos(angles).reshape(x.shape[0], -1)
