"""The host's side of training: feeds the compiled step and writes what it reports.

It knows nothing of any family of models.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from rich.console import Console

from genjax import checkpoint, run_directory
from genjax.algorithm import Algorithm
from genjax.config import Experiment
from genjax.console import TrainingDisplay
from genjax.data.order import batch_indices
from genjax.data.sources import Dataset
from genjax.errors import UserError
from genjax.evals.scores import score_samples
from genjax.families import make_algorithm
from genjax.logs import MetricLog, import_wandb
from genjax.metric_reader import MetricReader
from genjax.parallel import Compiled, choose_mode, compile_step, mapped_axis
from genjax.rng import stream
from genjax.sampling import make_picture, make_sampler
from genjax.types import Batch, State

_SCORED = 2000
_SCORED_POINTS = 10_000


def train(
    experiment: Experiment,
    directory: Path,
    dataset: Dataset,
    console: Console,
    resume: bool = False,
) -> None:
    """Runs an experiment to its last step.

    Args:
      experiment: the configuration.
      directory: of the run; new, or that of the run to resume.
      dataset: the images to learn from.
      console: where progress is shown.
      resume: go on from the latest checkpoint in `directory`, or from the start without one.

    Raises:
      UserError: the configuration does not fit the data or the devices, or the folder is taken.
      RunFailed: a metric is no longer finite.
    """
    mode = choose_mode(experiment.mode, jax.devices())
    axis_name = mapped_axis(mode)
    algorithm = make_algorithm(experiment, dataset.images.shape[1:], dataset.classes, axis_name)
    compiled = compile_step(algorithm, mode, jax.devices())
    batch_indices(0, algorithm.examples, len(dataset.images), experiment.seed)
    key = jax.random.key(experiment.seed)
    # What can't work shows before anything is written.
    jax.eval_shape(algorithm.init, key)
    if experiment.wandb:
        import_wandb()

    if not resume:
        run_directory.create(directory, experiment, dataset)
    with checkpoint.open_checkpoints(
        directory / "checkpoints", experiment.keep_checkpoints
    ) as manager:
        first = manager.latest_step() or 0
        if first >= experiment.steps:
            raise UserError(f"{directory} is already at step {first}; give --steps above {first}")
        if first:
            state = checkpoint.restore(manager, first, algorithm.init, key, compiled.sharding)
        else:
            state = compiled.init(key)
        if resume:
            run_directory.truncate_metrics(directory, first)
            run_directory.extend(directory, experiment, first)
        devices = 1 if mode == "jit" else jax.device_count()
        log = MetricLog(directory, experiment, resumed_at=first if resume else None)
        try:
            with TrainingDisplay(console, experiment.name, first, experiment.steps) as display:
                display.say(
                    f"{experiment.name}: steps {first + 1} to {experiment.steps} in mode {mode} "
                    f"on {devices} x {jax.devices()[0].device_kind}, into {directory}"
                )
                reader = MetricReader(experiment.log_every, algorithm.examples, log, display)
                reader.good = manager.directory / str(first) if first else None
                session = _Session(
                    experiment, directory, dataset, algorithm, compiled, manager, log, reader
                )
                state = _run(session, state, first)
                display.say(f"done; samples in {directory / 'samples'}")
        finally:
            log.close()
    for path in checkpoint.export_weights(state, directory):
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)


class _Session(NamedTuple):
    """What stays the same while a run goes on."""

    experiment: Experiment
    directory: Path
    dataset: Dataset
    algorithm: Algorithm
    compiled: Compiled
    manager: ocp.CheckpointManager
    log: MetricLog
    reader: MetricReader


def _run(session: _Session, state: State, first: int) -> State:
    """Makes the steps after `first`, with all that happens in between."""
    experiment, dataset, reader = session.experiment, session.dataset, session.reader
    size, examples = len(dataset.images), session.algorithm.examples
    sampler = make_sampler(session.algorithm)
    draw_picture = make_picture(session.algorithm, sampler, dataset)
    grid_key = stream(jax.random.key(experiment.seed), "grid")
    scored = min(_SCORED if dataset.modes is None else _SCORED_POINTS, size)
    real = dataset.images[batch_indices(0, scored, size, experiment.seed)]

    for step in range(first + 1, experiment.steps + 1):
        index = batch_indices(step - 1, examples, size, experiment.seed)
        state, metrics = session.compiled.step(
            state, session.compiled.place(_gather(dataset, index))
        )
        # The metrics of the step before are read while this one runs.
        if (step - 1) % experiment.log_every == 0:
            reader.read()
        reader.add(step, metrics)
        last = step == experiment.steps
        if last or step % experiment.sample_every == 0:
            reader.read()
            path = session.directory / "samples" / f"step_{step:08d}.png"
            draw_picture(path, state, grid_key)
        if last or step % experiment.checkpoint_every == 0:
            reader.read()
            score, evaluation = score_samples(dataset, real, sampler(state, grid_key, scored, None))
            session.log.write(step, evaluation)
            checkpoint.save(session.manager, step, state, score)
            reader.good = session.manager.directory / str(step)
    session.manager.wait_until_finished()
    return state


def _gather(dataset: Dataset, index: np.ndarray) -> Batch:
    batch = {"image": dataset.images[index]}
    if dataset.labels is not None:
        batch["label"] = dataset.labels[index]
    return batch
