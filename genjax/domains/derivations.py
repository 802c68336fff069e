"""Conditions that are made of the image that is generated, such as the same with fewer pixels.

Adding one is a function here and an entry in `DERIVATIONS`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from genjax.core.schema import Field, Spec
from genjax.core.types import Images
from genjax.domains.image import quantize_images, scale_images
from genjax.errors import UserError, lookup

Shape = tuple[int, ...]


class Derived(NamedTuple):
    """A condition that is made of images of one shape.

    Attributes:
      shape: of what is made of one, (height, width, channels).
      make: from float32 images in [-1, 1], [batch, height, width, channels], to the like.
    """

    shape: Shape
    make: Callable[[Images], Array]


def average(images: Images, factor: int) -> Float[Array, "batch h w channels"]:
    """The mean of each square of ``factor x factor`` pixels."""
    # Added one after the other, so that no image's sums depend on the batch around it.
    rows = reduce(jnp.add, [images[:, first::factor] for first in range(factor)])
    squares = reduce(jnp.add, [rows[:, :, first::factor] for first in range(factor)])
    return squares / factor**2


def _downsample(parameter: str, shape: Shape) -> Derived:
    height, width, channels = shape
    choices = [n for n in range(2, min(height, width) + 1) if height % n == 0 and width % n == 0]
    if parameter not in map(str, choices):
        raise UserError(
            f"data.derive has 'downsample:{parameter}', which must name a factor of images of "
            f"{width} x {height} pixels; choices: {', '.join(map(str, choices)) or 'none'}"
        )
    factor = int(parameter)
    smaller = (height // factor, width // factor, channels)
    return Derived(smaller, lambda images: average(images, factor))


DERIVATIONS: dict[str, Callable[[str, Shape], Derived]] = {"downsample": _downsample}
"""By the word before the colon: from what stands behind it, and the shape of images."""


def read_derivations(words: Sequence[str], shape: Shape) -> dict[str, Derived]:
    """Finds out what is made of images.

    Args:
      words: of `genjax.config.DataConfig.derive`.
      shape: of an image.

    Returns:
      What is made, by the field that it becomes: the word before the colon.

    Raises:
      UserError: an unknown word, twice the same, or a parameter that does not fit the images.

    Example:
      >>> read_derivations(("downsample:2",), (8, 8, 3))["downsample"].shape
      (4, 4, 3)
    """
    found: dict[str, Derived] = {}
    for word in words:
        name, _, parameter = word.partition(":")
        make = lookup(DERIVATIONS, name, "condition in data.derive")
        if name in found:
            raise UserError(f"data.derive has two conditions {name!r}; leave one out")
        found[name] = make(parameter, shape)
    return found


def derived_fields(words: Sequence[str], shape: Shape) -> dict[str, Field]:
    """The fields that images of a shape have beside them; arguments as of `read_derivations`."""
    derived = read_derivations(words, shape)
    return {name: Field(one.shape, "float32") for name, one in derived.items()}


def derive(spec: Spec, images: Images) -> dict[str, Array]:
    """Makes conditions of images.

    Args:
      spec: of the data.
      images: in [-1, 1], [batch, *spec.shape].

    Returns:
      float32 in [-1, 1], by field; nothing where `spec` has none to derive.
    """
    shape = images.shape[1:]
    return {name: one.make(images) for name, one in read_derivations(spec.derive, shape).items()}


def derive_stored(
    spec: Spec, images: UInt8[np.ndarray, "n height width channels"]
) -> dict[str, Float[np.ndarray, "n h w c"]]:
    """`derive` of images as they are stored, on the host."""
    if not spec.derive:
        return {}
    return {
        name: np.asarray(made)
        for name, made in derive(spec, scale_images(jnp.asarray(images))).items()
    }


def shown(
    maps: Float[np.ndarray, "n h w c"], shape: Shape
) -> UInt8[np.ndarray, "n height width channels"]:
    """Makes maps pictures as large as images, by the nearest neighbour of each pixel.

    Args:
      maps: float32 in [-1, 1].
      shape: of an image; it has as many channels, or maps have one.

    Returns:
      uint8 [n, *shape].
    """
    height, width, channels = shape
    stored = np.asarray(quantize_images(jnp.asarray(maps)))
    rows = np.arange(height) * stored.shape[1] // height
    columns = np.arange(width) * stored.shape[2] // width
    return np.broadcast_to(stored[:, rows][:, :, columns], (len(stored), height, width, channels))


def in_words(fields: Mapping[str, Field]) -> str:
    """Names maps and their sizes, for messages."""
    return " and ".join(
        f"{name!r} of {field.shape[1]} x {field.shape[0]} pixels" for name, field in fields.items()
    )
