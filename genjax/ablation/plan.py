"""Which runs of an ablation are trained together, and how; kept, so that a resume repeats it."""

import json
import re
import statistics
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import jax
import numpy as np
from filelock import FileLock

from genjax.ablation.grid import Cell
from genjax.config import Experiment, Network
from genjax.config.json import to_dict
from genjax.core.schema import Source
from genjax.errors import UserError
from genjax.run.directory import write_json
from genjax.run.program import Grouping, compile_runs
from genjax.run.scalars import structure

Choice = Literal["auto", "vmap", "scan", "single"]

_FILE = "plan.json"
_CALLS = 3
_HOPELESS = 3.0


class Group(NamedTuple):
    """Runs that are trained together.

    Attributes:
      mode: vmap or scan, as `genjax.run.program` has them, single, one after the other, or
        auto as long as that is not chosen.
      cells: hashes of the runs' configurations.
    """

    mode: Choice
    cells: tuple[str, ...]


def make_plan(directory: Path, cells: Sequence[Cell], mode: Choice) -> list[Group]:
    """Puts runs into groups, and adds new groups to the plan of the ablation.

    Runs that were planned before stay in their group, since in another one they would have other
    rounding errors.

    Args:
      directory: of the ablation.
      cells: runs that are not finished.
      mode: for new groups of several runs.

    Returns:
      Groups that contain these runs.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / ".plan.lock"):
        groups = _read(directory)
        known = {digest for group in groups for digest in group.cells}
        fresh: dict[str, list[str]] = {}
        for cell in cells:
            if cell.hash not in known:
                alone = mode == "single" or _goes_alone(cell.experiment)
                kin = cell.hash if alone else structure(cell.experiment)
                fresh.setdefault(kin, []).append(cell.hash)
        for members in fresh.values():
            if len(members) == 1:
                groups.append(Group("single", tuple(members)))
            else:
                groups.append(Group(mode, tuple(members)))
        _write(directory, groups)
    return planned(directory, [cell.hash for cell in cells])


def planned(directory: Path, digests: Collection[str]) -> list[Group]:
    """The groups that runs are in by now; another process may have settled their mode."""
    return [group for group in _read(directory) if set(digests) & set(group.cells)]


def settle(directory: Path, group: Group, mode: Grouping) -> list[Group]:
    """Replaces the mode of a planned group; ``single`` makes a group of each run."""
    with FileLock(directory / ".plan.lock"):
        groups = _read(directory)
        place = groups.index(group)
        members = [(cell,) for cell in group.cells] if mode == "single" else [group.cells]
        settled = [Group(mode, each) for each in members]
        _write(directory, groups[:place] + settled + groups[place + 1 :])
    return settled


def kind(experiments: Sequence[Experiment]) -> str:
    """What decides how long the ways to train several runs take: networks, batch and number."""
    parts = vars(experiments[0].model)
    networks = {n: to_dict(part) for n, part in parts.items() if isinstance(part, Network)}
    return json.dumps([networks, experiments[0].batch_size, len(experiments)], sort_keys=True)


def measure_modes(
    experiments: Sequence[Experiment],
    source: Source,
    modes: Sequence[Grouping] = ("single", "vmap", "scan"),
) -> dict[Grouping, float]:
    """Times the ways to train several runs.

    Args:
      experiments: of the runs, of one structure.
      source: the data that all train on.
      modes: the ways.

    Returns:
      From mode to seconds of one step of all runs: the median of three calls after two. A way whose
      first call is three times slower than the best so far is not called again.
    """
    found: dict[Grouping, float] = {}
    for mode in modes:
        step = make_step(experiments, source, mode)
        step()
        times = []
        for _ in range(_CALLS + 1):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
            if found and times[0] > _HOPELESS * min(found.values()):
                break
        found[mode] = statistics.median(times[1:] or times)
    return found


def make_step(
    experiments: Sequence[Experiment], source: Source, mode: Grouping
) -> Callable[[], None]:
    """Compiles a step of several runs, on a batch that stays the same.

    Args:
      experiments: of the runs, of one structure.
      source: the data that all train on.
      mode: how they are trained.

    Returns:
      A function that makes a call of every run's step, and waits for it.
    """
    together = mode != "single"
    compiled = experiments if together else experiments[:1]
    program = compile_runs(compiled, source.schema, mode, jax.devices())
    steps, count = experiments[0].steps_per_call, program.algorithm.examples
    index = np.arange(steps * count) % source.count
    batch = {
        name: array.reshape(steps, count, *array.shape[1:])
        for name, array in source.read(index).items()
    }
    if together:
        batch = {name: np.stack([array] * len(experiments)) for name, array in batch.items()}
    batches = program.place(batch)
    key = jax.random.key(0)
    # Of runs that are compiled together there is one state, of single ones one each.
    states = [
        program.join([program.init(key) for _ in compiled])
        for _ in range(1 if together else len(experiments))
    ]

    def step() -> None:
        for place in range(len(states)):
            states[place], metrics = program.step(states[place], None, batches)
            jax.block_until_ready(metrics)

    return step


def _goes_alone(experiment: Experiment) -> bool:
    """Whether only the loop of a single run does what a configuration asks for."""
    rolls_back = "rollback" in (experiment.on_nan, experiment.on_collapse)
    return experiment.wandb or rolls_back or experiment.eval.patience is not None


def _read(directory: Path) -> list[Group]:
    path = directory / _FILE
    if not path.exists():
        return []
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
        found = [Group(group["mode"], tuple(group["cells"])) for group in groups]
        for group in found:
            # A group's lock is a file that is called after its first cell.
            if not group.cells or not all(re.fullmatch("[0-9a-f]+", c) for c in group.cells):
                raise ValueError("cells are hashes")
            if group.mode not in get_args(Choice):
                raise ValueError("no such mode")
        return found
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path} is damaged; delete it, and finished runs stay") from None


def _write(directory: Path, groups: Sequence[Group]) -> None:
    write_json(directory / _FILE, {"groups": [group._asdict() for group in groups]})
