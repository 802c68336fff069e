"""All scores by name: what each needs, and what it reports."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from genjax.errors import UserError, lookup
from genjax.evals import needs
from genjax.evals.caption_scores import score_clip
from genjax.evals.class_scores import (
    score_cas,
    score_class_fid,
    score_gan_test,
    score_mixture,
    score_modes,
    score_stacked,
)
from genjax.evals.comparison import Comparison
from genjax.evals.embedding_scores import EMBEDDING_SCORES, score_embeddings
from genjax.evals.fidelity import score_fidelity
from genjax.evals.image_scores import (
    NEIGHBOURS,
    SPLITS,
    score_fid,
    score_inception,
    score_kid,
    score_memorization,
    score_ms_ssim,
    score_prdc,
)
from genjax.evals.model_scores import BOUNDS, score_likelihood, score_ppl, score_separability
from genjax.evals.needs import Need
from genjax.evals.retrieval import RECALLS, score_retrieval, score_zero_shot
from genjax.evals.score import Score


class Metric(NamedTuple):
    """Scores that are made together.

    Attributes:
      compute: makes them.
      missing: says what it lacks, beside a network, in words, or None.
      kind: likewise, where the data or the model aren't of the kind that it is for.
      usual: says whether it is computed when no metric is asked for.
      scores: the names that those may have; empty where nothing is said of them.
      network: whether any looks through the feature network.
      samples: whether they are of samples, and not of the model alone.
    """

    compute: Callable[[Comparison], list[Score]]
    missing: Need
    kind: Need
    usual: Callable[[Comparison], bool] = lambda compared: True
    scores: tuple[str, ...] = ()
    network: bool = True
    samples: bool = True


_WITH_LOGITS = needs.everything(needs.features, needs.logits)
_WITH_LABELS = needs.everything(needs.features, needs.labels)


def _nothing(compared: Comparison) -> None:
    """What a metric needs that is possible wherever it is of the kind."""


def _asked(compared: Comparison) -> bool:
    """Of a metric that is computed only where it is asked for."""
    return False


def _quick_likelihood(compared: Comparison) -> bool:
    return compared.likelihood is not None and compared.likelihood.most is None


METRICS: dict[str, Metric] = {
    "fid": Metric(score_fid, needs.images(2), needs.features, scores=("fid",)),
    "kid": Metric(score_kid, needs.images(2), needs.features, scores=("kid",)),
    "is": Metric(score_inception, needs.samples(2 * SPLITS), _WITH_LOGITS, scores=("is",)),
    "prdc": Metric(
        score_prdc,
        needs.images(NEIGHBOURS + 1),
        needs.features,
        scores=("precision", "recall", "density", "coverage"),
    ),
    "class_fid": Metric(
        score_class_fid,
        needs.everything(needs.same_classes, needs.two_of_each_class),
        _WITH_LABELS,
        scores=("class_fid",),
    ),
    "gan_test": Metric(
        score_gan_test,
        needs.everything(needs.same_classes, needs.classes),
        _WITH_LABELS,
        scores=("gan_test",),
    ),
    "cas": Metric(
        score_cas,
        needs.everything(needs.same_classes, needs.classes, needs.held_out_labels),
        _WITH_LABELS,
        usual=_asked,
        scores=("cas",),
    ),
    "ms_ssim": Metric(
        score_ms_ssim, needs.two_of_a_class, needs.pictures, scores=("ms_ssim",), network=False
    ),
    "fidelity": Metric(
        score_fidelity, _nothing, needs.truth, scores=("psnr", "ssim"), network=False
    ),
    "modes": Metric(score_modes, needs.classes, needs.one_digit, scores=("modes", "mode_kl")),
    "memorization": Metric(
        score_memorization, needs.held_out, needs.features, scores=("memorization",)
    ),
    "likelihood": Metric(
        score_likelihood,
        needs.held_out,
        needs.bounds,
        usual=_quick_likelihood,
        scores=tuple(BOUNDS),
        network=False,
    ),
    "ppl": Metric(
        score_ppl,
        needs.traceable,
        needs.everything(needs.pictures, needs.latents),
        usual=_asked,
        scores=("ppl_z_full", "ppl_z_end", "ppl_w_full", "ppl_w_end"),
    ),
    "separability": Metric(
        score_separability,
        needs.classes,
        needs.everything(needs.pictures, needs.latents, needs.no_condition),
        usual=_asked,
        scores=("separability_z", "separability_w"),
        network=False,
    ),
    "retrieval": Metric(
        score_retrieval,
        needs.held_out,
        needs.embedding,
        scores=RECALLS,
        network=False,
        samples=False,
    ),
    "zero_shot": Metric(
        score_zero_shot,
        needs.class_names,
        needs.embedding,
        scores=("zero_shot",),
        network=False,
        samples=False,
    ),
    "embedding_retrieval": Metric(
        score_embeddings,
        needs.held_out,
        needs.embeddings_of_captions,
        scores=EMBEDDING_SCORES,
        network=False,
    ),
    "clip_score": Metric(
        score_clip,
        needs.judge,
        needs.captions,
        usual=lambda compared: compared.clip is not None,
        scores=("clip_score", "caption_accuracy"),
        network=False,
    ),
    "mixture": Metric(
        score_mixture, _nothing, needs.mixture, scores=("modes", "high_quality"), network=False
    ),
    "stacked": Metric(
        score_stacked,
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
    return _foreign(metric, compared) or absent or metric.missing(compared)


def _foreign(metric: Metric, compared: Comparison) -> str | None:
    """What a metric is of, in words, where the data or the model are of another kind."""
    absent = needs.made(compared) if metric.samples else None
    return absent or metric.kind(compared)


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
        if metrics or _foreign(metric, compared) or not metric.usual(compared):
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
