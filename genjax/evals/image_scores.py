"""Scores of how images look, all of them together."""

import numpy as np

from genjax.evals.comparison import Comparison
from genjax.evals.frechet import frechet_distance, measure_moments, rank_deficient
from genjax.evals.inception_score import inception_score
from genjax.evals.inputs import subset, tracked
from genjax.evals.kernel import kernel_distance
from genjax.evals.manifold import prdc
from genjax.evals.ms_ssim import ms_ssim_diversity
from genjax.evals.score import Score

NEIGHBOURS = 5
"""Of a point, whose distance is the radius around it."""
SPLITS = 10
"""Parts of the samples, whose Inception scores are averaged."""
_SUBSETS = 100
_SUBSET = 1000
_PAIRS = 1000


def score_fid(compared: Comparison) -> list[Score]:
    """The Frechet distance of features."""
    real = measure_moments(compared.real_features.features)
    fake = measure_moments(compared.fake_features.features)
    warning = None
    if rank_deficient(fake) or rank_deficient(real):
        few = min(int(fake.count), int(real.count))
        warning = f"{few} images can't fill a covariance of {len(fake.mean)} dimensions"
    return [Score("fid", frechet_distance(real, fake), "lower", warning=warning)]


def score_kid(compared: Comparison) -> list[Score]:
    """The kernel distance of features."""
    real, fake = compared.real_features.features, compared.fake_features.features
    found = kernel_distance(real, fake, compared.seed, _SUBSETS, _SUBSET)
    parameters = {
        "subsets": _SUBSETS,
        "size": min(_SUBSET, len(real), len(fake)),
        "spread": "standard error over subsets",
    }
    details = {"std": found.std}
    warning = None
    if found.std is None:
        warning = f"each subset holds all of {parameters['size']} images, so it has no spread"
    error = found.standard_error
    return [Score("kid", found.value, "lower", error, parameters, details, warning=warning)]


def score_inception(compared: Comparison) -> list[Score]:
    """The Inception score."""
    logits = compared.fake_features.logits
    assert logits is not None
    value, std = inception_score(logits, compared.seed, SPLITS)
    parameters = {"splits": SPLITS, "spread": "standard deviation over splits"}
    return [Score("is", value, "higher", std, parameters)]


def score_prdc(compared: Comparison) -> list[Score]:
    """Precision, recall, density and coverage, of as many real as generated images."""
    real, fake = compared.equal_numbers
    found = prdc(
        compared.real_features.features[real], compared.fake_features.features[fake], NEIGHBOURS
    )
    parameters = {"neighbours": NEIGHBOURS, "points": len(real)}
    return [
        Score(name, value, "higher", parameters=parameters)
        for name, value in found._asdict().items()
    ]


def score_ms_ssim(compared: Comparison) -> list[Score]:
    """Of at most 2,000 samples, so that they fit into memory."""
    numbers = subset(compared.fake, 2 * _PAIRS, compared.seed)
    drawn = tracked(compared.fake, compared.chunk, numbers, compared.progress, "samples to pair")
    images = np.concatenate([np.asarray(batch) for batch in drawn])
    labels = None if compared.fake_labels is None else compared.fake_labels[numbers]
    found = ms_ssim_diversity(images, labels, compared.seed, _PAIRS)
    parameters = {
        "pairs": _PAIRS,
        "scales": found.scales,
        "of": "any two samples" if labels is None else "two samples of a class",
        "spread": "standard error over pairs",
    }
    counts = np.bincount(np.zeros(len(images), int) if labels is None else labels)
    distinct = int(np.sum(counts * (counts - 1) // 2))
    few = distinct < _PAIRS
    error = None if few else found.standard_error
    warning = f"there are only {distinct} pairs, so it has no spread" if few else None
    return [
        Score("ms_ssim", found.value, "lower", error, parameters, network=False, warning=warning)
    ]


def score_memorization(compared: Comparison) -> list[Score]:
    """How much closer samples lie to the reference than held-out images do."""
    parameters = {"held_out": compared.test}
    return [Score("memorization", compared.closest.share, "lower", parameters=parameters)]
