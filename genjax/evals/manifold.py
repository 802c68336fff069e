"""Precision, recall, density and coverage: fidelity and variety, told apart by neighbourhoods."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from genjax.errors import UserError
from genjax.evals.precision import (
    centre,
    float64,
    in_blocks,
    require_finite,
    squared_distances,
    squared_norms,
)


class Manifold(NamedTuple):
    """How two sets lie in each other's neighbourhoods.

    Attributes:
      precision: share of the fake images that lie near a real one.
      recall: share of the real images that lie near a fake one.
      density: real neighbourhoods that a fake image lies in, on average, over k; about 1 where the
        sets agree, and it may exceed 1.
      coverage: share of the real images whose neighbourhood holds a fake one.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def nearest_radii(
    features: Float[np.ndarray, "n d"], neighbours: int = 5
) -> Float64[np.ndarray, "n"]:
    """Distance of each image to its k-th nearest other one.

    Args:
      features: float [n, d].
      neighbours: k, at least 1 and less than n.

    Returns:
      float64 [n]. An image is no neighbour of its own, but copies of it are, at distance 0.

    Raises:
      UserError: k isn't in that range, or a feature isn't finite.

    Example:
      >>> nearest_radii(np.array([[0.0], [1.0], [3.0]]), neighbours=1)
      array([1., 1., 2.])
    """
    _require_neighbours(features, "", neighbours)
    return _measure_radii(features - centre(features), neighbours)


def prdc(
    real: Float[np.ndarray, "n d"],
    fake: Float[np.ndarray, "m d"],
    neighbours: int = 5,
    real_radii: Float64[np.ndarray, "n"] | None = None,
) -> Manifold:
    """Improved precision and recall, density and coverage.

    With r(x) the distance from x to the k-th nearest other image of its set, and i over real, j
    over fake images:

    ``precision = mean_j any_i |x_i - y_j| < r(x_i)``,
    ``recall = mean_i any_j |x_i - y_j| < r(y_j)``,
    ``density = sum_ij [|x_i - y_j| < r(x_i)] / (k m)``,
    ``coverage = mean_i [min_j |x_i - y_j| < r(x_i)]``

    Neighbourhoods are open, as in the authors' package `prdc`: an image with k copies in its set
    has radius 0 and an empty neighbourhood, so that of two equal constants all four are 0.

    Distances are float64 and held for some rows at a time.

    Args:
      real: float [n, d].
      fake: float [m, d].
      neighbours: k, at least 1 and less than n and m.
      real_radii: float64 [n], ``nearest_radii(real, neighbours)`` if that is known already.

    Returns:
      The four scores.

    Raises:
      UserError: k isn't in that range, or a feature isn't finite.

    Reference: Kynkaanniemi et al. 2019, equations 1 and 2; Naeem et al. 2020, section 3.
    """
    _require_neighbours(real, "real ", neighbours)
    _require_neighbours(fake, "fake ", neighbours)
    middle = centre(real)
    real, fake = real - middle, fake - middle
    if real_radii is None:
        real_radii = _measure_radii(real, neighbours)
    fake_radii = _measure_radii(fake, neighbours)
    with float64():
        counts, recalled, covered = jax.tree.map(
            np.asarray, _compare(*map(jnp.asarray, (real, fake, real_radii, fake_radii)))
        )
    return Manifold(
        float(np.mean(counts > 0)),
        float(np.mean(recalled)),
        float(np.mean(counts) / neighbours),
        float(np.mean(covered)),
    )


def _require_neighbours(features: Float[np.ndarray, "n d"], name: str, neighbours: int) -> None:
    if not 1 <= neighbours < len(features):
        raise UserError(
            f"neighbours is {neighbours}; of {len(features)} {name}images an image has "
            f"1 to {len(features) - 1}"
        )
    require_finite(features, name.strip() or "image")


def _measure_radii(points: Float64[np.ndarray, "n d"], neighbours: int) -> Float64[np.ndarray, "n"]:
    with float64():
        return np.asarray(_radii(jnp.asarray(points), neighbours))


@jax.jit
def _radii(points: Float[Array, "n d"], neighbours: Int[Array, ""] | int) -> Float[Array, "n"]:
    norms = squared_norms(points)

    def radius(squares: Float[Array, "n"]) -> Float[Array, ""]:
        # Several times faster on CPUs than `top_k`, which sorts. A pass may find several equal
        # values, so the passes end when k are found.
        def next_value(
            _: Int[Array, ""], state: tuple[Float[Array, ""], Int[Array, ""]]
        ) -> tuple[Float[Array, ""], Int[Array, ""]]:
            value, found = state
            larger = jnp.min(jnp.where(squares > value, squares, jnp.inf))
            more = found < neighbours
            return (
                jnp.where(more, larger, value),
                jnp.where(more, jnp.sum(squares <= larger), found),
            )

        start = jnp.float64(-1), jnp.int64(0)
        return jax.lax.fori_loop(0, neighbours, next_value, start)[0]

    def radii(block: tuple[Float[Array, "rows d"], Int[Array, "rows"]]) -> Float[Array, "rows"]:
        rows, own = block
        return jax.vmap(radius)(squared_distances(rows, points, norms, own))

    blocks = in_blocks(points), in_blocks(jnp.arange(len(points)))
    return jnp.sqrt(jax.lax.map(radii, blocks).reshape(-1)[: len(points)])


@jax.jit
def _compare(
    real: Float[Array, "n d"],
    fake: Float[Array, "m d"],
    real_radii: Float[Array, "n"],
    fake_radii: Float[Array, "m"],
) -> tuple[Int[Array, "m"], Bool[Array, "n"], Bool[Array, "n"]]:
    """Real neighbourhoods around each fake image; which real ones are recalled, and covered."""
    norms = squared_norms(real)

    def meet(
        found: tuple[Bool[Array, "n"], Bool[Array, "n"]],
        block: tuple[Float[Array, "rows d"], Float[Array, "rows"]],
    ) -> tuple[tuple[Bool[Array, "n"], Bool[Array, "n"]], Int[Array, "rows"]]:
        rows, radii = block
        distances = jnp.sqrt(squared_distances(rows, real, norms))
        inside = distances < real_radii
        recalled, covered = found
        recalled |= jnp.any(distances < radii[:, None], axis=0)
        covered |= jnp.any(inside, axis=0)
        return (recalled, covered), jnp.sum(inside, axis=1)

    nothing = jnp.zeros(len(real), bool)
    # Images that are there twice change no `any`, and their counts are cut off again.
    blocks = in_blocks(fake), in_blocks(fake_radii)
    (recalled, covered), counts = jax.lax.scan(meet, (nothing, nothing), blocks)
    return counts.reshape(-1)[: len(fake)], recalled, covered
