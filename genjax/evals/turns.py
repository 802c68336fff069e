"""What the feature network of data without labels learns: how an example was turned.

Reference: Gidaris, Singh & Komodakis 2018 ("Unsupervised representation learning by predicting
image rotations").
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.core.types import Images

TURNS = 4
"""Ways to turn a map."""


def all_turns(images: Images) -> Float[Array, "4 batch height width channels"]:
    """Turns each map in all ways.

    Args:
      images: float32 [batch, height, width, channels].

    Returns:
      As they are, and by one, two and three quarters; where height and width differ as they are,
      mirrored, upside down, and both.

    Example:
      >>> all_turns(jnp.arange(4.0).reshape(1, 2, 2, 1))[1, 0, ..., 0]
      Array([[1., 3.],
             [0., 2.]], dtype=float32)
    """
    if images.shape[1] == images.shape[2]:
        return jnp.stack([jnp.rot90(images, by, (1, 2)) for by in range(TURNS)])
    mirrored = images[:, :, ::-1]
    return jnp.stack([images, mirrored, images[:, ::-1], mirrored[:, ::-1]])


def turn(images: Images, by: Int[Array, "batch"]) -> Images:
    """Turns each map in one way of `all_turns`.

    Args:
      images: float32 [batch, height, width, channels].
      by: int32 [batch], in [0, 4).

    Returns:
      float32 [batch, height, width, channels].
    """
    return all_turns(images)[by, jnp.arange(len(images))]
