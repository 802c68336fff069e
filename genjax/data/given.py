"""Single images that a user names, brought to the shape of a data set's."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from genjax.data import folders, images, readers
from genjax.data.image_folders import KIND
from genjax.data.progress import no_progress
from genjax.errors import UserError


class Given(NamedTuple):
    """Images by name.

    Attributes:
      names: of the images: a path, or a path and a number within it.
      images: uint8 [n, height, width, channels].
    """

    names: list[str]
    images: UInt8[np.ndarray, "n height width channels"]


def read_given(paths: Sequence[Path], shape: tuple[int, ...], most: int) -> Given:
    """Reads images, resized and with the channels of a data set, as an import would have them.

    Args:
      paths: PNG or JPEG files, folders of such files, and .npz files.
      shape: height, width and channels. Where the sides are equal, the central square of each image
        is resized to them.
      most: how many there may be.

    Returns:
      The images, in the order of the paths, those of a folder by name.

    Raises:
      UserError: nothing usable is there, or too much.
    """
    height, width, channels = shape
    side = height if height == width else None
    contents = _of_paths(paths, most)
    read = []
    for name, content in contents:
        image = images.decode(content, channels, name, side)
        if image.shape != shape:
            raise UserError(
                f"{name} has {image.shape[1]} x {image.shape[0]} pixels, and images that aren't "
                f"square, such as these of {width} x {height}, are not resized; give one of that "
                "size"
            )
        read.append(image)
    return Given([name for name, _ in contents], np.stack(read))


def read_as_they_are(
    paths: Sequence[Path], channels: int, most: int
) -> tuple[list[UInt8[np.ndarray, "_ _ _"]], list[str]]:
    """Reads images in their own sizes.

    Args:
      paths: PNG or JPEG files, folders of such files, and .npz files.
      channels: of the result, 1 or 3.
      most: how many there may be.

    Returns:
      The images, uint8 [height, width, channels] each, and their names.

    Raises:
      UserError: nothing usable is there, or too much.
    """
    contents = _of_paths(paths, most)
    found = [images.decode(content, channels, name, None) for name, content in contents]
    return found, [name for name, _ in contents]


def _of_paths(paths: Sequence[Path], most: int) -> list[tuple[str, bytes]]:
    contents = [pair for path in paths for pair in _contents(path)]
    if len(contents) > most:
        raise UserError(f"there are {len(contents):,} images; at most {most} are taken at once")
    return contents


def _contents(path: Path) -> list[tuple[str, bytes]]:
    if path.is_dir():
        files = [file for file in folders.entries(path, KIND.suffixes)[1] if _is_image(file)]
        if not files:
            raise UserError(f"{path} holds no {KIND.name} files; name a folder that does")
        return [(str(file), folders.read_bytes(file)) for file in files]
    if path.suffix.lower() == ".npz" and path.is_file():
        split = next(iter(readers.read(path, None, None, no_progress).splits.values()))
        return [
            (f"{path}[{number}]", images.encode(split.read(number)))
            for number in range(split.count)
        ]
    return [(str(path), folders.read_bytes(path))]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in KIND.suffixes
