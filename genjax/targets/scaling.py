"""Weak and strong scaling over chips that are absent, from what their compiler says."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from genjax.config import LARGEST_BATCH, Experiment
from genjax.errors import UserError
from genjax.targets.devices import Target, slice_of
from genjax.targets.report import Report

Scaling = Literal["weak", "strong"]

# NVLink joins the eight GPUs of a machine; what lies between machines is anybody's.
_COUNTS = {"tpu": (1, 4, 16, 64, 256), "gpu": (1, 2, 4, 8)}
_COLOURS = {"weak": "#0072B2", "strong": "#D55E00"}


class Point(NamedTuple):
    """A number of chips.

    Attributes:
      scaling: weak: as many examples on each chip; strong: as many over all chips.
      report: of the step, without bounds where the compiler has refused it.
    """

    scaling: Scaling
    report: Report

    @property
    def rates(self) -> tuple[float, float]:
        """Examples a second: no communication hidden behind work, and all of it."""
        assert self.report.bounds is not None
        hidden, apart = self.report.bounds.step
        return self.report.examples / apart, self.report.examples / hidden


def scaling_points(
    experiment: Experiment, target: Target, compiled: Callable[[Experiment, Target], Report]
) -> list[Point]:
    """Compiles a step for 1 to 256 chips of a kind, or up to 8 GPUs.

    Args:
      experiment: its batch is that of one chip in weak scaling, and of all in strong.
      target: whose kind of chip is meant.
      compiled: from an experiment and a target to a report.

    Returns:
      The points. Strong scaling ends where the batch can't be split any more, weak where no
      configuration has a larger one.

    Raises:
      UserError: the target is the CPU, or a mode is asked for that is not for all of them.
    """
    if target.platform == "cpu":
        raise UserError("--scaling is for accelerators: the devices of one CPU share its cores")
    if experiment.mode not in ("auto", "mesh"):
        raise UserError(
            f"--scaling compiles with jit for one chip and with mesh for several; leave out --mode "
            f"{experiment.mode}"
        )
    points = []
    for count in _COUNTS[target.platform]:
        chips = slice_of(target.name, count)
        mode: Any = "jit" if count == 1 else "mesh"
        for scaling in ("weak", "strong"):
            batch = experiment.batch_size * (count if scaling == "weak" else 1)
            if batch % (count * experiment.accumulate) or batch > LARGEST_BATCH:
                continue
            changed = dataclasses.replace(experiment, batch_size=batch, mode=mode)
            points.append(Point(scaling, compiled(changed, chips)))
    return points


def fitting_points(points: Sequence[Point]) -> list[Point]:
    """Those that could run; raises UserError if none could."""
    found = [point for point in points if point.report.fits]
    if not found:
        raise UserError("the step fits on no number of chips; set a smaller --batch-size")
    return found


def plot_scaling(points: Sequence[Point], path: Path) -> None:
    """Draws examples a second over chips, between no communication hidden and all of it.

    Args:
      points: from `fitting_points`.
      path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    figure = Figure((6.4, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    first = points[0].report
    for scaling, colour in _COLOURS.items():
        own = [point for point in points if point.scaling == scaling]
        if not own:
            continue
        chips = [point.report.devices for point in own]
        low, high = ([point.rates[side] for point in own] for side in (0, 1))
        batch = own[0].report.batch_size
        each = f"{batch // chips[0]:,} on each chip"
        what = each if scaling == "weak" else f"{batch:,} over all chips"
        panel.plot(chips, high, marker="o", color=colour, label=f"{scaling}: {what}")
        panel.plot(chips, low, marker="o", markersize=3, linestyle="dotted", color=colour)
        panel.fill_between(chips, low, high, color=colour, alpha=0.2, linewidth=0)
    every = sorted({point.report.devices for point in points})
    base = points[0].rates[1] / first.devices
    panel.plot(
        every,
        [base * count for count in every],
        color="#777777",
        linestyle="dashed",
        label="in proportion",
    )
    chip = first.target.partition(":")[0]
    title = f"{first.preset} on {chip}, {first.dtype}: estimated, not measured"
    panel.set(title=title, xlabel="chips", ylabel="examples/s", xscale="log", yscale="log")
    panel.set_xticks(every)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    panel.grid(which="both", color="#e4e4e4", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.legend(
        frameon=False, fontsize=9, title="bands: communication hidden or not", title_fontsize=8
    )
    figure.savefig(path, format="png")
