"""What the figures of ablations share.

matplotlib is optional, so it is imported where it is used; its global settings stay as they are.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from genjax.distribution import install_extra
from genjax.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Paul Tol's "muted" scheme, which people who see few colours can tell apart; black is the baseline.
COLOURS = (
    "#332288",
    "#CC6677",
    "#44AA99",
    "#DDCC77",
    "#88CCEE",
    "#882255",
    "#117733",
    "#999933",
    "#AA4499",
)
BASELINE = "#000000"
OTHER = "#0072B2"
FAILED = "#AA0000"
_STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "font.size": 8,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.dpi": 160,
    # Names are text, whatever dollars they have.
    "text.parse_math": False,
    # Names of parts of an SVG are random without it.
    "svg.hashsalt": "genjax",
}
# Width of a character of a label, in inches.
CHARACTER = 0.07
_LOG_RATIO = 30


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Sets matplotlib's settings for a while, whatever those of the user are.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        import matplotlib.style
    except ImportError:
        raise UserError(f"figures need matplotlib; run: {install_extra('plot')}") from None
    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Makes an empty figure, which no window and no other figure knows of.

    Args:
      width: in inches.
      height: in inches.

    Returns:
      The figure; its parts get their places when it is saved.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def log_scale(panel: "Axes", way: Literal["x", "y"]) -> None:
    """Makes an axis logarithmic, with plain numbers on it; matplotlib's own are formulas.

    Args:
      panel: with the axis.
      way: in which it leads.
    """
    from matplotlib.ticker import StrMethodFormatter

    axis = panel.xaxis if way == "x" else panel.yaxis
    panel.set(**{f"{way}scale": "log"})

    def between(value: float, place: float) -> str:
        low, high = axis.get_view_interval()
        # Of 2 to 9 times a power of ten few have room, and only on a short axis.
        return f"{value:,g}" if high < 100 * low and f"{value:e}"[0] in "25" else ""

    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(between)


def save_figure(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Writes a figure as PNG and SVG; the same figure gives the same bytes.

    Args:
      figure: of `new_figure`.
      folder: that is there.
      name: of the files, without what comes after the dot.

    Returns:
      The files.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # Once for both files, because the layout of many panels takes seconds.
    ConstrainedLayoutEngine().execute(figure)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    figure.savefig(png)
    figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


def variant_label(variant: str, failed: int, seeds: int) -> str:
    """Names a variant, and what failed of it.

    Args:
      variant: its name.
      failed: seeds that failed.
      seeds: all of its seeds.

    Returns:
      For example ``hinge (1 of 8 failed)``.
    """
    return f"{variant} ({failed} of {seeds} failed)" if failed else variant


def spans_decades(values: Sequence[float], side: str) -> bool:
    """Whether a few bad runs would press all others together on a linear axis.

    Args:
      values: on the axis; at least one.
      side: whether ``higher`` or ``lower`` ones are better; only of the latter the bad are large.

    Returns:
      Whether the axis should be logarithmic.
    """
    return side == "lower" and min(values) > 0 and max(values) > _LOG_RATIO * min(values)
