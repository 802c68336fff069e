"""How good the samples of a run are while it goes on: a number to rank checkpoints by."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from genjax.config import EvalConfig
from genjax.core.schema import Schema, Source
from genjax.data.mixtures import MIXTURES, Modes
from genjax.data.order import batch_indices
from genjax.domains import domain_of
from genjax.errors import UserError
from genjax.evals.classifier import FRONTS, load_classifier
from genjax.evals.features import extract
from genjax.evals.frechet import covariance, frechet_distance, measure_moments
from genjax.evals.modes import measure_modes

_CHUNK = 500

Scorer = Callable[[Any], tuple[float, dict[str, float]]]


def score_names(config: EvalConfig, schema: Schema) -> tuple[str, ...]:
    """The quantities that `make_scorer` logs, in its order, without ``evaluation/``."""
    if _mixture_of(schema) is not None:
        return ("modes_covered", "high_quality", "diversity")
    coarse = domain_of(schema.domain).coarse_name
    return (coarse if config.features == "pixels" else "fid_classifier", "diversity")


def make_scorer(config: EvalConfig, source: Source, target: str, seed: int) -> Scorer:
    """Prepares the scores of samples that a run logs.

    Samples get the Frechet distance between their features and those of as many real examples, and
    the variance of their features over that of the real ones. Points of a known mixture get
    ``(modes missing) + (1 - high-quality share)``: a mode more is worth any share.

    Args:
      config: which features, and how many samples.
      source: what the model learns from.
      target: the field that it generates.
      seed: of the run, which chooses the real examples.

    Returns:
      A function from samples, as they are stored, to a score, lower is better, and metrics named
      ``evaluation/quantity``.

    Raises:
      UserError: as `genjax.evals.classifier.classifier_of` does.
    """
    count = source.count
    real = source.read(batch_indices(0, min(config.samples, count), count, seed))[target]
    features = _choose_features(config, source)
    reference = measure_moments(features(real))
    variance = np.trace(covariance(reference))
    mixture = _mixture_of(source.schema)
    names = [f"evaluation/{name}" for name in score_names(config, source.schema)]

    def score(samples: Any) -> tuple[float, dict[str, float]]:
        found = measure_moments(features(samples))
        diversity = float(np.trace(covariance(found)) / variance)
        if mixture is None:
            value = frechet_distance(reference, found)
            values: tuple[float, ...] = (value, diversity)
        else:
            covered, high_quality = measure_modes(samples, mixture)
            value = len(mixture.centres) - covered + (1 - high_quality)
            values = (float(covered), high_quality, diversity)
        return value, dict(zip(names, values, strict=True))

    return score


def _mixture_of(schema: Schema) -> Modes | None:
    return MIXTURES.get(schema.facts.get("mixture", ""))


def _choose_features(
    config: EvalConfig, source: Source
) -> Callable[[Any], Float[np.ndarray, "n d"]]:
    """What is compared."""
    domain, facts = domain_of(source.schema.domain), source.schema.facts
    if config.features == "pixels" or _mixture_of(source.schema) is not None:
        return lambda samples: domain.coarse(samples, facts)
    if source.schema.domain not in FRONTS:
        raise UserError(
            f"eval.features is 'classifier', and there is none for {source.schema.domain}; set it "
            "to pixels"
        )
    network = load_classifier(source)

    def classify(samples: Any) -> Float[np.ndarray, "n d"]:
        starts = range(0, len(samples), _CHUNK)
        chunks = (samples[start : start + _CHUNK] for start in starts)
        return extract(network, chunks, _CHUNK).features

    return classify
