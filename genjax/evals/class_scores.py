"""Scores of which classes and modes samples are of."""

import dataclasses

import numpy as np

from genjax.data.classes import names_of
from genjax.data.mixtures import MIXTURES
from genjax.data.stacked import MODES
from genjax.evals.classification import (
    class_agreement,
    classification_accuracy_score,
    count_modes,
)
from genjax.evals.comparison import Comparison
from genjax.evals.features import extract
from genjax.evals.frechet import frechet_distance, measure_moments
from genjax.evals.inputs import batches, examples, labels_of, tracked
from genjax.evals.modes import measure_modes
from genjax.evals.score import Score, judge
from genjax.evals.stacked import digit_classifier, measure_stacked

_STACKED_SAMPLES = 26_000


def score_class_fid(compared: Comparison) -> list[Score]:
    """The mean of the classes' Frechet distances."""
    assert compared.real_labels is not None
    assert compared.matched_labels is not None
    distances = {}
    fewest = compared.real.count
    names = names_of(compared.real.schema)
    for label in np.unique(compared.real_labels):
        real = compared.real_features.features[compared.real_labels == label]
        fake = compared.fake_features.features[compared.matched_labels == label]
        fewest = min(fewest, len(real), len(fake))
        distances[names[label]] = frechet_distance(measure_moments(real), measure_moments(fake))
    values = list(distances.values())
    dimensions = compared.fake_features.features.shape[1]
    warning = None
    if fewest <= dimensions:
        warning = f"{fewest} images a class can't fill a covariance of {dimensions} dimensions"
    return [
        Score(
            "class_fid",
            float(np.mean(values)),
            "lower",
            float(np.std(values)) if len(values) > 1 else None,
            {"spread": "standard deviation over classes", "classes": compared.labelling},
            {"classes": distances},
            warning=warning,
        )
    ]


def score_gan_test(compared: Comparison) -> list[Score]:
    """How often a classifier of real examples names samples as they were asked for."""
    logits = compared.fake_classes.logits
    assert compared.matched_labels is not None
    assert logits is not None
    agreement = class_agreement(logits, compared.matched_labels)
    return [Score("gan_test", agreement, "higher", parameters=judge(compared), network=False)]


def score_cas(compared: Comparison) -> list[Score]:
    """How often a classifier that learns from samples is right about real examples."""
    fake, test = compared.fake, compared.held_out
    assert compared.matched_labels is not None
    assert test is not None
    answers = labels_of(test)
    assert answers is not None
    images, test_images = (
        np.concatenate([np.asarray(batch) for batch in batches(x, compared.chunk)])
        for x in (fake, test)
    )
    found = classification_accuracy_score(
        images,
        compared.matched_labels,
        test_images,
        answers,
        compared.trained,
        compared.seed,
        compared.progress,
    )
    parameters = {
        "recipe": dataclasses.asdict(compared.trained.recipe),
        "test": compared.test,
    }
    details = {"of real images": found.real}
    return [
        Score(
            "cas",
            found.generated,
            "higher",
            parameters=parameters,
            details=details,
            network=False,
        ),
    ]


def score_modes(compared: Comparison) -> list[Score]:
    """Classes that samples are of, and how unevenly."""
    real, fake = compared.real_classes.logits, compared.fake_classes.logits
    assert real is not None
    assert fake is not None
    found = count_modes(real, fake)
    return [
        Score("modes", found.modes, "higher", parameters=judge(compared), network=False),
        Score("mode_kl", found.kl, "lower", parameters=judge(compared), network=False),
    ]


def score_mixture(compared: Comparison) -> list[Score]:
    """Modes of a mixture that points cover, and how many of them lie near one."""
    modes = MIXTURES[compared.real.schema.facts["mixture"]]
    points = np.asarray(examples(compared.fake))
    covered, high_quality = measure_modes(points, modes)
    return [
        Score("modes", covered, "higher", network=False),
        Score("high_quality", high_quality, "higher", network=False),
    ]


def score_stacked(compared: Comparison) -> list[Score]:
    """Modes of stacked digits, of which each channel's is told by a classifier."""
    judge = digit_classifier(compared.real.schema)
    drawn = tracked(compared.fake, compared.chunk, None, compared.progress, "digits of samples")
    # Each channel is an image of its own.
    channels = (
        np.moveaxis(np.asarray(batch), -1, 1).reshape(-1, *batch.shape[1:3], 1) for batch in drawn
    )
    logits = extract(judge, channels, 3 * compared.chunk).logits
    assert logits is not None
    found = measure_stacked(np.asarray(logits).argmax(axis=1).reshape(-1, 3))
    parameters = {"classifier": f"{judge.name} {judge.hash}", "of": "each channel's digit"}
    count = compared.fake.count
    warning = None
    if count < _STACKED_SAMPLES:
        warning = (
            f"papers take {_STACKED_SAMPLES:,} samples; the divergence of {count:,} is about "
            f"{(MODES - 1) / (2 * count):.2g} by chance alone"
        )
    return [
        Score("modes", found.covered, "higher", parameters=parameters, network=False),
        Score("mode_kl", found.kl, "lower", None, parameters, network=False, warning=warning),
    ]
