"""Data sets that genjax stores itself: arrays that are mapped into memory, and a description.

::

    <directory>/<name>/1.0.0/source.json         schema, splits, size and SHA-256 of each file
    <directory>/<name>/1.0.0/<split>/<array>.npy

A set that isn't whole has no name yet: its files are written into another folder, which is renamed.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from genjax.core.schema import Schema
from genjax.data import prepared
from genjax.data.schema import schema_from_json, schema_to_json
from genjax.errors import UserError, reason

NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What a data set may be called."""
VERSION = "1.0.0"

DESCRIPTION = "source.json"
"""What says what a set is."""

_FORMAT = 1
# Larger files would take longer to check than to read what is needed of them.
_MOST_HASHED = 2**30


@dataclasses.dataclass(frozen=True)
class Split:
    """A split of a stored set.

    Attributes:
      count: examples in it; of a text tokens, since its examples are windows of any length.
      digest: of its examples, see `genjax.data.digest`.
    """

    count: int
    digest: str


class File(NamedTuple):
    """What is known of a file.

    Attributes:
      size: in bytes.
      sha256: in hexadecimal.
    """

    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Stored:
    """A data set that lies ready in a folder.

    Attributes:
      name: of it.
      path: the folder of its version.
      schema: of its examples.
      splits: by name.
      files: by their path in the folder.
    """

    name: str
    path: Path
    schema: Schema
    splits: Mapping[str, Split]
    files: Mapping[str, File]

    @property
    def again(self) -> str:
        """What to do where it is damaged, for the end of an error."""
        return f"delete the folder {self.path} and import {self.name!r} again"

    def damaged(self, file: str, why: str) -> UserError:
        """Words the error for a file that can't be used."""
        return UserError(f"{self.path / file} is damaged: {why}; {self.again}")


def find(name: str, directory: Path) -> Stored | None:
    """Looks for a stored data set.

    Args:
      name: of it.
      directory: folder of data sets.

    Returns:
      Its newest version, or None.

    Raises:
      UserError: its description is damaged, or of a later format.
    """
    if not NAME.fullmatch(name):
        return None
    path = prepared.newest(prepared.folders(directory / name), (DESCRIPTION,))
    return None if path is None else _read(name, path)


def scan(directory: Path) -> list[Stored]:
    """Finds everything stored in a folder; raises UserError as `find` does."""
    found = (find(folder.name, directory) for folder in prepared.folders(directory))
    return [stored for stored in found if stored is not None]


@contextlib.contextmanager
def storing(name: str, directory: Path) -> Iterator[Path]:
    """Makes room for a new data set, which is there once all went well.

    Args:
      name: of it.
      directory: folder of data sets.

    Yields:
      An empty folder to write into; `describe` must come last.

    Raises:
      UserError: it can't be written, or the set is there already.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=directory) as temporary:
            folder = Path(temporary) / VERSION
            folder.mkdir()
            yield folder
            (directory / name).mkdir(exist_ok=True)
            folder.rename(directory / name / VERSION)
    except OSError as error:
        raise UserError(f"cannot store {name!r} in {directory}: {reason(error)}") from error


def describe(folder: Path, schema: Schema, splits: Mapping[str, Split]) -> None:
    """Writes what a set is beside its arrays, with the checksum of each.

    Args:
      folder: from `storing`.
      schema: of the examples.
      splits: by name.
    """
    files = {
        path.relative_to(folder).as_posix(): File(path.stat().st_size, _sha256(path))._asdict()
        for path in sorted(folder.rglob("*.npy"))
    }
    content = {
        "format": _FORMAT,
        "schema": schema_to_json(schema),
        "splits": {name: dataclasses.asdict(split) for name, split in splits.items()},
        "files": files,
    }
    sealed = json.dumps({**content, "sha256": _seal(content)}, indent=2)
    (folder / DESCRIPTION).write_text(sealed + "\n", encoding="utf-8")


def arrays(
    found: Stored,
    split: str,
    types: Mapping[str, Sequence[str]],
    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> dict[str, np.ndarray]:
    """Maps the arrays of a split into memory, after their sizes and checksums are checked.

    Files of more than 1 GiB are checked by their size alone.

    Args:
      found: the set.
      split: of it.
      types: of each array that is needed those that its entries may have, by NumPy's names.
      shapes: of an entry, of arrays whose entries are arrays.

    Returns:
      The arrays, with one axis and those of an entry.

    Raises:
      UserError: a file is missing or damaged.
    """
    return {
        name: _array(found, f"{split}/{name}.npy", usual, shapes.get(name, ()))
        for name, usual in types.items()
    }


def _array(found: Stored, file: str, types: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    path = found.path / file
    try:
        known = found.files[file]
        size = path.stat().st_size
        if size != known.size:
            raise found.damaged(file, f"it has {size:,} bytes, not {known.size:,}")
        if size < _MOST_HASHED and _sha256(path) != known.sha256:
            raise found.damaged(file, "its checksum is wrong")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except UserError:
        raise
    # There is little that a damaged file can't make NumPy raise.
    except Exception as error:
        raise UserError(f"cannot read {path}: {reason(error)}; {found.again}") from error
    usable = array.ndim == 1 + len(shape) and array.shape[1:] == shape and array.size
    if not usable or array.dtype.name not in types:
        raise found.damaged(file, f"it holds {array.dtype} of shape {array.shape}")
    return np.asarray(array)


def _read(name: str, path: Path) -> Stored:
    file = path / DESCRIPTION
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        seal, version = content.pop("sha256"), content["format"]
        if version == _FORMAT and seal != _seal(content):
            raise ValueError("its checksum is wrong")
        if version == _FORMAT:
            splits = {
                key: Split(int(value["count"]), str(value["digest"]))
                for key, value in content["splits"].items()
            }
            files = {
                key: File(int(value["size"]), str(value["sha256"]))
                for key, value in content["files"].items()
            }
            return Stored(name, path, schema_from_json(content["schema"]), splits, files)
    # An OverflowError is of infinity, a RecursionError of JSON that is nested too deeply.
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
            f"{file} is damaged: {reason(error)}; delete the folder {path} and import {name!r} "
            "again"
        ) from error
    raise UserError(f"{file} is of format {version!r}, and this genjax reads {_FORMAT}; update it")


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
