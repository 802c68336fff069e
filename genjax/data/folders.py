"""Folders of PNG and JPEG files, one for each class or without classes."""

import re
import unicodedata
from pathlib import Path

import numpy as np

from genjax.data import images
from genjax.data.progress import Progress
from genjax.data.raw import ACCEPTED, Raw, RawSplit
from genjax.data.standard import Standard, class_key
from genjax.errors import UserError

_SPLITS = ("train", "test")
_SUFFIXES = (".png", ".jpg", ".jpeg")
# Unicode's categories of control characters, of line and paragraph breaks, and of what stands for
# undecodable bytes.
_NOT_IN_NAMES = {"Cc", "Zl", "Zp", "Cs"}


def read(
    source: Path, standard: Standard | None, resolution: int | None, progress: Progress
) -> Raw:
    """Reads the headers of all image files; the pixels are decoded only when they are asked for.

    Args:
      source: folder of images, of class folders, or of ``train`` and ``test`` with either.
      standard: its names of classes, and their order.
      resolution: side to resize the images to.
      progress: shows how far the reading is.

    Returns:
      The data set.

    Raises:
      UserError: the folder isn't laid out so, or a file is no usable image.
    """
    folders, files = _entries(source)
    splits = {name: source / name for name in _SPLITS if source / name in folders}
    # A class may be called "train", so only folders below it make it a split.
    is_class = len(splits) == 1 < len(folders) and not any(_entries(f)[0] for f in folders)
    if not splits or is_class:
        splits = {"train": source}
    elif len(splits) < len(folders) or files:
        other = next(path for path in (*folders, *files) if path.name not in splits)
        raise UserError(f"{source} holds {other.name!r} beside {', '.join(splits)}; remove it")
    classes = {split: _class_folders(folder) for split, folder in splits.items()}
    names = {split: set(found) for split, found in classes.items()}
    first, *rest = names.values()
    for other_names in rest:
        if other_names != first:
            odd = ", ".join(sorted(first ^ other_names)) or "no class folders"
            raise UserError(f"{source}: train and test differ in their classes: {odd}")
    paths = {
        s: [path for group in found.values() for path in group] for s, found in classes.items()
    }
    shape = _survey([path for group in paths.values() for path in group], resolution, progress)
    order = _label_order(source, sorted(first), standard) if first != {""} else None

    def split(name: str) -> RawSplit:
        files = paths[name]
        labels = None
        if order is not None:
            parts = [np.full(len(group), order[key]) for key, group in classes[name].items()]
            labels = np.concatenate(parts).astype(np.int32)
        return RawSplit(len(files), lambda i: _decode(files[i], shape[2], resolution), labels)

    class_names = None if order is None else tuple(sorted(order, key=order.__getitem__))
    return Raw(shape, {name: split(name) for name in splits}, class_names)


def _class_folders(folder: Path) -> dict[str, list[Path]]:
    """Lists the images of each class; a folder without classes has one, named ''."""
    folders, files = _entries(folder)
    if folders and files:
        raise UserError(f"{folder} holds {files[0].name!r} beside class folders; sort it in")
    if not folders:
        if not files:
            raise UserError(f"{folder} is empty; {ACCEPTED}")
        return {"": _check_files(files)}
    found: dict[str, list[Path]] = {}
    for child in folders:
        below, inside = _entries(child)
        if below:
            raise UserError(f"{below[0]} is a folder in a class folder; move its images up")
        if not inside:
            raise UserError(f"the class folder {child} is empty; fill it or remove it")
        # Names are stored one a line, in UTF-8, and read back without the spaces around them.
        kinds = {unicodedata.category(character) for character in child.name}
        if child.name != child.name.strip() or kinds & _NOT_IN_NAMES:
            raise UserError(
                f"the class folder {str(child)!r} can't name a class: its name has a control "
                "character, a byte that isn't UTF-8, or a space at an end; rename it"
            )
        found[child.name] = _check_files(inside)
    return found


def _check_files(files: list[Path]) -> list[Path]:
    for path in files:
        if path.suffix.lower() not in _SUFFIXES:
            raise UserError(f"{path} isn't PNG or JPEG; convert or remove it; {ACCEPTED}")
    return files


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Lists folders and files; beside folders only images count, so that a README may lie there."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot look into {folder}: {error.strerror}") from error
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if path.is_file()]
    if strange := sorted({*paths} - {*folders} - {*files}):
        what = "a link that leads nowhere" if strange[0].is_symlink() else "no file"
        raise UserError(f"{strange[0]} is {what}; remove it")
    if folders:
        files = [path for path in files if path.suffix.lower() in _SUFFIXES]
    return folders, files


def _label_order(source: Path, names: list[str], standard: Standard | None) -> dict[str, int]:
    """Numbers the classes: by number, by name, or as the standard does."""
    if standard is None:
        numeric = all(re.fullmatch(r"[0-9]+", name) for name in names)
        ordered = sorted(names, key=int) if numeric else names
        return {name: label for label, name in enumerate(ordered)}
    positions = {class_key(name): label for label, name in enumerate(standard.class_names)}
    positions |= {str(label): label for label in range(len(standard.class_names))}
    labels = {name: positions.get(class_key(name), -1) for name in names}
    if sorted(labels.values()) != list(range(len(standard.class_names))):
        odd = [name for name, label in labels.items() if label < 0]
        what = f"class {odd[0]!r}" if odd else f"{len(names)} classes ({', '.join(names)})"
        expected = ", ".join(standard.class_names)
        raise UserError(f"{source} has {what}; a standard set has exactly: {expected}")
    return labels


def _survey(
    paths: list[Path], resolution: int | None, progress: Progress
) -> tuple[int | None, int | None, int]:
    """Reads every header for the common size, and for whether all images are grey."""
    found = {
        images.describe(_bytes(path), str(path))
        for path in progress(paths, "looking at images", len(paths))
    }
    sizes = {size[:2] for size in found}
    height, width = (resolution, resolution) if resolution else (None, None)
    if not resolution and len(sizes) == 1:
        height, width = sizes.pop()
    return height, width, max(size[2] for size in found)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _decode(path: Path, channels: int, resolution: int | None) -> images.Image:
    return images.decode(_bytes(path), channels, str(path), resolution)
