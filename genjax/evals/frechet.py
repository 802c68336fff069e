"""Frechet distance between two sets of features, each seen as one Gaussian."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from genjax.errors import UserError
from genjax.evals.precision import float64


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """What a Frechet distance needs of a set of features; small, whatever the set's size.

    Attributes:
      count: rows seen, n.
      mean: float64 [d].
      scatter: ``sum_i (x_i - mean) (x_i - mean)^T``, float64 [d, d].
    """

    count: int
    mean: Float64[np.ndarray, "d"]
    scatter: Float64[np.ndarray, "d d"]


def empty_moments(dimensions: int) -> Moments:
    """The moments of no features yet.

    Args:
      dimensions: d, at least 1.

    Returns:
      Zeros, to be updated.
    """
    return Moments(0, np.zeros(dimensions), np.zeros((dimensions, dimensions)))


def update_moments(moments: Moments, features: Float[np.ndarray, "b d"]) -> Moments:
    """Adds a chunk of features.

    With the chunk's own mean m' and scatter S', and ``delta = m' - m``:

    ``m + delta n' / (n + n')`` and ``S + S' + delta delta^T n n' / (n + n')``

    Args:
      moments: of the rows so far.
      features: float [b, d], any b. The sizes of chunks, rounded up to a power of two, decide how
        often this is compiled.

    Returns:
      The moments of all rows; how they were split into chunks changes them by rounding alone.

    Reference: Chan, Golub & LeVeque 1979, equation 2.1.

    Example:
      >>> two = update_moments(empty_moments(1), np.array([[1.0], [3.0]]))
      >>> update_moments(two, np.array([[8.0]]))
      Moments(count=3, mean=array([4.]), scatter=array([[26.]]))
    """
    rows = len(features)
    if rows == 0:
        return moments
    padding = (1 << (rows - 1).bit_length()) - rows
    with float64():
        chunk = jnp.asarray(np.pad(features, [(0, padding), (0, 0)]))
        mean, scatter = _merge(moments.mean, moments.scatter, moments.count, chunk, rows)
        return Moments(moments.count + rows, np.asarray(mean), np.asarray(scatter))


@jax.jit
def _merge(
    mean: Float[Array, "d"],
    scatter: Float[Array, "d d"],
    count: Int[Array, ""] | int,
    chunk: Float[Array, "padded d"],
    rows: Int[Array, ""] | int,
) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
    valid = jnp.arange(chunk.shape[0])[:, None] < rows
    # Differences from the mean so far keep the digits that a large common offset would eat.
    chunk = jnp.where(valid, chunk.astype(jnp.float64) - mean, 0)
    delta = jnp.sum(chunk, axis=0) / rows
    chunk = jnp.where(valid, chunk - delta, 0)
    share = rows / (count + rows)
    scatter = scatter + chunk.T @ chunk + jnp.outer(delta, delta) * count * share
    return mean + share * delta, scatter


def measure_moments(features: Float[np.ndarray, "n d"], chunk: int = 4096) -> Moments:
    """The moments of features that are all there.

    Args:
      features: float [n, d].
      chunk: rows that are float64 at once, at least 1.

    Returns:
      Their moments.
    """
    result = empty_moments(features.shape[1])
    for start in range(0, len(features), chunk):
        result = update_moments(result, features[start : start + chunk])
    return result


def covariance(moments: Moments) -> Float64[np.ndarray, "d d"]:
    """The unbiased covariance, ``S / (n - 1)``.

    Args:
      moments: of at least 2 rows.

    Returns:
      float64 [d, d].

    Raises:
      UserError: there are fewer rows.
    """
    if moments.count < 2:
        raise UserError(f"features of {moments.count} image(s) have no covariance; give 2 or more")
    return moments.scatter / (moments.count - 1)


def rank_deficient(moments: Moments) -> bool:
    """Whether so few rows can't span all d dimensions (n <= d).

    The Frechet distance is still defined, but its bias, which shrinks with n, is then large:
    compare it only with distances of equal n.
    """
    return moments.count <= len(moments.mean)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Squared Frechet distance of two Gaussians.

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)``

    The roots are taken through eigenvalues of symmetric matrices, so nothing imaginary arises.
    Only ``min(n_a, n_b) - 1`` eigenvalues can differ from 0; the others would add the roots of
    their rounding errors.

    Args:
      a: moments of at least 2 rows.
      b: moments of at least 2 rows.

    Returns:
      The distance, at least 0; NaN if a feature was.

    Raises:
      UserError: fewer rows, or the features differ in length.

    Reference: Heusel et al. 2017, equation 6; Dowson & Landau 1982.

    Example:
      >>> near, far = (measure_moments(np.array([[x], [x + 2.0]])) for x in (0, 3))
      >>> round(frechet_distance(near, far), 6)
      9.0
    """
    if len(a.mean) != len(b.mean):
        raise UserError(
            f"features of {len(a.mean)} and {len(b.mean)} numbers can't be compared; "
            "use one feature network for both sets"
        )
    rank = min(a.count, b.count) - 1
    with float64():
        return float(_distance(a.mean, covariance(a), b.mean, covariance(b), rank))


@jax.jit
def _distance(
    mean_a: Float[Array, "d"],
    covariance_a: Float[Array, "d d"],
    mean_b: Float[Array, "d"],
    covariance_b: Float[Array, "d d"],
    rank: Int[Array, ""] | int,
) -> Float[Array, ""]:
    values, vectors = jnp.linalg.eigh(covariance_a)
    root = (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T
    product = jnp.maximum(jnp.linalg.eigvalsh(root @ covariance_b @ root), 0)
    size = mean_a.shape[0]
    roots = jnp.sum(jnp.where(jnp.arange(size) >= size - rank, jnp.sqrt(product), 0))
    trace = jnp.trace(covariance_a) + jnp.trace(covariance_b)
    return jnp.maximum(jnp.sum(jnp.square(mean_a - mean_b)) + trace - 2 * roots, 0)
