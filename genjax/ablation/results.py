"""Results of ablations: one record for each variant and seed, read back and checked."""

import json
import reprlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genjax.errors import UserError, reason

FILE = "results.jsonl"
"""Where the records of an ablation lie, in its folder."""

CHECKPOINTS = ("last", "best")
"""The checkpoints of a run that are scored."""

Record = dict[str, Any]

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "ablation": str,
    "baseline": str,
    "variant": str,
    "seed": int,
    "config_hash": str,
    "steps": int,
    "status": str,
    "reason": (str, type(None)),
    "scores": dict,
    "better": dict,
    "curve": dict,
    "protocol": dict,
    "commit": (str, type(None)),
    "versions": dict,
    "device": str,
    "seed_mode": str,
    "times": dict,
}


class Results(NamedTuple):
    """What was read.

    Attributes:
      records: one for each variant and seed, in the order in which they first appear.
      warnings: in what the runs differ besides variant and seed, a sentence each.
    """

    records: list[Record]
    warnings: list[str]


def read_results(paths: Sequence[str | Path]) -> Results:
    """Reads the records of one ablation, which may lie in several files.

    Of two records of the same variant and seed, the one from the later file stands.

    Args:
      paths: folders of ablations, or files of JSON lines; at least one.

    Returns:
      The records and what to mind about them.

    Raises:
      UserError: there are none, a line is damaged, or the records are of several ablations, of
        several configurations of one variant and seed, or scored in several ways.
    """
    found: dict[tuple[str, str, int], tuple[Record, Path]] = {}
    for path in map(Path, paths):
        file = path / FILE if path.is_dir() else path
        for record in _read_file(file):
            key = (record["ablation"], record["variant"], record["seed"])
            if key in found and found[key][0]["config_hash"] != record["config_hash"]:
                earlier, other = found[key]
                raise UserError(
                    f"{record['variant']!r} with seed {record['seed']} has configuration "
                    f"{earlier['config_hash']} in {other} but {record['config_hash']} in {file}; "
                    "give the files of one version of the ablation"
                )
            found[key] = (record, file)
    records = [record for record, _ in found.values()]
    _refuse_mixtures(records)
    return Results(records, list(_warnings(records)))


def succeeded(records: Iterable[Record]) -> list[Record]:
    """The records of the runs that did not fail."""
    return [record for record in records if record["status"] == "ok"]


def by_variant(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Groups records.

    Args:
      records: of any variants.

    Returns:
      From each variant, in the order of first appearance, to its records, the lowest seed first.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["variant"], []).append(record)
    return {name: sorted(group, key=lambda r: r["seed"]) for name, group in groups.items()}


def directions(records: Iterable[Record]) -> dict[str, str]:
    """The scores of an ablation.

    Args:
      records: of one ablation.

    Returns:
      From each score to ``higher`` or ``lower``, whichever is better; empty where all runs failed.
    """
    better: dict[str, str] = next((record["better"] for record in succeeded(records)), {})
    return better


