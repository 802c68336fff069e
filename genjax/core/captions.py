"""Captions of examples: which of its candidates an example is learnt with."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from genjax.core.rng import example_keys
from genjax.core.types import Index, Key

CAPTION = "caption"
"""The field of captions, int32 (candidates, length)."""


def drawn(
    captions: Int[Array, "batch candidates length"], key: Key, index: Index
) -> Int[Array, "batch length"]:
    """Draws one of the candidate captions of each example, all of them equally likely.

    Args:
      captions: int32 [batch, candidates, length], tokens and behind them -1; those that are all -1
        are none, and stand last.
      key: key of the draw.
      index: int32 [batch], positions in the whole batch.

    Returns:
      int32 [batch, length]; all -1 of an example without a caption. How many candidates there is
      room for changes nothing.
    """
    count = (captions >= 0).any(axis=-1).sum(axis=-1)
    most = jnp.maximum(count, 1)
    chosen = jax.vmap(lambda k, n: jax.random.randint(k, (), 0, n))(example_keys(key, index), most)
    return jnp.take_along_axis(captions, chosen[:, None, None], axis=1)[:, 0]
