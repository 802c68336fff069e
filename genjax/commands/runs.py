"""``genjax train | resume | rerun``."""

import dataclasses
import math
import shlex
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tyro.conf import Positional

from genjax.commands.arguments import (
    console,
    fail,
    parse,
    progress,
    say,
    with_values,
)
from genjax.commands.flags import Chosen, Plugins, prepare
from genjax.config import Experiment
from genjax.config.fields import named_runs
from genjax.data.progress import no_progress
from genjax.errors import RunFailed, UserError

if TYPE_CHECKING:
    from genjax.core.schema import Source

_MOST_EPOCHS = 10**6


def train(arguments: list[str]) -> None:
    """Train a preset: genjax train [PRESET] [--steps N] [--seed S] [--out DIR] [--FIELD VALUE]."""
    prepared = prepare(with_values(arguments, ("--quiet",)))

    def run(
        experiment: Chosen = prepared.experiment,
        config: Path | None = None,
        plugin: Plugins = (),
        out: Path | None = None,
        epochs: float | None = None,
        quiet: bool = False,
        profile: int | None = None,
        distributed: str | None = None,
    ) -> None:
        """Train a model. Every field of the preset's configuration can be overridden.

        The name of a network, an optimizer or a schedule decides which further flags it has.

        Args:
          experiment: the configuration.
          config: YAML or JSON file with some fields of the configuration, or all; flags go before
            it, and it goes before the preset.
          plugin: Python file that registers what the configuration can then name; may be given
            several times.
          out: Folder of the run, new; None makes one below runs/.
          epochs: Passes over the data, in place of --steps; rounded up to whole steps.
          quiet: Print nothing but errors; metrics and samples are in the run's folder.
          profile: Steps to record in an XLA trace, from the third call on; it lies in the run's
            folder profile, for TensorBoard or xprof.
          distributed: For one of several processes: auto takes what SLURM, Open MPI, Kubernetes or
            Cloud TPU say of the others; elsewhere HOST:PORT,COUNT,INDEX.
        """
        from genjax.data.sources import load, load_held_out
        from genjax.run.directory import check_new
        from genjax.run.loop import train as train_loop
        from genjax.run.opening import check_trained

        check_trained(experiment)
        name = Path(experiment.name).name or "run"
        directory = out or Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        if distributed is None:
            check_new(directory)
        elif out is None:
            raise UserError("--distributed needs --out: the folder that all processes share")
        shown = no_progress if quiet else progress
        source, held_out = load(experiment.data, shown), load_held_out(experiment.data, shown)
        if epochs is not None:
            if any(argument.partition("=")[0] == "--steps" for argument in arguments):
                raise UserError("--epochs and --steps both say how long to train; give one of them")
            if distributed is not None and named_runs(experiment.model, trains=True):
                # Its networks can't be read before the processes have met.
                raise UserError(
                    "--epochs is not for --distributed with another run's networks; give --steps"
                )
            experiment = _with_epochs(experiment, epochs, source)
        _guard(
            distributed,
            directory,
            partial(train_loop, held_out=held_out, profile=profile),
            experiment,
            directory,
            source,
            shown_on=Console(quiet=True) if quiet else console,
        )

    run.__name__ = "train"
    prog = f"genjax train {prepared.preset}"
    parse(run, prepared.arguments, prog, registry=prepared.registry)


def resume(arguments: list[str]) -> None:
    """Continue a run from its latest checkpoint: genjax resume RUN_DIR [--steps N]."""

    def run(
        run_dir: Positional[Path], steps: int | None = None, distributed: str | None = None
    ) -> None:
        """Continue a run from its latest checkpoint, bit for bit as if it had never stopped.

        Args:
          run_dir: Folder of the run.
          steps: Steps to reach; None keeps what the run was started with.
          distributed: For one of several processes, as of genjax train; their number need not be
            that of before.
        """
        from genjax.data.sources import load, load_held_out
        from genjax.run.directory import read_config
        from genjax.run.loop import train as train_loop
        from genjax.run.opening import check_trained

        experiment = read_config(run_dir)
        check_trained(experiment)
        if steps is not None:
            experiment = dataclasses.replace(experiment, steps=steps)
        source, held_out = load(experiment.data, progress), load_held_out(experiment.data, progress)
        again = partial(train_loop, held_out=held_out, resume=True)
        _guard(distributed, run_dir, again, experiment, run_dir, source)

    parse(run, arguments, "genjax resume")


