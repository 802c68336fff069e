"""``genjax train | resume | rerun | sample``."""

import dataclasses
import math
import shlex
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import Positional

from genjax.commands.arguments import (
    check_file,
    check_range,
    console,
    fail,
    parse,
    parse_checkpoint,
    progress,
    say,
)
from genjax.commands.flags import Chosen, Plugins, prepare
from genjax.commands.sampling import sampling_options
from genjax.config import LARGEST_SEED, MOST_SAMPLES, Experiment
from genjax.data.progress import no_progress
from genjax.errors import RunFailed, UserError

if TYPE_CHECKING:
    from genjax.core.schema import Source

_MOST_EPOCHS = 10**6


def train(arguments: list[str]) -> None:
    """Train a preset: genjax train [PRESET] [--steps N] [--seed S] [--out DIR] [--FIELD VALUE]."""
    prepared = prepare(arguments)

    def run(
        experiment: Chosen = prepared.experiment,
        config: Path | None = None,
        plugin: Plugins = (),
        out: Path | None = None,
        epochs: float | None = None,
        quiet: bool = False,
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
          quiet: Print nothing but errors; what would be printed is in the run's folder.
          distributed: For one of several processes: auto takes what SLURM, Open MPI, Kubernetes or
            Cloud TPU say of the others; elsewhere HOST:PORT,COUNT,INDEX.
        """
        from genjax.data.sources import load, load_held_out
        from genjax.run.directory import check_new
        from genjax.run.loop import train as train_loop

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
            experiment = _with_epochs(experiment, epochs, source)
        _guard(
            distributed,
            directory,
            partial(train_loop, held_out=held_out),
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

        experiment = read_config(run_dir)
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
        from genjax.run.rerun import rerun as repeat

        experiment = read_config(run_dir)
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


def sample(arguments: list[str]) -> None:
    """Draw samples from a run: genjax sample RUN_DIR [--n 64] [--label 3] [--out grid.png]."""
    # Of a family's own flags, such as --temperature, none are there without a run.
    options = sampling_options(arguments)
    usual = options()

    def run(
        run_dir: Positional[Path],
        n: int = 64,
        seed: int = 0,
        out: Path | None = None,
        npz: Path | None = None,
        checkpoint: str = "last",
        average: bool = True,
        label: str | None = None,
        per_class: int | None = None,
        sampling: Annotated[options, tyro.conf.arg(name="")] = usual,  # type: ignore[valid-type]
    ) -> None:
        """Draw samples from a trained model, as a picture or as an array.

        Args:
          run_dir: Folder of the run.
          n: How many samples.
          seed: Seed of the series; sample i of a seed is the same whatever n.
          out: File of what a person looks at, listens to or reads, in the format of its ending: a
            grid as .png, .jpg or .webp, .wav, or .txt; without --out and --npz it is samples.png,
            .wav or .txt in the run's folder.
          npz: File for the samples as an array, such as images, uint8
            [n, height, width, channels], and of a conditional model labels and class_names.
          checkpoint: last, best, or the step of a checkpoint.
          average: Sample from the moving average of the parameters where the run keeps one.
          label: Class of all samples by its name, such as 1 for the class that is named 1, whatever
            its number; a number counts from 0 where no name is one. None takes the classes in turn.
          per_class: Samples of each class, one class a row, instead of --n and --label.
          sampling: How the family of the run draws them; listed by genjax sample RUN_DIR --help.
        """
        check_range("--n", n, 1, MOST_SAMPLES)
        check_range("--per-class", per_class, 1, MOST_SAMPLES)
        check_range("--seed", seed, 0, LARGEST_SEED)
        which = parse_checkpoint(checkpoint)
        check_file(out)
        check_file(npz)
        if npz is not None and out is not None and npz.absolute() == out.absolute():
            raise UserError(f"--out and --npz are both {npz}; name two files")
        if npz is not None and npz.suffix.lower() != ".npz":
            raise UserError(f"--npz is {npz}; it must end in .npz, which is what is written")
        import numpy as np

        from genjax.data.classes import list_names
        from genjax.domains import domain_of
        from genjax.domains.previews import check_ending, save_previews
        from genjax.run.directory import read_config, read_schema
        from genjax.run.sampling import render_samples, sample_run

        read_config(run_dir)
        if out is not None:
            check_ending(out, domain_of(read_schema(run_dir).domain))
        elif npz is None:
            out = run_dir / "samples"
        drawn = sample_run(run_dir, seed, which, n, label, per_class, sampling or None, average)
        files = [] if out is None else save_previews(out, render_samples(drawn, per_class))
        if npz is not None:
            arrays: dict[str, Any] = {domain_of(drawn.schema.domain).plural: drawn.samples}
            if drawn.labels is not None:
                arrays["labels"] = drawn.labels
            if drawn.names:
                arrays["class_names"] = np.array(drawn.names)
            with npz.open("wb") as stream:
                np.savez_compressed(stream, **arrays)
        written = " and ".join(str(file) for file in (*files, npz) if file is not None)
        if per_class is not None and drawn.names and drawn.labels is not None:
            rows = dict.fromkeys(drawn.names[label] for label in drawn.labels)
            say(f"rows, from the top: {list_names(list(rows))}")
        say(f"wrote {len(drawn.samples)} samples of step {drawn.step}, seed {seed}, to {written}")

    parse(run, arguments, "genjax sample")


def _with_epochs(experiment: Experiment, epochs: float, source: "Source") -> Experiment:
    """An experiment of as many steps as take so many passes over the data."""
    from genjax.families.registry import make_algorithm

    if not 0 < epochs <= _MOST_EPOCHS:
        raise UserError(f"--epochs is {epochs:g}; it must be above 0, at most {_MOST_EPOCHS:,}")
    examples = make_algorithm(experiment, source.schema).examples * experiment.steps_per_call
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
