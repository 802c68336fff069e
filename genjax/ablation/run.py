"""Runs what an ablation still misses; interrupted, it goes on where it stopped."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout
from rich.console import Console

from genjax.ablation.cells import assemble, finish, read_result
from genjax.ablation.grid import Ablation, Cell
from genjax.ablation.plan import Group, kind, measure_modes, settle
from genjax.ablation.together import train_together
from genjax.checkpoint import open_checkpoints
from genjax.config import DataConfig
from genjax.data.progress import Progress
from genjax.data.sources import Dataset, load
from genjax.errors import RunFailed
from genjax.loop import train

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
        by_hash = {cell.hash: cell for cell in self._cells}
        for group in groups:
            cells = [by_hash[digest] for digest in group.cells if digest in by_hash]
            lock = FileLock(self._directory / f".group-{group.cells[0]}.lock", timeout=0)
            try:
                with lock:
                    for settled in self._choose(group, cells):
                        self._run_group(
                            settled, [by_hash[d] for d in settled.cells if d in by_hash]
                        )
            except Timeout:
                elsewhere += len(cells)
        return elsewhere

    def _choose(self, group: Group, cells: Sequence[Cell]) -> list[Group]:
        """Finds the fastest way for a group whose mode is auto."""
        if group.mode != "auto":
            return [group]
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

    def _run_group(self, group: Group, cells: Sequence[Cell]) -> None:
        results = [read_result(cell) for cell in cells]
        if all(results):
            return
        failures = self._train(group, cells, results)
        for place, reason in failures.items():
            self._record(cells[place], group, reason)
        for place, cell in enumerate(cells):
            if results[place] is None and place not in failures:
                self._record(cell, group, None)

    def _train(
        self, group: Group, cells: Sequence[Cell], results: Sequence[Any]
    ) -> Mapping[int, str]:
        """Trains the runs of a group; returns why some of them failed."""
        dataset = self._dataset(cells[0])
        self._say(
            f"{', '.join(dict.fromkeys(cell.variant for cell in cells))}: seed "
            f"{', '.join(str(cell.experiment.seed) for cell in cells)} ({group.mode})"
        )
        if group.mode == "single":
            [cell] = cells
            return _guarded(lambda: self._train_alone(cell, dataset), 1)
        assert group.mode != "auto"
        mode = group.mode
        failed = [place for place, result in enumerate(results) if result is not None]
        return _guarded(
            lambda: train_together(
                [cell.experiment for cell in cells],
                [cell.directory for cell in cells],
                dataset,
                mode,
                self._console,
                failed,
            ),
            len(cells),
        )

    def _train_alone(self, cell: Cell, dataset: Dataset) -> dict[int, str]:
        begun = (cell.directory / "config.json").exists()
        if begun and _finished_steps(cell) >= cell.experiment.steps:
            return {}
        train(cell.experiment, cell.directory, dataset, self._console, resume=begun)
        return {}

    def _record(self, cell: Cell, group: Group, failure: str | None) -> None:
        record = finish(self._ablation, cell, group.mode, failure)
        assemble(self._directory, self._cells)
        name = f"{cell.variant}, seed {cell.experiment.seed}"
        if record["status"] == "failed":
            self._say(f"{name}: failed: {record['reason']}")
            return
        last = dict(record["scores"]["last"])
        values = ", ".join(f"{k} {v:.4g}" for k, v in last.items() if k != "step")
        self._say(f"{name}: {values}")

    def _dataset(self, cell: Cell) -> Dataset:
        data = cell.experiment.data
        if data not in self._datasets:
            self._datasets[data] = load(data, self._progress)
        return self._datasets[data]

    def _say(self, message: str) -> None:
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)


def _finished_steps(cell: Cell) -> int:
    """Step of a run's latest checkpoint; 0 without one."""
    with open_checkpoints(
        cell.directory / "checkpoints", cell.experiment.keep_checkpoints
    ) as manager:
        return manager.latest_step() or 0


def _guarded(training: Callable[[], dict[int, str]], runs: int) -> Mapping[int, str]:
    """Turns what a configuration can bring about into reasons; other errors go on."""
    try:
        return training()
    except RunFailed as failed:
        return dict.fromkeys(range(runs), failed.reason)
    except jax.errors.JaxRuntimeError as error:
        if _MEMORY not in str(error):
            raise
        return dict.fromkeys(range(runs), "out of memory")
