"""Images in one array with a list of their names, such as the tiles of Dungeon Crawl Stone Soup.

The array is an ``.npy``, uint8 [n, height, width, channels] or [n, height, width]; beside it lies
``names.txt`` with a path a line, whose words are the caption and whose first folder is the class.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from genjax.data import images
from genjax.errors import UserError, reason

NAMES = "names.txt"
"""What the list is called."""

# The folders at the top of Crawl's tiles: those that show no thing, but are unused, parts of the
# screen or layers over other tiles, are left out, and the others written out.
_CRAWL = {"dngn": "dungeon", "mon": "monster", "item": "item"}
_NOT_SHOWN = ("UNUSED", "gui", "player")


def find_array(folder: Path) -> Path | None:
    """The array in a folder with a list of names; None where there is no such pair.

    Raises:
      UserError: there are several arrays.
    """
    if not (folder / NAMES).is_file():
        return None
    arrays = sorted(folder.glob("*.npy"))
    if len(arrays) > 1:
        names = " and ".join(path.name for path in arrays[:2])
        raise UserError(f"{folder} holds {names}, and one {NAMES}; import each by itself")
    return arrays[0] if arrays else None


def read_array(path: Path) -> UInt8[np.ndarray, "n height width channels"]:
    """Maps images into memory.

    Args:
      path: an .npy file.

    Returns:
      uint8 [n, height, width, channels] with 1, 3 or 4 channels.

    Raises:
      UserError: it is damaged, or holds something else.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    # There is little that a damaged file can't make NumPy raise.
    except Exception as error:
        raise UserError(f"cannot read {path}: {reason(error)}; write it with numpy.save") from error
    if isinstance(array, np.ndarray) and array.ndim == 3:
        array = array[..., None]
    usable = isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 4
    if not usable or array.shape[-1] not in (1, 3, 4) or not array.size:
        what = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "no array"
        raise UserError(
            f"{path} holds {what}; needed: uint8 [n, height, width, channels] with 1, 3 or 4 "
            "channels"
        )
    return array


def flatten(
    image: UInt8[np.ndarray, "height width channels"], channels: int
) -> UInt8[np.ndarray, "height width wanted"]:
    """Lays an image on white, or makes a grey one RGB, where it has not so many channels."""
    pixels = images.on_white(image) if image.shape[-1] == 4 else np.asarray(image)
    return np.repeat(pixels, channels // pixels.shape[-1], axis=-1)


def choose_names(names: Sequence[str]) -> list[str | None]:
    """Writes out what Crawl's tiles abbreviate, and leaves out those that show no thing.

    Args:
      names: paths; only those that have Crawl's folders are changed.

    Returns:
      The paths; None for an image to leave out.

    Example:
      >>> choose_names(["mon/ant", "dngn/lava", "gui/tab", "item/arrow", "player/base/elf_f"])
      ['monster/ant', 'dungeon/lava', None, 'item/arrow', None]
      >>> choose_names(["mon/ant", "player/one"])
      ['mon/ant', 'player/one']
    """
    parts = [name.partition("/") for name in names]
    if not {first for first, _, _ in parts} >= {*_CRAWL}:
        return list(names)
    return [
        None if first in _NOT_SHOWN else f"{_CRAWL.get(first, first)}{slash}{rest}"
        for first, slash, rest in parts
    ]
