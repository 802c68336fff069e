"""R3GAN's residual networks without normalisation (Huang et al. 2024), of a stage for each size."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import R3GAN
from genjax.core.types import Images
from genjax.errors import UserError
from genjax.nn.layers import Initializer, Layers, leaky_relu
from genjax.nn.resampling import downsample, upsample

_LEAK = 0.2
_GAIN = math.sqrt(2 / (1 + _LEAK**2))
_LAYERS_OF_A_BLOCK = 3
_SMALLEST = 4


def _normal(gain: float = 1.0) -> Initializer:
    """He's normal initialiser by the number of inputs, ``N(0, gain^2 / inputs)``."""
    return nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


def stage_sides(side: int) -> list[int]:
    """The sides of the maps, each twice the one before, from 4 to 7 pixels up to the image.

    Args:
      side: of the image, in pixels.

    Returns:
      The sides, smallest first.

    Raises:
      UserError: the side can't be halved that often.

    Example:
      >>> [stage_sides(side) for side in (4, 8, 28, 32)]
      [[4], [4, 8], [7, 14, 28], [4, 8, 16, 32]]
    """
    count = max(0, (side // _SMALLEST).bit_length() - 1)
    block = 2**count
    if side < _SMALLEST or side % block:
        below, above = side // block * block, -(-side // block) * block
        choices = f"{below} or {above}" if below >= _SMALLEST else f"{_SMALLEST}"
        raise UserError(
            f"r3gan can't halve images of {side} pixels; set --data.resolution {choices}"
        )
    return [side // 2**k for k in range(count, -1, -1)]


class Stage(nn.Module):
    """What a map of one size goes through: residual blocks.

    ``x + W3 a(b2 + W2 a(b1 + W1 x))`` with LeakyReLU a of slope 0.2; W2 is a 3 x 3 convolution of
    groups of channels, W1 and W3 are 1 x 1. W3 begins at 0, and W1 and W2 are scaled by
    ``depth^(-1/4)``, so that the variance of a whole network is that of one block (Fixup).

    Attributes:
      blocks: their number.
      config: of the network.
      depth: blocks of all stages.
      layers: what its layers have in common.

    Reference: Huang et al. 2024, section 4; Zhang et al. 2019 (Fixup).
    """

    blocks: int
    config: R3GAN
    depth: int
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
        width = x.shape[-1]
        inner = width * self.config.expansion
        init = _normal(_GAIN * self.depth ** (-1 / (2 * _LAYERS_OF_A_BLOCK - 2)))
        groups = inner // self.config.group
        conv = self.layers.conv
        for _ in range(self.blocks):
            y = leaky_relu(conv(inner, 1, 1, init)(x), _LEAK)
            y = leaky_relu(conv(inner, 3, 1, init, groups=groups)(y), _LEAK)
            x = x + conv(width, 1, 1, nn.initializers.zeros, use_bias=False)(y)
        return x


def stages(config: R3GAN, side: int) -> tuple[list[int], list[int]]:
    """Widths and blocks of each stage, from the smallest map on.

    Args:
      config: sizes; the last of each holds for all further stages.
      side: of the image, in pixels.

    Returns:
      Both, one value a stage.

    Raises:
      UserError: there are more than the image has.
    """
    count = len(stage_sides(side))
    filled = []
    for name in ("widths", "blocks"):
        values = list(getattr(config, name))
        if len(values) > count:
            raise UserError(
                f"r3gan has {count} stages for images of {side} pixels, but {name} has "
                f"{len(values)} values; leave out {len(values) - count}"
            )
        filled.append(values + values[-1:] * (count - len(values)))
    return filled[0], filled[1]


class R3GANDecoder(nn.Module):
    """Scales a learned map of 4 x 4 to 7 x 7 by a vector, then doubles it from stage to stage.

    ``x = B * (W z)``, B a map that is the same for all examples, then a stage of each size; before
    each but the first, a 1 x 1 convolution where the width changes, and `upsample`. A 1 x 1
    convolution to the image follows. It ends there, without a tanh: D's penalties keep the images
    in range, and samples are clipped.

    Attributes:
      image: (side, side, channels) of what it makes.
      config: sizes.
      layers: what its layers have in common.

    Reference: Huang et al. 2024, section 4, and the authors' code.
    """

    image: tuple[int, int, int]
    config: R3GAN
    layers: Layers = Layers()
    has_tanh = False

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "batch latent"],
        train: bool,
        condition: Float[Array, "batch labels"] | None = None,
    ) -> Images:
        if condition is not None:
            raise UserError(
                "r3gan has no norm for 'cbn'; set generator_conditioning to 'embed' or 'concat'"
            )
        layers = self.layers
        side, _, channels = self.image
        base = stage_sides(side)[0]
        widths, blocks = stages(self.config, side)
        basis = self.param("basis", nn.initializers.normal(1.0), (base, base, widths[0]))
        scale = layers.dense(widths[0], _normal(), use_bias=False)(z)
        x = basis.astype(layers.dtype) * scale[:, None, None, :]
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if number:
                if width != x.shape[-1]:
                    x = layers.conv(width, 1, 1, _normal(), use_bias=False)(x)
                x = upsample(x, layers.convolutions)
            x = Stage(count, self.config, sum(blocks), layers)(x)
        return layers.conv(channels, 1, 1, _normal(), use_bias=False)(x)


class R3GANEncoder(nn.Module):
    """`R3GANDecoder` the other way around: halves the image from stage to stage.

    A 1 x 1 convolution, then a stage of each size; after each but the last, `downsample` and a
    1 x 1 convolution where the width changes. Each channel of the smallest map is then weighted
    with a map of its own, and summed.

    Attributes:
      config: sizes; its stages count from the smallest map, as the decoder's.
      layers: what its layers have in common.

    Reference: Huang et al. 2024, section 4, and the authors' code.
    """

    config: R3GAN
    layers: Layers = Layers()
    head_init = staticmethod(_normal())

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch features"]:
        layers = self.layers
        widths, blocks = (values[::-1] for values in stages(self.config, images.shape[1]))
        x = layers.conv(widths[0], 1, 1, _normal(), use_bias=False)(images)
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if number:
                x = downsample(x, layers.convolutions)
                if width != x.shape[-1]:
                    x = layers.conv(width, 1, 1, _normal(), use_bias=False)(x)
            x = Stage(count, self.config, sum(blocks), layers)(x)
        shape = x.shape[1:]
        basis = self.param("basis", nn.initializers.normal(math.prod(shape[:2]) ** -0.5), shape)
        return jnp.einsum("bhwc,hwc->bc", x, basis.astype(x.dtype))
