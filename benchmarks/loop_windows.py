"""The training loop and its bare step by turns; `benchmarks.loop` tells how and why."""

import dataclasses
import io
import itertools
import math
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from benchmarks.timing import timed
from genjax.config import Experiment
from genjax.core.parallel import choose_mode, compile_step, mapped_axis
from genjax.core.schema import Source
from genjax.errors import UserError
from genjax.families.registry import make_algorithm
from genjax.run.feed import make_feeder
from genjax.run.loop import train
from genjax.run.monitor import check_finite

WARM_UP = 3
BLOCKS = 4
"""A window is this many times as long as a block of bare steps."""
PLAIN, REST = "data and logs", "rest"


class Plan(NamedTuple):
    """What is run.

    Attributes:
      experiment: with as many steps as that takes.
      period: steps after which events repeat.
      window: steps between two halts.
      halts: logged steps at which the loop is halted.
    """

    experiment: Experiment
    period: int
    window: int
    halts: list[int]

    @property
    def events(self) -> dict[str, int]:
        """Steps between two events of a kind."""
        experiment = self.experiment
        events = {"grid": experiment.sample_every, "checkpoint": experiment.checkpoint_every}
        return events | ({"score": experiment.eval.every} if experiment.eval.every else {})


class Line(NamedTuple):
    """A logged line: its step, when it came, and when the loop went on."""

    step: int
    came: float
    left: float


class Segment(NamedTuple):
    """The steps between two lines.

    Attributes:
      seconds: from line to line.
      steps: that were computed meanwhile.
      events: what else happened, in words; may be empty.
    """

    seconds: float
    steps: int
    events: str


class Window(NamedTuple):
    """What one window says.

    Attributes:
      bare: seconds of a bare step around it.
      loop: seconds of a step of the loop.
      lost: from cause to seconds a step; their sum is the difference.
    """

    bare: float
    loop: float
    lost: dict[str, float]

    @property
    def kept(self) -> float:
        """Throughput of the loop as a share of that of the bare step."""
        return self.bare / self.loop


class Lines(io.StringIO):
    """A file for a console, which takes the time of logged lines."""

    def __init__(self, halts: list[int], halt: Callable[[], None]) -> None:
        super().__init__()
        self._halts = halts
        self._halt = halt
        self.lines: list[Line] = []
        self.first = math.nan
        """Seconds of the first call, as the run says."""

    def write(self, text: str) -> int:
        came = time.perf_counter()
        if found := re.match(r"step (\d+)/", text):
            step = int(found[1])
            if step in self._halts:
                self._halt()
            self.lines.append(Line(step, came, time.perf_counter()))
        elif found := re.match(r"first .*compilation: ([\d.]+) s", text):
            self.first = float(found[1])
        return len(text)


