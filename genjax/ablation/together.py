"""Trains several runs of one structure in one compiled program, each with files of its own."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console

from genjax.ablation.scalars import varying, with_scalars
from genjax.config import Experiment
from genjax.core.compiler import jit
from genjax.core.parallel import repeat
from genjax.core.types import Batch, Key, Metrics, State
from genjax.data.sources import Dataset
from genjax.evals.scores import make_scorer
from genjax.families.registry import make_algorithm
from genjax.run import checkpoint
from genjax.run import directory as run_directory
from genjax.run.console import TrainingDisplay
from genjax.run.feed import make_feeder
from genjax.run.logs import MetricLog
from genjax.run.metrics import MetricReader
from genjax.run.monitor import Diverged, Monitor, check_finite
from genjax.run.recorder import Recorder
from genjax.run.sampling import make_picture, make_sampler

Together = Literal["vmap", "scan"]


class Joined(NamedTuple):
    """Several runs' step, compiled as one.

    Attributes:
      init: ``(key) -> state`` of one run.
      load: ``(arrays by name) -> data``: a whole data set, copied to each device.
      place: ``(tree) -> batches``: arrays [runs, steps, examples, ...], on the devices.
      step: ``(states, data, batches) -> (states, metrics)``, states with a first axis [runs] and
        metrics [runs, steps]; otherwise as `genjax.core.parallel.Compiled` has it.
      examples: in a step of a run.
    """

    init: Callable[[Key], State]
    load: Callable[[Batch], Batch]
    place: Callable[[Any], Any]
    step: Callable[[State, Batch | None, Any], tuple[State, Metrics]]
    examples: int


def stack_states(states: Sequence[State]) -> State:
    """Joins states of several runs along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def take_state(states: State, run: int) -> State:
    """The state of one of several runs."""
    return jax.tree.map(lambda leaf: leaf[run], states)


def compile_together(
    experiments: Sequence[Experiment],
    image: tuple[int, int, int],
    classes: int,
    how: Together,
    devices: Sequence[jax.Device],
) -> Joined:
    """Compiles the step of several runs.

    Args:
      experiments: of the runs, of one `genjax.ablation.scalars.structure`.
      image: (height, width, channels) of the data.
      classes: number of class labels; 0 without labels.
      how: ``vmap`` makes each operation once, for all runs; where there are several devices and
        the runs can be split evenly, each has some. ``scan`` makes the step of one run after the
        other, within the program.
      devices: the devices to use.

    Returns:
      The compiled functions.
    """
    values = varying(experiments)
    scalars = list(values.values())

    def one(state: State, own: list[Any], data: Batch | None, batches: Any) -> Any:
        experiment = with_scalars(experiments[0], dict(zip(values, own, strict=True)))
        step = make_algorithm(experiment, image, classes).step
        return repeat(step)(state, data, batches)

    def all_runs(states: State, data: Batch | None, batches: Any) -> Any:
        if how == "vmap":
            return jax.vmap(one, in_axes=(0, 0, None, 0))(states, scalars, data, batches)
        own = (states, [jnp.asarray(value) for value in scalars], batches)
        return jax.lax.map(lambda x: one(x[0], x[1], data, x[2]), own)

    algorithm = make_algorithm(experiments[0], image, classes)
    init = jit(algorithm.init)
    if how == "vmap" and len(devices) > 1 and len(experiments) % len(devices) == 0:
        mesh = Mesh(devices, ("runs",))
        split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("runs",), ()))
        step = jit(
            all_runs,
            donate_argnums=0,
            in_shardings=(split, whole, split),
            out_shardings=(split, split),
        )
        load, place = (
            lambda tree, where=where: jax.device_put(tree, where) for where in (whole, split)
        )
        return Joined(init, load, place, step, algorithm.examples)
    step = jit(all_runs, donate_argnums=0)
    return Joined(init, jax.device_put, jax.device_put, step, algorithm.examples)


