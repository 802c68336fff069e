"""Turns what benchmarks write with --json into one Markdown file and a roofline.

`python -m benchmarks.report FILE.jsonl ... --out results.md --plot roofline.png` from the root of
the repository; the plot needs genjax-models[bench]. Each line is a record. Those of `STEPS` have
a table of their own; of any other benchmark, numbers and names become columns, lists of numbers
their median with the smallest and the largest, and so does a number with ``_min`` and ``_max``
beside it. Records that say ``"estimated": true`` are of `genjax compile`, for devices that were
absent: they have a part of their own, below what was measured, and no place in the roofline.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro

from benchmarks import estimates
from benchmarks.machine import BUSY
from benchmarks.roofline import CAPTION, plot_rooflines, points
from benchmarks.tables import (
    NAMES,
    RATIO,
    RESULTS,
    Column,
    Record,
    image_size,
    roof_name,
    short,
    table,
)
from genjax.errors import UserError

HARDWARE = ("cpu", "cores", "gpu", "system")
"""Of a record: what it ran on, from `describe_machine`."""
STEPS = ("adversarial_step", "peers")
_CEILINGS = ("ceiling", "bandwidth")
MEASURED = "# Measured"
ESTIMATED = "# Estimated by the compiler, for devices that were absent"
CIRCUMSTANCES = (
    *HARDWARE,
    "benchmark",
    "command",
    "commit",
    "date",
    "energy_note",
    "estimated",
    "jax_device",
    "load",
    "python",
    "torch_threads",
    "versions",
)


def read_records(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Reads all lines.

    Args:
      paths: of JSON lines.

    Returns:
      The records. One without a ``benchmark`` gets the name of its file.

    Raises:
      UserError: no file, or a line that is no record.
    """
    records = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        for number, line in enumerate(filter(str.strip, lines), 1):
            try:
                records.append({"benchmark": path.stem, **json.loads(line)})
            except (ValueError, TypeError):
                raise UserError(f"line {number} of {path} is no JSON object") from None
    return records


def group(records: Sequence[Record], key: Callable[[Record], str]) -> dict[str, list[Record]]:
    """Records by a key of theirs, in the order of their first."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def by_machine(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by what they ran on, as JSON."""
    return group(
        records, lambda record: json.dumps([record.get(name) for name in HARDWARE], sort_keys=True)
    )


def name_machines(records: Sequence[Record]) -> dict[str, str]:
    """A short name for each key of `by_machine`."""
    return {key: f"Machine {number}" for number, key in enumerate(by_machine(records), 1)}


def is_estimated(record: Record) -> bool:
    """Whether a compiler says it, of a device that was absent."""
    return record.get("estimated") is True


