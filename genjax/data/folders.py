"""Folders of files, one for each class or without classes, perhaps below those of splits.

A file of labels (`genjax.data.label_files`) may stand for the class folders.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from genjax.data.classes import list_names
from genjax.data.label_files import NAMES, find_labels
from genjax.data.standard import class_key
from genjax.errors import UserError

SPLITS = ("train", "validation", "test")
"""Folders of these names are splits."""

# Unicode's categories of control characters, of line and paragraph breaks, and of what stands for
# undecodable bytes.
_NOT_IN_NAMES = {"Cc", "Zl", "Zp", "Cs"}
_NAMED = 5
# Folders below one with a file of labels.
_DEPTH = 4


class Kind(NamedTuple):
    """What the files are.

    Attributes:
      suffixes: of their names, in lower case.
      name: of the format, in words.
      plural: what several are called.
      accepted: what a folder may look like, for errors.
    """

    suffixes: tuple[str, ...]
    name: str
    plural: str
    accepted: str


class Found(NamedTuple):
    """Files of a data set.

    Attributes:
      files: of each split.
      labels: of them, int32 [n]; none without classes.
      class_names: in the order of the labels; None without classes.
      ignored: files of another kind beside folders.
    """

    files: Mapping[str, Sequence[Path]]
    labels: Mapping[str, Int32[np.ndarray, "n"]]
    class_names: tuple[str, ...] | None
    ignored: tuple[Path, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know, a line each."""
        if not self.ignored:
            return ()
        names = ", ".join(str(path) for path in self.ignored[:_NAMED])
        more = len(self.ignored) - _NAMED
        return (f"not used: {names}{f' and {more:,} more' if more > 0 else ''}",)


def find(source: Path, kind: Kind, standard: Sequence[str] | None = None) -> Found:
    """Lists the files of a data set.

    Args:
      source: a folder of files, of class folders, or of splits with either.
      kind: of the files.
      standard: names of the classes, in their order, where they are known; otherwise they are
        sorted, as numbers if they are.

    Returns:
      The files, class by class.

    Raises:
      UserError: the folder isn't laid out so.
    """
    splits = _splits(source, kind)
    classes, used = {}, set()
    for split, folder in splits.items():
        listed = _listed(folder, source, kind)
        if listed is None:
            classes[split] = _classes(folder, kind)
        else:
            classes[split], file = listed
            used.add(file)
    ignored = tuple(path for path in _foreign({source, *splits.values()}, kind) if path not in used)
    names = {split: set(found) for split, found in classes.items()}
    first, *rest = names.values()
    for other in rest:
        if other != first:
            odd = ", ".join(sorted((first ^ other) - {""})) or "no class folders"
            raise UserError(f"{source}: {' and '.join(names)} differ in their classes: {odd}")
    files = {
        split: [path for group in found.values() for path in group]
        for split, found in classes.items()
    }
    if first == {""}:
        return Found(files, {}, None, ignored)
    order = label_order(source, sorted(first), standard)
    labels = {
        split: np.repeat(
            np.array([order[name] for name in found], np.int32),
            [len(group) for group in found.values()],
        )
        for split, found in classes.items()
    }
    return Found(files, labels, tuple(sorted(order, key=order.__getitem__)), ignored)