def train_together(
    experiments: Sequence[Experiment],
    directories: Sequence[Path],
    dataset: Dataset,
    how: Together,
    console: Console,
    fail: Callable[[int, str], None],
    left: Sequence[int] = (),
) -> None:
    """Trains several runs to their last step, from where all of them are.

    Each run has the files of a run that is trained alone, but for its weights, and the same numbers
    up to rounding. One that diverges, or collapses where its configuration says to stop, is left
    behind and the others go on.

    Args:
      experiments: of the runs, of one `genjax.ablation.scalars.structure`.
      directories: of the runs; those that are there are taken up again.
      dataset: the data that all train on.
      how: see `compile_together`.
      console: where progress is shown.
      fail: told which run is left behind, and why.
      left: runs that are to be left behind from the beginning.
    """
    image, classes = dataset.images.shape[1:], dataset.classes
    joined = compile_together(experiments, image, classes, how, jax.devices())
    algorithm = make_algorithm(experiments[0], image, classes)
    steps, calls = experiments[0].steps, experiments[0].steps_per_call
    living = [run for run in range(len(experiments)) if run not in left]
    lost: set[int] = set()
    with contextlib.ExitStack() as stack:
        managers = {}
        for run in living:
            stack.enter_context(run_directory.claim(directories[run]))
            if not (directories[run] / "config.json").exists():
                run_directory.create(directories[run], experiments[run], dataset)
            managers[run] = stack.enter_context(
                checkpoint.open_checkpoints(
                    directories[run] / "checkpoints", experiments[run].keep_checkpoints
                )
            )
        first = _common_step(managers)
        if first >= steps or not living:
            return
        states = stack_states(
            [
                _state_at(joined, experiment, managers.get(run), first)
                for run, experiment in enumerate(experiments)
            ]
        )
        label = f"{experiments[living[0]].name}, {len(living)} runs"
        display = stack.enter_context(TrainingDisplay(console, label, first, steps))
        sampler = make_sampler(algorithm)
        draw_picture = make_picture(algorithm, sampler, dataset)
        recorders = {}
        for run in living:
            experiment, directory = experiments[run], directories[run]
            monitor = Monitor(experiment.monitor)
            for line in run_directory.read_metrics(directory, first):
                monitor.observe(line)
            run_directory.extend(directory, experiment, first)
            log = MetricLog(directory, experiment, resumed_at=first)
            stack.callback(log.close)
            recorders[run] = Recorder(
                experiment,
                directory,
                managers[run],
                log,
                monitor,
                make_scorer(experiment.eval, dataset, experiment.seed),
                sampler,
                draw_picture,
                partial(_say, display, directory.name),
            )

        def each(action: Callable[[int], None]) -> None:
            """Lets every run that is still well do something."""
            for run in [run for run in living if run not in lost]:
                try:
                    action(run)
                except Diverged as diverged:
                    lost.add(run)
                    fail(run, str(diverged))

        def own(metrics: dict[str, Any], run: int) -> dict[str, float]:
            return {
                name: float(value if isinstance(value, float) else value[run])
                for name, value in metrics.items()
            }

        def check(step: int, metrics: dict[str, Any]) -> None:
            each(lambda run: check_finite(step, own(metrics, run)))

        def write(step: int, metrics: dict[str, Any]) -> None:
            # Its share of what the step takes.
            metrics["seconds_per_step"] = metrics.get("seconds_per_step", 0.0) / len(experiments)
            display.metrics(step, own(metrics, living[0]))
            each(lambda run: recorders[run].write(step, own(metrics, run)))

        feeder = make_feeder(experiments, dataset, joined, joined.examples)
        examples = joined.examples * len(experiments)
        reader = MetricReader(experiments[0].log_every, examples, check, write, display)
        for before in range(first, steps, calls):
            states, metrics = joined.step(states, feeder.data, feeder.batches(before))
            step = before + calls
            if reader.due:
                reader.read()
            reader.add(before, metrics)
            if any(recorder.due(step) for recorder in recorders.values()):
                reader.read()
                each(partial(_visit, recorders, step, states))
            if len(lost) == len(living):
                break
        for run in living:
            checkpoint.wait(managers[run])


def _say(display: TrainingDisplay, name: str, words: str) -> None:
    display.say(f"{name}: {words}")


def _visit(recorders: Mapping[int, Recorder], step: int, states: State, run: int) -> None:
    recorders[run].visit(step, take_state(states, run))


def _common_step(managers: Mapping[int, ocp.CheckpointManager]) -> int:
    """The latest step that all runs have a checkpoint of; later ones are deleted."""
    steps = [set(manager.all_steps()) for manager in managers.values()]
    common = max(set.intersection(*steps), default=0) if steps else 0
    for manager in managers.values():
        for step in manager.all_steps():
            if step > common:
                manager.delete(step)
    return common


def _state_at(
    joined: Joined, experiment: Experiment, manager: ocp.CheckpointManager | None, step: int
) -> State:
    """A run's state at a step; that of its start for a run that was left behind."""
    key = jax.random.key(experiment.seed)
    if manager is None or not step:
        return joined.init(key)
    return checkpoint.restore(manager, step, joined.init, key, None)
