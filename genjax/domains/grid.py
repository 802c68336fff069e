"""Images side by side."""

import math

import numpy as np
from jaxtyping import UInt8

_SMALLEST_TILE = 56
_GAP = 2


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
