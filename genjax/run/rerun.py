"""Repeats a run, and says whether what comes out is identical."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from genjax.core.schema import Source
from genjax.errors import UserError, reason
from genjax.run.directory import check_data, read_config, read_manifest, read_schema
from genjax.run.loop import train
from genjax.run.patience import has_ended

_TIMES = ("seconds_per_step", "images_per_second")
_SURROUNDINGS = (
    "git_commit",
    "python",
    "versions",
    "machine",
    "device",
    "processes",
    "xla_options",
    "grouping",
    "initial",
    "plugins",
)


class Repetition(NamedTuple):
    """What a repetition shows.

    Attributes:
      different: what differs in the results, each one line; empty if they are identical.
      changed: what differs in code, versions and machine, each one line.
    """

    different: list[str]
    changed: list[str]


def rerun(
    directory: str | Path,
    out: str | Path,
    source: Source,
    console: Console,
    held_out: Source | None = None,
) -> Repetition:
    """Trains once more what a run has trained, from the start.

    Args:
      directory: of the run, which has come to its end.
      out: folder of the repetition, new.
      source: what the configuration of the run names.
      console: where progress is shown.
      held_out: examples that it does not learn from.

    Returns:
      The comparison of the two.

    Raises:
      UserError: not a finished run, or one that no training makes, its data have changed, or `out`
        is taken.
      RunFailed: as `genjax.run.loop.train` does.
    """
    directory, out = Path(directory), Path(out)
    experiment, manifest = read_config(directory), read_manifest(directory)
    if "official" in (manifest["sessions"][0].get("initial") or {}):
        raise UserError(
            f"{directory} began with imported weights, which a rerun would not have; import them "
            "again, and resume that run"
        )
    averaged = [s["average"]["run"] for s in manifest["sessions"] if "average" in s]
    if averaged:
        raise UserError(
            f"{directory} holds an average that genjax average made, which a training would not; "
            f"repeat the run that it is of, {averaged[0]}"
        )
    weights = any(directory.glob("*.safetensors"))
    # Given more steps, it keeps the weights of its first end until it has made them.
    rows = _rows(directory)
    last = max((row["step"] for row in rows), default=0)
    if not weights or not (last >= experiment.steps or has_ended(experiment.eval, rows)):
        raise UserError(f"{directory} has not come to its end; `genjax resume` continues it")
    data = manifest["data"]
    schema = read_schema(directory)
    now, was = (
        (count, {name: field.shape for name, field in kind.fields.items()})
        for count, kind in ((source.count, source.schema), (data["count"], schema))
    )
    if now != was:
        raise UserError(
            f"the data of {directory} were {was[0]} examples of {was[1]}, but {source.name} now "
            f"has {now[0]} of {now[1]}"
        )
    check_data(directory, source)
    train(experiment, out, source, console, held_out=held_out)
    return compare_runs(directory, out)


def compare_runs(one: str | Path, other: str | Path) -> Repetition:
    """Compares the results of two runs, bit for bit.

    A run that was given more steps later has a score of where it had ended first, which is left
    out of account.

    Args:
      one: folder of a run that has come to its end.
      other: folder of another.

    Returns:
      The comparison.
    """
    one, other = Path(one), Path(other)
    different = []
    ours, theirs = _without_earlier_ends(one, other)
    for row, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        if a != b:
            names = [name for name in {**a, **b} if a.get(name) != b.get(name)]
            values = ", ".join(f"{name} {a.get(name)} and {b.get(name)}" for name in names[:3])
            more = "" if len(names) <= 3 else f" and {len(names) - 3} more"
            different.append(
                f"metrics differ from step {a.get('step')}, line {row + 1}, on: {values}{more}"
            )
            break
    if len(ours) != len(theirs):
        different.append(f"there are {len(ours)} lines of metrics, and {len(theirs)}")
    files = {path.name for run in (one, other) for path in run.glob("*.safetensors")}
    for name in sorted(files):
        if _is_of_player(one / name) or _is_of_player(other / name):
            different += _weights_differ(name, one / name, other / name)
    sessions = [read_manifest(run)["sessions"] for run in (one, other)]
    last, latest = ({**own[-1], "initial": own[0].get("initial")} for own in sessions)
    changed = []
    for field in _SURROUNDINGS:
        was, now = last.get(field), latest.get(field)
        if isinstance(was, dict) and isinstance(now, dict):
            changed += [
                f"{field}: {name} was {was.get(name)}, is {now.get(name)}"
                for name in {**was, **now}
                if was.get(name) != now.get(name)
            ]
        elif was != now:
            changed.append(f"{field} was {was}, is {now}")
    return Repetition(different, changed)


def _without_earlier_ends(*runs: Path) -> list[list[dict[str, Any]]]:
    """The lines of metrics of two runs, but for scores at a step where only one had ended."""
    lines = [_rows(run) for run in runs]
    scored = [{row["step"] for row in rows if _is_score(row)} for rows in lines]
    ends = {session.get("resumed_at") for run in runs for session in read_manifest(run)["sessions"]}
    extra = ends & (scored[0] ^ scored[1])
    return [
        [row for row in rows if not (_is_score(row) and row["step"] in extra)] for rows in lines
    ]


def _is_score(row: dict[str, Any]) -> bool:
    return any(name.startswith("evaluation/") for name in row)


def _rows(directory: Path) -> list[dict[str, Any]]:
    path = directory / "metrics.jsonl"
    try:
        rows = [dict(json.loads(line)) for line in path.read_bytes().splitlines()]
        if any(not isinstance(row.get("step"), int) for row in rows):
            raise ValueError("a line without a step")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {reason(error)}; the run is not whole") from error
    return [{name: row[name] for name in row if name not in _TIMES} for row in rows]


def _weights_differ(name: str, one: Path, other: Path) -> list[str]:
    for path in (one, other):
        if not path.exists():
            return [f"{path} is missing"]
    ours, theirs = _weights(one), _weights(other)
    wrong = [
        tensor
        for tensor in {**ours, **theirs}
        if tensor not in ours
        or tensor not in theirs
        or ours[tensor].tobytes() != theirs[tensor].tobytes()
    ]
    if not wrong:
        return []
    return [f"{len(wrong)} of {len(ours)} tensors differ in {name}, first {wrong[0]}"]


def _is_of_player(path: Path) -> bool:
    """Whether training wrote a file, and not a command such as genjax directions."""
    try:
        with safe_open(path, "numpy") as file:
            return "genjax" in (file.metadata() or {})
    except FileNotFoundError:
        return False
    # Of a damaged file nobody knows.
    except (OSError, SafetensorError):
        return True


def _weights(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"cannot read {path}: {reason(error)}; the run is not whole") from error
