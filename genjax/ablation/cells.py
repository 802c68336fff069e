"""Finishes the runs of an ablation: scores them, and writes one record each."""

import dataclasses
import json
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock

from genjax.ablation.grid import Ablation, Cell
from genjax.ablation.results import FILE, Record, parse_record
from genjax.config import LARGEST_SEED
from genjax.config.json import config_hash, former_hashes
from genjax.distribution import version_of
from genjax.errors import UserError, lookup, reason
from genjax.evals.classifier import load_classifier
from genjax.run import checkpoint
from genjax.run.directory import git_commit, write_json
from genjax.run.evaluation import Evaluation, Protocol, evaluate_run

RESULT = "result.json"
"""The record of a run, in its folder; a run that has one is finished."""
_PACKAGES = ("genjax", "jax", "jaxlib", "flax", "optax", "numpy")
_PROTOCOL = ("features", "reference", "samples", "parameters", "labels")


def read_result(cell: Cell) -> Record | None:
    """The record of a finished run; None where there is none yet.

    Raises:
      UserError: the file is damaged.
    """
    path = cell.directory / RESULT
    if not path.exists():
        return None
    try:
        record = parse_record(path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"{path} is damaged; delete it to score that run again ({reason(error)})"
        ) from None
    if record["config_hash"] != cell.hash:
        raise UserError(f"{path} is of another configuration; delete the folder {path.parent}")
    return record


def adopt(cells: Iterable[Cell], elsewhere: Mapping[str, Record]) -> None:
    """Takes runs as finished that have a record from elsewhere, where their folder has none yet.

    Args:
      cells: of the grid.
      elsewhere: records by the hash of their configuration.
    """
    for cell in cells:
        path = cell.directory / RESULT
        if cell.hash in elsewhere and not path.exists():
            cell.directory.mkdir(parents=True, exist_ok=True)
            write_json(path, elsewhere[cell.hash])


def surroundings() -> dict[str, Any]:
    """What a record says of the code and the machine that it comes from."""
    device = jax.devices()[0]
    return {
        "commit": git_commit(12),
        "versions": {name: version_of(name) for name in _PACKAGES},
        "device": f"{jax.device_count()} x {device.device_kind}",
    }


def finish(ablation: Ablation, cell: Cell, how: str, failure: str | None) -> Record:
    """Scores a trained run, and writes its record.

    Args:
      ablation: says which scores.
      cell: the run.
      how: how it was trained: vmap, scan or single.
      failure: why it failed; None for a run that reached its last step.

    Returns:
      The record. A score that is not finite makes it one of a failed run.
    """
    started = time.perf_counter()
    scores: dict[str, dict[str, float]] = {}
    better: dict[str, str] = {}
    protocol: dict[str, Any] = {}
    wanted = [name for names in ablation.scores.values() for name in names]
    if failure is None:
        evaluations = _evaluate(ablation, cell)
        for name in wanted:
            found = [record["metric"] for record in evaluations["last"].records]
            lookup(dict.fromkeys(found), name, "score in SCORES")
        for which, evaluation in evaluations.items():
            scores[which] = {"step": evaluation.records[0]["step"]}
            for record in evaluation.records:
                name = record["metric"]
                if name not in wanted:
                    continue
                scores[which][name] = record["value"]
                better[name] = record["better"]
                protocol[name] = {field: record[field] for field in _PROTOCOL}
                if not math.isfinite(record["value"]):
                    failure = f"{name} of the {which} checkpoint is {record['value']}"
    curve, train_s = read_curve(cell)
    if failure is None and any(None in values for values in curve.values()):
        failure = "an evaluation during training is not finite"
    record = {
        "ablation": ablation.name,
        "baseline": ablation.baseline,
        "variant": cell.variant,
        "seed": cell.experiment.seed,
        "config_hash": cell.hash,
        "steps": cell.experiment.steps,
        "status": "ok" if failure is None else "failed",
        "reason": failure,
        "scores": scores if failure is None else {},
        "better": better,
        "curve": curve,
        "protocol": protocol,
        **surroundings(),
        "seed_mode": how,
        "times": {
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "train_s": round(train_s, 3),
            "evaluate_s": round(time.perf_counter() - started, 3),
        },
    }
    cell.directory.mkdir(parents=True, exist_ok=True)
    write_json(cell.directory / RESULT, record)
    return record


