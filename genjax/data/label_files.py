"""Files that say which class each file of a folder has, as StyleGAN, Kaggle and others write them.

``dataset.json`` holds ``{"labels": [["00000/img00000000.png", 6], ...]}``, or null for none;
``labels.csv``, ``labels.tsv`` and ``labels.txt`` hold a name and a class a line, with or without a
line of titles.
"""

import csv
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from genjax.errors import UserError, reason

NAMES = ("dataset.json", "labels.csv", "labels.tsv", "labels.txt")
"""What such files are called."""

_FILE_TITLES = ("file", "filename", "file_name", "path", "image", "name", "id")
_CLASS_TITLES = ("label", "class", "category", "target")


class Labels(NamedTuple):
    """The labels of the files of a folder.

    Attributes:
      file: that says so.
      classes: of each file the name of its class; None where the file says that there are none.
    """

    file: Path
    classes: Mapping[Path, str] | None


def find_labels(folder: Path, files: Sequence[Path]) -> Labels | None:
    """Reads the file of labels in a folder.

    Args:
      folder: where it may lie.
      files: that it must have a label for, below the folder.

    Returns:
      The labels; None where there is no such file, or none that names one of the files.

    Raises:
      UserError: it is damaged, names a file that is not there, or leaves one out.
    """
    for name in NAMES:
        path = folder / name
        if path.is_file():
            rows = _read_json(path) if path.suffix == ".json" else _read_lines(path)
            if rows is None:
                continue
            if not rows:
                return Labels(path, None)
            found = _match(path, rows, folder, files)
            if found is not None:
                return found
    return None


def _match(
    path: Path, rows: Sequence[tuple[str, str]], folder: Path, files: Sequence[Path]
) -> Labels | None:
    known = {_key(each.relative_to(folder).as_posix()): each for each in files}
    # Kaggle names pictures without their ending.
    stems: dict[str, list[Path]] = {}
    for key, each in known.items():
        stems.setdefault(key.rpartition(".")[0], []).append(each)
    classes: dict[Path, str] = {}
    missing: list[str] = []
    for name, label in rows:
        key = _key(name)
        alone = stems.get(key, [])
        file: Path | None = known.get(key) or (alone[0] if len(alone) == 1 else None)
        if file is None:
            missing.append(name)
        elif classes.setdefault(file, label) != label:
            raise UserError(f"{path} gives {name} two labels, {classes[file]} and {label}")
    if not classes:
        return None
    # A first line of titles names no file.
    if missing and missing[0] == rows[0][0] and path.suffix != ".json":
        missing = missing[1:]
    if missing:
        raise UserError(
            f"{path} names {missing[0]!r}{_more(missing)}, which is not in {folder}; take it out, "
            "or get the file"
        )
    left = [each for each in files if each not in classes]
    if left:
        raise UserError(
            f"{path} has no label for {left[0].relative_to(folder)}{_more(left)}; add it, or "
            "remove the file"
        )
    return Labels(path, classes)


def _more(names: Sequence[object]) -> str:
    return f" and {len(names) - 1:,} more" if len(names) > 1 else ""


def _key(name: str) -> str:
    """A path as all systems write it; they differ in how an accent is stored."""
    name = unicodedata.normalize("NFC", name.strip().replace("\\", "/"))
    return re.sub(r"^(\./)+", "", name)


def _read_json(path: Path) -> list[tuple[str, str]] | None:
    """The rows of StyleGAN's file; none of another's, and an empty list for no labels."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(content, dict) or "labels" not in content:
            return None
        labels = content["labels"]
        if labels is None:
            return []
        pairs = list(labels.items() if isinstance(labels, dict) else labels)
        rows = [(str(name), label) for name, label in pairs]
    # A RecursionError is of JSON that is nested too deeply.
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"cannot read the labels in {path}: {reason(error)}; write "
            '{"labels": [["FILE", NUMBER], ...]}'
        ) from error
    for name, label in rows:
        if isinstance(label, bool) or not isinstance(label, int | str):
            raise UserError(
                f"{path} gives {name!r} the label {label!r}; only numbers and names of classes can "
                "be used"
            )
    return [(name, str(label)) for name, label in rows]


def _read_lines(path: Path) -> list[tuple[str, str]] | None:
    """The rows of a table; None where it holds something else, such as a list of classes."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the labels in {path}: {reason(error)}") from error
    lines = [line for line in lines if line.strip()]
    if not lines:
        return None
    separator = next((mark for mark in ",;\t" if mark in lines[0]), None)
    if separator is None:
        # The name may have spaces in it, the class of such a file not.
        rows = [line.rsplit(maxsplit=1) for line in lines]
    else:
        rows = list(csv.reader(lines, delimiter=separator))
    titles = [cell.strip().lower() for cell in rows[0]]
    name = next((titles.index(title) for title in _FILE_TITLES if title in titles), None)
    label = next((titles.index(title) for title in _CLASS_TITLES if title in titles), None)
    if name is None or label is None:
        name, label = 0, 1
        if any(len(row) != 2 for row in rows):
            return None
    try:
        return [(row[name], row[label].strip()) for row in rows]
    except IndexError:
        raise UserError(f"{path} has lines of fewer columns than its first") from None
