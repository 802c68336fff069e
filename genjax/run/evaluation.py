"""Scores a run, or images from elsewhere, and records the scores with their protocol."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats

from genjax.config import Experiment
from genjax.config.json import config_hash
from genjax.core.algorithm import Algorithm
from genjax.core.captions import CAPTION
from genjax.core.embeddings import EMBEDDING
from genjax.core.schema import Source, Spec
from genjax.core.types import State
from genjax.data.progress import Progress, no_progress
from genjax.data.sources import load, load_held_out
from genjax.distribution import version_of
from genjax.domains import domain_of
from genjax.domains.domain import Layout
from genjax.domains.previews import save_previews
from genjax.errors import UserError, lookup
from genjax.evals.classifier import FRONTS, Untrained
from genjax.evals.comparison import Comparison, Judge, Likelihood
from genjax.evals.embedding import Embedding
from genjax.evals.features import FeatureNetwork
from genjax.evals.inputs import Numbers, examples, open_images, shape_of, with_channels
from genjax.evals.latents import Latents
from genjax.evals.metrics import METRICS, check_metrics, compute_scores
from genjax.evals.records import Record
from genjax.evals.truth import Truth
from genjax.run.cascade import Prior
from genjax.run.checkpoint import Which
from genjax.run.conditions import (
    AS_IN_REFERENCE,
    conditions_as_in,
    follows_examples,
    known_to_data,
    labels_of_rows,
    order_in,
)
from genjax.run.directory import check_data
from genjax.run.embedded import embedding_of
from genjax.run.opening import Run, open_algorithm, open_named, open_run, parse_run, pinned
from genjax.run.sampling import HostCondition, samples_of
from genjax.run.scoring import held_out_values

_BATCH = 200
_SHOWN = 16


class Protocol(NamedTuple):
    """How images are scored.

    Attributes:
      features: from the reference to a feature network, such as `load_classifier`.
      metrics: names of `METRICS`; the usual ones that apply if empty.
      samples: number of samples of a run; other images are all taken.
      seed: of the samples and of all random choices.
      chunk: images passed through a network at once; it changes scores by rounding alone.
      clip: run of a joint embedding that judges samples and their captions, see
        `genjax.run.opening.parse_run`; or None.
      prior: makes the embeddings of captions that a decoder is given; None takes those of held-out
        images.
    """

    features: Callable[[Source], FeatureNetwork]
    metrics: Sequence[str] = ()
    samples: int = 10_000
    seed: int = 0
    chunk: int = 250
    clip: str | None = None
    prior: Prior | None = None


class Evaluation(NamedTuple):
    """Scores, and what they were made of.

    Attributes:
      records: one a score.
      warnings: what to mistrust, each one line.
      left_out: why usual scores can't be had, by metric.
      compared: the images and their features.
    """

    records: list[Record]
    warnings: list[str]
    left_out: dict[str, str]
    compared: Comparison


def evaluate_run(
    directory: str | Path,
    which: Which,
    protocol: Protocol,
    average: bool = True,
    progress: Progress = no_progress,
    sampling: Any = None,
) -> Evaluation:
    """Scores the samples of a run against the split that it learnt from.

    What learnt from a part of a split is compared with the whole. Samples of captions, embeddings,
    and what else single examples have or is derived of them, are made of those of the held-out
    split, where there is one. A joint embedding makes no samples; its scores are of that split.

    Args:
      directory: of the run.
      which: the checkpoint: last, best, or a step.
      protocol: how.
      average: sample from the moving average of the parameters where the run keeps one.
      progress: shows how far the work is.
      sampling: how samples are drawn, see `genjax.families.registry.make_algorithm`.

    Returns:
      The scores.

    Raises:
      UserError: not a run, its data are not there, or a metric does not apply.
    """
    directory = Path(directory)
    run = open_run(directory, which, average, sampling)
    if (why := run.experiment.model.untrained()) is not None:
        raise UserError(f"{directory} has no scores: {why}")
    data = load(run.experiment.data, progress)
    check_data(directory, data)
    real = data.whole
    name = directory.absolute().name
    spec, held_out = run.algorithm.spec, load_held_out(run.experiment.data, progress)
    condition, embedding = {}, None
    given_by = real if held_out is None or not follows_examples(spec) else held_out
    if run.algorithm.sample is None:
        network, why_none = None, ""
        fake = dataclasses.replace(real, name=name, count=0)
        embedding = embedding_of(run)
    else:
        condition = conditions_as_in(spec, given_by, protocol.samples)
        condition |= labels_of_rows(spec, given_by, order_in(given_by, protocol.samples))
        if protocol.prior is not None:
            captions = condition[CAPTION]
            condition[EMBEDDING] = protocol.prior.embed(run, captions, protocol.seed)
        network, why_none = _network(protocol, real)
        fake = samples_of(run, name, condition, protocol.samples, protocol.seed, protocol.chunk)
    compared = Comparison(
        real,
        fake,
        held_out,
        network,
        protocol.seed,
        protocol.chunk,
        progress,
        make_likelihood(run.algorithm, run.state, protocol),
        why_none,
        make_latents(run, condition, sampling),
        embedding,
        None if protocol.clip is None else _judge(protocol.clip),
        make_truth(spec, given_by, condition, protocol.samples),
    )
    identity = {
        "subject": name,
        "path": _from_here(directory),
        "config_hash": config_hash(run.experiment),
        "ema": run.averaged,
        "truncation": None,
        "checkpoint": which if isinstance(which, str) else "step",
        "step": run.step,
        "sampling": _sampling(run, protocol.prior),
        "labels": _given_by(spec, given_by, protocol.prior) if condition else None,
    }
    return _score(compared, protocol, identity)


def evaluate_images(
    real: str,
    fake: str,
    protocol: Protocol,
    resolution: int | None = None,
    directory: str | None = None,
    progress: Progress = no_progress,
) -> Evaluation:
    """Scores images from elsewhere.

    Args:
      real: the reference, a data set or a path, see `open_images`.
      fake: what is scored, likewise.
      protocol: how.
      resolution: side in pixels to resize all images to.
      directory: folder of prepared data sets.
      progress: shows how far the work is.

    Returns:
      The scores.

    Raises:
      UserError: no usable images, of different shapes, or a metric does not apply.
    """
    reference, held_out = open_images(real, resolution, directory, progress)
    scored, _ = open_images(fake, resolution, directory, progress)
    kinds = [source.schema.domain for source in (reference, scored)]
    if kinds[0] != kinds[1]:
        raise UserError(f"{real} holds {kinds[0]}, but {fake} {kinds[1]}; compare data of one kind")
    if kinds[0] == "image":
        scored = with_channels(scored, shape_of(reference)[-1], real)
    shapes = [shape_of(source) for source in (reference, scored)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{real} has examples of shape {shapes[0]}, but {fake} of {shapes[1]}; "
            "give --resolution, which makes them of one size"
        )
    network, why_none = _network(protocol, reference)
    compared = Comparison(
        reference,
        scored,
        held_out,
        network,
        protocol.seed,
        protocol.chunk,
        progress,
        why_none=why_none,
    )
    identity = {
        "subject": fake,
        "path": _from_here(Path(fake)) if Path(fake).exists() else None,
        "config_hash": None,
        "ema": None,
        "truncation": None,
        "sampling": None,
        "labels": None,
        "checkpoint": None,
        "step": None,
    }
    return _score(compared, protocol, identity)


def _sampling(run: Run, prior: Prior | None) -> dict[str, Any] | None:
    """What a record says of how samples are drawn."""
    drawn = dict(run.sampling) | ({} if prior is None else {"prior": prior.described})
    return drawn or None


def make_truth(spec: Spec, source: Source, condition: HostCondition, count: int) -> Truth | None:
    """What samples that follow examples stand for, where they are given something of the image."""
    if not spec.derive or not condition:
        return None
    return Truth(source, order_in(source, count), condition.get("downsample"))


def _given_by(spec: Spec, source: Source, prior: Prior | None) -> str | None:
    """What a record says of what samples are made from."""
    if follows_examples(spec):
        words = dict(zip(spec.derived, spec.derive, strict=True))
        words |= {CAPTION: "captions", EMBEDDING: "embeddings"}
        made = (EMBEDDING,) if prior is not None else ()
        kinds = [words.get(name, name) for name in spec.given if name not in ("label", *made)]
        return f"{' and '.join(kinds)} of {source.split}"
    return None if spec.categories else AS_IN_REFERENCE


def _judge(name: str) -> Judge:
    named = open_named(name, "--clip")
    digest = parse_run(named.name).digest
    own = embedding_of(named.run)
    return Judge(own, f"{named.run.experiment.name} {digest}")


def make_likelihood(
    algorithm: Algorithm, state: State | None, protocol: Protocol
) -> Likelihood | None:
    """The likelihood that a model has, or bounds on it.

    Args:
      algorithm: of the model.
      state: at a checkpoint; None where nothing will be measured.
      protocol: of the noise, and of the examples where not all are measured.

    Returns:
      Means over examples, each batch drawing noise of its own; None for models without.
    """
    key, own = jax.random.key(protocol.seed), algorithm.log_likelihood
    if own is None:
        return None

    def measure(
        held_out: Source, numbers: Numbers | None, progress: Progress
    ) -> dict[str, tuple[float, float | None]]:
        chosen = np.arange(held_out.count) if numbers is None else numbers
        values = held_out_values(own.values, held_out, chosen, key, _BATCH, progress)
        parts = list(values(state))
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        # Of all examples there is no error.
        spread = own.slow and len(chosen) > 1
        return {
            name: (float(each.mean()), float(stats.sem(each)) if spread else None)
            for name, each in found.items()
        }

    return Likelihood(measure, own.parameters, protocol.samples if own.slow else None)


def make_latents(run: Run, condition: HostCondition, sampling: Any) -> Latents | None:
    """The latents of a run's samples, of a model that computes in float32; or None.

    Args:
      run: from `open_run`.
      condition: what the samples are made from.
      sampling: how they are drawn.
    """
    algorithm, model = run.algorithm, run.experiment.model
    if model.dtype != "float32":
        wide = dataclasses.replace(
            run.experiment, model=dataclasses.replace(model, dtype="float32")
        )
        algorithm = open_algorithm(wide, run.schema, sampling=pinned(sampling), trains=False)
    latent = algorithm.latent
    return None if latent is None else Latents(latent, run.state, condition)


def check_protocol(
    experiment: Experiment, real: Source, held_out: Source | None, protocol: Protocol
) -> None:
    """Refuses a protocol that a run could not be scored by, before it is trained.

    Args:
      experiment: its configuration.
      real: what it will learn from.
      held_out: what it won't.
      protocol: how it will be scored.

    Raises:
      UserError: a metric does not apply, or the feature network isn't there.
    """
    algorithm = open_algorithm(experiment, real.schema)
    spec = algorithm.spec
    if algorithm.sample is None:
        embedding = Embedding(experiment, real.schema, None, algorithm.frozen)
        fake = dataclasses.replace(real, count=0)
        check_metrics(Comparison(real, fake, held_out, None, embedding=embedding), protocol.metrics)
        return
    # Metrics ask for the labels alone before they compute anything.
    condition = conditions_as_in(spec, real, protocol.samples)
    condition |= labels_of_rows(spec, real, order_in(real, protocol.samples))
    labels = known_to_data(spec, condition)
    fields = {name: spec.fields[name] for name in (spec.target, *labels)}
    drawn = real.schema._replace(fields=fields)
    fake = dataclasses.replace(real, count=protocol.samples, schema=drawn, arrays=labels)
    compared = Comparison(
        real,
        fake,
        held_out,
        _network(protocol, real)[0],
        likelihood=make_likelihood(algorithm, None, protocol),
        latents=None if algorithm.latent is None else Latents(algorithm.latent, None, condition),
        truth=make_truth(spec, real, condition, protocol.samples),
    )
    check_metrics(compared, protocol.metrics)


def _network(protocol: Protocol, real: Source) -> tuple[FeatureNetwork | None, str]:
    """The feature network, where a metric looks through one; and why there is none, if there is."""
    chosen = [lookup(METRICS, name, "metric") for name in protocol.metrics]
    if chosen and not any(metric.network for metric in chosen):
        return None, ""
    if real.schema.domain not in FRONTS:
        return None, ""
    try:
        return protocol.features(real), ""
    except Untrained as error:
        # There may be scores without one, unless some are asked for.
        if chosen:
            raise
        return None, str(error)


def _from_here(path: Path) -> str:
    """A path for a record: below the folder one is in, it says nothing of the machine."""
    whole, here = path.resolve(), Path.cwd()
    return (whole.relative_to(here) if whole.is_relative_to(here) else whole).as_posix()


def save_closest(path: str | Path, compared: Comparison) -> None:
    """Draws the samples that lie closest to the reference, each above its nearest image.

    Args:
      path: PNG file.
      compared: with held-out images.
    """
    path = Path(path)
    closest = compared.closest
    rows = [
        np.asarray(examples(compared.fake, closest.sample_index[:_SHOWN])),
        np.asarray(examples(compared.real, closest.train_index[:_SHOWN])),
    ]
    domain = domain_of(compared.real.schema.domain)
    layout = Layout(columns=len(rows[0]))
    facts = compared.real.schema.facts
    save_previews(path, domain.render(np.concatenate(rows), facts, layout))


def _score(compared: Comparison, protocol: Protocol, identity: Record) -> Evaluation:
    scores, left_out = compute_scores(compared, protocol.metrics)
    device = jax.devices()[0]
    context = {
        "seed": protocol.seed,
        "genjax": version_of("genjax"),
        "jax": jax.__version__,
        "device": f"{jax.local_device_count()} x {device.device_kind}",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    records = [
        {
            "metric": score.name,
            "value": float(score.value),
            "spread": None if score.spread is None else float(score.spread),
            "better": score.better,
            "features": _describe(compared.network) if score.network else None,
            "reference": compared.reference,
            "samples": compared.fake.count,
            "parameters": dict(score.parameters),
            "details": dict(score.details),
            **identity,
            **context,
        }
        for score in scores
    ]
    warnings = [f"{score.name}: {score.warning}" for score in scores if score.warning]
    return Evaluation(records, warnings, left_out, compared)


def _describe(network: FeatureNetwork | None) -> dict[str, str] | None:
    if network is None:
        return None
    return {"name": network.name, "hash": network.hash, "resize": network.resize}
