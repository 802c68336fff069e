"""Networks from images to vectors, for joint embeddings."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import ImageTower
from genjax.config import ResNet as ResNetConfig
from genjax.config import ViT as ViTConfig
from genjax.core.types import Images
from genjax.errors import UserError
from genjax.nn.dit import patches_of
from genjax.nn.encoder import STD, Stack
from genjax.nn.layers import Layers
from genjax.nn.resnet import residual_features

_INIT = nn.initializers.normal(STD)
_MLP = 4


class ResNet(nn.Module):
    """The means over the last map of a residual network.

    Attributes:
      widths: channels of its blocks.
      layers: what its layers have in common.
    """

    widths: tuple[int, ...]
    layers: Layers

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch features"]:
        return residual_features(images, self.widths, self.layers, train)


class ViT(nn.Module):
    """Cuts an image into patches, which a transformer relates to each other; then their mean.

    Attributes:
      config: of the network.
      layers: what its layers have in common.

    Reference: Dosovitskiy et al. 2021, section 3.1, with the mean in place of a token of its own
    (appendix D.3).
    """

    config: ViTConfig
    layers: Layers

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch features"]:
        config = self.config
        batch, side, _, channels = images.shape
        count, patch, width = patches_of(side, config), config.patch, config.width
        stack = Stack(config.depth, config.heads, _MLP * width, self.layers, config.dropout)
        x = images.reshape(batch, count, patch, count, patch, channels).swapaxes(2, 3)
        x = x.reshape(batch, count**2, patch**2 * channels)
        x = stack.rows(width, x, "patches", nn.initializers.lecun_normal())
        places = self.param("positions", _INIT, (count**2, width))
        x = stack.drop(x + places.astype(x.dtype), train)
        return stack.norm("norm")(stack.run(x, None, train)).mean(axis=1)


IMAGE_TOWERS: dict[type[ImageTower], Callable[[Any, Layers], nn.Module]] = {
    ResNetConfig: lambda config, layers: ResNet(config.widths, layers._replace(norm="layer")),
    ViTConfig: ViT,
}
"""From a configuration and what layers have in common to a network ``(images, train) ->
features``."""


def make_image_tower(
    config: ImageTower,
    shape: tuple[int, ...],
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> Any:
    """Builds a network of images; ``apply(variables, images, train)``.

    Args:
      config: architecture and size.
      shape: of an image, (height, width, channels).
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A module from float32 [batch, *shape], in [-1, 1], and bool to [batch, features].

    Raises:
      UserError: images that are not square, or of a side that patches do not fit, for a vit.
    """
    if isinstance(config, ViTConfig):
        if shape[0] != shape[1]:
            raise UserError(f"images are {shape[0]} x {shape[1]}; set --data.resolution to a side")
        patches_of(shape[0], config)
    return IMAGE_TOWERS[type(config)](config, Layers(dtype=dtype, axis_name=axis_name))
