"""Samples and pictures of a training state, on the host."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int, UInt8

from genjax.config import Experiment
from genjax.core.algorithm import Algorithm, quantize_images
from genjax.core.compiler import jit
from genjax.core.types import Index, Key, Labels, State
from genjax.data.mixtures import POINT_SHAPE
from genjax.data.sources import Dataset
from genjax.domains.grid import save_grid
from genjax.errors import UserError
from genjax.families.registry import make_algorithm, players
from genjax.run import checkpoint
from genjax.run import directory as run_directory

_CHUNK = 256
_GRID = 64
_POINTS = 10_000
_CLASSES = 16
_COLUMNS = 8
_PANEL_COLUMNS = 16

Samples: TypeAlias = UInt8[np.ndarray, "n height width channels"] | Float32[np.ndarray, "n 1 1 2"]
"""As the data sets hold them: images of bytes, or points in [-1, 1]."""

HostLabels: TypeAlias = Int[np.ndarray, "n"]
Sampler: TypeAlias = Callable[[State, Key, int, HostLabels | None], Samples]


def make_sampler(algorithm: Algorithm) -> Sampler:
    """Compiles an algorithm's sampler.

    Args:
      algorithm: its `sample` is used.

    Returns:
      A function ``(state, key, n, labels) -> samples`` on the host, uint8
      [n, height, width, channels], or float32 [n, 1, 1, 2] for points. Labels are int [n], or None
      for what the algorithm does without. Sample i is the same whatever n.
    """

    def draw(state: State, key: Key, index: Index, label: Labels | None) -> Array:
        images = algorithm.sample(state, key, index, label)
        # One step of a byte is as long as the standard deviation of a mode.
        return images if images.shape[1:] == POINT_SHAPE else quantize_images(images)

    sample = jit(draw)

    def sampler(state: State, key: Key, count: int, labels: HostLabels | None) -> Samples:
        parts = []
        for start in range(0, count, _CHUNK):
            # All chunks have one size, so that the sampler is compiled once.
            index = jnp.arange(start, start + _CHUNK, dtype=jnp.int32)
            label = None
            if labels is not None:
                label = jnp.zeros(_CHUNK, jnp.int32)
                own = labels[start : start + _CHUNK]
                label = label.at[: len(own)].set(own.astype(np.int32))
            parts.append(sample(state, key, index, label))
        return np.concatenate([np.asarray(part) for part in parts])[:count]

    return sampler


def make_picture(
    algorithm: Algorithm, sampler: Sampler, dataset: Dataset
) -> Callable[[Path, State, Key], None]:
    """Compiles what draws the pictures of a run.

    Args:
      algorithm: of the run. A conditional one shows a class a row; one with panels shows them above
        its samples.
      sampler: from `make_sampler`.
      dataset: the panels show its first images, too.

    Returns:
      A function ``(path, state, key)`` that writes a PNG file.
    """
    batch: dict[str, Any] = {"image": dataset.images[:_PANEL_COLUMNS]}
    if dataset.labels is not None:
        batch["label"] = dataset.labels[:_PANEL_COLUMNS]
    panels = None if algorithm.panels is None else jit(algorithm.panels)

    def draw(path: Path, state: State, key: Key) -> None:
        columns = _COLUMNS if panels is None else _PANEL_COLUMNS
        count, labels = _GRID, None
        if dataset.images.shape[1:] == POINT_SHAPE:
            # A picture of a density needs more samples than one of tiles has room for.
            count = _POINTS
        elif algorithm.classes:
            labels = class_rows(min(algorithm.classes, _CLASSES), columns)
            count = len(labels)
        images = sampler(state, key, count, labels)
        above = [] if panels is None else panels(state, batch, key)
        save_grid(path, images, columns, [np.asarray(quantize_images(panel)) for panel in above])

    return draw


def class_rows(classes: int, each: int) -> HostLabels:
    """Labels that put one class in each row: ``0, 0, ..., 1, 1, ...``; int64 [classes * each]."""
    return np.repeat(np.arange(classes), each)


class RunSamples(NamedTuple):
    """Samples of a run.

    Attributes:
      images: uint8 [n, height, width, channels], or points as float32 [n, 1, 1, 2].
      labels: int [n], or None for an unconditional model.
      step: of the checkpoint.
    """

    images: Samples
    labels: HostLabels | None
    step: int


class Run(NamedTuple):
    """A training run, opened to sample from it.

    Attributes:
      experiment: its configuration.
      algorithm: of its model.
      state: at the checkpoint.
      step: of the checkpoint.
      averaged: whether samples come from a moving average of the parameters.
    """

    experiment: Experiment
    algorithm: Algorithm
    state: State
    step: int
    averaged: bool


def open_run(directory: Path, which: checkpoint.Which, average: bool = True) -> Run:
    """Opens a run at a checkpoint, without the data it was trained on.

    Args:
      directory: of the run.
      which: the checkpoint: last, best, or a step.
      average: sample from the moving average of the parameters where the run keeps one.

    Returns:
      The run.

    Raises:
      UserError: not a run, or no such checkpoint.
    """
    experiment = run_directory.read_config(directory)
    data = run_directory.read_manifest(directory)["data"]
    algorithm = make_algorithm(experiment, tuple(data["image"]), data["classes"])
    folder = directory / "checkpoints"
    if not folder.is_dir():
        raise UserError(f"{directory} holds no checkpoints")
    with checkpoint.open_checkpoints(folder, experiment.keep_checkpoints) as manager:
        step = checkpoint.find_step(manager, which)
        state = checkpoint.restore(manager, step, algorithm.init, jax.random.key(0), None)
    averaged = {name: player for name, player in players(state).items() if player.ema is not None}
    if averaged and not average:
        plain = {name: dataclasses.replace(player, ema=None) for name, player in averaged.items()}
        state = dataclasses.replace(state, **plain)
    return Run(experiment, algorithm, state, step, bool(averaged) and average)


def sample_run(
    directory: Path,
    seed: int,
    which: checkpoint.Which,
    count: int,
    label: int | None = None,
    per_class: int | None = None,
) -> RunSamples:
    """Draws samples from a checkpoint of a run, without the data it was trained on.

    Args:
      directory: of the run.
      seed: of the series.
      which: the checkpoint: last, best, or a step.
      count: how many samples; not used with `per_class`.
      label: class of all samples; None takes the classes in turn.
      per_class: samples of each class, class after class.

    Returns:
      The samples.

    Raises:
      UserError: not a run, no such checkpoint, or no such class.
    """
    run = open_run(directory, which)
    classes = run.algorithm.classes
    if not classes and (label is not None or per_class is not None):
        raise UserError(f"{directory} is not conditional: its samples have no class to ask for")
    if label is not None and not 0 <= label < classes:
        raise UserError(f"--label is {label}; classes of this model: 0 to {classes - 1}")
    labels = np.arange(count) % classes if classes else None
    if label is not None:
        labels = np.full(count, label)
    if per_class is not None:
        labels = class_rows(classes, per_class)
        count = len(labels)

    sampler = make_sampler(run.algorithm)
    images = sampler(run.state, jax.random.key(seed), count, labels)
    return RunSamples(images, labels, run.step)
