"""WaveGAN's networks (Donahue et al. 2019): DCGAN on raw audio, in one dimension."""

from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.core.rng import example_index, example_keys
from genjax.errors import UserError
from genjax.nn.layers import Layers, leaky_relu

Audio: TypeAlias = Float[Array, "batch samples channels"]
"""In [-1, 1]."""

_KERNEL = 25
_STRIDE = 4
_SHORTEST_BASE = 8
_LEAK = 0.2
_INIT = nn.initializers.xavier_uniform()


def quarterings(samples: int) -> int:
    """How often WaveGAN shortens audio to a quarter: down to 8 to 31 steps, and at least once.

    Args:
      samples: of one example.

    Returns:
      The number of strided convolutions in each network.

    Raises:
      UserError: the length can't be quartered that often.

    Example:
      >>> [quarterings(samples) for samples in (32, 8192, 16384, 65536)]
      [1, 5, 5, 6]
    """
    shortest = _STRIDE * _SHORTEST_BASE
    if samples < shortest:
        raise UserError(f"wavegan can't quarter audio of {samples} samples; use {shortest} or more")
    count = 0
    while _SHORTEST_BASE * _STRIDE ** (count + 1) <= samples:
        count += 1
    block = _STRIDE**count
    if samples % block:
        below = samples // block * block
        raise UserError(
            f"wavegan can't quarter audio of {samples} samples; use {below} or {below + block}"
        )
    return count


class WaveGANDecoder(nn.Module):
    """Projects a vector to a short signal, then lengthens it fourfold by transposed convolutions.

    Each hidden layer is normalised, if at all, and followed by ReLU. The paper's generator has no
    norm, and a tanh behind.

    Attributes:
      shape: (samples, channels) of what it makes.
      width: channels of the last hidden layer; each earlier one has twice as many.
      layers: what its layers have in common.

    Reference: Donahue et al. 2019, section 3.2.
    """

    shape: tuple[int, int]
    width: int = 64
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "batch latent"],
        train: bool,
        condition: Float[Array, "batch labels"] | None = None,
    ) -> Audio:
        samples, channels = self.shape
        count = quarterings(samples)
        base = samples // _STRIDE**count
        features = self.width * 2 ** (count - 1)
        bias = self.layers.norm == "none"

        def activate(x: Array) -> Array:
            return nn.relu(self.layers.normalize(x, train, condition))

        x = activate(self.layers.dense((base, features), _INIT, bias)(z))
        for _ in range(count - 1):
            features //= 2
            x = activate(self.layers.conv_transpose1d(features, _KERNEL, _STRIDE, _INIT, bias)(x))
        return self.layers.conv_transpose1d(channels, _KERNEL, _STRIDE, _INIT)(x)


def shift(
    x: Float[Array, "batch time channels"], steps: Int[Array, "batch"], most: int
) -> Float[Array, "batch time channels"]:
    """Delays each example by its own number of steps; what is missing is filled by reflection.

    ``y_t = x_|t - steps|`` at the start, and likewise at the end.

    Args:
      x: float [batch, time, channels].
      steps: int32 [batch], in -most..most.
      most: the largest delay; less than time.

    Returns:
      The shape of `x`.
    """
    time = x.shape[1]
    wide = jnp.pad(x, ((0, 0), (most, most), (0, 0)), mode="reflect")
    shifted: Array = jax.vmap(lambda row, start: jax.lax.dynamic_slice_in_dim(row, start, time))(
        wide, most - steps
    )
    return shifted


class PhaseShuffle(nn.Module):
    """Shifts each example's activations by a number of steps drawn from {-n, ..., n}.

    All channels move together. The paper's code draws one number for the whole batch of a call.
    Here each example has its own, a function of its place in the whole batch, so that a step
    averages over shifts and does not depend on the number of devices.

    Attributes:
      most: n; 0 for none.
      axis_name: mapped axis over the devices, if any.

    Reference: Donahue et al. 2019, section 3.3 and figure 3.
    """

    most: int
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch time channels"], train: bool
    ) -> Float[Array, "batch time channels"]:
        if not train or self.most == 0:
            return x
        keys = example_keys(self.make_rng("dropout"), example_index(x.shape[0], self.axis_name))
        bounds = -self.most, self.most + 1
        return shift(x, jax.vmap(lambda key: jax.random.randint(key, (), *bounds))(keys), self.most)


class WaveGANEncoder(nn.Module):
    """Shortens audio fourfold by strided convolutions, with phase shuffle between them.

    Every layer is followed by LeakyReLU of slope 0.2, and all but the first are normalised, if at
    all. The paper's discriminator has no norm.

    Attributes:
      width: channels of the first layer; each later one has twice as many.
      shuffle: most steps that phase shuffle moves activations by; 0 for none.
      layers: what its layers have in common.

    Reference: Donahue et al. 2019, section 3.2.
    """

    width: int = 64
    shuffle: int = 2
    layers: Layers = Layers()
    head_init = staticmethod(_INIT)

    @nn.compact
    def __call__(self, audio: Audio, train: bool) -> Float[Array, "batch time features"]:
        x, features = audio, self.width
        for layer in range(quarterings(audio.shape[1])):
            if layer > 0:
                x = PhaseShuffle(self.shuffle, self.layers.axis_name)(x, train)
            bias = self.layers.norm == "none" or layer == 0
            x = self.layers.conv1d(features, _KERNEL, _STRIDE, _INIT, bias)(x)
            if layer > 0:
                x = self.layers.normalize(x, train)
            x = leaky_relu(x, _LEAK)
            features *= 2
        return x
