"""The fully connected networks of the first GAN (Goodfellow et al. 2014, section 5)."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.nn.layers import Dropout, Maxout
from genjax.types import Images, Logits


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
        x = nn.relu(nn.Dense(self.width, dtype=self.dtype)(z))
        x = nn.relu(nn.Dense(self.width, dtype=self.dtype)(x))
        x = jnp.tanh(nn.Dense(math.prod(self.image), dtype=self.dtype)(x))
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
            x = Maxout(self.width, pieces=5, dtype=self.dtype)(x)
        x = Dropout(0.5, self.axis_name)(x, train)
        return nn.Dense(1, dtype=self.dtype)(x)[:, 0].astype(jnp.float32)