def rerun(arguments: list[str]) -> None:
    """Repeat a run, and say whether the result is identical: genjax rerun RUN_DIR [--out DIR]."""

    def run(run_dir: Positional[Path], out: Path | None = None) -> None:
        """Train a finished run once more from its start, and compare bit for bit.

        Ends with status 1 if the results differ.

        Args:
          run_dir: Folder of the run.
          out: Folder of the repetition, new; RUN_DIR-rerun by default.
        """
        from genjax.data.sources import load, load_held_out
        from genjax.run.directory import check_new, read_config
        from genjax.run.opening import check_trained
        from genjax.run.rerun import rerun as repeat

        experiment = read_config(run_dir)
        check_trained(experiment)
        # The folder that one is in has no name of its own.
        named = run_dir if run_dir.name else run_dir.absolute()
        directory = out or named.with_name(run_dir.absolute().name + "-rerun")
        check_new(directory)
        source, held_out = load(experiment.data, progress), load_held_out(experiment.data, progress)
        different, changed = repeat(run_dir, directory, source, console, held_out)
        for line in changed:
            say(f"changed: {line}")
        for line in different:
            say(f"different: {line}")
        if different:
            raise RunFailed(f"{directory} is not identical to {run_dir}")
        say(f"identical: metrics and weights of {directory} and {run_dir} are the same bits")

    parse(run, arguments, "genjax rerun")


def _with_epochs(experiment: Experiment, epochs: float, source: "Source") -> Experiment:
    """An experiment of as many steps as take so many passes over the data."""
    from genjax.run.opening import open_algorithm

    if not 0 < epochs <= _MOST_EPOCHS:
        raise UserError(f"--epochs is {epochs:g}; it must be above 0, at most {_MOST_EPOCHS:,}")
    examples = open_algorithm(experiment, source.schema).examples * experiment.steps_per_call
    calls = math.ceil(epochs * source.count / examples)
    return dataclasses.replace(experiment, steps=calls * experiment.steps_per_call)


def _guard(
    distributed: str | None,
    directory: Path,
    run: Callable[..., None],
    *args: Any,
    shown_on: Console = console,
    **kwargs: Any,
) -> None:
    """Runs a training; asked to end, it saves, and names the command that takes it up again."""
    from genjax.run.interrupts import Stopped, requests_to_stop

    again = f"genjax resume {shlex.quote(str(directory))}"
    if distributed is not None:
        _run_distributed(distributed, again, partial(run, *args, **kwargs))
        return
    with requests_to_stop() as asked:
        try:
            run(*args, shown_on, stop=lambda step: asked(), **kwargs)
        except Stopped as stopped:
            fail(f"{stopped}; `{again}` continues from there", 128 + (asked() or 0))
        except KeyboardInterrupt:
            fail(f"interrupted; `{again}` continues from the latest checkpoint", 130)


def _run_distributed(distributed: str, again: str, run: Callable[..., None]) -> None:
    """Runs a training as one of several processes."""
    from genjax.run import processes
    from genjax.run.interrupts import Stopped

    processes.join(processes.parse_address(distributed))
    first = processes.is_first()
    try:
        run(console if first else Console(quiet=True), stop=processes.asked_to_stop)
    except Stopped as stopped:
        if first:
            fail(f"{stopped}; `{again}` continues from there", 128 + signal.SIGTERM)
        sys.exit(128 + signal.SIGTERM)
