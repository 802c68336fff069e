"""The command line: ``genjax train | resume | sample | presets | data``.

Modules that import JAX are imported by the commands that need them, so that help is instant.
"""

import contextlib
import functools
import io
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from genjax.config import Experiment
from genjax.console import track
from genjax.errors import RunFailed, UserError, suggest
from genjax.presets import DEFAULT, PRESETS, preset

if TYPE_CHECKING:
    from genjax.checkpoint import Which
    from genjax.data.importer import Imported

T = TypeVar("T")

_console = Console()


def train(arguments: list[str]) -> None:
    """Train a preset: genjax train [PRESET] [--steps N] [--seed S] [--out DIR] [--FIELD VALUE]."""
    named = bool(arguments) and not arguments[0].startswith("-")
    default = preset(arguments[0] if named else DEFAULT)

    def run(
        experiment: Annotated[Experiment, tyro.conf.arg(name="")] = default,
        out: Path | None = None,
    ) -> None:
        """Train a model. Every field of the preset's configuration can be overridden.

        Args:
          experiment: the configuration.
          out: Folder of the run, new; None makes one below runs/.
        """
        from genjax.data.sources import load
        from genjax.loop import train as train_loop
        from genjax.run_directory import check_new

        name = Path(experiment.name).name or "run"
        directory = out or Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        check_new(directory)
        dataset = load(experiment.data, _progress)
        _guard(directory, train_loop, experiment, directory, dataset, _console)

    run.__name__ = "train"
    _parse(run, arguments[named:], f"genjax train {default.name}")


def resume(arguments: list[str]) -> None:
    """Continue a run from its latest checkpoint: genjax resume RUN_DIR [--steps N]."""

    def run(run_dir: Positional[Path], steps: int | None = None) -> None:
        """Continue a run from its latest checkpoint, bit for bit as if it had never stopped.

        Args:
          run_dir: Folder of the run.
          steps: Steps to reach; None keeps what the run was started with.
        """
        import dataclasses

        from genjax.data.sources import load
        from genjax.loop import train as train_loop
        from genjax.run_directory import read_config

        experiment = read_config(run_dir)
        if steps is not None:
            experiment = dataclasses.replace(experiment, steps=steps)
        dataset = load(experiment.data, _progress)
        _guard(run_dir, train_loop, experiment, run_dir, dataset, _console, resume=True)

    _parse(run, arguments, "genjax resume")


def sample(arguments: list[str]) -> None:
    """Draw samples from a run: genjax sample RUN_DIR [--n 64] [--label 3] [--out grid.png]."""

    def run(
        run_dir: Positional[Path],
        n: int = 64,
        seed: int = 0,
        out: Path | None = None,
        npz: Path | None = None,
        checkpoint: str = "last",
        label: int | None = None,
        per_class: int | None = None,
    ) -> None:
        """Draw samples from a trained model, as a picture or as an array.

        Args:
          run_dir: Folder of the run.
          n: How many samples.
          seed: Seed of the series; sample i of a seed is the same whatever n.
          out: PNG file of a grid; without --out and --npz it is samples.png in the run's folder.
          npz: File for the samples as an array: images, uint8 [n, height, width, channels], and of
            a conditional model labels.
          checkpoint: last, best, or the step of a checkpoint.
          label: Class of all samples; None takes the classes in turn.
          per_class: Samples of each class, one class a row, instead of --n and --label.
        """
        for flag, value in (("--n", n), ("--per-class", per_class)):
            if value is not None and value < 1:
                raise UserError(f"{flag} is {value}; it must be at least 1")
        which = _which(checkpoint)
        files = [file for file in (out, npz) if file is not None]
        for file in files:
            if not file.absolute().parent.is_dir():
                raise UserError(f"cannot write {file}: {file.absolute().parent} is not a folder")
        if not files:
            out = run_dir / "samples.png"
        import numpy as np

        from genjax.grid import save_grid
        from genjax.sampling import sample_run

        drawn = sample_run(run_dir, seed, which, n, label, per_class)
        if out is not None:
            save_grid(out, drawn.images, per_class)
        if npz is not None:
            arrays: dict[str, Any] = {"images": drawn.images}
            if drawn.labels is not None:
                arrays["labels"] = drawn.labels
            with npz.open("wb") as stream:
                np.savez_compressed(stream, **arrays)
        written = " and ".join(str(file) for file in (out, npz) if file is not None)
        _say(f"wrote {len(drawn.images)} samples of step {drawn.step}, seed {seed}, to {written}")

    _parse(run, arguments, "genjax sample")


def presets(arguments: list[str]) -> None:
    """List the presets: name, family, data, resolution, parameters."""

    def run() -> None:
        """List the presets."""
        from genjax.data.standard import image_and_classes
        from genjax.families import count_parameters

        table = Table(
            "name", "family", "data", "resolution", "parameters", box=None, pad_edge=False
        )
        for name, experiment in PRESETS.items():
            image, classes = image_and_classes(experiment.data.name)
            counts = count_parameters(experiment, image, classes)
            parameters = ", ".join(f"{player} {count:,}" for player, count in counts.items())
            family = experiment.model.family
            size = "x".join(map(str, image))
            table.add_row(name, family, experiment.data.name, size, parameters)
        _console.print(table, soft_wrap=True)

    _parse(run, arguments, "genjax presets")


