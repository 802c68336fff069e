"""Reads folders of images in the forms they come in: IDX, npz, class folders, official archives."""

import dataclasses
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from genjax.data import idx, image_folders, images
from genjax.data.progress import Progress
from genjax.data.raw import ACCEPTED, Raw, RawSplit
from genjax.data.standard import Standard
from genjax.errors import UserError, reason

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32] | None]

_ARCHIVE = "cifar-10-binary.tar.gz"
# A label, then the red, green and blue plane of 32 x 32.
_RECORD = 1 + 3 * 32 * 32
_BATCH_BYTES = 10_000 * _RECORD
_MAT = "{}_32x32.mat"
_MAX_LABEL = 65_535
_NPZ_KEYS = (
    {"train": ("images", "labels")},
    {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")},
    # MedMNIST's.
    {
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
)


def read(
    source: Path, standard: Standard | None, resolution: int | None, progress: Progress
) -> Raw:
    """Finds out what a source holds and reads it; image files are decoded only later.

    Args:
      source: a folder, or one .npz file.
      standard: what is known of the data set, for its official files and the order of classes.
      resolution: side to resize the images to.
      progress: shows how far the reading is.

    Returns:
      The data set.

    Raises:
      UserError: nothing usable is there, or it is faulty.
    """
    if source.is_file() and source.suffix == ".npz":
        return _from_npz(source, resolution)
    if not source.is_dir():
        what = "is neither a folder nor an .npz file" if source.exists() else "doesn't exist"
        raise UserError(f"{source} {what}; {ACCEPTED}")
    pairs = idx.find(source)
    if pairs:
        return _arrays({key: idx.read_split(pair) for key, pair in pairs.items()}, resolution)
    if (source / _ARCHIVE).is_file():
        return _arrays(_read_cifar(source / _ARCHIVE), resolution)
    mats = {key: source / _MAT.format(key) for key in ("train", "test")}
    if any(path.is_file() for path in mats.values()):
        present = {key: path for key, path in mats.items() if path.is_file()}
        return _arrays({key: _read_svhn(path) for key, path in present.items()}, resolution)
    archives = sorted(source.glob("*.npz"))
    if len(archives) > 1:
        names = ", ".join(path.name for path in archives)
        raise UserError(f"{source} holds several .npz files ({names}); give the path of one")
    if archives:
        return _from_npz(archives[0], resolution)
    return image_folders.read(source, standard, resolution, progress)


def _arrays(splits: Mapping[str, Arrays], resolution: int | None) -> Raw:
    shapes = {array.shape[1:] for array, _ in splits.values()}
    if len(shapes) > 1:
        raise UserError(f"the splits differ in the shape of images: {sorted(shapes)}")
    if len({labels is None for _, labels in splits.values()}) > 1:
        raise UserError("one split has labels and the other has none; give both or neither")
    height, width, channels = shapes.pop()
    shape = (resolution or height, resolution or width, channels)

    def split(array: npt.NDArray[np.uint8], labels: npt.NDArray[np.int32] | None) -> RawSplit:
        return RawSplit(
            len(array), lambda i: images.resize(array[i], resolution), labels, array=array
        )

    return Raw(shape, {key: split(*value) for key, value in splits.items()})


def _from_npz(path: Path, resolution: int | None) -> Raw:
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UserError(f"{path} is one array, no .npz file; write it with numpy.savez")
        with archive:
            keys = set(archive.files)
            named = ({s: x for s, x in names.items() if x[0] in keys} for names in _NPZ_KEYS)
            used = next(filter(None, named), None)
            if used is None:
                raise UserError(f"{path} holds {sorted(keys)}; {ACCEPTED}")
            content = {
                split: (archive[x], archive[y] if y in keys else None)
                for split, (x, y) in used.items()
            }
            names = archive["class_names"] if "class_names" in keys else None
    except UserError:
        raise
    # There is little that a damaged file can't make zipfile and numpy raise.
    except Exception as error:
        raise UserError(
            f"cannot read {path}: {reason(error)}; write it with numpy.savez"
        ) from error
    splits = {s: _check_arrays(f"{path} ({s})", *xy) for s, xy in content.items()}
    class_names = None if names is None else _check_names(path, names, splits)
    return dataclasses.replace(_arrays(splits, resolution), class_names=class_names)


def _check_names(path: Path, names: Any, splits: Mapping[str, Arrays]) -> tuple[str, ...]:
    """What `genjax sample --npz` writes beside labels."""
    array = np.asarray(names)
    found = tuple(map(str, array)) if array.dtype.kind == "U" and array.ndim == 1 else ()
    # Names are stored one a line, and read back without the spaces around them.
    usable = all(name and name.isprintable() and name == name.strip() for name in found)
    given = [labels for _, labels in splits.values() if labels is not None]
    most = max((int(labels.max()) for labels in given), default=0)
    if not usable or len({*found}) != len(found) or len(found) <= most:
        raise UserError(
            f"{path} holds class_names of type {array.dtype} and shape {array.shape} for labels up "
            f"to {most}; needed: one text for each label, no two equal"
        )
    return found


def _check_arrays(where: str, pixels: Any, labels: Any) -> Arrays:
    # What isn't an array in a .npz file comes as bytes.
    pixels = np.asarray(pixels)
    labels = None if labels is None else np.asarray(labels)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] not in (1, 3):
        raise UserError(
            f"{where} holds images of type {pixels.dtype} and shape {pixels.shape}; "
            "needed: uint8 [n, h, w], [n, h, w, 1] or [n, h, w, 3]"
        )
    if not pixels.size:
        raise UserError(f"{where} holds no images: their shape is {pixels.shape}")
    if labels is None:
        return pixels.astype(np.uint8, copy=False), None
    if not np.issubdtype(labels.dtype, np.integer) or labels.size != len(pixels):
        raise UserError(
            f"{where} holds {len(pixels)} images but labels of type {labels.dtype} and shape "
            f"{labels.shape}; needed: one integer for each image"
        )
    flat = labels.reshape(-1).astype(np.int64)
    if flat.min() < 0 or flat.max() > _MAX_LABEL:
        wrong = "none may be below 0" if flat.min() < 0 else f"none may be above {_MAX_LABEL:,}"
        raise UserError(
            f"{where} holds labels from {flat.min()} to {flat.max()}, and {wrong}; number the "
            "classes from 0 on, without gaps"
        )
    return pixels.astype(np.uint8, copy=False), flat.astype(np.int32)


def _read_cifar(path: Path) -> dict[str, Arrays]:
    """Reads CIFAR-10's binary version; nothing of the archive is written to the disk."""
    files = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    content: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = _check_member(path, member)
                if member.isfile() and any(name in names for names in files.values()):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    content[name] = stream.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f"cannot read {path}: {reason(error)}; get the file again") from error
    splits: dict[str, Arrays] = {}
    for split, names in files.items():
        missing = [name for name in names if name not in content]
        if missing:
            raise UserError(f"{path} lacks {', '.join(missing)}; get the file again")
        joined = b"".join(content[name] for name in names)
        if not joined or any(len(content[name]) % _RECORD for name in names):
            raise UserError(f"{path} holds a truncated batch of {split}; get the file again")
        records = np.frombuffer(joined, np.uint8).reshape(-1, _RECORD)
        if records[:, 0].max() > 9:
            raise UserError(
                f"{path} holds label {records[:, 0].max()} in {split}; CIFAR-10 has 0 to 9; get "
                "the file again"
            )
        pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits[split] = (pixels, records[:, 0].astype(np.int32))
    return splits


def _check_member(path: Path, member: tarfile.TarInfo) -> str:
    """Refuses what the official archive does not have; returns the name without folders."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        what = "leads out of the archive"
    elif not member.isfile() and not member.isdir():
        what = "is a link or a device"
    elif member.size > _BATCH_BYTES:
        what = f"has {member.size} bytes where a batch has {_BATCH_BYTES}"
    else:
        return name.name
    raise UserError(f"{path} isn't the official archive: {member.name!r} {what}; get it again")


def _read_svhn(path: Path) -> Arrays:
    """Reads SVHN's MATLAB file, where the digit 0 has label 10."""
    from scipy import io

    try:
        content = io.loadmat(path)
        pixels, labels = np.moveaxis(content["X"], -1, 0), content["y"]
    # scipy has no common base for what a damaged file raises.
    except Exception as error:
        raise UserError(f"cannot read {path}: {reason(error)}; get the file again") from error
    array, numbers = _check_arrays(str(path), pixels, labels)
    assert numbers is not None
    if numbers.min() < 1 or numbers.max() > 10:
        raise UserError(
            f"{path} holds labels from {numbers.min()} to {numbers.max()}; SVHN has 1 to 10; get "
            "the file again"
        )
    return array, numbers % 10
