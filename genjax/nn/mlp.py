"""Fully connected networks: plain ones, and those of the first GAN."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.core.types import Examples
from genjax.nn.descriptions import Description
from genjax.nn.layers import Dropout, Layers, Maxout, leaky_relu, symmetric_uniform
from genjax.nn.sinusoids import sinusoids

_INIT = nn.initializers.lecun_normal()
_LEAK = 0.2
_FREQUENCIES = 16
# The ranges of the first GAN's published configuration.
_GOODFELLOW_DECODER_INIT = symmetric_uniform(0.05)
_GOODFELLOW_ENCODER_INIT = symmetric_uniform(0.005)


class MLPDecoder(nn.Module):
    """Hidden layers of ReLU, then one unit a pixel and channel.

    Attributes:
      image: (height, width, channels) of what it makes.
      width: units of a hidden layer.
      depth: hidden layers.
      layers: what its layers have in common.
      init: initialiser of the kernels.
    """

    image: tuple[int, ...]
    width: int = 400
    depth: int = 2
    layers: Layers = Layers()
    init: Any = _INIT

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "batch latent"],
        train: bool,
        condition: Float[Array, "batch labels"] | None = None,
    ) -> Examples:
        x = z
        for _ in range(self.depth):
            x = self.layers.dense(self.width, self.init)(x)
            x = nn.relu(self.layers.normalize(x, train, condition))
        x = self.layers.dense(math.prod(self.image), self.init)(x)
        return x.reshape(-1, *self.image)


class MLPEncoder(nn.Module):
    """Hidden layers of LeakyReLU with slope 0.2.

    Attributes:
      width: units of a hidden layer.
      depth: hidden layers.
      layers: what its layers have in common.
    """

    width: int = 400
    depth: int = 2
    layers: Layers = Layers()
    head_init = staticmethod(_INIT)

    @nn.compact
    def __call__(self, images: Examples, train: bool) -> Float[Array, "batch features"]:
        x = images.reshape(images.shape[0], -1)
        for _ in range(self.depth):
            x = self.layers.dense(self.width, _INIT)(x)
            x = leaky_relu(self.layers.normalize(x, train), _LEAK)
        return x


def goodfellow_decoder(image: tuple[int, ...], width: int, layers: Layers) -> MLPDecoder:
    """The first GAN's generator up to its last non-linearity: two layers of rectifiers.

    The paper's last unit is a sigmoid over [0, 1]; a GAN here ends in ``tanh(a)``, which is
    ``2 sigmoid(2a) - 1``, because images are in [-1, 1].

    Args:
      image: (height, width, channels) of what it makes.
      width: units of a hidden layer; 1200 in the paper.
      layers: what its layers have in common; it has no norm.

    Returns:
      The module.

    Reference: Goodfellow et al. 2014, section 5.
    """
    return MLPDecoder(image, width, 2, layers._replace(norm="none"), _GOODFELLOW_DECODER_INIT)


class MaxoutEncoder(nn.Module):
    """The first GAN's discriminator up to its logit: two maxout layers of five pieces.

    Dropout comes before each layer and before the logit. Rates are those of the published
    configuration: 0.2 on the pixels and 0.5 on hidden units.

    Attributes:
      width: units of a hidden layer; 240 in the paper.
      layers: what its layers have in common; it has no norm.

    Reference: Goodfellow et al. 2014, section 5.
    """

    width: int = 240
    layers: Layers = Layers()
    head_init = staticmethod(_GOODFELLOW_ENCODER_INIT)

    @nn.compact
    def __call__(self, images: Examples, train: bool) -> Float[Array, "batch features"]:
        x = images.reshape(images.shape[0], -1)
        for rate in (0.2, 0.5):
            x = Dropout(rate, self.layers.axis_name)(x, train)
            x = Maxout(self.width, 5, self.layers, _GOODFELLOW_ENCODER_INIT)(x)
        return Dropout(0.5, self.layers.axis_name)(x, train)


class MLPDenoiser(nn.Module):
    """Hidden layers of SiLU of an example, its noise, its label and a description's vector.

    Attributes:
      channels: numbers along the last axis of what it makes; what it is given may have more.
      width: units of a hidden layer.
      depth: hidden layers.
      classes: of labels; the label `classes` stands for none.
      dropout: rate, on hidden units.
      layers: what its layers have in common.
    """

    channels: int
    width: int = 128
    depth: int = 3
    classes: int = 0
    dropout: float = 0.0
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self,
        x: Examples,
        train: bool,
        noise: Float[Array, "batch *times"],
        labels: Int[Array, "batch"] | None = None,
        changes: Float[Array, "batch numbers"] | None = None,
        description: Description | None = None,
    ) -> Examples:
        batch = x.shape[0]
        parts = [part.reshape(batch, -1) for part in (x, *sinusoids(noise, _FREQUENCIES))]
        if labels is not None:
            parts.append(jax.nn.one_hot(labels, self.classes))
        if description is not None:
            parts.append(description.vector)
        y = jnp.concatenate(parts, axis=-1)
        for number in range(self.depth):
            y = self.layers.dense(self.width, _INIT)(y)
            if changes is not None and number == 0:
                tell = self.layers.dense(self.width, _INIT, use_bias=False, name="changes")
                y = y + tell(changes)
            y = nn.silu(y)
            y = Dropout(self.dropout, self.layers.axis_name)(y, train)
        shape = (*x.shape[1:-1], self.channels)
        y = self.layers.dense(math.prod(shape), nn.initializers.zeros)(y)
        return y.reshape(batch, *shape).astype(jnp.float32)
