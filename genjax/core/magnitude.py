"""Kernels of which only the direction counts, and which stay at one magnitude in training.

A layer divides such a kernel, which it calls ``unit_direction``, by its magnitude. So an update
that is orthogonal to it, as gradients are, makes it longer and what it learns slower; therefore
each update brings it back.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.types import Params

DIRECTION = "unit_direction"
_EPSILON = 1e-4
# Of mean squares, so that the root has a derivative at 0.
_LEAST = 1e-30


def unit_magnitude(
    x: Float[Array, "*units"], axes: Sequence[int] = (-1,)
) -> Float[Array, "*units"]:
    """Divides vectors by their root mean square, ``x / (0.0001 + sqrt(mean x^2))``.

    Args:
      x: of any shape and floating-point type.
      axes: of the vectors.

    Returns:
      The same shape and type; the root is computed in float32.

    Reference: Karras et al. 2024 (EDM2), equation 46.
    """
    square = jnp.mean(jnp.square(x.astype(jnp.float32)), tuple(axes), keepdims=True)
    return x / (_EPSILON + jnp.sqrt(jnp.maximum(square, _LEAST))).astype(x.dtype)


def unit_kernel(kernel: Float[Array, "*inputs outputs"]) -> Float[Array, "*inputs outputs"]:
    """Brings the weights of each output to a root mean square of 1."""
    return unit_magnitude(kernel, range(kernel.ndim - 1))


def bring_back(params: Params) -> Params:
    """Parameters after an update, with all directions at their magnitude again.

    Args:
      params: of any network; what is called otherwise stays.

    Returns:
      The same tree.

    Reference: Karras et al. 2024 (EDM2), section 2.3, forced weight normalisation: here after an
    update, there before the next one, which makes the same steps.
    """

    def bring(path: Any, value: Array) -> Array:
        return unit_kernel(value) if path[-1].key == DIRECTION else value

    brought: Params = jax.tree_util.tree_map_with_path(bring, params)
    return brought
