"""The residual networks of spectrally normalised GANs (Miyato et al. 2018), at 8 to 128 pixels.

Below 48 pixels all blocks have one width. From there on, channels double as the map halves, up to
16 times those nearest to the image.
"""

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


_FLAT = (1, 1, 0, 0)
_PYRAMIDS = {48: (1, 1, 1, 1, 0), 64: (1, 1, 1, 1, 1), 128: (1, 1, 1, 1, 1, 0)}
"""Of each block of the discriminator, whether it halves the map, by the side of the image; below
those sides it is that of `_FLAT`."""
_MOST = 16


def _is_pyramid(side: int) -> bool:
    """Whether the networks of this size widen; raises UserError where none were published."""
    if side < min(_PYRAMIDS) or side in _PYRAMIDS:
        return side in _PYRAMIDS
    below = max(known for known in _PYRAMIDS if known < side)
    raise UserError(
        f"sngan has no networks for images of {side} pixels a side; set --data.resolution {below}, "
        f"or another of {', '.join(map(str, _PYRAMIDS))} or less than {min(_PYRAMIDS)}"
    )


class SNGANDecoder(nn.Module):
    """Projects a vector to a small map, then doubles it with residual blocks.

    A block is norm, ReLU, doubling, 3x3 convolution, norm, ReLU, 3x3 convolution, beside a
    doubling and a 1x1 convolution. Norm, ReLU and a 3x3 convolution follow.

    Attributes:
      image: (side, side, channels) of what it makes.
      width: channels; of all blocks below 48 pixels, of the last one from there on.
      layers: what its layers have in common.

    Reference: Miyato et al. 2018, tables 4 (32 x 32), 5 (48 x 48) and 6 (128 x 128); 64 x 64 is
    that of the authors' code.
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
        layers = self.layers
        side, _, channels = self.image
        count = halvings(side)
        base = side // 2**count
        widths = [self.width] * (count + 1)
        if _is_pyramid(side):
            widths = [self.width * min(2**k, _MOST) for k in range(count, -1, -1)]

        def activate(x: Array) -> Array:
            return nn.relu(layers.normalize(x, train, condition))

        x = layers.dense((base, base, widths[0]), _INIT)(z)
        for width in widths[1:]:
            y = layers.conv(width, 3, 1, _RESIDUAL_INIT)(upsample(activate(x)))
            y = layers.conv(width, 3, 1, _RESIDUAL_INIT)(activate(y))
            # A 1x1 convolution and a doubling commute; this order does a quarter of the work.
            x = y + upsample(layers.conv(width, 1, 1, _INIT)(x))
        return layers.conv(channels, 3, 1, _INIT)(activate(x))


class SNGANEncoder(nn.Module):
    """Residual blocks, of which the first ones halve the map; then ReLU and a sum.

    A block is ReLU, 3x3 convolution, ReLU, 3x3 convolution and perhaps 2x2 averaging, beside a
    1x1 convolution where its shape changes; the first block has no ReLU before it. Below 48 pixels
    there are four blocks of one width, and two halve.

    Attributes:
      width: channels; of all blocks below 48 pixels, of the first one from there on.
      layers: what its layers have in common.

    Reference: Miyato et al. 2018, tables 4 (32 x 32), 5 (48 x 48) and 6 (128 x 128); 64 x 64 is
    that of the authors' code.
    """

    width: int = 128
    layers: Layers = Layers()
    head_init = staticmethod(_INIT)

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch features"]:
        layers, side = self.layers, images.shape[1]
        if side % 4:
            raise UserError(
                f"sngan can't judge images of {side} pixels a side; "
                f"set --data.resolution {-(-side // 4) * 4}"
            )
        widens = _is_pyramid(side)
        x = images
        for block, shrinks in enumerate(_PYRAMIDS[side] if widens else _FLAT):
            width = self.width * (min(2**block, _MOST) if widens else 1)
            y = nn.relu(layers.normalize(x, train)) if block else x
            # The first block widens at once, the others in their second convolution.
            y = layers.conv(x.shape[-1] if block else width, 3, 1, _RESIDUAL_INIT)(y)
            y = nn.relu(layers.normalize(y, train))
            y = layers.conv(width, 3, 1, _RESIDUAL_INIT)(y)
            if shrinks:
                y, x = average_pool(y), average_pool(x)
            if shrinks or x.shape[-1] != width:
                # A 1x1 convolution and an average commute; this order does a quarter of the work.
                x = layers.conv(width, 1, 1, _INIT)(x)
            x = x + y
        return jnp.sum(nn.relu(layers.normalize(x, train)), axis=(1, 2))
