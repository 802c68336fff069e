"""Images: bytes on the disk, [-1, 1] for a model, tiles in a grid for a person."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from genjax.core.rng import example_keys
from genjax.core.schema import Field
from genjax.core.types import Images, Index, Key, RawImages
from genjax.domains.domain import Domain, Layout, Picture, Samples
from genjax.domains.grid import image_grid

LEVEL = 1 / 127.5
"""Distance between two neighbouring levels of a byte, with images in [-1, 1]."""
_CELLS = 7


def scale_images(images: RawImages) -> Images:
    """Maps uint8 0..255 to float32 [-1, 1]: ``x / 127.5 - 1``."""
    return images.astype(jnp.float32) / 127.5 - 1.0


def quantize_images(images: Images) -> RawImages:
    """Maps float [-1, 1] to the nearest uint8, the inverse of `scale_images`."""
    levels = jnp.round((images.astype(jnp.float32) + 1.0) * 127.5)
    return jnp.clip(levels, 0, 255).astype(jnp.uint8)


def bits_per_dim(
    log_prob: Float[Array, "..."], shape: tuple[int, ...], level: float
) -> Float[Array, "..."]:
    """Code length of an image a pixel and channel, ``-(log p / dims + log level) / log 2``.

    Only a likelihood of 8-bit data, such as ``discretized_logistic``, gives figures that compare
    with those of other models. ``gaussian`` approximates them, ``bernoulli`` counts bits of
    black-and-white pixels.

    Args:
      log_prob: float32, (a bound on) the log-likelihood of an image in nats.
      shape: of an image, (height, width, channels).
      level: width that a number of the log-likelihood stands for: `LEVEL` of a density, 1 of
        probabilities.

    Returns:
      float32, of the shape of `log_prob`.
    """
    return -(log_prob / math.prod(shape) + math.log(level)) / math.log(2)


def flip_images(images: Images, key: Key, index: Index) -> Images:
    """Mirrors each image left to right with probability 1/2.

    Args:
      images: float32 [batch, height, width, channels].
      key: key of the draw.
      index: int32 [batch], positions in the whole batch.

    Returns:
      The images, some of them mirrored.
    """
    heads = jax.vmap(jax.random.bernoulli)(example_keys(key, index))
    return jnp.where(heads[:, None, None, None], images[:, :, ::-1], images)


def shift_images(images: Images, by: int, key: Key, index: Index) -> Images:
    """Moves each image by up to so many pixels along either axis, and repeats its edge.

    Args:
      images: float32 [batch, height, width, channels].
      by: the most pixels.
      key: key of the draw.
      index: int32 [batch], positions in the whole batch.

    Returns:
      Images of the same shape.
    """
    _, height, width, channels = images.shape
    wide = jnp.pad(images, [(0, 0), (by, by), (by, by), (0, 0)], mode="edge")

    def translate(image: Array, key: Key) -> Array:
        row, column = jax.random.randint(key, (2,), 0, 2 * by + 1)
        return jax.lax.dynamic_slice(image, (row, column, 0), (height, width, channels))

    return jax.vmap(translate)(wide, example_keys(key, index))


def pixel_features(
    images: UInt8[np.ndarray, "n height width channels"],
) -> Float[np.ndarray, "n d"]:
    """Averages each image over at most 7 x 7 cells.

    They see layout and variety but no detail: distances between them rank the checkpoints of one
    run, and compare with no paper's.

    Args:
      images: uint8 [n, height, width, channels].

    Returns:
      float64 [n, cells * channels], in [0, 1].
    """
    cells = images.astype(np.float64) / 255
    for axis in (1, 2):
        size = cells.shape[axis]
        edges = np.linspace(0, size, min(size, _CELLS), endpoint=False).astype(int)
        sums = np.add.reduceat(cells, edges, axis=axis)
        shape = [1] * cells.ndim
        shape[axis] = -1
        cells = sums / np.diff([*edges, size]).reshape(shape)
    return cells.reshape(len(images), -1)


def render_images(samples: Samples, facts: Mapping[str, Any], layout: Layout) -> list[Picture]:
    """Sets images out in one grid, with those above in grids of their own.

    Args:
      samples: uint8 [n, height, width, channels].
      facts: of the data.
      layout: columns, what stands above, and captions.

    Returns:
      One picture.
    """
    # Under tiles of one size, though what stands above has no captions.
    blank = [""] if layout.captions else []
    grids = [
        image_grid(panel, layout.columns, blank * len(panel)) for panel in layout.above.values()
    ]
    grids.append(image_grid(samples, layout.columns, layout.captions))
    width = max(grid.shape[1] for grid in grids)
    padded = [np.pad(grid, [(0, 0), (0, width - grid.shape[1]), (0, 0)]) for grid in grids]
    return [Picture(np.concatenate(padded))]


IMAGE = Domain(
    field="image",
    plural="images",
    axes=3,
    to_model=scale_images,
    to_stored=quantize_images,
    model_field=lambda field: Field(field.shape, "float32"),
    render=render_images,
    pictured=64,
    coarse=lambda samples, facts: pixel_features(np.asarray(samples)),
    coarse_name="pixel_frechet",
    augment={"flip": flip_images},
    values="uint8 x as x / 127.5 - 1",
    single=lambda sample, facts: Picture(sample),
)
