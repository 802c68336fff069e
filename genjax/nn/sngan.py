"""The residual networks of spectrally normalised GANs (Miyato et al. 2018), at 28 to 128 pixels."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.types import Images
from genjax.errors import UserError
from genjax.nn.dcgan import halvings
from genjax.nn.layers import Layers


def _xavier(gain: float) -> Any:
    """Glorot's uniform initialiser with its limit multiplied by `gain`."""
    return nn.initializers.variance_scaling(gain**2, "fan_avg", "uniform")


_RESIDUAL_INIT = _xavier(math.sqrt(2))
_INIT = _xavier(1.0)


def upsample(x: Float[Array, "batch h w c"]) -> Float[Array, "batch h2 w2 c"]:
    """Doubles a map by repeating each value twice along both axes."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def average_pool(x: Float[Array, "batch h w c"]) -> Float[Array, "batch h2 w2 c"]:
    """Halves a map by averaging blocks of 2 x 2; the sides must be even."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))


class SNGANDecoder(nn.Module):
    """Projects a vector to a small map, then doubles it with residual blocks of one width.

    A block is norm, ReLU, doubling, 3x3 convolution, norm, ReLU, 3x3 convolution, beside a
    doubling and a 1x1 convolution. Norm, ReLU and a 3x3 convolution follow.

    Attributes:
      image: (side, side, channels) of what it makes.
      width: channels; 256 in the paper.
      layers: what its layers have in common.

    Reference: Miyato et al. 2018, table 4 (32 x 32).
    """

    image: tuple[int, int, int]
    width: int = 256
    layers: Layers = Layers(norm="batch")

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "batch latent"],
        train: bool,
        condition: Float[Array, "batch labels"] | None = None,
    ) -> Images:
        layers, width = self.layers, self.width
        side, _, channels = self.image
        count = halvings(side)
        base = side // 2**count

        def activate(x: Array) -> Array:
            return nn.relu(layers.normalize(x, train, condition))

        x = layers.dense(base * base * width, _INIT)(z).reshape(-1, base, base, width)
        for _ in range(count):
            y = layers.conv(width, 3, 1, _RESIDUAL_INIT)(upsample(activate(x)))
            y = layers.conv(width, 3, 1, _RESIDUAL_INIT)(activate(y))
            # A 1x1 convolution and a doubling commute; this order does a quarter of the work.
            x = y + upsample(layers.conv(width, 1, 1, _INIT)(x))
        return layers.conv(channels, 3, 1, _INIT)(activate(x))


class SNGANEncoder(nn.Module):
    """Four residual blocks of one width, of which the first two halve the map; then ReLU and a sum.

    A block is ReLU, 3x3 convolution, ReLU, 3x3 convolution and perhaps 2x2 averaging, beside a
    1x1 convolution where the map shrinks; the first block has no ReLU before it.

    Attributes:
      width: channels; 128 in the paper.
      layers: what its layers have in common.

    Reference: Miyato et al. 2018, table 4 (32 x 32).
    """

    width: int = 128
    layers: Layers = Layers()
    head_init = staticmethod(_INIT)

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch features"]:
        layers, width = self.layers, self.width
        if images.shape[1] % 4:
            raise UserError(
                f"sngan can't judge images of {images.shape[1]} pixels a side; "
                f"set --data.resolution {-(-images.shape[1] // 4) * 4}"
            )
        x = images
        for block in range(4):
            shrinks = block < 2
            y = nn.relu(layers.normalize(x, train)) if block else x
            y = layers.conv(width, 3, 1, _RESIDUAL_INIT)(y)
            y = nn.relu(layers.normalize(y, train))
            y = layers.conv(width, 3, 1, _RESIDUAL_INIT)(y)
            if shrinks:
                y = average_pool(y)
                # A 1x1 convolution and an average commute; this order does a quarter of the work.
                x = layers.conv(width, 1, 1, _INIT)(average_pool(x))
            x = x + y
        return jnp.sum(nn.relu(layers.normalize(x, train)), axis=(1, 2))
