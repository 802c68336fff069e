"""What a person sees in a terminal, where tools frame and colour what is plain in a pipe."""

import io
import os
import pty
import re
import subprocess
import sys

import pytest
from patience import PATIENCE_S
from rich.console import Console
from rich.text import Text

from genjax.run.console import TrainingDisplay

WIDTH = 80


def in_terminal(*arguments, **environment):
    """What a command prints in a terminal of 80 columns, and its exit status."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "genjax", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), **environment},
    )
    os.close(theirs)
    printed = b""
    # Where the other side has ended, Linux says so by an error.
    while chunk := _read(ours):
        printed += chunk
    os.close(ours)
    return printed.decode(), process.wait(PATIENCE_S)


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}], ids=["colour", "no colour"])
def test_a_mistake_gets_one_plain_line(environment):
    printed, status = in_terminal("train", "--stepz", "3", **environment)
    assert status == 2
    assert printed == (
        "genjax: error: Unrecognized options: --stepz, 3; did you mean --steps?; "
        "`genjax train dcgan-digits --help` lists what it takes\r\n"
    )


@pytest.mark.parametrize("command", [[], ["data"], ["weights"]], ids=["genjax", "data", "weights"])
def test_a_list_of_commands_fits(command):
    printed, status = in_terminal(*command, "--help")
    assert status == 0
    lines = printed.splitlines()
    assert max(map(len, lines)) <= WIDTH
    # Names stand at the left, and what they do below each other.
    started = [re.match(r"  \S+ +", line) for line in lines]
    assert len({found.end() for found in started if found}) == 1


def test_a_help_breaks_lines_where_its_column_ends_alone():
    """Not where the source did."""
    printed, status = in_terminal("directions", "--help")
    assert status == 0
    plain = Text.from_ansi(printed.replace("\r", "")).plain
    assert "ganspace, the principal components of w" in plain


def test_a_help_shows_no_marks_of_a_docstring():
    printed, status = in_terminal("train", "clip-emoji", "--help")
    assert status == 0
    plain = Text.from_ansi(printed.replace("\r", "")).plain
    assert "Network of the captions, which learns with that of the images" in plain
    assert "`" not in plain


def test_a_reader_that_has_enough_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "genjax", "train", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait(PATIENCE_S)


def lines_of(console):
    """What was in the console's terminal, one moment after the other."""
    text = Text.from_ansi(console.file.getvalue().replace("\r", "\n")).plain
    return [line for line in text.splitlines() if line.strip()]


def test_the_bar_says_that_a_step_compiles_no_longer_than_it_does():
    """Also of a run that ends before it logs a line."""
    console = Console(file=io.StringIO(), force_terminal=True, width=WIDTH, legacy_windows=False)
    with TrainingDisplay(console, "short", 0, 30) as display:
        display.compiled("first step", 3.25)
        display.advance(30)
    lines = lines_of(console)
    assert "first step, with the compilation: 3.2 s" in lines
    assert "30/30" in lines[-1]
    assert "compiling" not in lines[-1]


@pytest.mark.parametrize(("width", "speed"), [(WIDTH, False), (140, True)])
def test_the_bar_says_how_far_it_is_and_how_long_it_will_take(width, speed, monkeypatch):
    """Whatever has no place, this has."""
    monkeypatch.setattr("genjax.run.console._REFRESH_S", 0)
    console = Console(file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False)
    metrics = {"discriminator/loss": 0.5, "generator/loss": 2.0, "images_per_second": 123_456.0}
    with TrainingDisplay(console, "a-rather-long-name", 100, 200_000) as display:
        for step in range(101, 107):
            display.advance(step)
        display.metrics(106, metrics)
    last = lines_of(console)[-1]
    assert len(last) <= width
    assert "a-rather-long-name" in last
    assert "106/200000" in last.replace(" ", "")
    assert "--:--" not in last
    assert "discriminator" in last
    assert ("123,456 images/s" in last) == speed
