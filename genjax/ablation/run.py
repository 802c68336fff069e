"""Runs what an ablation still misses; interrupted, it goes on where it stopped."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout
from rich.console import Console

from genjax.ablation.cells import assemble, finish, protocol_of, read_result
from genjax.ablation.grid import Ablation, Cell
from genjax.ablation.plan import Group, kind, measure_modes, planned, settle
from genjax.ablation.results import Record
from genjax.config import DataConfig
from genjax.core.schema import Source
from genjax.data.progress import Progress
from genjax.data.sources import load, load_held_out
from genjax.errors import RunFailed, UserError
from genjax.run.console import print_line
from genjax.run.evaluation import check_protocol
from genjax.run.loop import train_runs
from genjax.run.opening import open_algorithm
from genjax.run.scoring import check_rank
from genjax.run.training import Member

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
        stop: Callable[[int], Any] = lambda step: None,
    ) -> None:
        """Prepares the runner; nothing is run yet.

        Args:
          ablation: the grid.
          directory: of the ablation.
          cells: all runs of the grid.
          console: where progress is shown.
          progress: shows how far the loading of data is.
          stop: asked after each call of a step; if it returns something true, what is trained
            is saved, and `Stopped` raised.
        """
        self._ablation = ablation
        self._directory = directory
        self._cells = cells
        self._console = console
        self._progress = progress
        self._stop = stop
        self._sources: dict[DataConfig, tuple[Source, Source | None]] = {}
        self._chosen: dict[str, Any] = {}

    def check(self, cells: Sequence[Cell]) -> None:
        """Refuses runs that could not be trained or scored, before one of them is.

        Args:
          cells: the runs; those of a variant differ in their seeds alone.

        Raises:
          UserError: a configuration does not fit its data, or can't be scored as is asked for.
        """
        for cell in {cell.variant: cell for cell in cells}.values():
            source, held_out = self._source(cell)
            algorithm = open_algorithm(cell.experiment, source.schema)
            check_rank(cell.experiment, algorithm, source.schema, held_out)
            check_protocol(cell.experiment, source, held_out, protocol_of(self._ablation))

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
                    if not self._members(group):
                        raise UserError(
                            f"the runs of {group.cells[0]} are not in the grid any more: has a run "
                            "changed that a variant names? start the ablation again"
                        )
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
            self._say(f"measuring how {len(cells)} runs are trained fastest: single, vmap, scan")
            times = measure_modes(experiments, self._source(cells[0])[0])
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
        source, held_out = self._source(cells[0])
        self._say(
            f"{', '.join(dict.fromkeys(cell.variant for cell in cells))}: seed "
            f"{', '.join(str(cell.experiment.seed) for cell in cells)} ({group.mode})"
        )
        assert group.mode != "auto"
        members = [
            Member(
                cell.experiment,
                cell.directory,
                resume=(cell.directory / "config.json").exists(),
                left=done,
            )
            for cell, done in zip(cells, finished, strict=True)
        ]
        try:
            train_runs(
                members,
                source,
                self._console,
                group.mode,
                # A run that is alone may go back to a checkpoint before it fails.
                fail=None if group.mode == "single" else fail,
                stop=self._stop,
                held_out=held_out,
            )
        except RunFailed as failed:
            fail(0, failed.reason)
        except jax.errors.JaxRuntimeError as error:
            if _MEMORY not in str(error):
                raise
            for place, done in enumerate(finished):
                if not done:
                    fail(place, "out of memory")

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

    def _source(self, cell: Cell) -> tuple[Source, Source | None]:
        """The data of a run, and those held out of it."""
        data = cell.experiment.data
        if data not in self._sources:
            self._sources[data] = load(data, self._progress), load_held_out(data, self._progress)
        return self._sources[data]

    def _say(self, message: str) -> None:
        print_line(self._console, message)
