"""Prepared data sets on disk, in the layout of TensorFlow Datasets, found without importing it."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genjax.cache import expand_home
from genjax.errors import UserError, reason, suggest

FILE_FORMAT = "array_record"

_METADATA = ("dataset_info.json", "features.json")
_CHECKSUMS = "sha256.json"
# Where the classes are that TFDS imports because features.json names them.
_TRUSTED = "tensorflow_datasets."
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_NAME = re.compile(r"[a-z][a-z0-9_]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set that lies ready in a folder.

    Attributes:
      name: ``name`` or ``name/configuration``.
      path: the folder of its newest version.
      splits: number of examples of each split.
      readable: whether it is stored as array_record, which needs no TensorFlow.
    """

    name: str
    path: Path
    splits: Mapping[str, int]
    readable: bool


def data_directory(directory: str | Path | None) -> Path:
    """Says where prepared data sets lie.

    Args:
      directory: a folder; None means TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns:
      The folder, which need not exist.

    Raises:
      UserError: it lies at home, and there is no home folder.
    """
    chosen = directory or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return expand_home(str(chosen), "set TFDS_DATA_DIR to a folder")


def find(name: str, directory: Path) -> Prepared | None:
    """Looks for a prepared data set.

    Args:
      name: ``name`` or ``name/configuration``.
      directory: folder of prepared data sets.

    Returns:
      Its newest version, or None.

    Raises:
      UserError: the name has several configurations prepared and none is chosen.
    """
    if not _NAME.fullmatch(name):
        return None
    found = _below(name, directory / name)
    if len(found) > 1:
        choices = ", ".join(sorted(found))
        raise UserError(f"{name!r} has several configurations; choose one of: {choices}")
    return _describe(*found.popitem()) if found else None


def scan(directory: Path) -> list[Prepared]:
    """Finds everything prepared in a folder.

    Args:
      directory: folder of prepared data sets.

    Returns:
      The data sets by name, newest versions only.
    """
    roots = [root for root in folders(directory) if _NAME.fullmatch(root.name)]
    return [_describe(*item) for root in roots for item in _below(root.name, root).items()]


def write_checksums(path: Path) -> None:
    """Notes the checksums of a data set's files beside them.

    Args:
      path: the folder of its version.
    """
    sums = {file.name: _sha256(file) for file in sorted(path.iterdir()) if file.name != _CHECKSUMS}
    part = path / f"{_CHECKSUMS}.part"
    part.write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    part.replace(path / _CHECKSUMS)


def check_files(found: Prepared) -> None:
    """Checks a data set before it is read.

    Files whose checksums are noted must have them; TFDS itself notes none. The description must
    name no class outside TFDS, since reading it would import, and so run, whatever module it names.

    Args:
      found: the data set.

    Raises:
      UserError: a file has changed or is missing, or the description asks for foreign code.
    """
    again = f"delete the folder {found.path} and prepare {found.name!r} again"
    path = found.path / _CHECKSUMS
    try:
        sums = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for name, digest in sums.items():
            path = found.path / Path(name).name
            if _sha256(path) != digest:
                raise UserError(f"{path} is damaged: its checksum is wrong; {again}")
        path = found.path / _METADATA[1]
        foreign = _foreign_class(json.loads(path.read_text(encoding="utf-8")))
    except UserError:
        raise
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {reason(error)}; {again}") from error
    if foreign is not None:
        raise UserError(f"{path} asks for the code {foreign!r}, which is not part of TFDS; {again}")


def import_tfds() -> Any:
    """Imports TensorFlow Datasets, which few commands need.

    Returns:
      The module.

    Raises:
      UserError: it isn't installed.
    """
    try:
        import array_record  # noqa: F401
        import importlib_resources  # noqa: F401
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"prepared data sets need a package that is missing ({error.name}): "
            "pip install tensorflow-datasets array_record importlib_resources"
        ) from error
    return tensorflow_datasets


def list_builders() -> set[str]:
    """Lists the data sets that TensorFlow Datasets defines itself, without asking the network.

    Returns:
      Their names.

    Raises:
      UserError: TensorFlow Datasets isn't installed.
    """
    return set(import_tfds().list_builders(with_community_datasets=False))


def unknown(name: str, choices: Iterable[str]) -> UserError:
    """Words the error for a name that means nothing.

    Args:
      name: what was asked for.
      choices: names that would have been understood.

    Returns:
      The error, with the closest choice only, because there are hundreds.
    """
    close = suggest(name, choices).split("choices:")[0]
    return UserError(
        f"unknown data set {name!r}; {close}to use data of your own: "
        f"genjax data import {name} --from DIR; choices: genjax data list"
    )


def folders(folder: Path) -> list[Path]:
    """Lists the folders in a folder, by name; none where it doesn't exist.

    Raises:
      UserError: it can't be looked into.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"cannot look into {folder}: {error.strerror}") from error


def _below(name: str, root: Path) -> dict[str, Path]:
    """Finds the newest version of a data set, or of each of its configurations."""
    below = folders(root)
    whole = newest(below, _METADATA)
    if whole is not None:
        return {name: whole}
    versions = {f"{name}/{folder.name}": newest(folders(folder), _METADATA) for folder in below}
    return {key: version for key, version in versions.items() if version is not None}


def newest(candidates: Iterable[Path], files: Sequence[str]) -> Path | None:
    """The folder with the highest version for a name, of those that hold all of some files."""
    versions = [
        folder
        for folder in candidates
        if _VERSION.fullmatch(folder.name) and all((folder / name).is_file() for name in files)
    ]
    return max(versions, key=lambda f: [int(part) for part in f.name.split(".")], default=None)


def _describe(name: str, path: Path) -> Prepared:
    info_path = path / _METADATA[0]
    try:
        info = json.loads(info_path.read_text(encoding="utf-8"))
        splits = {
            split["name"]: sum(int(length) for length in split.get("shardLengths", ()))
            for split in info.get("splits", ())
        }
        formats = [info.get("fileFormat"), *info.get("alternativeFileFormats", ())]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise UserError(
            f"{info_path} is damaged; delete the folder {path} and prepare {name!r} again"
        ) from error
    return Prepared(name, path, splits, FILE_FORMAT in formats)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _foreign_class(features: Any) -> str | None:
    """Finds a class in a description of features that TFDS would import from elsewhere."""
    if isinstance(features, str):
        # TFDS keeps parts of a description as JSON in a string.
        try:
            features = json.loads(features)
        except ValueError:
            return None
    if isinstance(features, list):
        return next((found for part in features if (found := _foreign_class(part))), None)
    if not isinstance(features, dict):
        return None
    for key in ("pythonClassName", "python_class_name", "type"):
        name = features.get(key)
        if isinstance(name, str) and "." in name and not name.startswith(_TRUSTED):
            return name
    return _foreign_class(list(features.values()))
