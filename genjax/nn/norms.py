"""Normalisation of hidden layers, plain or with a gain and bias that depend on a condition."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.algorithm import ema_update, pmean
from genjax.errors import UserError
from genjax.nn.channels import channel_means, like

_EPSILON = 1e-5
_MOMENTUM = 0.9
_CONDITION_INIT = nn.initializers.normal(0.02)


class Moments(NamedTuple):
    """What a norm takes from its input, in shapes that spread over it.

    Attributes:
      mean: of each unit.
      inverse: ``1 / sqrt(var + epsilon)``, with 1e-5 unless a norm says otherwise.
    """

    mean: Float[Array, "..."]
    inverse: Float[Array, "..."]


def _moments(
    mean: Float[Array, "..."], square: Float[Array, "..."], epsilon: float = _EPSILON
) -> Moments:
    """From means of units and of their squares."""
    # Rounding may make the variance of nearly constant units negative.
    variance = jnp.maximum(square - jnp.square(mean), 0)
    return Moments(mean, jax.lax.rsqrt(variance + epsilon))


def _powers(x: Float[Array, "batch *map channels"]) -> tuple[Array, Array]:
    """Units and their squares, in float32."""
    wide = x.astype(jnp.float32)
    return wide, jnp.square(wide)


class VirtualBatchNorm(nn.Module):
    """Moments of a fixed reference batch and of the example itself.

    The first `reference` rows of the input are the reference batch. With R of them, an example's
    moments are ``(R m_reference + m_example) / (R + 1)``; reference rows use the first alone.

    Attributes:
      reference: number of reference rows.

    Reference: Salimans et al. 2016, section 3.5.
    """

    reference: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch *map channels"]) -> Moments:
        if not self.reference:
            raise UserError("norm 'virtual' is for a GAN's generator; choices: batch, layer, none")
        axes = tuple(range(1, x.ndim - 1))
        own = [jnp.mean(power, axes, keepdims=True) for power in _powers(x)]
        fixed = [jnp.mean(moment[: self.reference], 0, keepdims=True) for moment in own]
        count = self.reference
        mean, square = (
            jnp.concatenate(
                [
                    jnp.broadcast_to(f, m[:count].shape),
                    (count * f + m[count:]) / (count + 1),
                ]
            )
            for f, m in zip(fixed, own, strict=True)
        )
        return _moments(mean, square)


class BatchNorm(nn.Module):
    """Moments of each channel over the batch, or their running averages.

    In training the averages move a tenth of the way. The average of the variance is that of the
    batch's own (divided by n), where PyTorch keeps the unbiased one.

    Attributes:
      train: use the batch's moments, and move the averages.
      axis_name: mapped axis over the devices, if any.

    Reference: Ioffe & Szegedy 2015, algorithm 1.
    """

    train: bool
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch *map channels"]) -> Moments:
        shape = (x.shape[-1],)
        average_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        average_var = self.variable("batch_stats", "var", jnp.ones, shape)
        if not self.train:
            return Moments(average_mean.value, jax.lax.rsqrt(average_var.value + _EPSILON))
        axis_name = None if self.is_initializing() else self.axis_name
        mean, square = pmean(tuple(channel_means(power) for power in _powers(x)), axis_name)
        if not self.is_initializing():
            var = jnp.maximum(square - jnp.square(mean), 0)
            average_mean.value = ema_update(average_mean.value, mean, _MOMENTUM)
            average_var.value = ema_update(average_var.value, var, _MOMENTUM)
        return _moments(mean, square)


class LayerNorm(nn.Module):
    """Moments of each example over all of its units (Ba et al. 2016, equation 3)."""

    @nn.compact
    def __call__(self, x: Float[Array, "batch *map channels"]) -> Moments:
        axes = tuple(range(1, x.ndim))
        mean, square = (jnp.mean(power, axes, keepdims=True) for power in _powers(x))
        return _moments(mean, square)


class GroupNorm(nn.Module):
    """Moments of each example over groups of neighbouring channels.

    Attributes:
      size: channels of a group, at least; all channels if there are fewer.
      most: groups at most; their number is the largest within both bounds that divides the
        channels.
      epsilon: added to the variance.

    Reference: Wu & He 2018, equations 1, 2 and 7.
    """

    size: int = 4
    most: int = 32
    epsilon: float = _EPSILON

    @nn.compact
    def __call__(self, x: Float[Array, "batch *map channels"]) -> Moments:
        channels = x.shape[-1]
        bound = max(1, min(self.most, channels // self.size))
        groups = next(count for count in range(bound, 0, -1) if channels % count == 0)

        def mean(power: Array) -> Array:
            # Each channel by itself, then those of a group: on CPUs thrice as fast as at once.
            own = jnp.mean(power, tuple(range(1, x.ndim - 1)))
            joint = jnp.mean(own.reshape(-1, groups, channels // groups), -1)
            spread = jnp.repeat(joint, channels // groups, axis=-1)
            return spread.reshape(-1, *(1,) * (x.ndim - 2), channels)

        units, squares = _powers(x)
        return _moments(mean(units), mean(squares), self.epsilon)


NORMS: dict[str, Callable[[bool, str | None, int], nn.Module]] = {
    "batch": lambda train, axis_name, reference: BatchNorm(train, axis_name),
    "layer": lambda train, axis_name, reference: LayerNorm(),
    "virtual": lambda train, axis_name, reference: VirtualBatchNorm(reference),
}
"""From name to the part that takes the `Moments`, made from (train, axis name, number of reference
rows)."""


def _linear(channels: int, name: str) -> nn.Module:
    init = _CONDITION_INIT if name == "gain" else nn.initializers.zeros
    return nn.Dense(channels, False, kernel_init=init, name=name)


class Normalize(nn.Module):
    """Normalises, then scales and shifts each channel.

    ``y = gain * (x - mean) / std + bias``. With a condition c,
    ``gain = 1 + W_gain c`` and ``bias = W_bias c``.

    Attributes:
      norm: an entry of `NORMS`, made.
      dtype: type of the result.
      scale_init: initialiser of the gain without a condition.
      linear: makes ``W_gain`` and ``W_bias``, from the channels and a name.

    Reference: Ioffe & Szegedy 2015, algorithm 1; de Vries et al. 2017, section 3 (conditional).
    """

    norm: nn.Module
    dtype: Any = jnp.float32
    scale_init: Callable[..., Any] = nn.initializers.ones
    linear: Callable[[int, str], nn.Module] = _linear

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *map channels"],
        condition: Float[Array, "batch labels"] | None = None,
    ) -> Float[Array, "..."]:
        channels = x.shape[-1]
        mean, inverse = self.norm(x)
        if condition is None:
            gain = self.param("scale", self.scale_init, (channels,))
            bias = self.param("bias", nn.initializers.zeros, (channels,))
        else:
            gain = 1 + self.linear(channels, "gain")(condition)
            bias = self.linear(channels, "conditional_bias")(condition)
            shape = (x.shape[0], *(1,) * (x.ndim - 2), channels)
            gain, bias = gain.reshape(shape), bias.reshape(shape)
        # As one factor and one term of each unit, whose gradients are two sums over x instead of
        # four.
        factor = gain * inverse
        term = bias - mean * factor
        return (x.astype(jnp.float32) * like(factor, x) + like(term, x)).astype(self.dtype)
