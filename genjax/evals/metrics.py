"""All scores by name: what each needs, and what it reports."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from genjax.data.classes import list_names, names_of
from genjax.data.mixtures import MIXTURES
from genjax.errors import UserError, lookup
from genjax.evals.classification import (
    class_agreement,
    classification_accuracy_score,
    count_modes,
)
from genjax.evals.comparison import Comparison
from genjax.evals.frechet import frechet_distance, measure_moments, rank_deficient
from genjax.evals.inception_score import inception_score
from genjax.evals.inputs import batches, examples, labels_of, subset, tracked
from genjax.evals.kernel import kernel_distance
from genjax.evals.manifold import prdc
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
      scores: the names that those may have; empty where nothing is said of them.
      network: whether any depends on a feature network.
    """

    compute: Callable[[Comparison], list[Score]]
    missing: Callable[[Comparison], str | None]
    usual: bool = True
    scores: tuple[str, ...] = ()
    network: bool = True


_NEIGHBOURS = 5
_SUBSETS = 100
_SUBSET = 1000
_SPLITS = 10
_PAIRS = 1000


def _fid(compared: Comparison) -> list[Score]:
    real = measure_moments(compared.real_features.features)
    fake = measure_moments(compared.fake_features.features)
    warning = None
    if rank_deficient(fake) or rank_deficient(real):
        few = min(int(fake.count), int(real.count))
        warning = f"{few} images can't fill a covariance of {len(fake.mean)} dimensions"
    return [Score("fid", frechet_distance(real, fake), "lower", warning=warning)]


def _kid(compared: Comparison) -> list[Score]:
    real, fake = compared.real_features.features, compared.fake_features.features
    found = kernel_distance(real, fake, compared.seed, _SUBSETS, _SUBSET)
    parameters = {
        "subsets": _SUBSETS,
        "size": min(_SUBSET, len(real), len(fake)),
        "spread": "standard error over subsets",
    }
    details = {"std": found.std}
    return [Score("kid", found.value, "lower", found.standard_error, parameters, details)]


def _inception(compared: Comparison) -> list[Score]:
    logits = compared.fake_features.logits
    assert logits is not None
    value, std = inception_score(logits, compared.seed, _SPLITS)
    parameters = {"splits": _SPLITS, "spread": "standard deviation over splits"}
    return [Score("is", value, "higher", std, parameters)]


def _prdc(compared: Comparison) -> list[Score]:
    real, fake = compared.equal_numbers
    found = prdc(
        compared.real_features.features[real], compared.fake_features.features[fake], _NEIGHBOURS
    )
    parameters = {"neighbours": _NEIGHBOURS, "points": len(real)}
    return [
        Score(name, value, "higher", parameters=parameters)
        for name, value in found._asdict().items()
    ]


def _class_fid(compared: Comparison) -> list[Score]:
    assert compared.real_labels is not None
    assert compared.matched_labels is not None
    distances = {}
    fewest = compared.real.count
    names = names_of(compared.real.schema)
    for label in np.unique(compared.real_labels):
        real = compared.real_features.features[compared.real_labels == label]
        fake = compared.fake_features.features[compared.matched_labels == label]
        fewest = min(fewest, len(real), len(fake))
        if fewest < 2:
            raise UserError(
                f"class_fid needs two images a class, but class {names[label]!r} has {fewest}; "
                "raise --samples"
            )
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
            float(np.std(values)),
            {"spread": "standard deviation over classes"},
            {"classes": distances},
            warning=warning,
        )
    ]


def _cas(compared: Comparison) -> list[Score]:
    fake, test = compared.fake, compared.held_out
    logits = compared.fake_classes.logits
    assert compared.matched_labels is not None
    assert test is not None
    answers = labels_of(test)
    assert answers is not None
    assert logits is not None
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
    agreement = class_agreement(logits, compared.matched_labels)
    return [
        Score("gan_test", agreement, "higher", parameters=_judge(compared), network=False),
        Score(
            "cas",
            found.generated,
            "higher",
            parameters=parameters,
            details=details,
            network=False,
        ),
    ]


def _modes(compared: Comparison) -> list[Score]:
    real, fake = compared.real_classes.logits, compared.fake_classes.logits
    assert real is not None
    assert fake is not None
    found = count_modes(real, fake)
    return [
        Score("modes", found.modes, "higher", parameters=_judge(compared), network=False),
        Score("mode_kl", found.kl, "lower", parameters=_judge(compared), network=False),
    ]


def _judge(compared: Comparison) -> dict[str, Any]:
    return {"classifier": f"{compared.classifier.name} {compared.classifier.hash}"}


def _ms_ssim(compared: Comparison) -> list[Score]:
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
    return [Score("ms_ssim", found.value, "lower", found.standard_error, parameters, network=False)]


def _memorization(compared: Comparison) -> list[Score]:
    parameters = {"held_out": compared.test}
    return [Score("memorization", compared.closest.share, "lower", parameters=parameters)]


_BOUNDS: dict[str, Literal["higher", "lower"]] = {
    "elbo": "higher",
    "iwae": "higher",
    "bits_per_dim": "lower",
    "bits_per_token": "lower",
}


