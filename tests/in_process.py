"""The command line in the process of a test, since each start of another would take seconds."""

import contextlib
import io
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from genjax import cli


class Outcome(NamedTuple):
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


def genjax(*arguments: object) -> Outcome:
    """Runs a command; any exception but an exit is the test's failure."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["genjax", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
    return Outcome(status, out.getvalue(), err.getvalue())


def refusal(*arguments: object) -> str:
    """Runs a command that must be refused as the user's mistake, and returns the one line."""
    outcome = genjax(*arguments)
    assert outcome.status == 2, outcome
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("genjax: error: ")
    assert outcome.err[:-1].isprintable(), outcome.err
    return outcome.err[:-1]


def contents(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder; None stands for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
