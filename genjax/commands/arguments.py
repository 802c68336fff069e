"""What all commands share: parsing flags, one-line errors, and the terminal."""

import contextlib
import functools
import inspect
import io
import os
import re
import reprlib
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tyro
from rich.console import Console
from rich.text import Text
from tyro.constructors import ConstructorRegistry

from genjax.errors import UserError
from genjax.run.console import print_line, track

if TYPE_CHECKING:
    from genjax.run.checkpoint import Which

T = TypeVar("T")

# What is printed has names and paths in it, which may look like markup.
console = Console(markup=False)


def say(message: str) -> None:
    """Prints one line as it is on the console of the command."""
    print_line(console, message)


def fail(message: str, status: int) -> None:
    """Prints a one-line error and exits."""
    print(f"genjax: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


def show_help(prog: str, commands: dict[str, Any], text: str | None) -> None:
    """Prints the first line of each command's docstring, broken where a terminal ends."""
    place = max(map(len, commands)) + 3
    width = console.width if console.is_terminal else sys.maxsize
    wrapper = textwrap.TextWrapper(
        width, subsequent_indent=place * " ", break_long_words=False, break_on_hyphens=False
    )
    first = "" if text is None else textwrap.fill(text, width)
    say(f"usage: {prog} COMMAND ...\n\n{first}\n")
    for name, command in commands.items():
        say(wrapper.fill(f"{f'  {name}':<{place}}{command.__doc__.splitlines()[0]}"))
    say(f"\n`{prog} COMMAND --help` lists what a command takes.")


def progress(items: Iterable[T], description: str, total: int) -> Iterable[T]:
    """Counts items with a bar in a terminal."""
    return track(console, items, description, total)


def parse_checkpoint(value: str) -> "Which":
    """Reads ``last``, ``best`` or a step; raises UserError for anything else."""
    if value == "last":
        return "last"
    if value == "best":
        return "best"
    # Python refuses to read numbers of thousands of digits.
    if value.isdecimal() and len(value) < 20:
        return int(value)
    raise UserError(f"--checkpoint is {reprlib.repr(value)}; choices: last, best, or a step")


def check_range(flag: str, value: int | None, least: int, most: int) -> None:
    """Refuses a number that no computation takes; None is what was not given.

    Raises:
      UserError: it is below or above its bounds; the message names the flag.
    """
    if value is None or least <= value <= most:
        return
    bound = f"at least {least}" if value < least else f"at most {most:,}"
    raise UserError(f"{flag} is {value}; it must be {bound}")


def check_file(file: Path | None) -> None:
    """Refuses a file to write that can't be one, before there is anything to write.

    Raises:
      UserError: its folder is not there, or it is no file.
    """
    if file is None:
        return
    if not file.absolute().parent.is_dir():
        raise UserError(f"cannot write {file}: {file.absolute().parent} is not a folder")
    # What is no file, such as a device, would be replaced by one.
    if os.path.lexists(file) and not file.is_file():
        raise UserError(f"cannot write {file}: it is a folder or a device; name a file")


def check_arrays(file: Path | None) -> None:
    """`check_file` of arrays, whose ending NumPy would add; raises UserError for another."""
    check_file(file)
    if file is not None and file.suffix.lower() != ".npz":
        raise UserError(f"--npz is {file}; it must end in .npz, which is what is written")


def check_empty(folder: Path | None) -> None:
    """Refuses a folder to write into that holds anything, before there is anything to write.

    Raises:
      UserError: it does, or can't be a folder.
    """
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise UserError(f"cannot write into {folder}: it is no folder; name another")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"cannot write into {folder}: it is not empty; name a new folder")


def make_folder(folder: Path, flag: str = "--out") -> None:
    """Makes a folder where there is none; raises UserError with the flag where it can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{flag} {folder} can't be a folder: {error.strerror}") from None


def with_values(arguments: Sequence[str], switches: Sequence[str]) -> list[str]:
    """Lets switches stand alone, where flags have values.

    Args:
      arguments: of the command line.
      switches: flags that are on when nothing follows them.

    Returns:
      The arguments, with True after each of them that has no value.

    Example:
      >>> with_values(["--quiet", "--steps", "3"], ["--quiet"])
      ['--quiet', 'True', '--steps', '3']
    """
    arguments, found = list(arguments), []
    for place, argument in enumerate(arguments):
        found.append(argument)
        alone = arguments[place + 1 : place + 2] not in (["True"], ["False"])
        if argument.replace("_", "-") in switches and alone:
            found.append("True")
    return found


def parse(
    run: Callable[..., None],
    arguments: Sequence[str],
    prog: str,
    switches: bool = False,
    registry: ConstructorRegistry | None = None,
) -> None:
    """Calls a function with parsed flags; mistakes in them become one-line errors.

    Args:
      run: the function.
      arguments: of the command line.
      prog: the command, for messages.
      switches: bool parameters are ``--name`` and ``--no-name`` instead of ``--name True``.
      registry: makes flags of the function's parameters.
    """

    # The help breaks the lines of an argument where its column ends, and where it finds a break.
    run.__doc__ = re.sub(r"\n {4,}(?=\S)", " ", inspect.cleandoc(run.__doc__ or ""))

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
                config=(
                    tyro.conf.AvoidSubcommands,
                    *(() if switches else (tyro.conf.FlagConversionOff,)),
                ),
                registry=registry,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(_one_line(captured.getvalue(), prog)) from None
    call()


def _one_line(box: str, prog: str) -> str:
    """Takes the sentence, and the flags that were perhaps meant, out of tyro's framed message.

    The frame is drawn with hyphens where the terminal knows no other lines, and with colours where
    the standard output is a terminal.
    """
    lines = [line.strip("│╭╮╰╯ ") for line in Text.from_ansi(box).plain.splitlines()]
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