def _likelihood(compared: Comparison) -> list[Score]:
    assert compared.likelihood is not None
    assert compared.held_out is not None
    found = compared.likelihood.measure(compared.held_out, compared.progress)
    parameters: dict[str, Any] = {}
    if compared.likelihood.samples is not None:
        parameters["samples of z"] = compared.likelihood.samples
    parameters["images"] = compared.test
    return [
        Score(name, found[f"evaluation/{name}"], side, parameters=parameters, network=False)
        for name, side in _BOUNDS.items()
        if f"evaluation/{name}" in found
    ]


def _mixture(compared: Comparison) -> list[Score]:
    modes = MIXTURES[compared.real.schema.facts["mixture"]]
    points = np.asarray(examples(compared.fake))
    covered, high_quality = measure_modes(points, modes)
    return [
        Score("modes", covered, "higher", network=False),
        Score("high_quality", high_quality, "higher", network=False),
    ]


def _needs_network(compared: Comparison) -> str | None:
    if compared.network is not None:
        return None
    return f"a feature network, and there is none for {compared.real.schema.domain}"


def _needs_pictures(compared: Comparison) -> str | None:
    return None if compared.real.schema.domain == "image" else "images"


def _needs_logits(compared: Comparison) -> str | None:
    if compared.network is None:
        return _needs_network(compared)
    knows = compared.network.name == "inception" or compared.network.name.startswith("classifier")
    return None if knows else "a feature network with classes"


def _needs_labels(compared: Comparison) -> str | None:
    if compared.network is None:
        return _needs_network(compared)
    if compared.fake_labels is None or compared.real_labels is None:
        return "labels of the samples and of the reference (a conditional model)"
    if foreign := compared.foreign_classes:
        return (
            f"classes of the same names, and the reference has no {', '.join(foreign[:3])}, but "
            f"{list_names(names_of(compared.real.schema))}; rename the samples' classes"
        )
    return None


def _needs_held_out(compared: Comparison) -> str | None:
    if compared.network is None:
        return _needs_network(compared)
    return "a test split beside the reference" if compared.held_out is None else None


def _needs_classes(compared: Comparison) -> str | None:
    if compared.network is None:
        return _needs_network(compared)
    if compared.real_labels is None:
        return "labels of the reference"
    try:
        assert compared.classifier
    except UserError as error:
        return str(error)
    return None


def _needs_all(*needs: Callable[[Comparison], str | None]) -> Callable[[Comparison], str | None]:
    return lambda compared: next((words for n in needs if (words := n(compared))), None)


def _needs_bounds(compared: Comparison) -> str | None:
    if compared.likelihood is None:
        return "a run of a model with a likelihood, such as a VAE"
    return None if compared.held_out is not None else "a test split beside the reference"


def _needs_mixture(compared: Comparison) -> str | None:
    known = compared.real.schema.facts.get("mixture") in MIXTURES
    return None if known else "points of a known mixture"


METRICS: dict[str, Metric] = {
    "fid": Metric(_fid, _needs_network, scores=("fid",)),
    "kid": Metric(_kid, _needs_network, scores=("kid",)),
    "is": Metric(_inception, _needs_logits, scores=("is",)),
    "prdc": Metric(_prdc, _needs_network, scores=("precision", "recall", "density", "coverage")),
    "class_fid": Metric(_class_fid, _needs_labels, scores=("class_fid",)),
    "cas": Metric(
        _cas,
        _needs_all(_needs_labels, _needs_classes, _needs_held_out),
        usual=False,
        scores=("gan_test", "cas"),
    ),
    "ms_ssim": Metric(_ms_ssim, _needs_pictures, scores=("ms_ssim",), network=False),
    "modes": Metric(_modes, _needs_classes, scores=("modes", "mode_kl")),
    "memorization": Metric(_memorization, _needs_held_out, scores=("memorization",)),
    "likelihood": Metric(_likelihood, _needs_bounds, scores=tuple(_BOUNDS), network=False),
    "mixture": Metric(_mixture, _needs_mixture, scores=("modes", "high_quality"), network=False),
}


def check_metrics(compared: Comparison, metrics: Sequence[str]) -> None:
    """Refuses metrics that lack something; nothing is computed.

    Args:
      compared: what they would be made of.
      metrics: names of `METRICS`.

    Raises:
      UserError: an unknown metric, or one that lacks something.
    """
    for name in metrics:
        if lacking := lookup(METRICS, name, "metric").missing(compared):
            raise UserError(f"{name} needs {lacking}")


def compute_scores(compared: Comparison, metrics: Sequence[str] = ()) -> list[Score]:
    """Computes scores.

    Args:
      compared: what they are made of.
      metrics: names of `METRICS`; the usual ones that the compared allows if empty.

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
            if metric.usual and metric.missing(compared) is None
        ]
    check_metrics(compared, metrics)
    scores = []
    for _, metric in compared.progress(chosen, "scores", len(chosen)):
        scores += metric.compute(compared)
    return scores
