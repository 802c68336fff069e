"""Inception score: whether samples are named surely and differently by a classifier."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from genjax.errors import UserError
from genjax.evals.precision import float64


class InceptionScore(NamedTuple):
    """Inception score, averaged over splits of the samples.

    Attributes:
      value: the mean over the splits, from 1 to the number of classes.
      std: over the splits, with their number as the divisor.
    """

    value: float
    std: float


def inception_score(
    logits: Float[np.ndarray, "n k"], seed: int | None, splits: int = 10
) -> InceptionScore:
    """Exponential of the information that a sample gives about its class.

    ``exp(mean_x KL(p(y|x) || p(y)))`` in each split, where p(y) is the split's mean of p(y|x). The
    divergence is computed as ``H(p(y)) - mean_x H(p(y|x))``, in which no probability is divided.

    Args:
      logits: float [n, k], of the classifier. An entry may be -inf.
      seed: of the order in which samples are dealt to the splits, at least 0; None keeps theirs.
      splits: at least 1; split i takes samples ``i n // splits`` up to ``(i + 1) n // splits``.

    Returns:
      The score and its spread over the splits. It is biased: small splits score less.

    Raises:
      UserError: fewer samples than splits, or no split.

    Reference: Salimans et al. 2016, section 4; Barratt & Sharma 2018.

    Example:
      >>> inception_score(np.float32([[99, 0], [0, 99]]), seed=None, splits=1)
      InceptionScore(value=2.0, std=0.0)
    """
    count = len(logits)
    if splits < 1:
        raise UserError(f"splits is {splits}; it must be at least 1")
    if count < splits:
        raise UserError(f"{count} samples can't fill {splits} splits; give more or fewer splits")
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    edges = np.arange(splits + 1) * count // splits
    size = np.diff(edges).max()
    places = edges[:-1, None] + np.arange(size)
    with float64():
        rows = jnp.asarray(order[np.minimum(places, count - 1)])
        scores = _score_splits(jnp.asarray(logits), rows, jnp.asarray(places < edges[1:, None]))
        values = np.asarray(scores)
    return InceptionScore(float(np.mean(values)), float(np.std(values)))


@jax.jit
def _score_splits(
    logits: Float[Array, "n k"], rows: Int[Array, "splits size"], valid: Bool[Array, "splits size"]
) -> Float[Array, "splits"]:
    def score(split: tuple[Int[Array, "size"], Bool[Array, "size"]]) -> Float[Array, ""]:
        rows, valid = split
        logs = jax.nn.log_softmax(logits[rows].astype(jnp.float64))
        # Padding has probability 0 of every class, and so no part in any sum.
        chances = jnp.where(valid[:, None], jnp.exp(logs), 0)
        marginal = jnp.sum(chances, axis=0) / jnp.sum(valid)
        sure = jnp.sum(jnp.where(chances > 0, chances * logs, 0)) / jnp.sum(valid)
        return jnp.exp(sure - jnp.sum(jax.scipy.special.xlogy(marginal, marginal)))

    return jax.lax.map(score, (rows, valid))
