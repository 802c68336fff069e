"""The fully connected networks of the first GAN (Goodfellow et al. 2014, section 5)."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.nn.layers import Dropout, Maxout, symmetric_uniform
from genjax.types import Images, Logits

# The ranges of the published configuration.
_GENERATOR_INIT = symmetric_uniform(0.05)
_DISCRIMINATOR_INIT = symmetric_uniform(0.005)


class MLPGenerator(nn.Module):
    """Two layers of rectifiers, then one bounded unit a pixel.

    The paper's last unit is a sigmoid over [0, 1]; here it is ``tanh(a)``, which is
    ``2 sigmoid(2a) - 1``, because images are in [-1, 1].

    Attributes:
      image: (height, width, channels) of what it makes.
      width: units of a hidden layer; 1200 in the paper.
      dtype: type of the computation.
    """

    image: tuple[int, int, int]
    width: int = 1200
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Float[Array, "batch latent"], train: bool) -> Images:
        x = z
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width, dtype=self.dtype, kernel_init=_GENERATOR_INIT)(x))
        pixels = math.prod(self.image)
        x = jnp.tanh(nn.Dense(pixels, dtype=self.dtype, kernel_init=_GENERATOR_INIT)(x))
        return x.reshape(-1, *self.image).astype(jnp.float32)


class MaxoutDiscriminator(nn.Module):
    """Two maxout layers of five pieces, with dropout before each layer.

    Rates are those of the published configuration: 0.2 on the pixels and 0.5 on hidden units.

    Attributes:
      width: units of a hidden layer; 240 in the paper.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.
    """

    width: int = 240
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Logits:
        x = images.reshape(images.shape[0], -1)
        for rate in (0.2, 0.5):
            x = Dropout(rate, self.axis_name)(x, train)
            x = Maxout(self.width, 5, self.dtype, _DISCRIMINATOR_INIT)(x)
        x = Dropout(0.5, self.axis_name)(x, train)
        x = nn.Dense(1, dtype=self.dtype, kernel_init=_DISCRIMINATOR_INIT)(x)
        return x[:, 0].astype(jnp.float32)
