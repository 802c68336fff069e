"""Scores as records that carry their protocol, and the refusal to rank across protocols."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genjax.errors import UserError

FILE = "scores.jsonl"
"""Where the records of a run lie, in its folder."""

PROTOCOL = (
    "features.name",
    "features.hash",
    "features.resize",
    "reference.data",
    "reference.split",
    "reference.count",
    "reference.contents",
    "samples",
    "parameters",
    "truncation",
    "sampling",
    "labels",
    "ema",
    "checkpoint",
    "genjax",
)
"""Fields in which records must agree to be ranked; the seed and the step may differ."""

# What the first records lack: they are of before families had options of sampling, and of when the
# labels of a conditional model were drawn in turn.
_LATER = ("sampling", "labels")

Record = dict[str, Any]


def append_records(path: str | Path, records: Iterable[Record]) -> None:
    """Adds records to a file of JSON lines, at once.

    Args:
      path: the file; made where there is none.
      records: JSON values.
    """
    path = Path(path)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(lines)


def read_records(path: str | Path) -> list[Record]:
    """Reads the records of a run or of a file.

    Of several of one score, protocol, seed and step the latest stands; two runs are one where their
    configurations and paths are equal, and not where their folders have one name.

    Args:
      path: a run's folder, or a file of JSON lines.

    Returns:
      The records, in the order in which they were written. Those of a folder have its path,
      wherever it lay when they were written.

    Raises:
      UserError: there are none, or no such path, or the file is damaged.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    if not path.exists():
        raise UserError(f"{path} is not there; name folders of runs, or files of records")
    if not file.exists():
        raise UserError(f"{path} holds no scores; run: genjax evaluate {path}")
    latest: dict[str, Record] = {}
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            record = json.loads(line)
            # Halves of characters, which JSON can escape, are refused: they can't be printed.
            json.dumps(record, ensure_ascii=False).encode()
            _check(record)
            if path.is_dir():
                record["path"] = str(path.resolve())
            names = ("metric", "seed", "step", *PROTOCOL)
            key = json.dumps([*identity(record), *(_field(record, name) for name in names)])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{file}, line {number}, is no record of a score") from None
        latest.pop(key, None)
        latest[key] = record
    if not latest:
        raise UserError(f"{file} holds no scores")
    return list(latest.values())


def identity(record: Record) -> tuple[str, str | None]:
    """What was scored: its path and the hash of its configuration; by name in older records."""
    digest = record.get("config_hash")
    return str(record.get("path") or record["subject"]), None if digest is None else str(digest)


def name_subjects(records: Sequence[Record]) -> list[str]:
    """Names that tell apart what was scored.

    Args:
      records: of any subjects.

    Returns:
      For each record its subject, with as many folders before it as it takes; and, where only their
      configurations differ, the beginning of the configuration's hash.
    """
    same: dict[str, set[tuple[str, str | None]]] = {}
    for record in records:
        same.setdefault(record["subject"], set()).add(identity(record))
    return [_name_apart(record, same[record["subject"]]) for record in records]


def _name_apart(record: Record, same: set[tuple[str, str | None]]) -> str:
    path, digest = identity(record)
    name: str = record["subject"]
    others = {Path(other).parts for other, _ in same if other != path}
    if others:
        parts = Path(path).parts
        longest = max(map(len, (parts, *others)))
        ends = (n for n in range(1, longest + 1) if all(o[-n:] != parts[-n:] for o in others))
        name = str(Path(*parts[-next(ends, longest) :]))
    alike = {other for place, other in same if place == path}
    return name if len(alike) == 1 else f"{name} ({str(digest)[:6]})"


def differences(records: Sequence[Record], ignore: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Fields of the protocol in which records of one metric differ.

    Args:
      records: of one metric.
      ignore: fields that may differ.

    Returns:
      From field to its values, each once.

    Raises:
      UserError: a field to ignore is none of the protocol.
    """
    for name in ignore:
        if name not in PROTOCOL:
            raise UserError(f"--ignore {name!r} is no field; choices: {', '.join(PROTOCOL)}")
    found = {}
    for name in PROTOCOL:
        values = {json.dumps(_field(record, name), sort_keys=True) for record in records}
        if len(values) > 1 and name not in ignore:
            found[name] = [json.loads(value) for value in sorted(values)]
    return found


def choose_checkpoint(records: Sequence[Record], which: str | int) -> list[Record]:
    """Those of runs at one checkpoint, and those of what is no run.

    Args:
      records: of any subjects.
      which: last, best or a step.

    Returns:
      The records, in their order.

    Raises:
      UserError: no run was scored there.
    """
    field = "step" if isinstance(which, int) else "checkpoint"
    found = [record for record in records if record["step"] is None or record[field] == which]
    if all(record["step"] is None for record in found):
        steps = {
            f"{record['checkpoint']} ({record['step']})"
            for record in records
            if record["step"] is not None
        }
        raise UserError(
            f"--checkpoint is {which}, and no run was scored there; there are: "
            f"{', '.join(sorted(steps)) or 'no scores of runs'}"
        )
    return found


def rank(
    records: Sequence[Record], metrics: Sequence[str], ignore: Sequence[str] = ()
) -> dict[str, list[Record]]:
    """Sorts records of each metric, the best first.

    Args:
      records: of any metrics and subjects.
      metrics: those to rank; all if empty.
      ignore: fields of the protocol that may differ.

    Returns:
      From metric to its records.

    Raises:
      UserError: no such metric, or protocols differ; the message says in which fields.
    """
    names = list(dict.fromkeys(record["metric"] for record in records))
    for name in metrics:
        if name not in names:
            raise UserError(f"no record of {name!r}; there are: {', '.join(names)}")
    ranked = {}
    for name in metrics or names:
        group = [record for record in records if record["metric"] == name]
        if differing := differences(group, ignore):
            what = "; ".join(
                f"{field} is {' or '.join(json.dumps(value) for value in values)}"
                for field, values in differing.items()
            )
            flags = " ".join(differing)
            one = "; --checkpoint last takes one of each run" if "checkpoint" in differing else ""
            raise UserError(
                f"these scores of {name!r} can't be ranked, their protocols differ: {what}; "
                f"evaluate again in one way, or accept it with --ignore {flags}{one}"
            )
        sign = -1 if group[0]["better"] == "higher" else 1
        ranked[name] = sorted(group, key=lambda record: sign * record["value"])
    return ranked


def _check(record: Any) -> None:
    """Raises ValueError where what is ranked and shown is of another kind."""
    for name, kinds in (
        ("metric", str),
        ("subject", str),
        ("value", int | float),
        ("spread", int | float | None),
    ):
        if not isinstance(record[name], kinds) or isinstance(record[name], bool):
            raise ValueError(name)
    if record["better"] not in ("higher", "lower"):
        raise ValueError("better")
    if max(abs(record[name] or 0) for name in ("value", "spread")) > sys.float_info.max:
        raise ValueError("an integer too large for a float")


def _field(record: Mapping[str, Any], name: str) -> Any:
    value: Any = record
    for part in name.split("."):
        later = part in _LATER
        value = None if value is None else value.get(part) if later else value[part]
    return value