def protocol_of(ablation: Ablation) -> Protocol:
    """How the runs of an ablation are scored."""
    return Protocol(load_classifier, tuple(ablation.scores), ablation.samples)


def _evaluate(ablation: Ablation, cell: Cell) -> dict[str, Evaluation]:
    """Scores the last and the best checkpoint; where they are the same, once."""
    protocol = protocol_of(ablation)
    folder = cell.directory / "checkpoints"
    with checkpoint.open_checkpoints(folder, cell.experiment.keep_checkpoints) as manager:
        same = checkpoint.find_step(manager, "last") == checkpoint.find_step(manager, "best")
    last = evaluate_run(cell.directory, "last", protocol)
    best = last if same else evaluate_run(cell.directory, "best", protocol)
    return {"last": last, "best": best}


def read_curve(cell: Cell) -> tuple[dict[str, list[float | None]], float]:
    """What a run logged about its samples, and how long it trained.

    Args:
      cell: the run.

    Returns:
      Steps of its evaluations, and under each ``evaluation/quantity`` its values, None for what is
      not finite; seconds, without compilation and without evaluations.
    """
    path = cell.directory / "metrics.jsonl"
    curve: dict[str, list[float | None]] = {}
    seconds = 0.0
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        row = json.loads(line)
        seconds += row.get("seconds_per_step", 0.0) * cell.experiment.log_every
        values = {name: value for name, value in row.items() if name.startswith("evaluation/")}
        if values:
            for name, value in {"step": row["step"], **values}.items():
                curve.setdefault(name, []).append(value if math.isfinite(value) else None)
    return curve, seconds


def with_other_seeds(cells: Iterable[Cell]) -> list[Cell]:
    """Adds the runs that were made of the same variants with other seeds.

    Args:
      cells: of a grid.

    Returns:
      The cells, variant after variant, each with further ones by their seed.
    """
    variants: dict[str, list[Cell]] = {}
    for cell in cells:
        variants.setdefault(cell.variant, []).append(cell)
    for own in variants.values():
        known = {cell.directory for cell in own}
        further = []
        for folder in own[0].directory.parent.glob("seed-*"):
            parts = re.fullmatch(r"seed-(\d{1,10})-([0-9a-f]+)", folder.name)
            if parts is None or folder in known or int(parts[1]) > LARGEST_SEED:
                continue
            experiment = dataclasses.replace(own[0].experiment, seed=int(parts[1]))
            if parts[2] in (config_hash(experiment), *former_hashes(experiment)):
                further.append(Cell(own[0].variant, experiment, parts[2], folder))
        own += sorted(further, key=lambda cell: cell.experiment.seed)
    return [cell for own in variants.values() for cell in own]


def assemble(directory: Path, cells: Iterable[Cell]) -> Path:
    """Writes the records of all finished runs into one file, in the order of the grid.

    Args:
      directory: of the ablation.
      cells: of the whole grid. Runs of its variants with other seeds are put behind each.

    Returns:
      The file.
    """
    path = directory / FILE
    directory.mkdir(parents=True, exist_ok=True)
    # Jobs of a cluster finish at the same time.
    with FileLock(directory / ".results.lock"):
        every = with_other_seeds(cells)
        records = [record for cell in every if (record := read_result(cell)) is not None]
        part = path.with_name(path.name + ".part")
        part.write_text(
            "".join(json.dumps(r, allow_nan=False) + "\n" for r in records), encoding="utf-8"
        )
        part.replace(path)
    return path


def changed_since(records: Sequence[Record]) -> list[str]:
    """Says which finished runs come from other code or versions than those that run now.

    Args:
      records: of finished runs.

    Returns:
      Lines for the user; empty where nothing has changed.
    """
    now = surroundings()
    lines = []
    for field in ("commit", "versions", "device"):
        others = [record for record in records if record[field] != now[field]]
        for value in {json.dumps(record[field]): record[field] for record in others}.values():
            count = sum(record[field] == value for record in others)
            was = value
            current = now[field]
            if isinstance(value, dict):
                was = ", ".join(f"{n} {v}" for n, v in value.items() if now[field].get(n) != v)
                current = ", ".join(f"{n} {v}" for n, v in now[field].items() if value.get(n) != v)
            lines.append(f"{count} finished runs have {field} {was}; now it is {current}")
    return lines
