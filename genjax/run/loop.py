"""The host's side of training: feeds the compiled step and writes what it reports.

It knows nothing of any family of models.
"""

import contextlib
import dataclasses
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from rich.console import Console

from genjax.config import Experiment
from genjax.core.algorithm import Algorithm
from genjax.core.compiler import xla_options
from genjax.core.parallel import Compiled, choose_mode, compile_step, copy_to, mapped_axis
from genjax.core.rng import stream
from genjax.core.types import State
from genjax.data.order import batch_indices
from genjax.data.sources import Dataset
from genjax.errors import RunFailed, UserError
from genjax.evals.scores import Scorer, make_scorer
from genjax.families.registry import make_algorithm
from genjax.run import checkpoint
from genjax.run import directory as run_directory
from genjax.run.console import TrainingDisplay, print_line
from genjax.run.feed import make_feeder
from genjax.run.interrupts import Stopped
from genjax.run.logs import Log, import_wandb, open_log
from genjax.run.metrics import MetricReader
from genjax.run.monitor import Diverged, Monitor, check_finite
from genjax.run.processes import end_if_several, first_does, is_first, local
from genjax.run.recorder import Recorder
from genjax.run.sampling import make_picture, make_sampler

_ROLLBACKS = 3


def train(
    experiment: Experiment,
    directory: Path,
    dataset: Dataset,
    console: Console,
    resume: bool = False,
    stop: Callable[[int], Any] = lambda step: None,
) -> None:
    """Runs an experiment to its last step.

    Args:
      experiment: the configuration.
      directory: of the run; new, or that of the run to resume.
      dataset: the images to learn from.
      console: where progress is shown.
      resume: go on from the latest checkpoint in `directory`, or from the start without one.
      stop: asked after each call with the steps made; if it returns something true, the state is
        saved.

    Raises:
      Stopped: after that.
      UserError: the configuration does not fit the data or the devices, or the folder is taken, if
        only by another process that is at work on the run.
      RunFailed: a metric is no longer finite, or the run has collapsed, and the configuration says
        to stop, or three times of going back did not help.
    """
    mode = choose_mode(experiment.mode, jax.devices())
    axis_name = mapped_axis(mode)
    algorithm = make_algorithm(experiment, dataset.images.shape[1:], dataset.classes, axis_name)
    compiled = compile_step(algorithm, mode, jax.devices())
    batch_indices(0, algorithm.examples, len(dataset.images), experiment.seed)
    # What can't work shows before anything is written.
    jax.eval_shape(algorithm.init, jax.random.key(experiment.seed))
    if experiment.wandb:
        import_wandb()
    score = make_scorer(experiment.eval, dataset, experiment.seed)

    devices = 1 if mode == "jit" else jax.device_count()
    where = f"mode {mode} on {devices} x {jax.devices()[0].device_kind}, into {directory}"
    if jax.process_count() > 1:
        where = f"{jax.process_count()} processes, {where}"
    for name, value in xla_options().items():
        said = f"XLA's option {name} is {value} (GENJAX_XLA_OPTIONS=default sets none)"
        print_line(console, said)
    with contextlib.ExitStack() as stack:

        def begin() -> None:
            if not resume:
                run_directory.check_new(directory)
            stack.enter_context(run_directory.claim(directory))
            if not resume:
                run_directory.create(directory, experiment, dataset)

        first_does(begin)
        manager = stack.enter_context(
            checkpoint.open_checkpoints(directory / "checkpoints", experiment.keep_checkpoints)
        )
        session = _Session(
            experiment,
            directory,
            dataset,
            algorithm,
            compiled,
            manager,
            score,
            console,
            where,
            stop,
        )
        failure = None
        while True:
            try:
                state = _continue(session, resume or failure is not None, failure)
                if is_first():
                    for path in checkpoint.export_weights(local(state), directory):
                        print_line(console, f"wrote {path}")
                break
            except Diverged as diverged:
                failure = _go_back(session, diverged)
            except (Stopped, UserError):
                raise
            except BaseException as error:
                again = f"genjax resume {shlex.quote(str(directory))}"
                end_if_several(error, again)
                if isinstance(error, OSError):
                    left = f"make room if the disk is full; `{again}` continues"
                    raise RunFailed(f"cannot write into {directory}: {error}", left) from error
                raise


