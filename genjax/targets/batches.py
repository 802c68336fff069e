"""The largest batch whose step fits a device's memory."""

import dataclasses
from collections.abc import Callable

from genjax.config import LARGEST_BATCH, Experiment
from genjax.errors import UserError
from genjax.targets.report import Report

_CLOSE = 1 / 16


def largest_batch(
    experiment: Experiment, unit: int, compiled: Callable[[Experiment], Report]
) -> Report:
    """Finds the largest batch that fits, to a sixteenth.

    Memory grows nearly in proportion to the batch, so each guess is where the line through two
    known batches meets the capacity; between the largest that fits and the smallest that does not,
    the halves are tried.

    Args:
      experiment: whose batch is where the search starts.
      unit: of which the batch must be a multiple, such as the number of devices.
      compiled: from an experiment to its report.

    Returns:
      The report of the largest that was found, at most that of `LARGEST_BATCH`.

    Raises:
      UserError: the target has no known memory, or not even `unit` examples fit it.
    """

    def tried(batch: int) -> Report:
        return compiled(dataclasses.replace(experiment, batch_size=batch))

    best: Report | None = None
    above: int | None = None
    batch = max(unit, experiment.batch_size // unit * unit)
    if batch > LARGEST_BATCH:
        raise UserError(
            f"a batch must be a multiple of {unit:,} here, and has at most {LARGEST_BATCH:,}"
        )
    known: dict[int, int] = {}
    while True:
        report = tried(batch)
        if report.capacity is None:
            raise UserError(
                f"--largest-batch needs a target with a memory of its own, not {report.target}"
            )
        known[batch] = report.memory_bytes
        if report.fits:
            best = report
        else:
            above = batch
        fitting = 0 if best is None else best.batch_size
        if above is not None and above - fitting <= max(unit, fitting * _CLOSE):
            break
        if above is None and fitting + unit > LARGEST_BATCH:
            break
        batch = _next(known, report.capacity, fitting, above, unit)
    if best is None:
        raise UserError(
            f"not even {unit} examples fit {report.target}; choose more or other devices"
        )
    return best


def _next(known: dict[int, int], capacity: int, fitting: int, above: int | None, unit: int) -> int:
    """The next batch to try, above the largest that fits and below the smallest that does not."""
    most = fitting * 16 if above is None else above - unit
    # Where what fits is nearly full, a sixteenth more tells.
    least = fitting + max(unit, int(fitting * _CLOSE) // unit * unit if above is None else 0)
    guess = fitting * 4 if above is None else (fitting + above) // 2
    ends = sorted(known)[-2:]
    slope = (known[ends[-1]] - known[ends[0]]) / max(1, ends[-1] - ends[0])
    if above is None and slope > 0:
        guess = int(ends[-1] + (capacity - known[ends[-1]]) / slope)
    return min(max(guess // unit * unit, least), max(least, most), LARGEST_BATCH // unit * unit)
