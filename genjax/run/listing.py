"""The runs below a folder, and how far each came."""

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from genjax.config import Experiment
from genjax.errors import UserError
from genjax.evals.records import FILE, Record, read_records
from genjax.families.registry import FAMILIES
from genjax.run.directory import read_config, read_manifest, read_metrics
from genjax.run.patience import SCORE

_EVALUATION = "evaluation/"


class Listed(NamedTuple):
    """A run in a list.

    Attributes:
      path: its folder.
      name: of its configuration.
      step: the last one that was logged, or the one that its weights were imported at.
      steps: that it shall reach.
      started: when its first session began, as ``2026-11-27 21:04`` in UTC.
      scores: by name: those of `genjax evaluate`, of the checkpoint that was scored last, or else
        those of the last evaluation in training.
      drawn: of scores whose samples were not drawn as usual, how they were, such as ``psi 0.7``.
      fault: why it can't be read, in one line; None for a run that can.
    """

    path: Path
    name: str = ""
    step: int = 0
    steps: int = 0
    started: str = ""
    scores: Mapping[str, float] = {}
    drawn: Mapping[str, str] = {}
    fault: str | None = None


def find_runs(folder: str | Path) -> list[Listed]:
    """Lists the runs below a folder, or the one that it is.

    Args:
      folder: where to look, at any depth.

    Returns:
      The runs by path; damaged ones say what is wrong with them.

    Raises:
      UserError: it is no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name one that has runs in it")
    return [_read(path) for path in _folders(folder)]


def _folders(folder: Path) -> Iterator[Path]:
    for root, names, files in os.walk(folder):
        if "config.json" in files and "manifest.json" in files:
            # Nothing within a run is another.
            names.clear()
            yield Path(root)
        names.sort()


def _read(path: Path) -> Listed:
    try:
        experiment, manifest = read_config(path), read_manifest(path)
        rows = read_metrics(path, sys.maxsize)
        records = _last_records(path)
        drawn = {record["metric"]: _words(record, experiment) for record in records}
    except UserError as error:
        return Listed(path, fault=str(error))
    started = str(manifest["sessions"][0].get("started", ""))[:16].replace("T", " ")
    initial = manifest["sessions"][0].get("initial") or {}
    first = initial["step"] if "official" in initial else 0
    last = int(rows[-1]["step"]) if rows else int(first)
    scores = {record["metric"]: record["value"] for record in records} or _logged(rows)
    unusual = {name: words for name, words in drawn.items() if words}
    return Listed(path, experiment.name, last, experiment.steps, started, scores, unusual)


def _last_records(path: Path) -> list[Record]:
    """Those of the checkpoint that was scored last; none where none was."""
    if not (path / FILE).exists():
        return []
    records = read_records(path)
    return [record for record in records if record["step"] == records[-1]["step"]]


def _words(record: Record, experiment: Experiment) -> str:
    """How samples of a record were drawn, where that is not as usual; empty otherwise."""
    found = {"truncation": record["truncation"], **(record.get("sampling") or {})}
    options = FAMILIES[type(experiment.model)].sampling
    usual = {} if options is None else dataclasses.asdict(options())
    return ", ".join(f"{name} {value}" for name, value in found.items() if value != usual.get(name))


def _logged(rows: list[dict[str, float]]) -> dict[str, float]:
    for row in reversed(rows):
        found = {
            name.removeprefix(_EVALUATION): value
            for name, value in row.items()
            if name.startswith(_EVALUATION) and name != SCORE
        }
        if found:
            return found
    return {}
