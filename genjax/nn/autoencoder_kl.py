"""The two halves of latent diffusion's autoencoder (Rombach et al. 2022)."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import AutoencoderKL as Config
from genjax.core.types import Images
from genjax.errors import UserError
from genjax.nn.layers import Initializer, Layers
from genjax.nn.norms import GroupNorm, Normalize
from genjax.nn.sngan import upsample

_INIT: Initializer = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
_EPSILON = 1e-6
_RANGE = -30.0, 20.0
"""Of the logarithms of variances."""


def latent_map(config: Config, side: int) -> tuple[int, int, int]:
    """The shape of the latents of square images of a side.

    Raises:
      UserError: the side can't be halved as often as the network does.

    Example:
      >>> latent_map(Config(widths=(1, 2, 4)), 32)
      (8, 8, 4)
    """
    factor = 2 ** (len(config.widths) - 1)
    if side % factor:
        raise UserError(
            f"an autoencoder of {len(config.widths)} widths can't halve images of {side} pixels "
            f"{len(config.widths) - 1} times; set --data.resolution {-(-side // factor) * factor}"
        )
    return side // factor, side // factor, config.channels


class _Part(nn.Module):
    """A part of a half.

    Attributes:
      config: of the network.
      layers: what its layers have in common.
    """

    config: Config
    layers: Layers

    def conv(self, features: int, kernel: int, x: Array, name: str, stride: int = 1) -> Array:
        """A convolution."""
        return self.layers.conv(features, kernel, stride, _INIT, name=name)(x)

    def norm(self, x: Array, name: str) -> Array:
        """Group norm."""
        norm = GroupNorm(size=1, most=self.config.groups, epsilon=_EPSILON)
        return Normalize(norm, self.layers.dtype, name=name)(x)


class _Block(_Part):
    """A residual block, ``x + conv(silu(norm(conv(silu(norm(x))))))``.

    Attributes:
      features: channels of what it makes.
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h w features"]:
        y = self.conv(self.features, 3, nn.silu(self.norm(x, "norm_0")), "conv_0")
        y = self.conv(self.features, 3, nn.silu(self.norm(y, "norm_1")), "conv_1")
        if x.shape[-1] != self.features:
            x = self.conv(self.features, 1, x, "skip")
        return x + y


class _Attention(_Part):
    """Adds to each place of a map what it attends to in the whole map, with one head."""

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
        batch, height, width, channels = x.shape
        y = self.norm(x, "norm")
        parts = (
            self.conv(channels, 1, y, name).reshape(batch, height * width, 1, channels)
            for name in ("query", "key", "value")
        )
        seen = jax.nn.dot_product_attention(*parts)
        return x + self.conv(channels, 1, seen.reshape(x.shape), "out")


class _Half(_Part):
    """What both halves have in common."""

    def block(self, features: int, x: Array, name: str) -> Array:
        """A residual block."""
        made: Array = _Block(self.config, self.layers, features, name=name)(x)
        return made

    def middle(self, x: Array) -> Array:
        """What is done to the smallest map."""
        x = self.block(x.shape[-1], x, "middle_0")
        x = _Attention(self.config, self.layers, name="attention")(x)
        return self.block(x.shape[-1], x, "middle_1")

    def last(self, features: int, x: Array) -> Array:
        """What ends a half."""
        return self.conv(features, 3, nn.silu(self.norm(x, "last_norm")), "last")


class KLEncoder(_Half):
    """From images to the means of their latents and the logarithms of their variances.

    Attributes:
      head_init: initialiser of layers around it.
      makes_moments: no layer is wanted after it.
    """

    head_init: Any = _INIT
    makes_moments: bool = True

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch moments"]:
        config = self.config
        latent_map(config, images.shape[1])
        x = self.conv(config.width, 3, images, "first")
        for stage, multiple in enumerate(config.widths):
            if stage:
                x = self.conv(x.shape[-1], 3, x, f"down_{stage}", stride=2)
            for number in range(config.blocks):
                x = self.block(config.width * multiple, x, f"encoder_{stage}_{number}")
        x = self.last(2 * config.channels, self.middle(x))
        x = self.conv(2 * config.channels, 1, x, "moments").astype(jnp.float32)
        mean, log_variance = jnp.split(x, 2, axis=-1)
        parts = mean, jnp.clip(log_variance, *_RANGE)
        return jnp.concatenate([part.reshape(len(x), -1) for part in parts], axis=-1)


class KLDecoder(_Half):
    """From latents to images.

    Attributes:
      image: (side, side, channels).
    """

    image: tuple[int, int, int] = (32, 32, 3)

    @nn.compact
    def __call__(self, z: Float[Array, "batch latent"], train: bool) -> Images:
        config = self.config
        shape = latent_map(config, self.image[0])
        if math.prod(shape) != z.shape[1]:
            raise UserError(
                f"z has {z.shape[1]} dimensions, but of images of {self.image[0]} pixels kl makes "
                f"{' x '.join(map(str, shape))} numbers; set --model.latent {math.prod(shape)}"
            )
        widths = [config.width * multiple for multiple in config.widths]
        x = self.conv(config.channels, 1, z.reshape(-1, *shape), "latents")
        x = self.middle(self.conv(widths[-1], 3, x, "first"))
        for stage, width in reversed(list(enumerate(widths))):
            for number in range(config.blocks + 1):
                x = self.block(width, x, f"decoder_{stage}_{number}")
            if stage:
                x = self.conv(width, 3, upsample(x), f"up_{stage}")
        return self.last(self.image[2], x).astype(jnp.float32)
