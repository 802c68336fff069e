"""Unpacks an archive of a stranger: nothing of it can lead elsewhere, or fill the disk."""

import bz2
import contextlib
import gzip
import lzma
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from genjax.data.folders import SPLITS
from genjax.errors import UserError, reason

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Of the files that count as archives."""

_OPEN: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_MOST_MEMBERS = 2**22
_MOST_READ = 2**24
_CHUNK = 2**20
_BLOCK = 512


class _Bounded:
    """A stream that is never asked for much at once, as the header of a lying archive would."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell
        self.last = b""

    def read(self, size: int) -> bytes:
        if size > _MOST_READ:
            raise tarfile.ReadError(f"a header has {size:,} bytes")
        self.last = self._stream.read(size)
        return self.last


def is_archive(path: Path) -> bool:
    """Whether a file's name says that it is an archive."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


@contextlib.contextmanager
def unpacked(archive: Path, directory: Path) -> Iterator[Path]:
    """Unpacks an archive for a while.

    Args:
      archive: a .tar, perhaps compressed.
      directory: where to unpack it, in a folder of its own.

    Yields:
      What it holds: the folder, or the only folder in it unless that is a split, whatever is hidden
      beside it. It is removed afterwards, and errors about its files name the archive.

    Raises:
      UserError: it is damaged, has links, devices or names that lead elsewhere, or needs more than
        half of the room there is.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".unpacked-", dir=directory)
    except OSError as error:
        raise UserError(f"cannot unpack {archive} in {directory}: {reason(error)}") from error
    with temporary as name:
        folder = Path(name)
        _unpack(archive, folder)
        # What is hidden counts as little as in a folder; Macs put .DS_Store beside everything.
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
        wrapped = len(inside) == 1 and inside[0].is_dir() and inside[0].name not in SPLITS
        try:
            yield inside[0] if wrapped else folder
        except UserError as error:
            # The folder is gone when this is read.
            named = str(error).replace(f"{folder}/", f"{archive}:").replace(name, f"{archive}")
            raise UserError(named) from error


def _unpack(archive: Path, folder: Path) -> None:
    try:
        # What is stored of it takes about as much again.
        room = shutil.disk_usage(folder).free // 2
        with archive.open("rb") as raw, _decompressed(raw) as stream:
            bounded = _Bounded(stream)
            with tarfile.open(fileobj=bounded, mode="r:") as tar:  # type: ignore[call-overload]
                count = 0
                while (member := tar.next()) is not None:
                    path = folder / _check(archive, member)
                    count, room = count + 1, room - member.size
                    if room < 0:
                        raise UserError(
                            f"{archive} needs more than half of the room in {folder.parent}"
                        )
                    if count > _MOST_MEMBERS:
                        raise UserError(f"{archive} holds more than {_MOST_MEMBERS:,} files")
                    _write(archive, tar, member, path)
                    # It would keep them all.
                    tar.members.clear()
            if bounded.last != bytes(_BLOCK):
                raise tarfile.ReadError("it is truncated")
            # The checksum of what is compressed comes last.
            stream.read(_MOST_READ)
    except UserError:
        raise
    # What decompresses has no common base for what damage raises.
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
        # The system's own message would name a folder that is gone by then.
        system = error.strerror if isinstance(error, OSError) else None
        why = system or f"{reason(error)}; get the file again"
        raise UserError(f"cannot unpack {archive}: {why}") from error


def _decompressed(raw: IO[bytes]) -> Any:
    head = raw.read(6)
    raw.seek(0)
    opener = next((how for magic, how in _OPEN.items() if head.startswith(magic)), None)
    return contextlib.nullcontext(raw) if opener is None else opener(raw)


def _check(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """Refuses what leads out of the archive; returns the path within it."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{archive} holds {member.name!r}, which leads out of it; leave it out")
    if not member.isreg() and not member.isdir():
        raise UserError(f"{archive} holds {member.name!r}, a link or a device; leave it out")
    return path


def _write(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = tar.extractfile(member)
    assert stream is not None
    try:
        with path.open("xb") as file:
            shutil.copyfileobj(stream, file, _CHUNK)
            written = file.tell()
    except FileExistsError:
        raise UserError(f"{archive} holds {member.name!r} twice; leave one out") from None
    if written != member.size:
        raise tarfile.ReadError("it is truncated")