def differences(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Fields in which JSON objects differ.

    Args:
      values: the objects; a field that one of them lacks counts as null there.

    Returns:
      From each such field, with dots between nested names, to its values, each once.

    Example:
      >>> differences([{"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}])
      {'a.c': [2, 3]}
    """
    flat = [dict(flatten(value)) for value in values]
    found = {}
    for name in dict.fromkeys(name for value in flat for name in value):
        texts = dict.fromkeys(json.dumps(value.get(name), sort_keys=True) for value in flat)
        if len(texts) > 1:
            found[name] = [json.loads(text) for text in texts]
    return found


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a JSON object.

    Args:
      value: the object.
      prefix: of the names.

    Returns:
      Names, with dots between nested ones, and values.

    Example:
      >>> list(flatten({"a": {"b": 1}, "c": [2]}))
      [('a.b', 1), ('c', [2])]
    """
    for name, entry in value.items():
        if isinstance(entry, dict) and entry:
            yield from flatten(entry, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", entry


def _read_file(file: Path) -> list[Record]:
    if not file.is_file():
        raise UserError(f"{file} is no file of results; give the folder of an ablation that ran")
    records = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            record = parse_record(line)
        except ValueError as error:
            raise UserError(
                f"{file}, line {number}, is no record of an ablation: {reason(error)}; "
                "genjax ablate writes the file anew"
            ) from None
        records.append(record)
    if not records:
        raise UserError(f"{file} holds no results; run: genjax ablate")
    return records


def parse_record(text: str | bytes) -> Record:
    """Reads one record; raises ValueError where it is damaged."""
    try:
        record: Record = json.loads(text, parse_constant=_refuse_constant)
        # Halves of characters, which JSON can escape, are refused: they can't be printed.
        json.dumps(record, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError(str(error)) from None
    _check(record)
    return record


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def _check(record: Any) -> None:
    if not isinstance(record, dict):
        raise ValueError("it is no JSON object")
    for name, kind in _FIELDS.items():
        if name not in record:
            raise ValueError(f"{name!r} is missing")
        if not isinstance(record[name], kind) or isinstance(record[name], bool):
            raise ValueError(f"{name!r} is {reprlib.repr(record[name])}")
    if record["status"] not in ("ok", "failed"):
        raise ValueError(f"'status' is {record['status']!r}; choices: ok, failed")
    if record["status"] == "failed":
        if record["reason"] is None or record["scores"]:
            raise ValueError("a failed cell needs a reason, and has no scores")
        return
    for name, side in record["better"].items():
        if side not in ("higher", "lower"):
            raise ValueError(f"'better.{name}' is {side!r}; choices: higher, lower")
    if set(record["scores"]) != set(CHECKPOINTS):
        raise ValueError(f"'scores' has {', '.join(record['scores']) or 'nothing'}")
    for checkpoint, scores in record["scores"].items():
        if not isinstance(scores, dict) or set(scores) != {"step", *record["better"]}:
            raise ValueError(f"'scores.{checkpoint}' is not a step and the scores in 'better'")
        for name, value in scores.items():
            _check_number(f"scores.{checkpoint}.{name}", value)
    for name in ("train_s", "evaluate_s"):
        _check_number(f"times.{name}", record["times"].get(name))
    steps = record["curve"].get("step", [])
    if not isinstance(steps, list):
        raise ValueError("'curve.step' is no list")
    for name, values in record["curve"].items():
        if not isinstance(values, list) or len(values) != len(steps):
            raise ValueError(f"'curve.{name}' does not have one value for each step")
        for value in values:
            _check_number(f"curve.{name}", value)


def _check_number(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name!r} is {reprlib.repr(value)}, which is no finite number")


def _refuse_mixtures(records: Sequence[Record]) -> None:
    for name in ("ablation", "baseline"):
        values = list(dict.fromkeys(record[name] for record in records))
        if len(values) > 1:
            raise UserError(
                f"these are results of several ablations, their {name} is "
                f"{' or '.join(map(repr, values))}; give those of one"
            )
    # A failed run has no scores, so nothing of it depends on how scores are made.
    scored = succeeded(records)
    for name in ("protocol", "better"):
        if differing := differences([record[name] for record in scored]):
            what = "; ".join(
                f"{field} is {' or '.join(json.dumps(value) for value in values)}"
                for field, values in differing.items()
            )
            raise UserError(
                f"these results can't be compared, they differ in {name}: {what}; "
                "run the ablation again in one way"
            )


def _warnings(records: Sequence[Record]) -> Iterator[str]:
    consequence = {
        "commit": "their code may differ",
        "device": "their seconds do not compare",
    }
    for name, then in consequence.items():
        values = dict.fromkeys(str(record[name]) for record in records)
        if len(values) > 1:
            yield f"the runs differ in {name} ({', '.join(values)}), so {then}"
    for name, versions in differences([record["versions"] for record in records]).items():
        yield f"the runs differ in the version of {name} ({', '.join(map(str, versions))})"
