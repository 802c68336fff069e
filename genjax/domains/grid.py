"""Pictures of samples as PNG files: grids of images, and the density of points."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

_SMALLEST_TILE = 56
_GAP = 2
_DENSITY_CELLS = 256
_CELL_PIXELS = 2


def image_grid(
    images: UInt8[np.ndarray, "n height width channels"], columns: int | None = None
) -> UInt8[np.ndarray, "grid_height grid_width channels"]:
    """Lays images out in rows, enlarged by a whole factor so that small ones can be seen.

    Args:
      images: uint8 [n, height, width, channels], 1 or 3 channels, n at least 1.
      columns: images in a row; None makes the grid as square as can be.

    Returns:
      uint8 [height, width, channels] of the whole grid, dark grey between the images.
    """
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    factor = max(1, math.ceil(_SMALLEST_TILE / max(height, width)))
    tiles = images.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = height * factor + _GAP, width * factor + _GAP
    grid = np.full((rows * height + _GAP, columns * width + _GAP, channels), 32, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = (number // columns) * height + _GAP, (number % columns) * width + _GAP
        grid[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return grid


def density_picture(points: Float[np.ndarray, "n 2"]) -> UInt8[np.ndarray, "512 512 1"]:
    """Counts points in the cells of a square and shows the counts as brightness.

    ``255 log(1 + count) / log(1 + largest count)``, so that a stray point shows beside a mode.

    Args:
      points: float [n, 2]; those outside [-1, 1]^2 are left out.

    Returns:
      uint8 [512, 512, 1] of [-1, 1]^2, x to the right and y upwards.
    """
    x, y = points[:, 0], points[:, 1]
    counts, _, _ = np.histogram2d(x, y, bins=_DENSITY_CELLS, range=[[-1, 1], [-1, 1]])
    levels = np.log1p(counts) / np.log1p(max(1.0, counts.max()))
    rows = np.rint(255 * levels.T[::-1]).astype(np.uint8)[..., None]
    return rows.repeat(_CELL_PIXELS, axis=0).repeat(_CELL_PIXELS, axis=1)


def save_grid(
    path: Path,
    images: UInt8[np.ndarray, "n height width channels"] | Float32[np.ndarray, "n 1 1 2"],
    columns: int | None = None,
    above: Sequence[UInt8[np.ndarray, "_ height width channels"]] = (),
) -> None:
    """Writes a grid of images, or the density of points, as PNG.

    The file appears whole or not at all.

    Args:
      path: of the file.
      images: uint8 [n, height, width, channels], or points as float32 [n, 1, 1, 2].
      columns: images in a row; points have none.
      above: further images of the same size, each set in a grid of its own above the last.
    """
    if images.dtype == np.uint8:
        grids = [image_grid(panel, columns) for panel in (*above, images)]
        grid = np.concatenate(grids)
    else:
        grid = density_picture(images.reshape(len(images), -1))
    part = path.with_name(path.name + ".part")
    Image.fromarray(grid.squeeze(-1) if grid.shape[-1] == 1 else grid).save(part, format="PNG")
    part.replace(path)
