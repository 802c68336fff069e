"""How good the samples of a run are while it goes on: a number to rank checkpoints by."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from genjax.config import EvalConfig
from genjax.data.order import batch_indices
from genjax.data.sources import Dataset
from genjax.evals.classifier import load_classifier
from genjax.evals.features import extract
from genjax.evals.frechet import covariance, frechet_distance, measure_moments
from genjax.evals.modes import measure_modes
from genjax.evals.pixels import pixel_features

_CHUNK = 500

Scorer = Callable[[Any], tuple[float, dict[str, float]]]


def make_scorer(config: EvalConfig, dataset: Dataset, seed: int) -> Scorer:
    """Prepares the scores that a run logs.

    Images get the Frechet distance between the features of as many real ones, and the variance of
    their features over that of the real ones. Points of a known mixture get
    ``(modes missing) + (1 - high-quality share)``: a mode more is worth any share.

    Args:
      config: which features, and how many samples.
      dataset: what the model learns from.
      seed: of the run, which chooses the real images.

    Returns:
      A function from samples, as the data set holds its images, to a score, lower is better, and
      metrics named ``evaluation/quantity``.

    Raises:
      UserError: the classifier of the data set isn't trained yet.
    """
    size = len(dataset.images)
    real = dataset.images[batch_indices(0, min(config.samples, size), size, seed)]
    name, features = _choose_features(config, dataset)
    reference = measure_moments(features(real))
    variance = np.trace(covariance(reference))

    def score(samples: Any) -> tuple[float, dict[str, float]]:
        found = measure_moments(features(samples))
        metrics = {"evaluation/diversity": float(np.trace(covariance(found)) / variance)}
        if dataset.modes is None:
            distance = frechet_distance(reference, found)
            return distance, {f"evaluation/{name}": distance, **metrics}
        covered, high_quality = measure_modes(samples.reshape(len(samples), -1), dataset.modes)
        missing = len(dataset.modes.centres) - covered
        return missing + (1 - high_quality), {
            "evaluation/modes_covered": float(covered),
            "evaluation/high_quality": high_quality,
            **metrics,
        }

    return score


def _choose_features(
    config: EvalConfig, dataset: Dataset
) -> tuple[str, Callable[[Any], Float[np.ndarray, "n d"]]]:
    """The name of the distance in the log, and what it compares."""
    if dataset.modes is not None:
        return "", lambda points: points.reshape(len(points), -1)
    if config.features == "pixels":
        return "pixel_frechet", pixel_features
    network = load_classifier(dataset.name)

    def classify(images: Any) -> Float[np.ndarray, "n d"]:
        starts = range(0, len(images), _CHUNK)
        chunks = (images[start : start + _CHUNK] for start in starts)
        return extract(network, chunks, _CHUNK).features

    return "fid_classifier", classify