def make_plan(base: Experiment, steps: int, repeats: int, shrink: int) -> Plan:
    """Chooses where the loop is halted.

    Args:
      base: the preset.
      steps: that a window has at least.
      repeats: windows.
      shrink: what the intervals are divided by.

    Returns:
      The plan.

    Raises:
      UserError: it is logged too rarely for that.
    """
    evaluation = base.eval
    if evaluation.every:
        evaluation = dataclasses.replace(evaluation, every=max(evaluation.every // shrink, 1))
    names = ("log_every", "sample_every", "checkpoint_every")
    intervals = {name: max(getattr(base, name) // shrink, 1) for name in names}
    experiment = dataclasses.replace(base, eval=evaluation, **intervals)
    plan = Plan(experiment, 0, 0, [])
    log, call = experiment.log_every, experiment.steps_per_call
    between = min(plan.events.values()) // 2 // log * log
    if not between or log <= call:
        raise UserError(
            f"{base.name} is logged every {log} steps; that must be at most half of the interval "
            f"between grids or checkpoints and above steps_per_call, {call}"
        )
    period = math.lcm(log, *plan.events.values())
    window = -(-steps // period) * period
    halts = [period + between + repeat * window for repeat in range(repeats + 1)]
    # A line is said when the call after it has been dispatched.
    last = (-(-halts[-1] // call) + 1) * call
    return Plan(dataclasses.replace(experiment, steps=last), period, window, halts)


def make_bare(plan: Plan, source: Source) -> Callable[[], float]:
    """Compiles the bare step.

    Args:
      plan: what is run.
      source: its first batch is used.

    Returns:
      A function that times a block of steps and returns the seconds of one.
    """
    experiment = plan.experiment
    mode = choose_mode(experiment.mode, jax.devices())
    algorithm = make_algorithm(experiment, source.schema, mapped_axis(mode))
    compiled = compile_step(algorithm, mode, jax.devices())
    on_host = dataclasses.replace(experiment, feed="host")
    batches = make_feeder([on_host], source, compiled, algorithm.examples).batches(0)
    calls = -(-plan.window // BLOCKS // experiment.steps_per_call)

    def block() -> float:
        state = compiled.init(jax.random.key(experiment.seed))

        def run(count: int) -> Any:
            nonlocal state
            for _ in range(count):
                state, metrics = compiled.step(state, None, batches)
            return jax.block_until_ready((state, metrics))[1]

        run(WARM_UP)
        seconds, metrics = timed(lambda: run(calls))
        check_finite(0, {name: float(value[-1]) for name, value in metrics.items()})
        return seconds / calls / experiment.steps_per_call

    block()
    return block


def cut(plan: Plan, lines: list[Line]) -> list[Segment]:
    """What happened between lines that follow each other."""
    call = plan.experiment.steps_per_call
    segments = []
    for before, line in itertools.pairwise(lines):
        # Those of the call that ended while the loop was halted are no work.
        steps = (-(-line.step // call) - -(-before.step // call)) * call
        steps -= call if before.step in plan.halts else 0
        # What happens at a step comes after its line.
        first, last = before.step - 1, line.step - 1
        found = [name for name, every in plan.events.items() if last // every > first // every]
        segments.append(Segment(line.came - before.left, steps, " and ".join(found)))
    return segments


def split(segments: list[Segment]) -> tuple[float, dict[str, float]]:
    """Splits the time of some lines.

    Args:
      segments: at least one of them without an event.

    Returns:
      Seconds of a step without an event, and from events to the seconds that they add.
    """
    plain = statistics.median(x.seconds / x.steps for x in segments if not x.events)
    added: dict[str, float] = {}
    for segment in segments:
        cause = segment.events or REST
        added[cause] = added.get(cause, 0) + segment.seconds - segment.steps * plain
    return plain, added


def measure(plan: Plan, source: Source) -> tuple[list[Window], float, float]:
    """Runs the loop and the bare step by turns.

    Args:
      plan: what is run.
      source: to learn from.

    Returns:
      The windows; seconds of the first call, with its compilation; and seconds that the events of
      the first period took longer than later ones.
    """
    block = make_bare(plan, source)
    blocks: list[float] = []
    file = Lines(plan.halts, lambda: blocks.append(block()))
    with tempfile.TemporaryDirectory() as folder:
        train(plan.experiment, Path(folder) / "run", source, Console(file=file))
    at = [next(i for i, line in enumerate(file.lines) if line.step == x) for x in plan.halts]
    windows, later = [], []
    for number, (start, end) in enumerate(itertools.pairwise(at)):
        plain, added = split(cut(plan, file.lines[start : end + 1]))
        bare = statistics.mean(blocks[number : number + 2])
        lost = {cause: seconds / plan.window for cause, seconds in added.items()}
        windows.append(Window(bare, plain + sum(lost.values()), {PLAIN: plain - bare, **lost}))
        later.append(sum(added.values()) - added[REST])
    _, added = split(cut(plan, file.lines[: at[0] + 1]))
    usual = statistics.median(later) * plan.period / plan.window
    return windows, file.first, sum(added.values()) - added[REST] - usual