def split_estimated(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """What was measured, and what was estimated."""
    measured = [record for record in records if not is_estimated(record)]
    return measured, [record for record in records if is_estimated(record)]


def _cell(key: str) -> Callable[[Record], str]:
    def cell(record: Record) -> str:
        value = record.get(key)
        if value is None or value == []:
            return ""
        if key == "image":
            return image_size(record)
        if isinstance(value, list):
            return f"{short(statistics.median(value))} ({short(min(value))} to {short(max(value))})"
        text = short(value) if isinstance(value, float) else str(value)
        ends: list[Any] = [record.get(f"{key}_{end}") for end in ("min", "max")]
        return text if None in ends else f"{text} ({short(ends[0])} to {short(ends[1])})"

    return cell


def _is_cell(key: str, value: Any) -> bool:
    if isinstance(value, list):
        return key == "image" or all(isinstance(x, int | float) for x in value)
    return isinstance(value, str | int | float)


def other_table(records: Sequence[Record]) -> str:
    """A table of records of any benchmark.

    Args:
      records: one a row.

    Returns:
      Markdown.
    """
    fields = dict.fromkeys(key for record in records for key in record)
    names: list[Column] = []
    results: list[Column] = []
    for key in fields:
        values = [record[key] for record in records if record.get(key) is not None]
        bound = key.endswith(("_min", "_max")) and key[:-4] in fields
        if bound or key in CIRCUMSTANCES or not all(_is_cell(key, value) for value in values):
            continue
        measured = key != "image" and any(isinstance(x, float | list) for x in values)
        (results if measured else names).append(Column(key.replace("_", " "), _cell(key)))
    return table(names, results, records)


def _range(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(short(edge(values)) for edge in (min, max)))


def machine_text(name: str, records: Sequence[Record]) -> str:
    """Says what records ran on.

    Args:
      name: what it is called from here on.
      records: of one machine.

    Returns:
      Markdown: machine, software, and the command lines.
    """
    first = records[0]
    cores = first.get("cores") and f"{first['cores']} cores"
    parts = [first.get("cpu"), cores, first.get("gpu"), first.get("system")]
    hardware = ", ".join(part for part in parts if part) or "not said"
    versions: dict[str, list[str]] = {}
    for record in records:
        own_versions = record.get("versions") or {}
        for package, version in {"Python": record.get("python"), **own_versions}.items():
            if version is not None and version not in versions.setdefault(package, []):
                versions[package].append(version)
    software = ", ".join(f"{package} {' and '.join(own)}" for package, own in versions.items())
    devices = dict.fromkeys(record["jax_device"] for record in records if "jax_device" in record)
    notes = [f"JAX on {', '.join(devices)}"]
    measured = [x for x in records if x.get("ceiling") and not is_estimated(x)]
    for roof, some in group(measured, roof_name).items():
        flops, bandwidth = (_range([x[name] / 1e9 for x in some]) for name in _CEILINGS)
        notes.append(f"ceilings of {roof}: {flops} GFLOP/s, {bandwidth} GB/s")
    loads = [record["load"] for record in records if record.get("load") is not None]
    if loads and max(loads) > BUSY:
        notes.append(f"other programs were running: a load of up to {max(loads):.1f} at the start")
    notes += [
        f"energy: {note}"
        for note in dict.fromkeys(x["energy_note"] for x in records if x.get("energy_note"))
    ]
    commands = dict.fromkeys(
        f"{record['command']}  # {record.get('date')}, commit {record.get('commit')}"
        for record in records
        if record.get("command")
    )
    lines = [f"**{name}**: {hardware}", software, *notes]
    text = "\n".join(f"{line}  " for line in lines[:-1]) + f"\n{lines[-1]}\n"
    if commands:
        text += "\n```sh\n" + "\n".join(commands) + "\n```\n"
    return text


def make_report(records: Sequence[Record], plot: str | None) -> str:
    """Writes the Markdown.

    Args:
      records: of all benchmarks.
      plot: path of the roofline, as it is linked, or None without.

    Returns:
      The text.
    """
    measured, estimated = split_estimated(records)
    parts = [MEASURED + "\n", *_tables(measured)] if measured else []
    if plot is not None:
        parts.append(f"## Roofline\n\n![Achieved FLOP/s by arithmetic intensity]({plot})\n")
        parts.append(f"{CAPTION}\n")
    if estimated:
        parts += [ESTIMATED + "\n", estimates.text_of(estimated)]
    return "\n".join(parts)


def _tables(records: Sequence[Record]) -> list[str]:
    """What records ran on, and their tables by benchmark and machine."""
    names = name_machines(records)
    parts = [machine_text(names[key], rows) for key, rows in by_machine(records).items()]
    for benchmark, rows in group(records, lambda record: record["benchmark"]).items():
        parts.append(f"## {benchmark}\n")
        for key, some in by_machine(rows).items():
            where = f"{names[key]}\n\n" if len(names) > 1 else ""
            own = table(NAMES, (*RESULTS, RATIO), some) if benchmark in STEPS else other_table(some)
            parts.append(f"{where}{own}\n")
    return parts


def main(
    files: tyro.conf.Positional[tuple[Path, ...]],
    out: Path = Path("results.md"),
    plot: Path | None = None,
) -> None:
    """Write a report of benchmarks.

    Args:
      files: What they wrote with --json.
      out: Markdown file to write.
      plot: PNG file to write the roofline to; none without.
    """
    records = read_records(files)
    if not records:
        raise UserError("the files hold no records")
    link = None
    if plot is not None:
        measured, _ = split_estimated(records)
        names = name_machines(measured)
        found = {names[key]: points(rows) for key, rows in by_machine(measured).items()}
        if not any(found.values()):
            raise UserError("no record has what a roofline needs: run benchmarks.adversarial_step")
        plot_rooflines({name: some for name, some in found.items() if some}, plot)
        link = Path(os.path.relpath(plot, out.parent)).as_posix()
    out.write_text(make_report(records, link), encoding="utf-8")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
