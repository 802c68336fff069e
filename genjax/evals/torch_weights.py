"""Files of PyTorch weights, read without PyTorch and without running what their pickles say."""

import contextlib
import hashlib
import http.client
import io
import os
import pickle
import pickletools
import re
import urllib.request
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load

from genjax.cache import cache_directory
from genjax.errors import UserError

_STALL_SECONDS = 30.0
_CHUNK = 1 << 20
# torch.hub's names of files.
_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.")
_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class _Damaged(Exception):
    """Says what is wrong with a file."""


class _Storage(NamedTuple):
    """A row of numbers in the file: its key, their type and their number."""

    key: str
    dtype: np.dtype[Any]
    size: int


class _Tensor(NamedTuple):
    """Which numbers of a storage make up a tensor; shape and strides are in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors as `_Tensor`; knows no function or class but those that tensors need."""

    def __init__(self, file: io.BytesIO, storages: dict[str, _Storage]) -> None:
        """Adds the storages that the pickle refers to to `storages`."""
        super().__init__(file)
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        match (module, name):
            case ("collections", "OrderedDict"):
                return OrderedDict
            case ("torch", storage) if storage in _STORAGES:
                return storage
            # Functions are new ones each time, so that a pickle can't change them for later files.
            case ("torch._utils", "_rebuild_tensor_v2"):
                return lambda *args: _Tensor(*args[:4])
            case ("torch._utils", "_rebuild_parameter"):
                return lambda *args: args[0]
        raise _Damaged(f"it asks for {module}.{name}, which no tensor needs")

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", str(kind), str(key), _, int(count), *view) if (
                kind in _STORAGES and count >= 0 and view in ([], [None])
            ):
                storage = _Storage(key, _STORAGES[kind], count)
            case _:
                raise _Damaged("it has a storage of an unknown kind")
        if self.storages.setdefault(key, storage) != storage:
            raise _Damaged(f"storage {key!r} has two types or sizes")
        return storage


def find_weights(source: str | Path) -> Path:
    """Finds a file of weights, and downloads it if it is at an https address.

    Where the name ends with the first digits of the file's SHA-256, as in ``name-6726825d.pth``,
    they are checked.

    Args:
      source: a file, or an https address; what it has is kept in genjax's cache.

    Returns:
      The file.

    Raises:
      UserError: no such file or address, or a wrong checksum.
    """
    if isinstance(source, str) and source.startswith("https://"):
        folder = cache_directory() / "weights" / hashlib.sha256(source.encode()).hexdigest()[:12]
        path = folder / (urlsplit(source).path.rpartition("/")[2] or "weights")
        if not path.is_file():
            return _download(source, path)
    else:
        path = Path(source)
        if not path.is_file():
            raise UserError(f"no file {str(source)!r}; give a file of weights or an https address")
    _verify(path, path.name)
    return path


def _download(url: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may want the same file.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with (
            contextlib.closing(urllib.request.urlopen(url, timeout=_STALL_SECONDS)) as response,
            part.open("wb") as file,
        ):
            expected = response.headers.get("Content-Length")
            while chunk := response.read(_CHUNK):
                file.write(chunk)
            if expected is not None and file.tell() != int(expected):
                raise UserError(f"the download of {url} broke off; run this again")
        _verify(part, path.name)
        part.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"cannot download {url} ({error}); give a file that you have") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _verify(path: Path, name: str) -> None:
    wanted = _DIGEST.search(name)
    if wanted is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(wanted[1]):
        raise UserError(
            f"{name!r} isn't the file that its name says: its SHA-256 starts with "
            f"{found[: len(wanted[1])]}; delete it and download it again"
        )


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict that `torch.save` wrote, or of a .safetensors file.

    It reads the zip files of PyTorch 1.6 and later and the older format. Nothing in a file is
    called or imported, so that it may come from anywhere.

    Args:
      path: the file.

    Returns:
      From name to a tensor of its shape and type in the file; don't write to it.

    Raises:
      UserError: there is no such file, it is damaged, or it has something else than tensors.

    Reference: torch/serialization.py, `_save` and `_legacy_save`.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from error
    try:
        return load(data) if path.suffix == ".safetensors" else _read(data)
    # There is little that a damaged file can't make pickle and zipfile raise.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{str(path)!r} isn't a file of weights, or is damaged: {reason}; give a "
            ".safetensors file, or one that torch.save wrote of a module's state_dict()"
        ) from error


