"""All scores by name: what each needs, and what it reports."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from genjax.data.mixtures import MIXTURES
from genjax.errors import UserError, lookup
from genjax.evals.classification import (
    class_agreement,
    classification_accuracy_score,
    count_modes,
)
from genjax.evals.frechet import frechet_distance, measure_moments, rank_deficient
from genjax.evals.image_sets import subset, tracked
from genjax.evals.inception_score import inception_score
from genjax.evals.kernel import kernel_distance
from genjax.evals.manifold import prdc
from genjax.evals.material import Material
from genjax.evals.modes import measure_modes
from genjax.evals.ms_ssim import ms_ssim_diversity


class Score(NamedTuple):
    """One number about a set of images.

    Attributes:
      name: of the score.
      value: the number.
      better: whether a higher or a lower one is.
      spread: its uncertainty, or None.
      parameters: what else it depends on, and what `spread` is; a part of the protocol.
      details: further results.
      network: whether it depends on the feature network.
      warning: what to mistrust, in words, or None.
    """

    name: str
    value: float
    better: Literal["higher", "lower"]
    spread: float | None = None
    parameters: Mapping[str, Any] = {}
    details: Mapping[str, Any] = {}
    network: bool = True
    warning: str | None = None


class Metric(NamedTuple):
    """Scores that are made together.

    Attributes:
      compute: makes them.
      missing: says what it lacks, in words, or None.
      usual: whether it is computed when no metric is asked for.
    """

    compute: Callable[[Material], list[Score]]
    missing: Callable[[Material], str | None]
    usual: bool = True


_NEIGHBOURS = 5
_SUBSETS = 100
_SUBSET = 1000
_SPLITS = 10
_PAIRS = 1000


def _fid(material: Material) -> list[Score]:
    real = measure_moments(material.real_features.features)
    fake = measure_moments(material.fake_features.features)
    warning = None
    if rank_deficient(fake) or rank_deficient(real):
        few = min(int(fake.count), int(real.count))
        warning = f"{few} images can't fill a covariance of {len(fake.mean)} dimensions"
    return [Score("fid", frechet_distance(real, fake), "lower", warning=warning)]


def _kid(material: Material) -> list[Score]:
    real, fake = material.real_features.features, material.fake_features.features
    found = kernel_distance(real, fake, material.seed, _SUBSETS, _SUBSET)
    parameters = {
        "subsets": _SUBSETS,
        "size": min(_SUBSET, len(real), len(fake)),
        "spread": "standard error over subsets",
    }
    details = {"std": found.std}
    return [Score("kid", found.value, "lower", found.standard_error, parameters, details)]


def _inception(material: Material) -> list[Score]:
    logits = material.fake_features.logits
    assert logits is not None
    value, std = inception_score(logits, material.seed, _SPLITS)
    parameters = {"splits": _SPLITS, "spread": "standard deviation over splits"}
    return [Score("is", value, "higher", std, parameters)]


def _prdc(material: Material) -> list[Score]:
    real, fake = material.equal_numbers
    found = prdc(
        material.real_features.features[real], material.fake_features.features[fake], _NEIGHBOURS
    )
    parameters = {"neighbours": _NEIGHBOURS, "points": len(real)}
    return [
        Score(name, value, "higher", parameters=parameters)
        for name, value in found._asdict().items()
    ]


def _class_fid(material: Material) -> list[Score]:
    assert material.real.labels is not None
    assert material.fake.labels is not None
    distances = {}
    fewest = material.real.count
    for label in range(material.real.classes):
        real = material.real_features.features[material.real.labels == label]
        fake = material.fake_features.features[material.fake.labels == label]
        fewest = min(fewest, len(real), len(fake))
        if fewest < 2:
            raise UserError(
                f"class_fid needs two images a class, but class {label} has {fewest}; "
                "raise --samples"
            )
        distances[str(label)] = frechet_distance(measure_moments(real), measure_moments(fake))
    values = list(distances.values())
    dimensions = material.fake_features.features.shape[1]
    warning = None
    if fewest <= dimensions:
        warning = f"{fewest} images a class can't fill a covariance of {dimensions} dimensions"
    return [
        Score(
            "class_fid",
            float(np.mean(values)),
            "lower",
            float(np.std(values)),
            {"spread": "standard deviation over classes"},
            {"classes": distances},
            warning=warning,
        )
    ]


def _cas(material: Material) -> list[Score]:
    fake, test = material.fake, material.held_out
    logits = material.fake_classes.logits
    assert fake.labels is not None
    assert test is not None
    assert test.labels is not None
    assert logits is not None
    images, test_images = (
        np.concatenate([np.asarray(batch) for batch in x.batches(material.chunk)])
        for x in (fake, test)
    )
    found = classification_accuracy_score(
        images,
        fake.labels,
        test_images,
        test.labels,
        material.trained,
        material.seed,
        material.progress,
    )
    parameters = {
        "recipe": dataclasses.asdict(material.trained.recipe),
        "test": dict(test.identity),
    }
    details = {"of real images": found.real}
    agreement = class_agreement(logits, fake.labels)
    return [
        Score("gan_test", agreement, "higher", parameters=_judge(material), network=False),
        Score(
            "cas",
            found.generated,
            "higher",
            parameters=parameters,
            details=details,
            network=False,
        ),
    ]


def _modes(material: Material) -> list[Score]:
    real, fake = material.real_classes.logits, material.fake_classes.logits
    assert real is not None
    assert fake is not None
    found = count_modes(real, fake)
    return [
        Score("modes", found.modes, "higher", parameters=_judge(material), network=False),
        Score("mode_kl", found.kl, "lower", parameters=_judge(material), network=False),
    ]


def _judge(material: Material) -> dict[str, Any]:
    return {"classifier": f"{material.classifier.name} {material.classifier.hash}"}


def _ms_ssim(material: Material) -> list[Score]:
    """Of at most 2,000 samples, so that they fit into memory."""
    numbers = subset(material.fake, 2 * _PAIRS, material.seed)
    batches = tracked(material.fake, material.chunk, numbers, material.progress, "samples to pair")
    images = np.concatenate([np.asarray(batch) for batch in batches])
    labels = None if material.fake.labels is None else material.fake.labels[numbers]
    found = ms_ssim_diversity(images, labels, material.seed, _PAIRS)
    parameters = {
        "pairs": _PAIRS,
        "scales": found.scales,
        "of": "any two samples" if labels is None else "two samples of a class",
        "spread": "standard error over pairs",
    }
    return [Score("ms_ssim", found.value, "lower", found.standard_error, parameters, network=False)]


def _memorization(material: Material) -> list[Score]:
    parameters = {"held_out": _held_out(material)}
    return [Score("memorization", material.closest.share, "lower", parameters=parameters)]


def _held_out(material: Material) -> Mapping[str, Any]:
    assert material.held_out is not None
    return material.held_out.identity


def _likelihood(material: Material) -> list[Score]:
    assert material.likelihood is not None
    assert material.held_out is not None
    found = material.likelihood.measure(material.held_out, material.progress)
    parameters = {"samples of z": material.likelihood.samples, "images": _held_out(material)}
    better: dict[str, Literal["higher", "lower"]] = {
        "elbo": "higher",
        "iwae": "higher",
        "bits_per_dim": "lower",
    }
    return [
        Score(name, found[f"evaluation/{name}"], side, parameters=parameters, network=False)
        for name, side in better.items()
    ]


def _mixture(material: Material) -> list[Score]:
    modes = MIXTURES[material.real.identity["data"]]
    points = np.concatenate([np.asarray(b) for b in material.fake.batches(material.chunk)])
    covered, high_quality = measure_modes(points.reshape(len(points), -1), modes)
    return [
        Score("modes", covered, "higher", network=False),
        Score("high_quality", high_quality, "higher", network=False),
    ]


def _needs_images(material: Material) -> str | None:
    return "images, and these are points" if material.network is None else None


def _needs_logits(material: Material) -> str | None:
    if material.network is None:
        return _needs_images(material)
    knows = material.network.name == "inception" or material.network.name.startswith("classifier")
    return None if knows else "a feature network with classes"


def _needs_labels(material: Material) -> str | None:
    if material.network is None:
        return _needs_images(material)
    if material.fake.labels is None or material.real.labels is None:
        return "labels of the samples and of the reference (a conditional model)"
    if material.fake.classes > material.real.classes:
        return f"labels below {material.real.classes}, the reference's classes"
    return None


def _needs_held_out(material: Material) -> str | None:
    if material.network is None:
        return _needs_images(material)
    return "a test split beside the reference" if material.held_out is None else None


def _needs_classes(material: Material) -> str | None:
    if material.network is None:
        return _needs_images(material)
    if material.real.labels is None:
        return "labels of the reference"
    try:
        assert material.classifier
    except UserError as error:
        return str(error)
    return None


def _needs_all(*needs: Callable[[Material], str | None]) -> Callable[[Material], str | None]:
    return lambda material: next((words for n in needs if (words := n(material))), None)


def _needs_bounds(material: Material) -> str | None:
    if material.likelihood is None:
        return "a run of a model with a likelihood, such as a VAE"
    return _needs_held_out(material)


def _needs_mixture(material: Material) -> str | None:
    return None if material.network is None else "points of a mixture, and these are images"


METRICS: dict[str, Metric] = {
    "fid": Metric(_fid, _needs_images),
    "kid": Metric(_kid, _needs_images),
    "is": Metric(_inception, _needs_logits),
    "prdc": Metric(_prdc, _needs_images),
    "class_fid": Metric(_class_fid, _needs_labels),
    "cas": Metric(_cas, _needs_all(_needs_labels, _needs_classes, _needs_held_out), usual=False),
    "ms_ssim": Metric(_ms_ssim, _needs_images),
    "modes": Metric(_modes, _needs_classes),
    "memorization": Metric(_memorization, _needs_held_out),
    "likelihood": Metric(_likelihood, _needs_bounds),
    "mixture": Metric(_mixture, _needs_mixture),
}


def compute_scores(material: Material, metrics: Sequence[str] = ()) -> list[Score]:
    """Computes scores.

    Args:
      material: what they are made of.
      metrics: names of `METRICS`; the usual ones that the material allows if empty.

    Returns:
      The scores, several for some metrics.

    Raises:
      UserError: an unknown metric, or one that lacks something.

    Example:
      >>> "fid" in METRICS
      True
    """
    chosen = [(name, lookup(METRICS, name, "metric")) for name in metrics]
    if not metrics:
        chosen = [
            (name, metric)
            for name, metric in METRICS.items()
            if metric.usual and metric.missing(material) is None
        ]
    for name, metric in chosen:
        if lacking := metric.missing(material):
            raise UserError(f"{name} needs {lacking}")
    scores = []
    for _, metric in material.progress(chosen, "scores", len(chosen)):
        scores += metric.compute(material)
    return scores
