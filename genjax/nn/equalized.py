"""Layers whose weights come from N(0, 1) and are scaled when they are used (Karras et al. 2018)."""

import math
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from genjax.config import Convolutions
from genjax.nn.channels import LINEAR, like
from genjax.nn.conv import conv
from genjax.nn.layers import leaky_relu
from genjax.nn.resampled_conv import conv_down, conv_up
from genjax.nn.resampling import downsample, upsample

_LEAK = 0.2
GAIN = math.sqrt(2)
"""Of the activation, which keeps the second moment of N(0, 1)."""
Resampling = Literal["none", "up", "down"]


def activate(
    x: Float[Array, "*units"], gain: float = 1.0, clamp: float | None = None
) -> Float[Array, "*units"]:
    """``sqrt(2) gain max(x, x / 5)``, within gain times the clamp."""
    y = leaky_relu(x, _LEAK) * (GAIN * gain)
    return bound(y, clamp, gain)


def bound(
    x: Float[Array, "*units"], clamp: float | None, gain: float = 1.0
) -> Float[Array, "*units"]:
    """Clips to gain times the clamp, if there is one."""
    return x if clamp is None else jnp.clip(x, -clamp * gain, clamp * gain)


class EqualDense(nn.Module):
    """``r (x W / sqrt(inputs) + b)``, with W drawn from ``N(0, 1 / r^2)``.

    Attributes:
      features: outputs.
      use_bias: add a bias to each output.
      rate: r, by which the layer learns slower.
      bias: what r b begins as, divided by r.
      dtype: type of the computation.

    Reference: Karras et al. 2018, section 4.1.
    """

    features: int
    use_bias: bool = True
    rate: float = 1.0
    bias: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch *inputs"]) -> Float[Array, "batch outputs"]:
        x = x.reshape(x.shape[0], -1)
        shape = x.shape[-1], self.features
        kernel = self.param("kernel", nn.initializers.normal(1 / self.rate), shape)
        kernel = kernel * (self.rate / math.sqrt(x.shape[-1]))
        y = checkpoint_name(x.astype(self.dtype) @ kernel.astype(self.dtype), LINEAR)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.constant(self.bias), (self.features,))
            y = y + (self.rate * bias).astype(self.dtype)
        return y


def resampled(
    x: Float[Array, "batch h w c"],
    kernel: Float[Array, "k k c features"],
    resampling: Resampling,
    form: Convolutions,
) -> Float[Array, "batch h2 w2 features"]:
    """A convolution of side 1 or 3 that keeps, doubles or halves the map."""
    if resampling == "none":
        return conv(x, kernel, 1, form)
    if kernel.shape[0] > 1:
        return (conv_up if resampling == "up" else conv_down)(x, kernel, form)
    if resampling == "up":
        return upsample(conv(x, kernel, 1, form), form)
    return conv(downsample(x, form), kernel, 1, form)


class EqualConv(nn.Module):
    """A convolution with ``W / sqrt(inputs k^2)``, W drawn from N(0, 1), and its activation.

    Attributes:
      features: output channels.
      kernel: side k of the kernel, 1 or 3.
      resampling: of the map.
      activation: whether bias and activation follow.
      gain: of all.
      clamp: bound on the result.
      dtype: type of the computation.
      form: of the convolution.
    """

    features: int
    kernel: int
    resampling: Resampling = "none"
    activation: bool = True
    gain: float = 1.0
    clamp: float | None = None
    dtype: Any = jnp.float32
    form: Convolutions = "auto"

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h2 w2 features"]:
        shape = self.kernel, self.kernel, x.shape[-1], self.features
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape)
        scale = 1 / math.sqrt(math.prod(shape[:3]))
        if not self.activation:
            scale *= self.gain
        kernel = (kernel * scale).astype(self.dtype)
        y = checkpoint_name(
            resampled(x.astype(self.dtype), kernel, self.resampling, self.form), LINEAR
        )
        if not self.activation:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return activate(y + like(bias.astype(self.dtype), y), self.gain, self.clamp)
