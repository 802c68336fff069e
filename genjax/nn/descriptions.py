"""What networks are told of an example beside its label: by a vector, and by tokens."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Description(NamedTuple):
    """Of each example, such as what a text encoder makes of its caption.

    Attributes:
      vector: of the whole, [batch, features], of mean square 1 where it is there and 0 elsewhere.
      tokens: of its parts, [batch, tokens, units]; None where the vector is all.
      present: which of the tokens are there.
    """

    vector: Float[Array, "batch features"]
    tokens: Float[Array, "batch tokens units"] | None = None
    present: Bool[Array, "batch tokens"] | None = None


def with_tokens(
    keys: Float[Array, "batch places heads size"],
    values: Float[Array, "batch places heads size"],
    further: Float[Array, "batch tokens 2 heads size"],
    present: Bool[Array, "batch tokens"],
) -> tuple[
    Float[Array, "batch all heads size"],
    Float[Array, "batch all heads size"],
    Bool[Array, "batch 1 1 all"],
]:
    """Puts tokens beside the places of a map, for attention to both.

    Args:
      keys: of the places.
      values: of the places.
      further: keys, then values of the tokens.
      present: which of the tokens are there.

    Returns:
      Keys, values, and which of them are attended to.

    Reference: Nichol et al. 2022 (GLIDE), section 2.2.
    """
    key, value = jnp.moveaxis(further, 2, 0)
    everywhere = jnp.ones(keys.shape[:2], bool)
    mask = jnp.concatenate([everywhere, present], axis=1)[:, None, None]
    return (
        jnp.concatenate([keys, key.astype(keys.dtype)], axis=1),
        jnp.concatenate([values, value.astype(values.dtype)], axis=1),
        mask,
    )