def data(arguments: list[str]) -> None:
    """Manage data sets: genjax data list | prepare NAME | import NAME --from DIR."""

    def list_(directory: Path | None = None) -> None:
        """List the data sets and where they are.

        Args:
          directory: Folder of prepared sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
        """
        from genjax.data.listing import list_datasets

        table = Table("name", "status", "images", "where", box=None, pad_edge=False)
        for row in list_datasets(directory):
            table.add_row(row.name, row.status, _splits(row.splits), row.where)
        _console.print(table, soft_wrap=True)

    def prepare(name: Positional[str], directory: Path | None = None) -> None:
        """Download a data set once and store it in the form that training reads.

        Args:
          name: Data set, by its name in TensorFlow Datasets.
          directory: Folder of prepared sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
        """
        from genjax.data.prepare import prepare_dataset

        _report_import(prepare_dataset(name, directory, _progress))

    def import_(
        name: Positional[str],
        source: Annotated[Path, tyro.conf.arg(name="from")],
        directory: Path | None = None,
        resolution: int | None = None,
    ) -> None:
        """Turn files at hand into a data set.

        Args:
          name: Name to give it; a standard set's name checks that the files are that set.
          source: IDX files, an .npz file, or a folder of class folders of PNG or JPEG images,
            perhaps below train/ and test/.
          directory: Folder of prepared sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
          resolution: Side in pixels to resize images to, for files of mixed sizes.
        """
        from genjax.data.importer import import_dataset

        _report_import(import_dataset(name, source, directory, _progress, resolution))

    actions: dict[str, Callable[..., None]] = {"list": list_, "prepare": prepare, "import": import_}
    if not arguments or arguments[0] in ("-h", "--help"):
        _help("genjax data", actions, data.__doc__)
        return
    action = arguments[0]
    if action not in actions:
        raise UserError(f"unknown command 'data {action}'; {suggest(action, actions)}")
    _parse(actions[action], arguments[1:], f"genjax data {action}")


def _splits(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in splits.items())


def _report_import(imported: "Imported") -> None:
    for warning in imported.warnings:
        _say(f"warning: {warning}")
    size = "x".join("?" if side is None else str(side) for side in imported.shape)
    _say(
        f"{imported.name}: {_splits(imported.splits)} images of {size}, "
        f"{imported.classes} classes, in {imported.path}"
    )


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": train,
    "resume": resume,
    "sample": sample,
    "presets": presets,
    "data": data,
}


def main() -> None:
    """Entry point; exits with 0, 1 for a run that failed, 2 for the user's mistakes."""
    arguments = sys.argv[1:]
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            _help("genjax", COMMANDS, "Generative models in JAX.")
        elif arguments[0] == "--version":
            import importlib.metadata

            _say(f"genjax {importlib.metadata.version('genjax')}")
        elif arguments[0] not in COMMANDS:
            hint = suggest(arguments[0], COMMANDS)
            raise UserError(f"unknown command {arguments[0]!r}; {hint}")
        else:
            COMMANDS[arguments[0]](arguments[1:])
    except UserError as error:
        _fail(str(error), 2)
    except (RunFailed, OSError) as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _say(message: str) -> None:
    _console.print(message, highlight=False, markup=False, soft_wrap=True)


def _fail(message: str, status: int) -> None:
    print(f"genjax: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


def _help(prog: str, commands: dict[str, Any], text: str | None) -> None:
    _say(f"usage: {prog} COMMAND ...\n\n{text}\n")
    for name, command in commands.items():
        _say(f"  {name:<10} {command.__doc__.splitlines()[0]}")
    _say(f"\n`{prog} COMMAND --help` lists what a command takes.")


def _progress(items: Iterable[T], description: str, total: int) -> Iterable[T]:
    return track(_console, items, description, total)


def _guard(directory: Path, run: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Runs a training; an interrupt ends it with the command that takes it up again."""
    try:
        run(*args, **kwargs)
    except KeyboardInterrupt:
        again = f"genjax resume {shlex.quote(str(directory))}"
        _fail(f"interrupted; `{again}` continues from the latest checkpoint", 130)


def _which(value: str) -> "Which":
    if value == "last":
        return "last"
    if value == "best":
        return "best"
    if value.isdecimal():
        return int(value)
    raise UserError(f"--checkpoint is {value!r}; choices: last, best, or a step")


def _parse(run: Callable[..., None], arguments: list[str], prog: str) -> None:
    """Calls a function with parsed flags; mistakes in them become one-line errors."""

    @functools.wraps(run)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(run, *args, **kwargs)

    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            call = tyro.cli(
                bind,
                prog=prog,
                args=arguments,
                config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(_one_line(captured.getvalue(), prog)) from None
    call()


def _one_line(box: str, prog: str) -> str:
    """Takes the sentence, and the flags that were perhaps meant, out of tyro's framed message.

    The frame is drawn with hyphens where the terminal knows no other lines.
    """
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()]
    sections = [""]
    for line in lines[1:]:
        if line and not line.strip("─-"):
            sections.append("")
        elif line:
            sections[-1] += line + " "
    sections = [section for section in sections if section]
    message = re.split(r" Got errors:", sections[0])[0].strip().rstrip(".")
    suggestions = [part for part in sections if part.startswith("Perhaps you meant")]
    if meant := re.findall(r"\s(--[\w.-]+)", " ".join(suggestions)):
        message += f"; did you mean {', '.join(dict.fromkeys(meant))}?"
    return f"{message}; `{prog} --help` lists what it takes"
