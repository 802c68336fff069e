"""Differentiable augmentation of all images that D sees, real and generated (Zhao et al. 2020).

Each example draws its own changes, from its key; gradients flow through them to the generator.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.rng import example_keys, stream
from genjax.core.types import Examples, Index, Key
from genjax.errors import lookup

Image = Float[Array, "height width channels"]


def color(image: Image, key: Key) -> Image:
    """Changes brightness, saturation and contrast.

    Brightness: ``x + U(-1/2, 1/2)``. Saturation: ``m + (x - m) U(0, 2)`` with m the mean over
    channels. Contrast: ``m + (x - m) U(1/2, 3/2)`` with m the mean over the image.

    Args:
      image: float32 [height, width, channels].
      key: of the draws.

    Returns:
      The image, of the same shape; values may leave [-1, 1].

    Reference: Zhao et al. 2020, section 4 and appendix; grey images have no saturation.
    """
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    image = image + (brightness - 0.5)
    mean = jnp.mean(image, axis=-1, keepdims=True)
    image = mean + (image - mean) * (saturation * 2)
    mean = jnp.mean(image)
    return mean + (image - mean) * (contrast + 0.5)


def translation(image: Image, key: Key) -> Image:
    """Shifts by up to an eighth of each side, and fills with zeros.

    Args:
      image: float32 [height, width, channels].
      key: of the draws.

    Returns:
      The image, of the same shape.

    Reference: Zhao et al. 2020, section 4.
    """
    height, width, _ = image.shape
    reach = jnp.array([int(height / 8 + 0.5), int(width / 8 + 0.5)])
    down, right = jax.random.randint(key, (2,), -reach, reach + 1)
    rows, columns = jnp.arange(height) - down, jnp.arange(width) - right
    # As a product with two 0-1 matrices: a gather's gradient would be a slow scatter.
    vertical = (rows[:, None] == jnp.arange(height)).astype(image.dtype)
    horizontal = (columns[:, None] == jnp.arange(width)).astype(image.dtype)
    return jnp.einsum("ij,jwc,vw->ivc", vertical, image, horizontal, precision="highest")


def cutout(image: Image, key: Key) -> Image:
    """Zeroes a rectangle of half the height and width, cut off at the borders.

    Args:
      image: float32 [height, width, channels].
      key: of the draw.

    Returns:
      The image, of the same shape.

    Reference: Zhao et al. 2020, section 4; DeVries & Taylor 2017.
    """
    height, width, _ = image.shape
    size_y, size_x = int(height / 2 + 0.5), int(width / 2 + 0.5)
    last = jnp.array([height + (1 - size_y % 2), width + (1 - size_x % 2)])
    center_y, center_x = jax.random.randint(key, (2,), 0, last)
    top, left = center_y - size_y // 2, center_x - size_x // 2
    rows, columns = jnp.arange(height), jnp.arange(width)
    inside_y = (rows >= top) & (rows < top + size_y)
    inside_x = (columns >= left) & (columns < left + size_x)
    return jnp.where((inside_y[:, None] & inside_x)[..., None], 0, image)


AUGMENTATIONS: dict[str, Callable[[Image, Key], Image]] = {
    "color": color,
    "cutout": cutout,
    "translation": translation,
}


def make_augmentation(names: Sequence[str]) -> Callable[[Examples, Key, Index], Examples]:
    """Chains augmentations.

    Args:
      names: entries of `AUGMENTATIONS`, in order.

    Returns:
      A function ``(images, key, index) -> images``, where `index` holds the examples' places in
      the whole batch; the identity for no names.

    Raises:
      UserError: an unknown name.
    """
    changes = [(name, lookup(AUGMENTATIONS, name, "augmentation")) for name in names]

    def augment(images: Examples, key: Key, index: Index) -> Examples:
        for name, change in changes:
            images = jax.vmap(change)(images, example_keys(stream(key, name), index))
        return images

    return augment
