"""DCGAN's networks (Radford et al. 2016), for square images of several sizes."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.types import Images
from genjax.errors import UserError
from genjax.nn.layers import Layers, leaky_relu

_KERNEL = 5
_LEAK = 0.2
_INIT = nn.initializers.normal(0.02)
_TUTORIAL_INIT = nn.initializers.lecun_normal()


def _scale_init(key: Any, shape: Any, dtype: Any = jnp.float32) -> Array:
    return 1.0 + _INIT(key, shape, dtype)


def halvings(side: int) -> int:
    """How often DCGAN halves an image: down to a map of 4 to 7 pixels, and at least twice.

    Args:
      side: of the image, in pixels.

    Returns:
      The number of strided convolutions in each network.

    Raises:
      UserError: the side can't be halved that often.

    Example:
      >>> [halvings(side) for side in (8, 28, 32, 64)]
      [2, 2, 3, 4]
    """
    count = max(2, (side // 4).bit_length() - 1)
    if side < 4 or side % 2**count:
        block = 2**count
        below, above = side // block * block, -(-side // block) * block
        choices = f"{below} or {above}" if below >= 4 else f"{above}"
        raise UserError(
            f"the network can't halve images of {side} pixels; set --data.resolution {choices}"
        )
    return count


class DCGANDecoder(nn.Module):
    """Projects a vector to a small map, then doubles it with transposed convolutions.

    Each hidden layer is normalised and followed by ReLU.

    Attributes:
      image: (side, side, channels) of what it makes.
      width: channels of the last hidden map; each earlier one has twice as many.
      layers: what its layers have in common.

    Reference: Radford et al. 2016, section 3 and figure 1.
    """

    image: tuple[int, int, int]
    width: int = 64
    layers: Layers = Layers(norm="batch")

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "batch latent"],
        train: bool,
        condition: Float[Array, "batch labels"] | None = None,
    ) -> Images:
        side, _, channels = self.image
        count = halvings(side)
        base = side // 2**count
        features = self.width * 2 ** (count - 1)
        bias = self.layers.norm == "none"

        def activate(x: Array) -> Array:
            return nn.relu(self.layers.normalize(x, train, condition, scale_init=_scale_init))

        x = activate(self.layers.dense((base, base, features), _INIT, bias)(z))
        for _ in range(count - 1):
            features //= 2
            x = activate(self.layers.conv_transpose(features, _KERNEL, 2, _INIT, bias)(x))
        return self.layers.conv_transpose(channels, _KERNEL, 2, _INIT)(x)


class DCGANEncoder(nn.Module):
    """Halves the image with strided convolutions.

    Every layer is followed by LeakyReLU of slope 0.2, and all but the first are normalised.

    Attributes:
      width: channels of the first map; each later one has twice as many.
      layers: what its layers have in common.

    Reference: Radford et al. 2016, section 3.
    """

    width: int = 64
    layers: Layers = Layers(norm="batch")
    head_init = staticmethod(_INIT)

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch h w features"]:
        x, features = images, self.width
        for layer in range(halvings(images.shape[1])):
            bias = self.layers.norm == "none" or layer == 0
            x = self.layers.conv(features, _KERNEL, 2, _INIT, bias)(x)
            if layer > 0:
                x = self.layers.normalize(x, train, scale_init=_scale_init)
            x = leaky_relu(x, _LEAK)
            features *= 2
        return x


class TutorialDecoder(nn.Module):
    """The generator of the usual MNIST tutorial: 7 -> 14 -> 28, without normalisation.

    Dense to a map of 128 channels, two 5x5 transposed convolutions of 128 and stride 2 with ReLU,
    one of stride 1 to the image.

    Attributes:
      image: (side, side, channels) of what it makes; the side a multiple of 4.
      layers: what its layers have in common.
    """

    image: tuple[int, int, int]
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "batch latent"],
        train: bool,
        condition: Float[Array, "batch labels"] | None = None,
    ) -> Images:
        if condition is not None:
            raise UserError(
                "dcgan_tutorial has no norm for 'cbn'; set generator_conditioning to 'concat'"
            )
        side, _, channels = self.image
        if side % 4:
            raise UserError(
                f"dcgan_tutorial can't make images of {side} pixels a side; "
                f"set --data.resolution {-(-side // 4) * 4}"
            )
        x = nn.relu(self.layers.dense((side // 4, side // 4, 128), _TUTORIAL_INIT)(z))
        for _ in range(2):
            x = nn.relu(self.layers.conv_transpose(128, _KERNEL, 2, _TUTORIAL_INIT)(x))
        return self.layers.conv_transpose(channels, _KERNEL, 1, _TUTORIAL_INIT)(x)


class TutorialEncoder(nn.Module):
    """The discriminator of the usual MNIST tutorial up to its logit: two 5x5 convolutions of
    stride 2 and 128 channels with LeakyReLU of slope 0.2, without normalisation.

    Attributes:
      layers: what its layers have in common.
    """

    layers: Layers = Layers()
    head_init = staticmethod(_TUTORIAL_INIT)

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch h w features"]:
        x = images
        for _ in range(2):
            x = leaky_relu(self.layers.conv(128, _KERNEL, 2, _TUTORIAL_INIT)(x), _LEAK)
        return x
