"""Memorisation: whether samples lie closer to the training images than unseen images do."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Int64

from genjax.evals.precision import (
    centre,
    float64,
    in_blocks,
    require_finite,
    squared_distances,
    squared_norms,
)


class Memorization(NamedTuple):
    """How close samples lie to the training images; the closest samples come first.

    Attributes:
      share: probability that a sample lies closer to the training set than a held-out image does.
        0.5 where both are as far from it; 1 for copies; under 0.5 where samples are unlike it.
      sample_index: int64 [m], samples by their distance.
      train_index: int64 [m], the training image that is nearest to each of them.
      distance: float64 [m], between them, in feature space; ascending.
    """

    share: float
    sample_index: Int64[np.ndarray, "m"]
    train_index: Int64[np.ndarray, "m"]
    distance: Float64[np.ndarray, "m"]


def nearest(
    train: Float[np.ndarray, "n d"], queries: Float[np.ndarray, "m d"]
) -> tuple[Float64[np.ndarray, "m"], Int64[np.ndarray, "m"]]:
    """The nearest training image of each query.

    Args:
      train: float [n, d], n at least 1.
      queries: float [m, d], m at least 1.

    Returns:
      The Euclidean distances, float64 [m], exactly 0 for copies, and the rows of `train`, int64
      [m], the first of those that rounding can't tell apart.

    Raises:
      UserError: a feature isn't finite.

    Example:
      >>> nearest(np.array([[0.0], [4.0]]), np.array([[1.0], [4.0]]))
      (array([1., 0.]), array([0, 1]))
    """
    require_finite(train, "training")
    require_finite(queries, "sample")
    middle = centre(train)
    with float64():
        index = np.asarray(_nearest(jnp.asarray(train - middle), jnp.asarray(queries - middle)))
    # From the differences themselves, which are exact for copies and their near relatives.
    differences = queries.astype(np.float64) - train[index]
    return np.linalg.norm(differences, axis=1), index


@jax.jit
def _nearest(train: Float[Array, "n d"], queries: Float[Array, "m d"]) -> Int[Array, "m"]:
    norms = squared_norms(train)

    def find(rows: Float[Array, "rows d"]) -> Int[Array, "rows"]:
        return jnp.argmin(squared_distances(rows, train, norms), axis=1)

    return jax.lax.map(find, in_blocks(queries)).reshape(-1)[: len(queries)]


def memorization(
    train: Float[np.ndarray, "n d"],
    held_out: Float[np.ndarray, "k d"],
    samples: Float[np.ndarray, "m d"],
) -> Memorization:
    """Compares the distances of samples and of unseen images to the training set.

    With D(x) the distance from x to its nearest training image:

    ``share = P(D(sample) < D(held out)) + P(D(sample) = D(held out)) / 2``

    over all pairs: the Mann-Whitney statistic over ``k m``, counted by ranks.

    Args:
      train: float [n, d], features of the images that the model learnt from.
      held_out: float [k, d], of images of the same kind that it did not see.
      samples: float [m, d].

    Returns:
      The share, and every sample with its nearest training image.

    Raises:
      UserError: a feature isn't finite.

    Reference: Meehan, Chaudhuri & Dasgupta 2020 ("A non-parametric test to detect data-copying in
    generative models"), the test over the whole space, without its cells.
    """
    # Held-out images go first, so that their error doesn't speak of samples.
    require_finite(held_out, "held-out")
    unseen = np.sort(nearest(train, held_out)[0])
    distance, index = nearest(train, samples)
    closer_or_equal = np.searchsorted(unseen, distance, "right")
    closer = np.searchsorted(unseen, distance, "left")
    share = 1 - float(np.mean(closer + closer_or_equal)) / (2 * len(unseen))
    order = np.argsort(distance, kind="stable")
    return Memorization(share, order, index[order], distance[order])
