"""Kernel distance (KID): a maximum mean discrepancy that is unbiased at any number of samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from genjax.errors import UserError
from genjax.evals.precision import ROWS, float64


class KernelDistance(NamedTuple):
    """Kernel distance, averaged over subsets.

    Attributes:
      value: the mean over the subsets; it may be slightly negative where the sets agree.
      std: over the subsets, with their number as the divisor, as torch-fidelity reports it; None
        where each subset is the whole of a set, so that it would say nothing of what is drawn.
      standard_error: ``std / sqrt(subsets)``, how far `value` is from the mean over all subsets of
        these images. Subsets overlap, so it says nothing of other images.
    """

    value: float
    std: float | None
    standard_error: float | None


def polynomial_mmd(x: Float[np.ndarray, "m d"], y: Float[np.ndarray, "n d"]) -> float:
    """Unbiased squared maximum mean discrepancy with a cubic kernel.

    ``k(a, b) = (a.b / d + 1)^3``, and

    ``sum_{i != j} k(x_i, x_j) / (m (m - 1)) + sum_{i != j} k(y_i, y_j) / (n (n - 1))
    - 2 sum_ij k(x_i, y_j) / (m n)``

    Args:
      x: float [m, d], m at least 2.
      y: float [n, d], n at least 2.

    Returns:
      The discrepancy; its mean is 0 where both are drawn from one distribution.

    Reference: Binkowski et al. 2018, section 3; Gretton et al. 2012, equation 3.

    Example:
      >>> polynomial_mmd(np.array([[0.0], [0.0]]), np.array([[1.0], [1.0]]))
      7.0
    """
    _require_two(len(x), len(y))
    with float64():
        return float(_mmd(jnp.asarray(x), jnp.asarray(y)))


def kernel_distance(
    real: Float[np.ndarray, "n d"],
    fake: Float[np.ndarray, "m d"],
    seed: int,
    subsets: int = 100,
    size: int = 1000,
) -> KernelDistance:
    """Mean squared discrepancy over random subsets, which keeps the cost linear.

    Args:
      real: float [n, d], n at least 2.
      fake: float [m, d], m at least 2.
      seed: of the subsets, at least 0; equal seeds and numbers of images give equal subsets.
      subsets: how many, at least 1.
      size: images in a subset, at least 2; no more than n and m are taken. A subset holds no image
        twice.

    Returns:
      The distance and its spread, which there is none of if `size` is all of n or of m.

    Raises:
      UserError: fewer than 2 images, or no subset.

    Reference: Binkowski et al. 2018, section 4.
    """
    if subsets < 1:
        raise UserError(f"subsets is {subsets}; it must be at least 1")
    fewest = min(len(real), len(fake))
    size = min(size, fewest)
    _require_two(size, size)
    if size == max(len(real), len(fake)):
        # All subsets are the same.
        return KernelDistance(polynomial_mmd(real, fake), None, None)
    generator = np.random.default_rng(seed)

    def draw(count: int) -> Int[np.ndarray, "subsets size"]:
        choices = [generator.choice(count, size, replace=False) for _ in range(subsets)]
        return np.stack(choices)

    found = kernel_distance_of_subsets(real, fake, draw(len(real)), draw(len(fake)))
    return found if size < fewest else KernelDistance(found.value, None, None)


def kernel_distance_of_subsets(
    real: Float[np.ndarray, "n d"],
    fake: Float[np.ndarray, "m d"],
    real_subsets: Int[np.ndarray, "subsets size"],
    fake_subsets: Int[np.ndarray, "subsets size"],
) -> KernelDistance:
    """Kernel distance over given subsets.

    Args:
      real: float [n, d].
      fake: float [m, d].
      real_subsets: int [subsets, size], rows of `real`.
      fake_subsets: int [subsets, size], rows of `fake`.

    Returns:
      The distance and its spread.
    """
    with float64():
        values = np.asarray(
            _mmd_of_subsets(
                jnp.asarray(real),
                jnp.asarray(fake),
                jnp.asarray(real_subsets),
                jnp.asarray(fake_subsets),
            )
        )
    std = float(np.std(values))
    return KernelDistance(float(np.mean(values)), std, std / float(np.sqrt(len(values))))


def _require_two(*counts: int) -> None:
    if min(counts) < 2:
        raise UserError(f"a kernel distance of {min(counts)} image(s) is undefined; give 2 or more")


def _kernel(products: Float[Array, "*shape"], dimensions: int) -> Float[Array, "*shape"]:
    return (products / dimensions + 1) ** 3


def _kernel_sum(x: Float[Array, "m d"], y: Float[Array, "n d"]) -> Float[Array, ""]:
    def over_row(row: Float[Array, "d"]) -> Float[Array, ""]:
        return jnp.sum(_kernel(y @ row, y.shape[1]))

    return jnp.sum(jax.lax.map(over_row, x, batch_size=ROWS))


@jax.jit
def _mmd(x: Shaped[Array, "m d"], y: Shaped[Array, "n d"]) -> Float[Array, ""]:
    x, y = x.astype(jnp.float64), y.astype(jnp.float64)

    def within(z: Float[Array, "k d"]) -> Float[Array, ""]:
        with_itself = jnp.sum(_kernel(jnp.sum(jnp.square(z), axis=1), z.shape[1]))
        return (_kernel_sum(z, z) - with_itself) / (len(z) * (len(z) - 1))

    return within(x) + within(y) - 2 * _kernel_sum(x, y) / (len(x) * len(y))


@jax.jit
def _mmd_of_subsets(
    real: Float[Array, "n d"],
    fake: Float[Array, "m d"],
    real_subsets: Int[Array, "subsets size"],
    fake_subsets: Int[Array, "subsets size"],
) -> Float[Array, "subsets"]:
    return jax.lax.map(
        lambda rows: _mmd(real[rows[0]], fake[rows[1]]), (real_subsets, fake_subsets)
    )
