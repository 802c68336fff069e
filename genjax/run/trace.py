"""An XLA trace of some steps of a run, for TensorBoard and xprof."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from genjax.config import Experiment
from genjax.core.types import State
from genjax.errors import UserError

WARM_UP = 2
"""Calls before a trace: the first compiles, and the second may still fill memory and caches."""
FOLDER = "profile"
"""In the folder of a run."""
STEP = "step"
"""Name of the events that calls are in a trace."""


def check_traced(steps: int | None, experiment: Experiment) -> None:
    """Refuses a number of steps to trace that a run does not have.

    Args:
      steps: to trace, in whole calls; None traces none.
      experiment: of the run, which is new.

    Raises:
      UserError: it is below 1, or above the steps after `WARM_UP` calls.
    """
    if steps is None:
        return
    before = WARM_UP * experiment.steps_per_call
    most = experiment.steps - before
    after = f"{experiment.steps:,} steps, and the first {before:,} compile and warm up"
    if most < 1:
        raise UserError(f"--profile needs a longer run: this one has {after}; set --steps higher")
    if not 1 <= steps <= most:
        raise UserError(
            f"--profile is {steps}; it must be at least 1, at most {most:,}: the run has {after}"
        )


class Trace:
    """Records calls of a compiled step in a file that TensorBoard and xprof read.

    It holds whole steps: it waits for those before it, and ends when its own have.

    Args:
      directory: of the run; each of several processes writes into a folder of its own.
      calls: how many to record, after `WARM_UP`; 0 for none.
      say: shows a line.
    """

    def __init__(self, directory: Path, calls: int, say: Callable[[str], None]) -> None:
        self._folder = directory / FOLDER
        if jax.process_count() > 1:
            self._folder /= str(jax.process_index())
        self._calls, self._say = calls, say
        self._made, self._first, self._last = 0, 0, 0
        self._running = False

    def before(self, step: int, states: State) -> contextlib.AbstractContextManager[Any]:
        """To be in while a call is made.

        Args:
          step: steps made before.
          states: that the call begins with.
        """
        if self._calls and self._made == WARM_UP:
            jax.block_until_ready(states)
            self._first = step + 1
            self._start()
        self._made += 1
        if not self._running:
            return contextlib.nullcontext()
        return jax.profiler.StepTraceAnnotation(STEP, step_num=step + 1)

    def after(self, step: int, states: State) -> None:
        """To be called after each call, with the steps that are made then."""
        if not self._running:
            return
        self._last = step
        if self._made == WARM_UP + self._calls:
            jax.block_until_ready(states)
            self.close()

    def _start(self) -> None:
        with self._telling():
            # Where it can't be written is known before anything is recorded.
            self._folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(self._folder)
            self._running = True

    def close(self) -> None:
        """Writes what was recorded, if that has begun."""
        if not self._running:
            return
        self._running = False
        with self._telling():
            jax.profiler.stop_trace()
            self._say(f"wrote a trace of steps {self._first} to {self._last} into {self._folder}")

    @contextlib.contextmanager
    def _telling(self) -> Any:
        """A run goes on without its trace."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            self._say(f"cannot write a trace into {self._folder}: {reason}; the run goes on")
