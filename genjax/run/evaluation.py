"""Scores a run, or images from elsewhere, and records the scores with their protocol."""

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from genjax.config import VAEConfig
from genjax.config.json import config_hash
from genjax.core.compiler import jit
from genjax.core.rng import stream
from genjax.data.progress import Progress, no_progress
from genjax.data.sources import load
from genjax.domains.grid import save_grid
from genjax.errors import UserError
from genjax.evals.features import FeatureNetwork
from genjax.evals.image_sets import ImageSet, from_dataset, from_run, open_held_out, open_images
from genjax.evals.material import Likelihood, Material
from genjax.evals.metrics import compute_scores
from genjax.evals.records import Record
from genjax.run.checkpoint import Which
from genjax.run.sampling import Run, open_run

_BATCH = 200
_SHOWN = 16


class Protocol(NamedTuple):
    """How images are scored.

    Attributes:
      features: from the name of the reference's data set to a feature network, such as
        `load_classifier`.
      metrics: names of `METRICS`; the usual ones that apply if empty.
      samples: number of samples of a run; other images are all taken.
      seed: of the samples and of all random choices.
      chunk: images passed through a network at once; it changes scores by rounding alone.
    """

    features: Callable[[str], FeatureNetwork]
    metrics: Sequence[str] = ()
    samples: int = 10_000
    seed: int = 0
    chunk: int = 250


class Evaluation(NamedTuple):
    """Scores, and what they were made of.

    Attributes:
      records: one a score.
      warnings: what to mistrust, each one line.
      material: the images and their features.
    """

    records: list[Record]
    warnings: list[str]
    material: Material


def evaluate_run(
    directory: Path,
    which: Which,
    protocol: Protocol,
    average: bool = True,
    progress: Progress = no_progress,
) -> Evaluation:
    """Scores the samples of a run against the split that it learnt from.

    Args:
      directory: of the run.
      which: the checkpoint: last, best, or a step.
      protocol: how.
      average: sample from the moving average of the parameters where the run keeps one.
      progress: shows how far the work is.

    Returns:
      The scores.

    Raises:
      UserError: not a run, its data are not there, or a metric does not apply.
    """
    run = open_run(directory, which, average)
    dataset = load(run.experiment.data, progress)
    real = from_dataset(dataset)
    name = directory.absolute().name
    fake = from_run(run, name, protocol.samples, protocol.seed, protocol.chunk)
    material = Material(
        real,
        fake,
        open_held_out(run.experiment.data, progress),
        None if dataset.modes is not None else protocol.features(dataset.name),
        protocol.seed,
        protocol.chunk,
        progress,
        make_likelihood(run, protocol.seed),
    )
    identity = {
        "subject": name,
        "config_hash": config_hash(run.experiment),
        "ema": run.averaged,
        "truncation": None,
        "checkpoint": which if isinstance(which, str) else "step",
        "step": run.step,
    }
    return _score(material, protocol, identity)


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
    if reference.shape != scored.shape:
        raise UserError(
            f"{real} has images of shape {reference.shape}, but {fake} of {scored.shape}; "
            "give --resolution, or images with as many channels"
        )
    network = protocol.features(reference.identity["data"])
    material = Material(
        reference, scored, held_out, network, protocol.seed, protocol.chunk, progress
    )
    identity = {
        "subject": fake,
        "config_hash": None,
        "ema": None,
        "truncation": None,
        "checkpoint": None,
        "step": None,
    }
    return _score(material, protocol, identity)


def make_likelihood(run: Run, seed: int) -> Likelihood | None:
    """The bounds on the likelihood that a run's model has.

    Args:
      run: from `open_run`.
      seed: of the noise.

    Returns:
      Means over images, each batch drawing noise of its own; None for models without.
    """
    if not isinstance(run.experiment.model, VAEConfig) or run.algorithm.evaluate is None:
        return None
    evaluate = jit(run.algorithm.evaluate)

    def measure(images: ImageSet, progress: Progress) -> dict[str, float]:
        key = jax.random.key(seed)
        totals: dict[str, float] = {}
        starts = range(0, images.count, _BATCH)
        for start in progress(starts, "likelihood", len(starts)):
            numbers = np.arange(start, min(start + _BATCH, images.count))
            batch = {"image": images.read(numbers)}
            if images.labels is not None:
                batch["label"] = images.labels[numbers]
            found = evaluate(run.state, batch, stream(key, "likelihood", start))
            for name, value in found.items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(numbers)
        return {name: total / images.count for name, total in totals.items()}

    return Likelihood(measure, run.experiment.model.importance_samples)


def save_closest(path: Path, material: Material) -> None:
    """Draws the samples that lie closest to the reference, each above its nearest image.

    Args:
      path: PNG file.
      material: with held-out images.
    """
    closest = material.closest
    rows = [
        np.asarray(material.fake.read(closest.sample_index[:_SHOWN])),
        np.asarray(material.real.read(closest.train_index[:_SHOWN])),
    ]
    save_grid(path, np.concatenate(rows), columns=len(rows[0]))


def _score(material: Material, protocol: Protocol, identity: Record) -> Evaluation:
    scores = compute_scores(material, protocol.metrics)
    device = jax.devices()[0]
    context = {
        "seed": protocol.seed,
        "genjax": importlib.metadata.version("genjax"),
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
            "features": _describe(material.network) if score.network else None,
            "reference": dict(material.real.identity),
            "samples": material.fake.count,
            "parameters": dict(score.parameters),
            "details": dict(score.details),
            **identity,
            **context,
        }
        for score in scores
    ]
    warnings = [f"{score.name}: {score.warning}" for score in scores if score.warning]
    return Evaluation(records, warnings, material)


def _describe(network: FeatureNetwork | None) -> dict[str, str] | None:
    if network is None:
        return None
    return {"name": network.name, "hash": network.hash, "resize": network.resize}
