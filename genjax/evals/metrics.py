"""All scores by name: what each needs, and what it reports."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from genjax.data.classes import names_of
from genjax.data.mixtures import MIXTURES
from genjax.data.stacked import MODES
from genjax.errors import UserError, lookup
from genjax.evals import needs
from genjax.evals.classification import (
    class_agreement,
    classification_accuracy_score,
    count_modes,
)
from genjax.evals.comparison import Comparison
from genjax.evals.features import extract
from genjax.evals.frechet import frechet_distance, measure_moments, rank_deficient
from genjax.evals.inception_score import inception_score
from genjax.evals.inputs import batches, examples, labels_of, subset, tracked
from genjax.evals.kernel import kernel_distance
from genjax.evals.latents import codes_of
from genjax.evals.manifold import prdc
from genjax.evals.modes import measure_modes
from genjax.evals.ms_ssim import ms_ssim_diversity
from genjax.evals.needs import Need
from genjax.evals.path_length import EPSILON, PERCENTILES, Sampling, path_lengths, trimmed_mean
from genjax.evals.separability import separability
from genjax.evals.stacked import digit_classifier, measure_stacked


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
      missing: says what it lacks, beside a network, in words, or None.
      kind: likewise, where the data or the model aren't of the kind that it is for.
      usual: whether it is computed when no metric is asked for.
      scores: the names that those may have; empty where nothing is said of them.
      network: whether any looks through the feature network.
    """

    compute: Callable[[Comparison], list[Score]]
    missing: Need
    kind: Need
    usual: bool = True
    scores: tuple[str, ...] = ()
    network: bool = True


