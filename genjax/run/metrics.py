"""Reads a run's metrics off the device, late enough that the device never waits."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

import jax

from genjax.core.types import Metrics
from genjax.run.console import TrainingDisplay

_AHEAD = 2


class MetricReader:
    """Keeps the metrics of each step on the device until they are read together."""

    def __init__(
        self,
        every: int,
        examples: int,
        runs: int,
        check: Callable[[int, Sequence[dict[str, float]]], None],
        write: Callable[[int, Sequence[dict[str, float]]], None],
        display: TrainingDisplay,
    ) -> None:
        """Prepares the reader.

        Args:
          every: steps between two that are logged.
          examples: in a step of a run.
          runs: how many are trained at once.
          check: takes the number of each step and its metrics, those of each run.
          write: takes those of each step that is logged, with its speed.
          display: where the reader says how far it is.
        """
        self._every = every
        self._examples = examples
        self._runs = runs
        self._check = check
        self._write = write
        self._display = display
        self._queue: list[tuple[int, int, Metrics]] = []
        self._since: float | None = None
        self._started = time.perf_counter()
        self._steps = 0

    @property
    def due(self) -> bool:
        """Whether a step that is to be logged waits to be read."""
        # Any call before the latest has been asked about already.
        return any(
            last // self._every > before // self._every for before, last, _ in self._queue[-1:]
        )

    def add(self, before: int, metrics: Metrics) -> None:
        """Queues the metrics of one call; the first call's are waited for, to time its compilation.

        Args:
          before: steps made before the call.
          metrics: float32 [steps] or [runs, steps] each, still on the device.
        """
        steps = next(iter(metrics.values())).shape[-1]
        self._queue.append((before, before + steps, metrics))
        if len(self._queue) > _AHEAD:
            # Every call in flight holds its batches in memory.
            _, done, waited = self._queue[-_AHEAD - 1]
            jax.block_until_ready(waited)
            self._display.advance(done)
        if self._since is None:
            jax.block_until_ready(metrics)
            self._since = time.perf_counter()
            seconds = self._since - self._started
            what = "first step" if steps == 1 else f"first {steps} steps"
            self._display.compiled(what, seconds)
            self._steps = -steps

    def read(self) -> None:
        """Reads all that is queued, checks every step and logs those that are due."""
        queue, self._queue = jax.device_get(self._queue), []
        speed = self._measure(queue)
        for before, last, metrics in queue:
            for row, step in enumerate(range(before + 1, last + 1)):
                values = [
                    {
                        name: float(value[row] if value.ndim == 1 else value[run, row])
                        for name, value in metrics.items()
                    }
                    for run in range(self._runs)
                ]
                self._check(step, values)
                if step % self._every == 0:
                    self._write(step, [{**own, **speed} for own in values])
        if queue:
            self._display.advance(queue[-1][1])

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves what is done within out of the time of steps; all steps have to be read before."""
        started = time.perf_counter()
        yield
        if self._since is not None:
            self._since += time.perf_counter() - started

    def _measure(self, queue: Sequence[tuple[int, int, Metrics]]) -> dict[str, float]:
        """The speed since it was last measured, if a step is due and one was made after the first.

        Lines that are read together share it: their steps were waited for together.
        """
        self._steps += sum(last - before for before, last, _ in queue)
        logged = any(last // self._every > before // self._every for before, last, _ in queue)
        if not logged or self._since is None or self._steps <= 0:
            return {}
        now = time.perf_counter()
        seconds = (now - self._since) / self._steps
        self._since, self._steps = now, 0
        return {
            # Of several runs, each one's share of what the step takes.
            "seconds_per_step": seconds / self._runs,
            "images_per_second": self._examples * self._runs / seconds,
        }
