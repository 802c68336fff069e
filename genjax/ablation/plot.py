"""Figures of an ablation: learning curves, and the scores of all seeds with their intervals."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genjax.ablation.results import Record, by_variant, directions, succeeded
from genjax.ablation.rows import Row
from genjax.ablation.style import (
    BASELINE,
    CHARACTER,
    COLOURS,
    FAILED,
    OTHER,
    log_scale,
    new_figure,
    save_figure,
    settings,
    spans_decades,
    variant_label,
)
from genjax.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


def plot_curves(records: Sequence[Record], folder: str | Path) -> list[Path]:
    """Draws what was evaluated during training: mean over seeds, and a band from least to most.

    Up to ten variants share a panel for each quantity; more get a panel each, with the baseline in
    grey behind. Failed runs are left out.

    Args:
      records: of one ablation; at least one.
      folder: where ``curves.png`` and ``curves.svg`` are written.

    Returns:
      The files; none if no run that did not fail has curves.

    Raises:
      UserError: matplotlib is not installed.
    """
    folder = Path(folder)
    scored = succeeded(records)
    names = dict.fromkeys(name for r in scored for name in r["curve"] if name != "step")
    quantities = [name for name in names if any(r["curve"].get(name) for r in scored)]
    if not quantities:
        return []
    with settings():
        others = by_variant(records).keys() - {records[0]["baseline"]}
        draw = _draw_together if len(others) <= len(COLOURS) else _draw_apart
        figure = draw(records, quantities)
        return save_figure(figure, folder, "curves")


def plot_scores(rows: Sequence[Row], records: Sequence[Record], folder: str | Path) -> list[Path]:
    """Draws the scores of the last checkpoint: a dot for each seed, mean and interval over them.

    Args:
      rows: of `make_rows`, drawn from top to bottom.
      records: what the rows were made of.
      folder: where ``scores.png`` and ``scores.svg`` are written.

    Returns:
      The files.

    Raises:
      UserError: matplotlib is not installed, or there are no scores.
    """
    folder = Path(folder)
    better = directions(records)
    if not better:
        raise UserError("all runs of these results failed, so there is nothing to draw")
    groups = by_variant(succeeded(records))
    with settings():
        columns = min(len(better), 4)
        lines = math.ceil(len(better) / columns)
        names = [variant_label(row.variant, len(row.failures), len(row.seeds)) for row in rows]
        width = 0.3 + CHARACTER * max(map(len, names)) + 2.3 * columns
        figure = new_figure(width, 0.3 + lines * (0.8 + 0.24 * len(rows)))
        axes = figure.subplots(lines, columns, sharey=True, squeeze=False).flatten()
        for panel, (score, side) in zip(axes, better.items(), strict=False):
            _draw_scores(panel, rows, groups, score)
            panel.set_title(score)
            log = spans_decades([r["scores"]["last"][score] for r in succeeded(records)], side)
            if log:
                log_scale(panel, "x")
            panel.set_xlabel(f"{side} is better{', log scale' if log else ''}")
        for panel in axes[len(better) :]:
            panel.set_visible(False)
        axes[0].set_yticks(range(len(rows)), names)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        figure.supxlabel("small dots: seeds; large: their mean with its 95 % interval", fontsize=7)
        return save_figure(figure, folder, "scores")


def _draw_together(records: Sequence[Record], quantities: Sequence[str]) -> "Figure":
    columns = min(len(quantities), 3)
    lines = math.ceil(len(quantities) / columns)
    baseline = records[0]["baseline"]
    groups = by_variant(records)
    names = {variant: _name(variant, group) for variant, group in groups.items()}
    width = 0.6 + CHARACTER * max(24, *map(len, names.values())) + 3.3 * columns
    figure = new_figure(width, 2.8 * lines)
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    others = [variant for variant in groups if variant != baseline]
    colours = {baseline: BASELINE, **dict(zip(others, COLOURS, strict=False))}
    for panel, quantity in zip(axes, quantities, strict=False):
        for variant, group in groups.items():
            _draw_curve(panel, group, quantity, colours[variant], names[variant])
        _finish_curves(panel, records, quantity)
        panel.set_title(_title(quantity))
        panel.set_xlabel("step")
    for panel in axes[len(quantities) :]:
        panel.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    title = "mean and range over seeds"
    figure.legend(handles, labels, loc="outside right upper", title=title, alignment="left")
    return figure


def _draw_apart(records: Sequence[Record], quantities: Sequence[str]) -> "Figure":
    groups = by_variant(records)
    columns = min(6, math.ceil(math.sqrt(1.5 * len(groups))))
    lines = math.ceil(len(groups) / columns)
    figure = new_figure(1.9 * columns, (0.5 + 1.5 * lines) * len(quantities))
    blocks = figure.subfigures(len(quantities), 1, squeeze=False).flatten()
    for block, quantity in zip(blocks, quantities, strict=True):
        _draw_block(block, records, quantity, lines, columns)
    return figure


def _draw_block(
    block: "SubFigure", records: Sequence[Record], quantity: str, lines: int, columns: int
) -> None:
    groups, baseline = by_variant(records), records[0]["baseline"]
    axes = block.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for panel, (variant, group) in zip(axes, groups.items(), strict=False):
        if variant == baseline:
            _draw_curve(panel, group, quantity, BASELINE)
        else:
            _draw_curve(panel, groups.get(baseline, []), quantity, "#999999")
            _draw_curve(panel, group, quantity, OTHER)
        panel.set_title("\n".join(textwrap.wrap(_name(variant, group), 26)), fontsize=7)
        if not succeeded(group):
            panel.text(0.5, 0.5, "failed", transform=panel.transAxes, ha="center", color=FAILED)
    # All panels share their axes.
    _finish_curves(axes[0], records, quantity)
    for panel in axes[len(groups) :]:
        panel.set_visible(False)
    for panel in axes[max(0, len(groups) - columns) : len(groups)]:
        panel.tick_params(labelbottom=True)
    behind = f"; {baseline} in grey" if baseline in groups else ""
    title = f"{_title(quantity)}: mean and range over seeds{behind}"
    block.suptitle(title, fontsize=9)
    block.supxlabel("step", fontsize=8)


def _draw_curve(
    panel: "Axes", group: Sequence[Record], quantity: str, colour: str, label: str | None = None
) -> None:
    points: dict[int, list[float]] = {}
    for record in succeeded(group):
        curve = record["curve"]
        for step, value in zip(curve.get("step", []), curve.get(quantity, []), strict=False):
            points.setdefault(step, []).append(value)
    steps = sorted(points)
    low, high = [min(points[step]) for step in steps], [max(points[step]) for step in steps]
    mean = [math.fsum(points[step]) / len(points[step]) for step in steps]
    panel.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
    marker = "o" if len(steps) == 1 else ""
    panel.plot(steps, mean, color=colour, linewidth=1.4, marker=marker, label=label)


def _finish_curves(panel: "Axes", records: Sequence[Record], quantity: str) -> None:
    from matplotlib.ticker import EngFormatter

    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    side = directions(records).get(_title(quantity), "higher")
    values = [value for r in succeeded(records) for value in r["curve"].get(quantity, [])]
    if spans_decades(values, side):
        log_scale(panel, "y")


def _draw_scores(
    panel: "Axes", rows: Sequence[Row], groups: dict[str, list[Record]], score: str
) -> None:
    for place, row in enumerate(rows):
        interval = row.summaries["last", score].interval
        if interval is None:
            anchor: Any = panel.get_yaxis_transform()
            text = panel.text(0.02, place, "failed", transform=anchor, va="center", color=FAILED)
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
            continue
        colour = BASELINE if row.baseline else OTHER
        values = [record["scores"]["last"][score] for record in groups[row.variant]]
        heights = [place] * len(values)
        panel.scatter(values, heights, s=9, color=colour, alpha=0.3, linewidths=0, zorder=2)
        if interval.low is not None and interval.high is not None:
            panel.hlines(place, interval.low, interval.high, color=colour, linewidth=1.8, zorder=3)
        edge: Any = {"edgecolors": "white", "linewidths": 0.8}
        panel.scatter([interval.mean], [place], s=34, color=colour, zorder=4, **edge)
        if row.baseline:
            panel.axvline(interval.mean, color=colour, linewidth=0.8, alpha=0.6, zorder=1)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)


def _name(variant: str, group: Sequence[Record]) -> str:
    return variant_label(variant, len(group) - len(succeeded(group)), len(group))


def _title(quantity: str) -> str:
    return quantity.removeprefix("evaluation/")