def entries(folder: Path, suffixes: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Lists folders and files.

    Args:
      folder: where to look; what is hidden is left out.
      suffixes: beside folders only files with these count, so that a README may lie there.

    Returns:
      The folders and the files, by name.

    Raises:
      UserError: the folder can't be read, or holds what is neither.
    """
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
        files = [path for path in files if path.suffix.lower() in suffixes]
    return folders, files


def read_bytes(path: Path) -> bytes:
    """Reads a file; raises UserError where that fails."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _splits(source: Path, kind: Kind) -> dict[str, Path]:
    folders, files = entries(source, kind.suffixes)
    splits = {name: source / name for name in SPLITS if source / name in folders}
    # A class may be called "train", so only folders below it make it a split.
    is_class = len(splits) == 1 < len(folders) and not any(
        entries(folder, kind.suffixes)[0] for folder in folders
    )
    if not splits or is_class:
        return {"train": source}
    if len(splits) < len(folders) or files:
        other = next(path for path in (*folders, *files) if path.name not in splits)
        raise UserError(f"{source} holds {other.name!r} beside {', '.join(splits)}; remove it")
    return splits


def _listed(folder: Path, source: Path, kind: Kind) -> tuple[dict[str, list[Path]], Path] | None:
    """Sorts the files of a split by a file of labels, in its folder or in that of all splits."""
    if not any((place / name).is_file() for place in (folder, source) for name in NAMES):
        return None
    files = _below(folder, kind)
    found = find_labels(folder, files)
    if found is None and source != folder:
        # That file names those of the other splits, too.
        parts = [source / name for name in SPLITS if (source / name).is_dir()]
        found = find_labels(source, [file for part in parts for file in _below(part, kind)])
    if found is None:
        return None
    if found.classes is None:
        return {"": files}, found.file
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(class_name(found.classes[file], found.file), []).append(file)
    return dict(sorted(groups.items())), found.file


def _below(folder: Path, kind: Kind, depth: int = _DEPTH) -> list[Path]:
    """All files of a kind in a folder and in those below it, by name."""
    folders, files = entries(folder, kind.suffixes)
    found = [path for path in files if path.suffix.lower() in kind.suffixes]
    for child in folders if depth else ():
        found += _below(child, kind, depth - 1)
    return found


def _foreign(folders: Iterable[Path], kind: Kind) -> list[Path]:
    """Files of another kind, in these folders; those that are hidden don't count."""
    return [
        path
        for folder in sorted(folders)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix.lower() not in kind.suffixes and path.name[0] != "."
    ]


def class_name(name: str, where: Path) -> str:
    """Checks the name of a class; systems differ in how an accent is stored, and one form is kept.

    Names are stored one a line, in UTF-8, and read back without the spaces around them.
    """
    kinds = {unicodedata.category(character) for character in name}
    if not name or name != name.strip() or kinds & _NOT_IN_NAMES:
        raise UserError(
            f"{str(where)!r} can't name a class {name!r}: the name is empty, or has a control "
            "character, a byte that isn't UTF-8, or a space at an end; rename it"
        )
    return unicodedata.normalize("NFC", name)


def _classes(folder: Path, kind: Kind) -> dict[str, list[Path]]:
    """Lists the files of each class; a folder without classes has one, named ''."""
    folders, files = entries(folder, kind.suffixes)
    if folders and files:
        raise UserError(f"{folder} holds {files[0].name!r} beside class folders; sort it in")
    if not folders:
        if not files:
            raise UserError(f"{folder} is empty; {kind.accepted}")
        return {"": _check_files(files, kind)}
    found: dict[str, list[Path]] = {}
    for child in folders:
        below, inside = entries(child, kind.suffixes)
        if below:
            raise UserError(f"{below[0]} is a folder in a class folder; move its {kind.plural} up")
        if not inside:
            raise UserError(f"the class folder {child} is empty; fill it or remove it")
        name = class_name(child.name, child)
        if name in found:
            raise UserError(
                f"{folder} holds two class folders {name}, whose names differ only in how their "
                "accents are stored; merge them"
            )
        found[name] = _check_files(inside, kind)
    return found


def _check_files(files: list[Path], kind: Kind) -> list[Path]:
    for path in files:
        if path.name in NAMES:
            raise UserError(
                f"{path} names none of the files beside it in a way that is known; begin its table "
                "with the titles file and label, or remove it"
            )
        if path.suffix.lower() not in kind.suffixes:
            raise UserError(f"{path} isn't {kind.name}; convert or remove it; {kind.accepted}")
    return files


def label_order(source: Path, names: list[str], standard: Sequence[str] | None) -> dict[str, int]:
    """Numbers the classes: by number, by name, or as the standard does."""
    if standard is None:
        numeric = all(re.fullmatch(r"[0-9]+", name) for name in names)
        ordered = sorted(names, key=int) if numeric else names
        return {name: label for label, name in enumerate(ordered)}
    positions = {class_key(name): label for label, name in enumerate(standard)}
    positions |= {str(label): label for label in range(len(standard))}
    labels = {name: positions.get(class_key(name), -1) for name in names}
    if sorted(labels.values()) != list(range(len(standard))):
        odd = [name for name, label in labels.items() if label < 0]
        what = f"class {odd[0]!r}" if odd else f"{len(names)} classes ({list_names(names)})"
        expected = list_names(standard)
        raise UserError(f"{source} has {what}; a standard set has exactly: {expected}")
    return labels
