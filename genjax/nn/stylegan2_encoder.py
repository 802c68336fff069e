"""StyleGAN2's discriminator (Karras et al. 2020).

An image whose side is no power of two has its border repeated up to the next one.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import StyleGAN2
from genjax.core.types import Images
from genjax.nn.equalized import EqualConv, EqualDense, activate
from genjax.nn.layers import Layers, gather_batch
from genjax.nn.resampling import downsample
from genjax.nn.stylegan2 import SMALLEST, Mapping, channels_of, map_sides

_HALF = math.sqrt(0.5)


def _with_deviation(
    x: Float[Array, "batch h w c"], group: int, axis_name: str | None
) -> Float[Array, "batch h w c_and_one"]:
    """Appends a map of the standard deviation over a group of images, averaged over all units.

    Of N images, image i is in group ``i mod (N / group)``; all are one group where `group` does not
    divide N.

    Reference: Karras et al. 2018, section 3, in the authors' order.
    """
    whole = gather_batch(x, axis_name)
    count = whole.shape[0]
    size = group if count % group == 0 else count
    groups = whole.reshape(size, count // size, -1)
    deviation = jnp.mean(jnp.sqrt(jnp.var(groups, axis=0) + 1e-8), axis=-1)
    rows = jnp.tile(deviation, size)
    if axis_name is not None:
        first = jax.lax.axis_index(axis_name) * x.shape[0]
        rows = jax.lax.dynamic_slice_in_dim(rows, first, x.shape[0])
    maps = jnp.broadcast_to(rows[:, None, None, None], (*x.shape[:-1], 1))
    return jnp.concatenate([x, maps.astype(x.dtype)], -1)


class StyleGAN2Encoder(nn.Module):
    """Halves the image block by block down to 4 x 4, and makes a vector of it.

    With ``residual``, a 1 x 1 convolution leads around each block, and both are divided by
    ``sqrt(2)``; with ``skip`` each block also sees the image, halved.

    Attributes:
      config: sizes.
      layers: what its layers have in common.

    Reference: Karras et al. 2020, section 4.1 and figure 7.
    """

    config: StyleGAN2
    layers: Layers = Layers()
    head_init = staticmethod(nn.initializers.normal(1.0))

    @staticmethod
    def make_head(size: int, use_bias: bool, name: str) -> EqualDense:
        """A layer to come after it, within a compact call."""
        return EqualDense(size, use_bias, name=name)

    @staticmethod
    def make_mapping(config: StyleGAN2, size: int, name: str) -> Mapping:
        """What embeds labels; the logit is its product with the head's output."""
        return Mapping(config.mapping, size, name=name)

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch features"]:
        config = self.config
        architecture = "residual" if config.architecture == "usual" else config.architecture
        sides = map_sides(images.shape[1])[::-1]
        rest = sides[0] - images.shape[1]
        edge = rest // 2, rest - rest // 2
        if rest:
            images = jnp.pad(images, ((0, 0), edge, edge, (0, 0)), mode="edge")

        def conv(x: Array, width: int, kernel: int, name: str, **settings: Any) -> Array:
            made = EqualConv(
                width,
                kernel,
                clamp=config.clamp,
                dtype=self.layers.dtype,
                form=self.layers.convolutions,
                name=name,
                **settings,
            )
            return made(x)

        x: Array | None = None
        for size in sides:
            width = channels_of(config, size)
            if x is None or architecture == "skip":
                seen = conv(images, width, 1, f"from_image{size}")
                x = seen if x is None else x + seen
                images = downsample(images, self.layers.convolutions)
            if size == sides[-1]:
                break
            y = conv(x, width, 3, f"conv{size}")
            half = {"resampling": "down", "gain": _HALF if architecture == "residual" else 1.0}
            below = channels_of(config, size // 2)
            y = conv(y, below, 3, f"conv{size}_down", **half)
            if architecture == "residual":
                y = y + conv(x, below, 1, f"skip{size}", activation=False, **half)
            x = y
        assert x is not None
        x = x.astype(jnp.float32)
        if config.stddev:
            axis_name = None if self.is_initializing() else self.layers.axis_name
            x = _with_deviation(x, config.stddev, axis_name)
        last = EqualConv(
            channels_of(config, SMALLEST),
            3,
            clamp=config.clamp,
            form=self.layers.convolutions,
            name="conv4",
        )(x)
        return activate(EqualDense(last.shape[-1], name="fc")(last))
