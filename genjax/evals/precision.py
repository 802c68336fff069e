"""Float64 arithmetic for scores, in a program that otherwise computes in float32."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax.errors import UserError

ROWS = 128
"""Rows that meet all points at once: their distances, about 10 MB for 10,000 points, stay in a
CPU's cache."""

# Relative to the squared norms, over the rounding of a sum of some thousand products.
_NOISE = 1e-13


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Lets JAX compute in float64, on the CPU where the accelerator can't.

    Example:
      >>> with float64():
      ...     print(jnp.asarray(np.ones(1)).dtype)
      float64
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        if jax.default_backend() not in ("cpu", "gpu"):
            stack.enter_context(jax.default_device(jax.local_devices(backend="cpu")[0]))
        yield


def centre(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d"]:
    """A point amid the features, to subtract before distances are computed.

    It is the median of some rows and not the mean of all, since a median has no more digits than
    the data: whole numbers stay whole, and their distances exact.

    Args:
      features: float [n, d].

    Returns:
      float64 [d].
    """
    return np.median(features[:255].astype(np.float64), axis=0)


def squared_norms(points: Float[Array, "n d"]) -> Float[Array, "n"]:
    """The sums of squares that `squared_distances` asks for."""
    return jnp.sum(jnp.square(points), axis=1)


def squared_distances(
    row: Float[Array, "d"],
    norm: Float[Array, ""],
    points: Float[Array, "n d"],
    norms: Float[Array, "n"],
) -> Float[Array, "n"]:
    """Squared Euclidean distances as ``|a|^2 + |b|^2 - 2 a.b``, which a matrix product computes.

    What rounding can't tell from 0 is 0, so that copies are at distance 0.

    Args:
      row: float64 [d].
      norm: float64, the squared norm of `row`.
      points: float64 [n, d].
      norms: float64 [n], the squared norms of `points`.

    Returns:
      float64 [n], at least 0.
    """
    both = norm + norms
    squares = both - 2 * (points @ row)
    return jnp.where(squares > _NOISE * both, squares, 0)


def require_finite(features: Float[np.ndarray, "n d"], name: str) -> None:
    """Refuses features that have no distances.

    Args:
      features: float [n, d].
      name: what they are features of, for the error.

    Raises:
      UserError: a value is infinite or not a number.
    """
    rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(rows):
        raise UserError(
            f"{len(rows)} of {len(features)} {name} features hold a number that isn't finite, "
            f"first row {rows[0]}; take an earlier checkpoint if the model has diverged"
        )
