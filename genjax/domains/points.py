"""Points of the plane in [-1, 1]^2, shown as a density."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float, UInt8

from genjax.domains.domain import Domain, Layout, Picture, Samples

_CELLS = 256
_CELL_PIXELS = 2


def density_picture(points: Float[np.ndarray, "n 2"]) -> UInt8[np.ndarray, "512 512 1"]:
    """Counts points in the cells of a square and shows the counts as brightness.

    ``255 log(1 + count) / log(1 + largest count)``, so that a stray point shows beside a mode.

    Args:
      points: float [n, 2]; those outside [-1, 1]^2 are left out.

    Returns:
      uint8 [512, 512, 1] of [-1, 1]^2, x to the right and y upwards.
    """
    x, y = points[:, 0], points[:, 1]
    counts, _, _ = np.histogram2d(x, y, bins=_CELLS, range=[[-1, 1], [-1, 1]])
    levels = np.log1p(counts) / np.log1p(max(1.0, counts.max()))
    rows = np.rint(255 * levels.T[::-1]).astype(np.uint8)[..., None]
    return rows.repeat(_CELL_PIXELS, axis=0).repeat(_CELL_PIXELS, axis=1)


def render_points(samples: Samples, facts: Mapping[str, Any], layout: Layout) -> list[Picture]:
    """Shows the density of points, float [n, 2], and above it that of others; one picture."""
    panels = (*layout.above.values(), samples)
    return [Picture(np.concatenate([density_picture(panel) for panel in panels]))]


def _same(points: Array) -> Array:
    return points


POINTS = Domain(
    field="point",
    plural="points",
    axes=1,
    to_model=_same,
    to_stored=_same,
    model_field=lambda field: field,
    render=render_points,
    # A picture of a density needs more samples than one of tiles has room for.
    pictured=10_000,
    coarse=lambda samples, facts: np.asarray(samples, np.float64),
    coarse_name="point_frechet",
)