def _read(data: bytes) -> dict[str, np.ndarray]:
    zipped = data.startswith(b"PK\3\4")
    state, storages = _read_zip(data) if zipped else _read_legacy(data)
    if not isinstance(state, dict):
        raise _Damaged("it holds no state dict")
    arrays = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise _Damaged(f"its entry {str(name)[:80]!r} isn't a tensor")
        try:
            arrays[name] = _view(tensor, storages)
        except (_Damaged, KeyError, ValueError, TypeError, OverflowError) as error:
            raise _Damaged(f"tensor {name!r} doesn't fit the numbers in the file") from error
    return arrays


def _read_zip(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """The format since PyTorch 1.6: ROOT/data.pkl, and each storage as ROOT/data/KEY."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:

        def read(name: str) -> bytes:
            entry = file.getinfo(name)
            # A compressed one could be of any size.
            if entry.compress_type != zipfile.ZIP_STORED:
                raise _Damaged(f"its part {name!r} is compressed")
            return file.read(entry)

        roots = [name[:-8] for name in file.namelist() if name.endswith("data.pkl")]
        if len(roots) != 1:
            raise _Damaged("it is a zip file without data.pkl")
        root = roots[0]
        if f"{root}byteorder" in file.namelist() and read(f"{root}byteorder") != b"little":
            raise _Damaged("its numbers are big-endian")
        found: dict[str, _Storage] = {}
        state = _unpickle(io.BytesIO(read(f"{root}data.pkl")), found)
        storages = {
            key: np.frombuffer(read(f"{root}data/{key}"), storage.dtype, storage.size)
            for key, storage in found.items()
        }
    return state, storages


def _read_legacy(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """The format before: five pickles; then each storage, its length before it."""
    file = io.BytesIO(data)
    found: dict[str, _Storage] = {}
    if _unpickle(file, found) != _MAGIC:
        raise _Damaged("it doesn't start as one")
    _unpickle(file, found)
    if not _unpickle(file, found)["little_endian"]:
        raise _Damaged("its numbers are big-endian")
    state = _unpickle(file, found)
    keys = _unpickle(file, found)
    storages = {}
    for key in keys:
        storage = found[key]
        count = int.from_bytes(file.read(8), "little")
        if count != storage.size:
            raise _Damaged(f"storage {key!r} has {count} numbers, not {storage.size}")
        storages[key] = np.frombuffer(data, storage.dtype, count, file.tell())
        file.seek(storage.dtype.itemsize * count, io.SEEK_CUR)
    return state, storages


def _unpickle(file: io.BytesIO, found: dict[str, _Storage]) -> Any:
    """Reads the next pickle of a file, and adds the storages that it refers to."""
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        # This finds strings longer than the file. Pickle would allocate memory for them first, and
        # also a table of all objects up to the number that one is kept under.
        if "PUT" in opcode.name and int(argument or 0) > count:
            raise _Damaged("no tensor needs such a pickle")
    file.seek(start)
    return _Unpickler(file, found).load()


def _view(tensor: _Tensor, storages: Mapping[str, np.ndarray]) -> np.ndarray:
    numbers = storages[tensor.storage.key]
    _, offset, shape, strides = tensor
    extent = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if min(offset, *shape, *strides, 0) < 0:
        raise _Damaged
    if 0 in shape:
        return np.zeros(shape, numbers.dtype)
    if offset + extent >= len(numbers):
        raise _Damaged
    size = numbers.dtype.itemsize
    return np.lib.stride_tricks.as_strided(
        numbers[offset:], shape, [size * s for s in strides], writeable=False
    )
