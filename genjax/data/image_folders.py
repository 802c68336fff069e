"""Folders of PNG and JPEG files.

Grey images that are stored as RGB stay RGB, unless they are to be a standard set of grey ones.
"""

from pathlib import Path

from genjax.data import folders, images
from genjax.data.progress import Progress
from genjax.data.raw import ACCEPTED, Raw, RawSplit
from genjax.data.standard import Standard

KIND = folders.Kind((".png", ".jpg", ".jpeg"), "PNG or JPEG", "images", ACCEPTED)


def read(
    source: Path, standard: Standard | None, resolution: int | None, progress: Progress
) -> Raw:
    """Reads the headers of all image files; the pixels are decoded only when they are asked for.

    Args:
      source: folder of images, of class folders, or of splits with either.
      standard: its names of classes, and their order.
      resolution: side to resize the images to.
      progress: shows how far the reading is.

    Returns:
      The data set.

    Raises:
      UserError: the folder isn't laid out so, or a file is no usable image.
    """
    found = folders.find(source, KIND, (standard.class_names or None) if standard else None)
    paths = [path for files in found.files.values() for path in files]
    shape = _survey(paths, resolution, progress)
    if standard and standard.shape[2] < shape[2]:
        shape = (*shape[:2], _common_channels(paths, progress))

    def split(name: str) -> RawSplit:
        files = found.files[name]

        def read_one(number: int) -> images.Image:
            path = files[number]
            return images.decode(folders.read_bytes(path), shape[2], str(path), resolution)

        return RawSplit(len(files), read_one, found.labels.get(name))

    splits = {name: split(name) for name in found.files}
    return Raw(shape, splits, found.class_names, found.warnings)


def _common_channels(paths: list[Path], progress: Progress) -> int:
    """1 if all images are grey, though they may be stored as RGB, otherwise 3."""
    for path in progress(paths, "looking at colours", len(paths)):
        if not images.is_grey(images.decode(folders.read_bytes(path), 3, str(path))):
            return 3
    return 1


def _survey(
    paths: list[Path], resolution: int | None, progress: Progress
) -> tuple[int | None, int | None, int]:
    """Reads every header for the common size, and for whether all images are grey."""
    found = {
        images.describe(folders.read_bytes(path), str(path))
        for path in progress(paths, "looking at images", len(paths))
    }
    sizes = {size[:2] for size in found}
    height, width = (resolution, resolution) if resolution else (None, None)
    if not resolution and len(sizes) == 1:
        height, width = sizes.pop()
    return height, width, max(size[2] for size in found)
