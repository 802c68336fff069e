"""Tests of how steps are timed, on a clock that the test sets."""

from collections.abc import Callable

import jax.numpy as jnp
import pytest

from genjax.run import metrics as module
from genjax.run.metrics import MetricReader

EXAMPLES = 8


class _Silent:
    def compiled(self, calls: str, seconds: float) -> None: ...

    def advance(self, step: int) -> None: ...


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


Lines = list[tuple[int, dict[str, float]]]
MakeReader = Callable[[int, int], tuple[MetricReader, Lines]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def make_reader(clock: _Clock) -> MakeReader:
    def make(every: int, runs: int = 1) -> tuple[MetricReader, Lines]:
        lines: Lines = []
        reader = MetricReader(
            every,
            EXAMPLES,
            runs,
            lambda step, values: None,
            lambda step, values: lines.append((step, values[0])),
            _Silent(),  # type: ignore[arg-type]
        )
        return reader, lines

    return make


def test_the_first_call_has_no_speed(make_reader: MakeReader, clock: _Clock) -> None:
    reader, lines = make_reader(1, 1)
    clock.now = 100.0
    reader.add(0, {"loss": jnp.zeros(1)})
    reader.read()
    clock.now += 2.0
    reader.add(1, {"loss": jnp.ones(1)})
    reader.read()
    assert lines[0] == (1, {"loss": 0.0})
    assert lines[1] == (2, {"loss": 1.0, "seconds_per_step": 2.0, "images_per_second": 4.0})


def test_what_is_done_in_a_pause_does_not_count(make_reader: MakeReader, clock: _Clock) -> None:
    reader, lines = make_reader(2, 1)
    reader.add(0, {"loss": jnp.zeros(1)})
    for before in range(1, 6):
        clock.now += 3.0
        reader.add(before, {"loss": jnp.zeros(1)})
        reader.read()
        with reader.paused():
            clock.now += 50.0
    assert [step for step, _ in lines] == [2, 4, 6]
    assert [line["seconds_per_step"] for _, line in lines] == [3.0, 3.0, 3.0]


def test_lines_that_are_read_together_share_their_time(
    make_reader: MakeReader, clock: _Clock
) -> None:
    reader, lines = make_reader(2, 1)
    reader.add(0, {"loss": jnp.zeros(5)})
    reader.read()
    clock.now += 10.0
    reader.add(5, {"loss": jnp.zeros(5)})
    reader.read()
    assert [step for step, _ in lines] == [2, 4, 6, 8, 10]
    speeds = [line.get("seconds_per_step") for _, line in lines]
    assert speeds == [None, None, 2.0, 2.0, 2.0]


def test_several_runs_share_a_step(make_reader: MakeReader, clock: _Clock) -> None:
    reader, lines = make_reader(1, 4)
    reader.add(0, {"loss": jnp.zeros((4, 1))})
    reader.read()
    clock.now += 2.0
    reader.add(1, {"loss": jnp.zeros((4, 1))})
    reader.read()
    assert lines[-1][1]["seconds_per_step"] == 0.5
    assert lines[-1][1]["images_per_second"] == 16.0
