"""Wall-clock times of calls that take turns."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Clock = Callable[[Callable[[], Any]], float]


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Calls a function, which must wait for its result; returns the seconds, and the result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def turns(count: int, repeat: int) -> list[int]:
    """In which order `count` sides run.

    Who comes first changes, and whom each one follows, so that none always finds what the same
    other left in caches.

    Args:
      count: of the sides.
      repeat: which round, from 0.

    Returns:
      Each number below `count` once.

    Example:
      >>> [turns(3, repeat) for repeat in range(4)]
      [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]]
    """
    order = [(place + repeat // 2) % count for place in range(count)]
    return order[::-1] if repeat % 2 else order


def alternate(
    calls: Sequence[Callable[[], Any]], repeats: int, clock: Clock = lambda call: timed(call)[0]
) -> list[list[float]]:
    """Times calls by turns.

    Args:
      calls: one of each side.
      repeats: rounds.
      clock: from a call to the seconds that it takes.

    Returns:
      For each side, the seconds of its calls, round by round.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    for repeat in range(repeats):
        for place in turns(len(calls), repeat):
            seconds[place].append(clock(calls[place]))
    return seconds


def ratios(ours: Sequence[float], peer: Sequence[float]) -> list[float]:
    """How many times faster we are than the peer, round by round."""
    return [b / a for a, b in zip(ours, peer, strict=True)]


def spread(values: Sequence[float], digits: int) -> str:
    """The smallest and the largest value, as ``1.0 to 2.0``."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def summary(values: Sequence[float], digits: int) -> str:
    """Two cells of a Markdown table: the median, and the smallest to the largest."""
    return f"{statistics.median(values):.{digits}f} | {spread(values, digits)}"