class _Session(NamedTuple):
    """What stays the same while a run goes on."""

    experiment: Experiment
    directory: Path
    dataset: Dataset
    algorithm: Algorithm
    compiled: Compiled
    manager: ocp.CheckpointManager
    score: Scorer
    console: Console
    where: str
    stop: Callable[[int], Any]


def _continue(session: _Session, resume: bool, failure: str | None) -> State:
    """Runs from the latest checkpoint, or from the start, to the last step."""
    experiment, directory, manager = session.experiment, session.directory, session.manager
    key = jax.random.key(experiment.seed)
    found = checkpoint.restore_newest(
        manager,
        session.algorithm.init,
        key,
        session.compiled.sharding,
        partial(print_line, session.console),
    )
    first, state = (0, session.compiled.init(key)) if found is None else found
    if first > experiment.steps:
        raise UserError(f"{directory} is already at step {first}; give --steps above {first}")
    if first == experiment.steps:
        # No mistake: a job may be killed after its last step, perhaps before its weights are
        # written, and be taken up again.
        said = f"{directory} is already at step {first}; --steps above {first} trains further"
        print_line(session.console, said)
        return state
    monitor = Monitor(experiment.monitor)
    if resume:
        for line in run_directory.read_metrics(directory, first):
            monitor.observe(line)
        first_does(lambda: run_directory.extend(directory, experiment, first, failure))
    if failure is not None:
        number = run_directory.count_failures(directory)
        other = stream(key, "rollback", number)
        state = dataclasses.replace(state, key=copy_to(state.key.sharding, other))
    log = open_log(directory, experiment, resumed_at=first if resume else None)
    try:
        with TrainingDisplay(session.console, experiment.name, first, experiment.steps) as display:
            display.say(
                f"{experiment.name}: steps {first + 1} to {experiment.steps} in {session.where}"
            )
            state = _run(session, state, first, monitor, log, display)
            display.say(f"done; samples in {directory / 'samples'}")
    finally:
        log.close()
    return state


def _run(
    session: _Session,
    state: State,
    first: int,
    monitor: Monitor,
    log: Log,
    display: TrainingDisplay,
) -> State:
    """Makes the steps after `first`, with all that happens in between."""
    experiment, dataset, compiled = session.experiment, session.dataset, session.compiled
    examples = session.algorithm.examples
    feeder = make_feeder([experiment], dataset, compiled, examples)
    sampler = make_sampler(session.algorithm)
    recorder = Recorder(
        experiment,
        session.directory,
        session.manager,
        log,
        monitor,
        session.score,
        sampler,
        make_picture(session.algorithm, sampler, dataset),
        display.say,
    )

    def write(step: int, metrics: dict[str, Any]) -> None:
        display.metrics(step, metrics)
        recorder.write(step, metrics)

    reader = MetricReader(experiment.log_every, examples, check_finite, write, display)
    for before in range(first, experiment.steps, experiment.steps_per_call):
        state, metrics = compiled.step(state, feeder.data, feeder.batches(before))
        step = before + experiment.steps_per_call
        # What is due is read while these steps run.
        if reader.due:
            reader.read()
        reader.add(before, metrics)
        if recorder.due(step):
            reader.read()
            recorder.visit(step, state)
        if step < experiment.steps and session.stop(step):
            reader.read()
            recorder.save(step, state)
            raise Stopped(step)
    checkpoint.wait(session.manager)
    return state


def _go_back(session: _Session, diverged: Diverged) -> str:
    """Drops what was written since the run was last well, and says why; or ends the run."""
    experiment, manager = session.experiment, session.manager
    checkpoint.wait(manager)
    latest = manager.latest_step()
    left = f"the last good checkpoint is {manager.directory / str(latest)}"
    if latest is None:
        left = "no checkpoint was written before"
    if (experiment.on_collapse if diverged.collapsed else experiment.on_nan) == "stop":
        raise RunFailed(str(diverged), left) from None
    number = run_directory.count_failures(session.directory) + 1
    if number > _ROLLBACKS:
        raise RunFailed(
            f"{diverged}; going back ({_ROLLBACKS} of {_ROLLBACKS}) did not help", left
        ) from None
    good = checkpoint.drop_unhealthy(manager) if diverged.collapsed else latest
    if good is None and latest is not None:
        raise RunFailed(str(diverged), "no checkpoint is from before the collapse") from None
    where = "the start" if good is None else f"step {good}"
    again = f"going back to {where} with other noise ({number} of {_ROLLBACKS})"
    print_line(session.console, f"{diverged}; {again}")
    return str(diverged)
