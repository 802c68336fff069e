"""EDM's augmentation of images, of which the network is told (Karras et al. 2022, appendix F.2).

So that it does not leak into samples, which are those of a network that is told of no change: the
numbers it is given are 0 then.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.rng import example_keys, stream
from genjax.core.types import Examples, Index, Key
from genjax.families.warp import Matrix, product, rotate, scale, shift, warp

TOLD = 9
"""Numbers that the network is told of an example's changes."""
_SPREAD = 0.2
"""Of scales and of anisotropy, as standard deviations of their binary logarithm."""
_REACH = 1 / 8
"""Standard deviation of translations, as a share of the side."""


class Changes(NamedTuple):
    """What is changed of examples, [batch] each or [batch, 2]; 0 is no change.

    Attributes:
      flips: 1 where the image is mirrored along x and along y.
      scale: a factor of ``2^(0.2 scale)``.
      turn: an angle, in radians.
      stretch: a factor of ``2^(0.2 stretch)`` along one axis and its inverse across.
      axis: the angle of that axis.
      move: a translation along x and y, in eighths of the sides.
    """

    flips: Float[Array, "*batch 2"]
    scale: Float[Array, "*batch"]
    turn: Float[Array, "*batch"]
    stretch: Float[Array, "*batch"]
    axis: Float[Array, "*batch"]
    move: Float[Array, "*batch 2"]


def draw(key: Key, index: Index, p: float) -> Changes:
    """Draws what happens to examples.

    Half of the images are mirrored along x; each other change is drawn with a probability, for
    itself. Every other axis is the image's own.

    Args:
      key: of the draws.
      index: int32 [batch], places of the examples in the whole batch.
      p: the probability, in [0, 1].

    Returns:
      The changes.
    """

    def one(key: Key) -> Changes:
        uniform, whether = jax.random.uniform(stream(key, "uniform"), (2, 5))
        normal = jax.random.normal(stream(key, "normal"), (4,))
        sizes = jnp.where(whether[:3] < p, jnp.array([normal[0], 1, normal[1]]), 0)
        return Changes(
            flips=(uniform[:2] < jnp.array([0.5, 0.5 * p])).astype(jnp.float32),
            scale=sizes[0],
            turn=sizes[1] * (2 * uniform[2] - 1) * math.pi,
            stretch=sizes[2],
            axis=jnp.where(whether[4] < 0.5, (2 * uniform[3] - 1) * math.pi, 0),
            move=jnp.where(whether[3] < p, normal[2:], 0),
        )

    return jax.vmap(one)(example_keys(key, index))


def told(changes: Changes) -> Float[Array, "batch 9"]:
    """What the network is told of changes, in the order of the authors' code; 0 for none."""
    angles = changes.stretch * jnp.cos(changes.axis), changes.stretch * jnp.sin(changes.axis)
    turns = jnp.cos(changes.turn) - 1, jnp.sin(changes.turn)
    numbers = jnp.stack([changes.scale, *turns, *angles], axis=-1)
    return jnp.concatenate([changes.flips, numbers, changes.move], axis=-1)


def _inverse(changes: Changes, height: int, width: int) -> Matrix:
    """From places in one changed image to places in the image, but for flips, [3, 3]."""
    size, stretch = (jnp.exp2(-_SPREAD * x) for x in (changes.scale, changes.stretch))
    sides = jnp.array([width, height])
    return product(
        scale(size, size),
        rotate(changes.turn - changes.axis),
        scale(stretch, 1 / stretch),
        rotate(changes.axis),
        shift(*-_REACH * changes.move * sides),
    )


def change(images: Examples, changes: Changes) -> Examples:
    """Makes what was drawn: flips pixel by pixel, then all else by one resampling.

    Args:
      images: float32 [batch, height, width, channels].
      changes: of them.

    Returns:
      The images, of the same shape; values may leave [-1, 1].
    """
    _, height, width, _ = images.shape
    for place, axis in ((0, 2), (1, 1)):
        flipped = changes.flips[:, place, None, None, None] == 1
        images = jnp.where(flipped, jnp.flip(images, axis), images)
    return warp(images, jax.vmap(partial(_inverse, height=height, width=width))(changes))
