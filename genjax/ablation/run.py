"""Runs what an ablation still misses; interrupted, it goes on where it stopped."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout
from rich.console import Console

from genjax.ablation.cells import assemble, finish, read_result
from genjax.ablation.grid import Ablation, Cell
from genjax.ablation.plan import Group, kind, measure_modes, planned, settle
from genjax.ablation.results import Record
from genjax.ablation.together import train_together
from genjax.config import DataConfig
from genjax.data.progress import Progress
from genjax.data.sources import Dataset, load
from genjax.errors import RunFailed
from genjax.run.checkpoint import open_checkpoints
from genjax.run.console import print_line
from genjax.run.loop import train

_MEMORY = "RESOURCE_EXHAUSTED"


class Runner:
    """Trains and scores groups of runs of one ablation in this process."""

    def __init__(
        self,
        ablation: Ablation,
        directory: Path,
        cells: Sequence[Cell],
        console: Console,
        progress: Progress,
    ) -> None:
        """Prepares the runner; nothing is run yet.

        Args:
          ablation: the grid.
          directory: of the ablation.
          cells: all runs of the grid.
          console: where progress is shown.
          progress: shows how far the loading of data is.
        """
        self._ablation = ablation
        self._directory = directory
        self._cells = cells
        self._console = console
        self._progress = progress
        self._datasets: dict[DataConfig, Dataset] = {}
        self._chosen: dict[str, Any] = {}

    def run(self, groups: Sequence[Group]) -> int:
        """Runs groups, one after the other.

        A group that another process is at work on is left to it.

        Args:
          groups: from `make_plan`.

        Returns:
          Number of runs that were left to other processes.
        """
        elsewhere = 0
        for group in groups:
            lock = FileLock(self._directory / f".group-{group.cells[0]}.lock", timeout=0)
            try:
                with lock:
                    for current in planned(self._directory, group.cells):
                        for settled in self._choose(current):
                            self._run_group(settled)
            except Timeout:
                elsewhere += len(group.cells)
        return elsewhere

    def _members(self, group: Group) -> list[Cell]:
        """The runs of a group that are in the grid."""
        return [cell for cell in self._cells if cell.hash in group.cells]

    def _choose(self, group: Group) -> list[Group]:
        """Finds the fastest way for a group whose mode is auto."""
        if group.mode != "auto":
            return [group]
        cells = self._members(group)
        experiments = [cell.experiment for cell in cells]
        what = kind(experiments)
        if what not in self._chosen:
            times = measure_modes(experiments, self._dataset(cells[0]))
            self._chosen[what] = min(times, key=lambda mode: times[mode])
            measured = ", ".join(f"{mode} {1e3 * s:.3g} ms" for mode, s in times.items())
            self._say(
                f"a step of {len(cells)} runs takes: {measured}; chosen: {self._chosen[what]}"
            )
        return settle(self._directory, group, self._chosen[what])

    def _run_group(self, group: Group) -> None:
        cells = self._members(group)
        results = [read_result(cell) for cell in cells]
        if all(results):
            return

        def fail(place: int, reason: str) -> None:
            # At once, so that an interruption does not take the others back to that step.
            results[place] = self._record(cells[place], group, reason)

        self._train(group, cells, [r is not None for r in results], fail)
        for place, cell in enumerate(cells):
            if results[place] is None:
                self._record(cell, group, None)

    def _train(
        self,
        group: Group,
        cells: Sequence[Cell],
        finished: Sequence[bool],
        fail: Callable[[int, str], None],
    ) -> None:
        """Trains the runs of a group; tells which of them fail, and why."""
        dataset = self._dataset(cells[0])
        self._say(
            f"{', '.join(dict.fromkeys(cell.variant for cell in cells))}: seed "
            f"{', '.join(str(cell.experiment.seed) for cell in cells)} ({group.mode})"
        )
        try:
            if group.mode == "single":
                [cell] = cells
                self._train_alone(cell, dataset)
            else:
                assert group.mode != "auto"
                train_together(
                    [cell.experiment for cell in cells],
                    [cell.directory for cell in cells],
                    dataset,
                    group.mode,
                    self._console,
                    fail,
                    [place for place, done in enumerate(finished) if done],
                )
        except RunFailed as failed:
            fail(0, failed.reason)
        except jax.errors.JaxRuntimeError as error:
            if _MEMORY not in str(error):
                raise
            for place, done in enumerate(finished):
                if not done:
                    fail(place, "out of memory")

    def _train_alone(self, cell: Cell, dataset: Dataset) -> None:
        begun = (cell.directory / "config.json").exists()
        if not begun or _finished_steps(cell) < cell.experiment.steps:
            train(cell.experiment, cell.directory, dataset, self._console, resume=begun)

    def _record(self, cell: Cell, group: Group, failure: str | None) -> Record:
        record = finish(self._ablation, cell, group.mode, failure)
        assemble(self._directory, self._cells)
        name = f"{cell.variant}, seed {cell.experiment.seed}"
        if record["status"] == "failed":
            self._say(f"{name}: failed: {record['reason']}")
            return record
        last = dict(record["scores"]["last"])
        values = ", ".join(f"{k} {v:.4g}" for k, v in last.items() if k != "step")
        self._say(f"{name}: {values}")
        return record

    def _dataset(self, cell: Cell) -> Dataset:
        data = cell.experiment.data
        if data not in self._datasets:
            self._datasets[data] = load(data, self._progress)
        return self._datasets[data]

    def _say(self, message: str) -> None:
        print_line(self._console, message)


def _finished_steps(cell: Cell) -> int:
    """Step of a run's latest checkpoint; 0 without one."""
    with open_checkpoints(
        cell.directory / "checkpoints", cell.experiment.keep_checkpoints
    ) as manager:
        return manager.latest_step() or 0
