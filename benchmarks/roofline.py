"""Draws what steps reach beside what the machine allows (Williams et al. 2009)."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.tables import NAMES, Record, roof_name, short

CAPTION = (
    "A point is one case: the formula's FLOPs a second, over the formula's FLOPs for each byte "
    "that the compiler counts as accessed. It takes each operation's operands and results as going "
    "through memory, so what stays in caches puts points left of where they belong, even beyond "
    "the slope. Lines are measured: a large matrix product and a copy."
)
_UNITS = {
    "norm of D": "D's norm {}",
    "penalty": "penalty {}",
    "devices": "devices {}",
    "batch": "batch {}",
    "steps a call": "steps a call {}",
}
# Okabe & Ito's palette, without the yellow that is faint on white; shapes differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_STYLES = ("solid", "dashed", "dotted", "dashdot")
_NEEDED = ("flops", "compiler_bytes", "ceiling", "bandwidth", "seconds")


class Point(NamedTuple):
    """A case.

    Attributes:
      label: what tells it from the others.
      group: what shares its colour.
      intensity: FLOPs a byte.
      achieved: FLOP/s.
      roof: type and devices, which the next two are of.
      ceiling: FLOP/s of a matrix product.
      bandwidth: bytes/s.
    """

    label: str
    group: str
    intensity: float
    achieved: float
    roof: str
    ceiling: float
    bandwidth: float


def _labels(records: Sequence[Record]) -> list[str]:
    """As few names as tell the records apart, the preset first."""
    labels = [record["preset"] for record in records]
    for column in NAMES[1:]:
        cells = [column.cell(record) or "none" for record in records]
        named = [_UNITS.get(column.title, "{}").format(cell) for cell in cells]
        longer = [f"{label}, {cell}" for label, cell in zip(labels, named, strict=True)]
        if len(set(longer)) > len(set(labels)):
            labels = longer
    return labels


def points(records: Sequence[Record]) -> list[Point]:
    """The points of those records that have all it takes."""
    chosen = [record for record in records if all(record.get(name) for name in _NEEDED)]
    return [
        Point(
            label=label,
            group=record["preset"],
            intensity=record["flops"] / record["compiler_bytes"],
            achieved=record["flops"] / statistics.median(record["seconds"]),
            roof=roof_name(record),
            ceiling=record["ceiling"],
            bandwidth=record["bandwidth"],
        )
        for label, record in zip(_labels(chosen), chosen, strict=True)
    ]


def plot_rooflines(machines: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Draws one panel a machine.

    Args:
      machines: from name to points, at least one each.
      path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [max(4.2, 1.2 + 0.21 * len(found)) for found in machines.values()]
    figure = Figure((8.3, sum(heights)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(machines), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (name, found) in zip(panels, machines.items(), strict=True):
        _draw(panel, name if len(machines) > 1 else "", found)
    figure.savefig(path, format="png")


def _draw(panel: Any, title: str, found: Sequence[Point]) -> None:
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    # The best that was measured, where several processes did.
    roofs = {
        roof: tuple(
            max(getattr(point, name) for point in found if point.roof == roof)
            for name in ("ceiling", "bandwidth")
        )
        for roof in dict.fromkeys(point.roof for point in found)
    }
    low = min(p.intensity for p in found) / 3
    high = 3 * max(*(p.intensity for p in found), *(c / b for c, b in roofs.values()))
    for (roof, (ceiling, bandwidth)), style in zip(roofs.items(), cycle(_STYLES), strict=False):
        panel.plot(
            (low, ceiling / bandwidth, high),
            (low * bandwidth / 1e9, ceiling / 1e9, ceiling / 1e9),
            color="#555555",
            linestyle=style,
            linewidth=1.2,
            label=f"{roof}: {short(ceiling / 1e9)} GFLOP/s, {short(bandwidth / 1e9)} GB/s",
        )
    groups = list(dict.fromkeys(p.group for p in found))
    for number, point in enumerate(found, 1):
        look = groups.index(point.group)
        place = (point.intensity, point.achieved / 1e9)
        panel.plot(
            *place,
            linestyle="none",
            marker=_MARKS[look % len(_MARKS)],
            markersize=13,
            markerfacecolor="white",
            markeredgecolor=_COLOURS[look % len(_COLOURS)],
            markeredgewidth=1.6,
            label=f"{number}  {point.label}",
            zorder=2 + number,
        )
        panel.annotate(
            str(number),
            place,
            ha="center",
            va="center_baseline",
            fontsize=7.5,
            zorder=2 + number,
        )
    panel.set(title=title, xlabel="FLOPs a byte", ylabel="GFLOP/s", xscale="log", yscale="log")
    panel.set_xlim(low, high)
    panel.set_ylim(
        min(p.achieved for p in found) / 3e9, 2e-9 * max(ceiling for ceiling, _ in roofs.values())
    )
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    panel.grid(which="both", color="#e4e4e4", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False, markerscale=0.6
    )
