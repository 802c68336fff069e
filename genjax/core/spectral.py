"""Spectral normalisation with the power iteration outside of the networks.

A layer only reads its singular vectors, from the collection ``spectral``; `power_iteration` moves
all of them at once. So a network may be applied any number of times within one update.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.types import Params, Variables

COLLECTION = "spectral"
_EPSILON = 1e-12
_FIRST_ITERATIONS = 15


def spectrally_normalized(module: nn.Module, kernel: Float[Array, "... out"]) -> Array:
    """Divides a layer's kernel by its largest singular value, ``W / (u^T W v)``.

    The kernel is seen as a matrix of one row an output. The gradient flows through W in both
    places and not through u and v.

    Args:
      module: the layer, within its compact call; it gets the variables u and v.
      kernel: float32 [..., outputs].

    Returns:
      float32, the shape of `kernel`.

    Reference: Miyato et al. 2018, equations 8 and 12.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def first() -> dict[str, Array]:
        u = jax.random.normal(module.make_rng("params"), (matrix.shape[1],))
        vectors = {"u": u, "v": jnp.zeros((matrix.shape[0],))}
        return jax.lax.fori_loop(0, _FIRST_ITERATIONS, lambda _, v: _iterate(kernel, v), vectors)

    # Only `init` may draw them: elsewhere the layer has no random numbers.
    vectors = module.variable(COLLECTION, "vectors", first).value
    u, v = jax.lax.stop_gradient((vectors["u"], vectors["v"]))
    return kernel / (v @ matrix @ u)


def power_iteration(params: Params, spectral: Variables) -> dict[str, Any]:
    """Moves the singular vectors of every normalised kernel one iteration on.

    ``v = W^T u / |W^T u|``, then ``u = W v / |W v|``.

    Args:
      params: the network's parameters.
      spectral: its collection ``spectral``.

    Returns:
      The new collection.

    Reference: Miyato et al. 2018, algorithm 1.
    """
    return {
        name: _iterate(params["kernel"], value)
        if name == "vectors"
        else power_iteration(params[name], value)
        for name, value in spectral.items()
    }


def settle(params: Params, spectral: Variables) -> dict[str, Any]:
    """Iterates as often as at the start, for parameters that are not those of a step before."""
    for _ in range(_FIRST_ITERATIONS):
        spectral = power_iteration(params, spectral)
    return dict(spectral)


def _iterate(kernel: Array, vectors: Mapping[str, Array]) -> dict[str, Array]:
    matrix = jax.lax.stop_gradient(kernel).reshape(-1, kernel.shape[-1])
    v = _unit(matrix @ vectors["u"])
    return {"u": _unit(v @ matrix), "v": v}


def _unit(vector: Float[Array, "n"]) -> Float[Array, "n"]:
    return vector / (jnp.linalg.norm(vector) + _EPSILON)