_NEIGHBOURS = 5
_SUBSETS = 100
_SUBSET = 1000
_SPLITS = 10
_PAIRS = 1000
_SAMPLINGS: tuple[Sampling, ...] = ("full", "end")
_STACKED_SAMPLES = 26_000
_WITH_LOGITS = needs.everything(needs.features, needs.logits)
_WITH_LABELS = needs.everything(needs.features, needs.labels)


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
    warning = None
    if found.std is None:
        warning = f"each subset holds all of {parameters['size']} images, so it has no spread"
    error = found.standard_error
    return [Score("kid", found.value, "lower", error, parameters, details, warning=warning)]


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
    counts = np.bincount(np.zeros(len(images), int) if labels is None else labels)
    distinct = int(np.sum(counts * (counts - 1) // 2))
    few = distinct < _PAIRS
    error = None if few else found.standard_error
    warning = f"there are only {distinct} pairs, so it has no spread" if few else None
    return [
        Score("ms_ssim", found.value, "lower", error, parameters, network=False, warning=warning)
    ]


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


def _nothing(compared: Comparison) -> None:
    """What a metric needs that is possible wherever it is of the kind."""


def _mixture(compared: Comparison) -> list[Score]:
    modes = MIXTURES[compared.real.schema.facts["mixture"]]
    points = np.asarray(examples(compared.fake))
    covered, high_quality = measure_modes(points, modes)
    return [
        Score("modes", covered, "higher", network=False),
        Score("high_quality", high_quality, "higher", network=False),
    ]


def _stacked(compared: Comparison) -> list[Score]:
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


def _ppl(compared: Comparison) -> list[Score]:
    """Through the protocol's features: published lengths are of LPIPS by VGG16."""
    assert compared.latents is not None
    assert compared.network is not None
    scores = []
    for space in compared.latents.spaces:
        for sampling in _SAMPLINGS:
            lengths = path_lengths(
                compared.latents,
                compared.network,
                space,
                sampling,
                compared.fake.count,
                compared.seed,
                compared.chunk,
                compared.progress,
            )
            found = trimmed_mean(lengths)
            parameters = {
                "epsilon": EPSILON,
                "percentiles": list(PERCENTILES),
                "spread": "standard error over ways",
            }
            error = found.standard_error
            scores.append(Score(f"ppl_{space}_{sampling}", found.value, "lower", error, parameters))
    return scores


def _separability(compared: Comparison) -> list[Score]:
    logits = compared.fake_classes.logits
    assert compared.latents is not None
    assert logits is not None
    names, scores = names_of(compared.real.schema), []
    codes = codes_of(compared.latents, compared.seed, compared.fake.count, compared.chunk)
    for space, own in codes.items():
        value, entropies = separability(own, logits)
        without = [names[label] for label in range(len(names)) if label not in entropies]
        warning = None
        if without and logits.shape[1] > 2:
            warning = f"too few samples are of {', '.join(without)}, or all are"
        scores.append(
            Score(
                f"separability_{space}",
                value,
                "lower",
                parameters={**_judge(compared), "kept": 0.5},
                details={"entropies": {names[label]: x for label, x in entropies.items()}},
                network=False,
                warning=warning,
            )
        )
    return scores


METRICS: dict[str, Metric] = {
    "fid": Metric(_fid, needs.images(2), needs.features, scores=("fid",)),
    "kid": Metric(_kid, needs.images(2), needs.features, scores=("kid",)),
    "is": Metric(_inception, needs.samples(2 * _SPLITS), _WITH_LOGITS, scores=("is",)),
    "prdc": Metric(
        _prdc,
        needs.images(_NEIGHBOURS + 1),
        needs.features,
        scores=("precision", "recall", "density", "coverage"),
    ),
    "class_fid": Metric(
        _class_fid,
        needs.everything(needs.same_classes, needs.two_of_each_class),
        _WITH_LABELS,
        scores=("class_fid",),
    ),
    "cas": Metric(
        _cas,
        needs.everything(needs.same_classes, needs.classes, needs.held_out_labels),
        _WITH_LABELS,
        usual=False,
        scores=("gan_test", "cas"),
    ),
    "ms_ssim": Metric(
        _ms_ssim, needs.two_of_a_class, needs.pictures, scores=("ms_ssim",), network=False
    ),
    "modes": Metric(_modes, needs.classes, needs.one_digit, scores=("modes", "mode_kl")),
    "memorization": Metric(_memorization, needs.held_out, needs.features, scores=("memorization",)),
    "likelihood": Metric(
        _likelihood, needs.held_out, needs.bounds, scores=tuple(_BOUNDS), network=False
    ),
    "ppl": Metric(
        _ppl,
        needs.traceable,
        needs.everything(needs.pictures, needs.latents),
        usual=False,
        scores=("ppl_z_full", "ppl_z_end", "ppl_w_full", "ppl_w_end"),
    ),
    "separability": Metric(
        _separability,
        needs.classes,
        needs.everything(needs.pictures, needs.latents, needs.no_condition),
        usual=False,
        scores=("separability_z", "separability_w"),
        network=False,
    ),
    "mixture": Metric(
        _mixture, _nothing, needs.mixture, scores=("modes", "high_quality"), network=False
    ),
    "stacked": Metric(
        _stacked,
        needs.digits_classifier,
        needs.stacked_digits,
        scores=("modes", "mode_kl"),
        network=False,
    ),
}


def lacking(compared: Comparison, name: str) -> str | None:
    """What a metric lacks, in words.

    Args:
      compared: what it would be made of.
      name: of the metric.

    Returns:
      What it needs, for data that it isn't for at all, or for these; None where nothing is missing.

    Raises:
      UserError: no such metric.
    """
    metric = lookup(METRICS, name, "metric")
    absent = needs.network(compared) if metric.network else None
    return metric.kind(compared) or absent or metric.missing(compared)


def check_metrics(compared: Comparison, metrics: Sequence[str]) -> None:
    """Refuses metrics that lack something; nothing is computed.

    Args:
      compared: what they would be made of.
      metrics: names of `METRICS`.

    Raises:
      UserError: an unknown metric, or one that lacks something.
    """
    for name in metrics:
        if words := lacking(compared, name):
            raise UserError(f"{name} needs {words}")


class Scores(NamedTuple):
    """What was computed.

    Attributes:
      scores: several for some metrics.
      left_out: why others can't be had, by metric, in words. Nothing is said of those that are for
        other kinds of data.
    """

    scores: list[Score]
    left_out: dict[str, str]


def compute_scores(compared: Comparison, metrics: Sequence[str] = ()) -> Scores:
    """Computes scores.

    Args:
      compared: what they are made of.
      metrics: names of `METRICS`, all of which must be possible; if empty, the usual ones that are.

    Returns:
      The scores, and what was left out.

    Raises:
      UserError: an unknown metric, or one that was asked for and lacks something; no score is left.

    Example:
      >>> "fid" in METRICS
      True
    """
    check_metrics(compared, metrics)
    left_out: dict[str, str] = {}
    chosen = list(metrics)
    for name, metric in METRICS.items():
        if metrics or not metric.usual or metric.kind(compared):
            continue
        if words := lacking(compared, name):
            left_out[name] = f"it needs {words}"
        else:
            chosen.append(name)
    scores = []
    for name in compared.progress(chosen, "scores", len(chosen)):
        try:
            scores += METRICS[name].compute(compared)
        except UserError as error:
            if metrics:
                raise
            # Such as features that aren't finite: other scores need none.
            left_out[name] = str(error)
    if not scores:
        reasons = "; ".join(dict.fromkeys(left_out.values()))
        raise UserError(f"there is no score of {compared.fake.name}: {reasons or 'none applies'}")
    return Scores(scores, left_out)
