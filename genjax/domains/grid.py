"""Images side by side."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

_SMALLEST_TILE = 56
_CAPTIONED_TILE = 112
_GAP = 2
_LINES = 3
"""Of a caption, at most."""
_SIZE = 11
"""Of its letters, in pixels."""


def image_grid(
    images: UInt8[np.ndarray, "n height width channels"],
    columns: int | None = None,
    captions: Sequence[str] = (),
) -> UInt8[np.ndarray, "grid_height grid_width channels"]:
    """Lays images out in rows, enlarged by a whole factor so that small ones can be seen.

    Args:
      images: uint8 [n, height, width, channels], 1 or 3 channels, n at least 1.
      columns: images in a row; None makes the grid as square as can be.
      captions: one for each image, written under it; or none.

    Returns:
      uint8 [height, width, channels] of the whole grid, dark grey between the images.
    """
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    smallest = _CAPTIONED_TILE if captions else _SMALLEST_TILE
    factor = max(1, math.ceil(smallest / max(height, width)))
    tiles = images.repeat(factor, axis=1).repeat(factor, axis=2)
    if captions:
        strips = _strips(captions, width * factor)
        tiles = np.concatenate([tiles, strips.repeat(channels, axis=-1)], axis=1)
    height, width = tiles.shape[1] + _GAP, tiles.shape[2] + _GAP
    grid = np.full((rows * height + _GAP, columns * width + _GAP, channels), 32, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = (number // columns) * height + _GAP, (number % columns) * width + _GAP
        grid[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return grid


def _strips(captions: Sequence[str], width: int) -> UInt8[np.ndarray, "n height width 1"]:
    """Draws each caption in as many lines as the longest needs, but no more than three."""
    from PIL import Image, ImageDraw, ImageFont  # A start without pictures does without.

    font = ImageFont.load_default(_SIZE)
    texts = [_wrap(caption, width, font.getlength) for caption in captions]
    height = (_SIZE + 3) * max(map(len, texts))
    strips = []
    for lines in texts:
        strip = Image.new("L", (width, height), 32)
        draw = ImageDraw.Draw(strip)
        for number, line in enumerate(lines):
            draw.text((1, number * (_SIZE + 3)), line, fill=224, font=font)
        strips.append(np.asarray(strip)[..., None])
    return np.stack(strips)


def _wrap(caption: str, width: int, length: Callable[[str], float]) -> list[str]:
    """Breaks a caption between words; what is too long for the last line ends in dots."""
    lines = [""]
    words = caption.split()
    while words:
        word = words.pop(0)
        joined = f"{lines[-1]} {word}".strip()
        if not lines[-1] or length(joined) <= width:
            lines[-1] = joined
        elif len(lines) < _LINES:
            lines.append(word)
        else:
            lines[-1] = joined
    for number, line in enumerate(lines):
        if length(line) > width:
            while line and length(f"{line}…") > width:
                line = line[:-1]
            lines[number] = f"{line}…"
    return lines
