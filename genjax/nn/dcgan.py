"""DCGAN's networks (Radford et al. 2016), for square images of several sizes."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.errors import UserError
from genjax.nn.conv import Conv, ConvTranspose
from genjax.types import Images, Logits

_KERNEL = 5
_LEAK = 0.2
_INIT = nn.initializers.normal(0.02)


def _scale_init(key: Any, shape: Any, dtype: Any = jnp.float32) -> Array:
    return 1.0 + _INIT(key, shape, dtype)


def _norm(train: bool, dtype: Any, axis_name: str | None) -> nn.Module:
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        dtype=dtype,
        axis_name=axis_name,
        scale_init=_scale_init,
    )


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
            f"dcgan can't make images of {side} pixels a side; set --data.resolution {choices}"
        )
    return count


class DCGANGenerator(nn.Module):
    """Projects z to a small map, then doubles it with transposed convolutions.

    Each hidden layer is followed by batch norm and ReLU, the last one by tanh.

    Attributes:
      image: (side, side, channels) of what it makes.
      width: channels of the last hidden map; each earlier one has twice as many.
      batch_norm: normalise the hidden layers.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.

    Reference: Radford et al. 2016, section 3 and figure 1.
    """

    image: tuple[int, int, int]
    width: int = 64
    batch_norm: bool = True
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: Float[Array, "batch latent"], train: bool) -> Images:
        side, _, channels = self.image
        count = halvings(side)
        base = side // 2**count
        features = self.width * 2 ** (count - 1)

        def activate(x: Array) -> Array:
            if self.batch_norm:
                x = _norm(train, self.dtype, self.axis_name)(x)
            return nn.relu(x)

        bias = not self.batch_norm
        x = nn.Dense(base * base * features, bias, dtype=self.dtype, kernel_init=_INIT)(z)
        x = activate(x.reshape(-1, base, base, features))
        for _ in range(count - 1):
            features //= 2
            x = ConvTranspose(features, _KERNEL, 2, bias, self.dtype, _INIT)(x)
            x = activate(x)
        x = ConvTranspose(channels, _KERNEL, 2, dtype=self.dtype, kernel_init=_INIT)(x)
        return jnp.tanh(x).astype(jnp.float32)


class DCGANDiscriminator(nn.Module):
    """Halves the image with strided convolutions, then takes one logit.

    Every hidden layer is followed by LeakyReLU of slope 0.2, and all but the first by batch norm.

    Attributes:
      width: channels of the first map; each later one has twice as many.
      batch_norm: normalise the hidden layers but the first.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.

    Reference: Radford et al. 2016, section 3.
    """

    width: int = 64
    batch_norm: bool = True
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Logits:
        x, features = images, self.width
        for layer in range(halvings(images.shape[1])):
            norm = self.batch_norm and layer > 0
            x = Conv(features, _KERNEL, 2, not norm, self.dtype, _INIT)(x)
            if norm:
                x = _norm(train, self.dtype, self.axis_name)(x)
            x = nn.leaky_relu(x, _LEAK)
            features *= 2
        x = x.reshape(x.shape[0], -1)
        x = nn.Dense(1, dtype=self.dtype, kernel_init=_INIT)(x)
        return x[:, 0].astype(jnp.float32)


class TutorialGenerator(nn.Module):
    """The generator of the usual MNIST tutorial: 7 -> 14 -> 28, without normalisation.

    Dense to a map of 128 channels, two 5x5 transposed convolutions of 128 and stride 2 with ReLU,
    one of stride 1 to the image, tanh.

    Attributes:
      image: (side, side, channels) of what it makes; the side a multiple of 4.
      dtype: type of the computation.
    """

    image: tuple[int, int, int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Float[Array, "batch latent"], train: bool) -> Images:
        side, _, channels = self.image
        if side % 4:
            raise UserError(
                f"dcgan_tutorial can't make images of {side} pixels a side; "
                f"set --data.resolution {-(-side // 4) * 4}"
            )
        x = nn.Dense((side // 4) ** 2 * 128, dtype=self.dtype)(z)
        x = nn.relu(x).reshape(-1, side // 4, side // 4, 128)
        for _ in range(2):
            x = nn.relu(ConvTranspose(128, _KERNEL, 2, dtype=self.dtype)(x))
        x = ConvTranspose(channels, _KERNEL, 1, dtype=self.dtype)(x)
        return jnp.tanh(x).astype(jnp.float32)


class TutorialDiscriminator(nn.Module):
    """The discriminator of the usual MNIST tutorial: two 5x5 convolutions of stride 2 and 128
    channels with LeakyReLU of slope 0.2, then one logit, without normalisation.

    Attributes:
      dtype: type of the computation.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Logits:
        x = images
        for _ in range(2):
            x = nn.leaky_relu(Conv(128, _KERNEL, 2, dtype=self.dtype)(x), _LEAK)
        x = nn.Dense(1, dtype=self.dtype)(x.reshape(x.shape[0], -1))
        return x[:, 0].astype(jnp.float32)
