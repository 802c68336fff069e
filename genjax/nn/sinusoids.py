"""Sines and cosines of numbers at many wavelengths (Vaswani et al. 2017)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

_LONGEST = 10_000.0


def sinusoids(
    x: Float[Array, "*shape"], count: int, endpoint: bool = False
) -> tuple[Float[Array, "*shape count"], Float[Array, "*shape count"]]:
    """Embeds numbers by ``cos(w_i x)`` and ``sin(w_i x)``, with ``w_i = 10000^(-i / count)``.

    Args:
      x: numbers of any shape, float32.
      count: frequencies, at least 1, from 1 down; at least 2 with the endpoint.
      endpoint: the last one is 1/10000 itself, ``w_i = 10000^(-i / (count - 1))``.

    Returns:
      The cosines, then the sines, each with a last axis of `count` frequencies.

    Reference: Vaswani et al. 2017, section 3.5.
    """
    steps = jnp.arange(count, dtype=jnp.float32) / (count - 1 if endpoint else count)
    angles = x.astype(jnp.float32)[..., None] * _LONGEST**-steps
    return jnp.cos(angles), jnp.sin(angles)
