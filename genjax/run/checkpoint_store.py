"""A folder of checkpoints as Orbax keeps it, under any name, and looked at after each save."""

import json
import math
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
import tensorstore

from genjax.errors import UserError
from genjax.run.processes import is_first
from genjax.run.seals import file_digest, seal

ITEM = "default"
"""What Orbax calls the folder of the arrays of a checkpoint."""
FILES = "files.json"
"""In it, the SHA-256 of each of its files."""

# Orbax reads a path as a pattern (*, ?, [) or, from /gs on, as one of another machine, and
# TensorStore as an address (a backslash, what is no UTF-8).
_PLAIN = re.compile(r"(?!/(gs|s3|az|hf)(/|$))[\w ./+=@,%~#&'!^{}()$-]*")


class Handler(ocp.StandardCheckpointHandler):
    """Orbax's writer of a tree of arrays, which looks at what it wrote and notes its checksums."""

    def __init__(self) -> None:
        """Makes one that has nothing to write yet."""
        super().__init__()
        self._leaves = 0

    async def async_save(self, *args: Any, **kwargs: Any) -> Any:
        """Starts the writing."""
        self._leaves = len(jax.tree.leaves(kwargs["args"].item))
        return await super().async_save(*args, **kwargs)

    def finalize(self, directory: Any) -> None:
        """Ends the writing; the folder gets its final name after this.

        Raises:
          OSError: what was to be written is not all there; the folder gets no final name then.
        """
        super().finalize(directory)
        if is_first():
            folder = Path(directory)
            check_arrays(folder, self._leaves)
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            digests = {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
            (folder / FILES).write_text(json.dumps(seal(digests), indent=2), encoding="utf-8")


class Checkpoints(ocp.CheckpointManager):
    """Orbax's manager of a folder, whatever the folder and those above it are called.

    Attributes:
      folder: with the checkpoints, as the user calls it.
    """

    def __init__(self, folder: Path, **arguments: Any) -> None:
        """Opens the folder, creating it where there is none.

        Args:
          folder: of the checkpoints.
          arguments: of Orbax's manager.

        Raises:
          UserError: it has a name that Orbax can't take, and there is no place for another.
        """
        self.folder = folder.absolute()
        self._link: tempfile.TemporaryDirectory[str] | None = None
        place = self.folder
        if not is_plain(place):
            place.mkdir(parents=True, exist_ok=True)
            self._link = tempfile.TemporaryDirectory(prefix="genjax-", dir=_plain_temporary(place))
            link = Path(self._link.name) / "checkpoints"
            link.symlink_to(place, target_is_directory=True)
            place = link
        try:
            super().__init__(place, **arguments)
        except BaseException:
            self._unlink()
            raise

    def named(self, message: str) -> str:
        """A message of Orbax's, with the name that the user knows."""
        return message.replace(str(self.directory), str(self.folder))

    def close(self) -> None:
        """Waits for what is being written."""
        try:
            super().close()
        finally:
            self._unlink()

    def _unlink(self) -> None:
        if self._link is not None:
            self._link.cleanup()
            self._link = None


def is_plain(path: Path) -> bool:
    """Whether Orbax and TensorStore take the name of a folder for nothing but a name."""
    return bool(_PLAIN.fullmatch(str(path))) and str(path).isprintable()


def _plain_temporary(wanted: Path) -> str:
    """A folder for what is temporary; others are tried where the usual one has no plain name."""
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if is_plain(Path(folder)) and os.access(folder, os.W_OK):
            return folder
    raise UserError(
        f"checkpoints in {wanted} need a link with a plain name; set TMPDIR to a folder whose name "
        "has but letters, digits, points, hyphens and slashes"
    )


def check_arrays(folder: Path, leaves: int) -> None:
    """Checks that all arrays of a checkpoint are in its store, by their own descriptions.

    Args:
      folder: of the arrays.
      leaves: how many there must be.

    Raises:
      OSError: some are missing, or can't be read.
    """
    base = {"driver": "file", "path": f"{folder}/"}
    try:
        store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
        stored: dict[str, dict[str, Any]] = {}
        # Every byte is read: what is short is an error, and what is gone has no bytes.
        for key in store.list().result():
            name, _, part = key.decode().rpartition("/")
            value = store.read(key).result().value
            if value:
                stored.setdefault(name, {})[part] = value if part == ".zarray" else len(value)
    except ValueError as error:
        raise OSError(f"{folder} can't be read back: {error}") from error
    described = {name: parts.pop(".zarray", None) for name, parts in stored.items()}
    whole = [
        name for name, value in described.items() if value and len(stored[name]) == _chunks(value)
    ]
    if len(whole) != leaves:
        raise OSError(f"{folder} holds {len(whole)} whole arrays of {leaves}")


def _chunks(described: bytes) -> int:
    """In how many parts an array is stored that has a description in Zarr's format."""
    value = json.loads(described)
    sides = zip(value["shape"], value["chunks"], strict=True)
    return math.prod(-(-side // chunk) for side, chunk in sides)
