"""Loads a data set into memory, whole: images as bytes, points as floats, labels as integers.

Nothing here downloads: what isn't on the disk is reported at once, with the command that gets it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from genjax.config import DataConfig
from genjax.data import idx, images, mixtures, prepared
from genjax.data.prepared import Prepared
from genjax.data.progress import Progress, no_progress
from genjax.errors import UserError, lookup, reason

T = TypeVar("T")

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""

DIGITS_SPLITS = {"train": slice(0, 1500), "test": slice(1500, 1797)}
_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images or points in memory.

    Attributes:
      name: the data set.
      split: the split.
      images: uint8 [n, h, w, c] with c of 1 (grey) or 3 (RGB); or points of the plane, float32
        [n, 1, 1, 2] in [-1, 1].
      labels: int32 [n], or None for a set without class labels.
      classes: number of classes, 0 without labels.
      modes: the mixture that the points are drawn from, where it is known.
    """

    name: str
    split: str
    images: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32] | None
    classes: int
    modes: mixtures.Modes | None = None


def load(config: DataConfig, progress: Progress = no_progress) -> Dataset:
    """Loads a split of a data set.

    ``digits`` is embedded in scikit-learn; it has no official split, so ``train`` is its first
    1,500 images and ``test`` the last 297, which other people wrote. ``gaussians-8`` and
    ``gaussians-25`` are drawn here. ``fashion_mnist`` is read from Debian's package if it isn't
    prepared. Anything else must be prepared in the folder.
    With ``resolution``, the central square of each image is resized with Lanczos' filter.

    Args:
      config: which data set, split and size.
      progress: shows how far the reading is.

    Returns:
      The images and labels, in the order in which they are stored.

    Raises:
      UserError: the set is missing or unknown, has no such split, or cannot be used.
    """
    if config.resolution is not None and config.resolution < 1:
        raise UserError(f"data.resolution must be at least 1, got {config.resolution}")
    if config.name == "digits":
        return _load_digits(config, progress)
    if config.name in mixtures.MIXTURES:
        return _draw_mixture(config)
    directory = prepared.data_directory(config.directory)
    found = prepared.find(config.name, directory)
    if found is not None:
        return _load_prepared(config, found, progress)
    if config.name == "fashion_mnist":
        files = idx.find(DEBIAN_FASHION_MNIST)
        if files:
            pair = _choose_split(config, files)
            raw, labels = idx.read_split(pair)
            if labels.max() > 9:
                raise UserError(f"{pair[1]} holds label {labels.max()}; fashion_mnist has 0 to 9")
            return _in_memory(config, raw, labels, 10, progress)
    raise _missing(config.name, directory)


def _load_digits(config: DataConfig, progress: Progress) -> Dataset:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise UserError("the data set 'digits' needs scikit-learn: pip install it") from error

    part = _choose_split(config, DIGITS_SPLITS)
    bunch = datasets.load_digits()
    raw = np.rint(bunch.images[part] * (255 / 16)).astype(np.uint8)[..., None]
    return _in_memory(config, raw, bunch.target[part].astype(np.int32), 10, progress)


def _draw_mixture(config: DataConfig) -> Dataset:
    _choose_split(config, mixtures.SPLITS)
    if config.resolution is not None:
        raise UserError(
            f"data.resolution is {config.resolution}, but {config.name!r} holds points, which have "
            "no size; leave it out"
        )
    if config.flip:
        raise UserError(f"data.flip mirrors images, but {config.name!r} holds points; leave it out")
    modes = mixtures.MIXTURES[config.name]
    points, labels = mixtures.draw_mixture(config.name, config.split)
    return Dataset(config.name, config.split, points, labels, len(modes.centres), modes)


def _in_memory(
    config: DataConfig,
    raw: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int32],
    classes: int,
    progress: Progress,
) -> Dataset:
    if config.resolution is not None and config.resolution != raw.shape[1]:
        items = progress(raw, f"resizing {config.name}", len(raw))
        raw = np.stack([images.resize(image, config.resolution) for image in items])
    return Dataset(config.name, config.split, raw, labels, classes)


def _load_prepared(config: DataConfig, found: Prepared, progress: Progress) -> Dataset:
    count = _choose_split(config, found.splits)
    again = f"delete the folder {found.path} and prepare {found.name!r} again"
    if not found.readable:
        raise UserError(
            f"{found.name!r} in {found.path} isn't stored as array_record, so that reading it "
            f"would need TensorFlow; {again}"
        )
    if not count:
        raise UserError(f"split {config.split!r} of {found.name!r} in {found.path} is empty")
    tfds = prepared.import_tfds()
    prepared.check_files(found)
    try:
        builder = tfds.core.read_only_builder.builder_from_directory(
            str(found.path), file_format=prepared.FILE_FORMAT
        )
        features = dict(builder.info.features.items())
        decode, skipped = _image_reader(tfds, features, config)
        decoders = {key: tfds.decode.SkipDecoding() for key in skipped}
        source = builder.as_data_source(config.split, decoders=decoders)
        return _read(config, source, count, decode, _classes(tfds, features), progress)
    except UserError:
        raise
    # TFDS, protobuf and array_record have no common base for what a damaged file raises.
    except Exception as error:
        raise UserError(
            f"cannot read {found.name!r} in {found.path}: {reason(error)}; {again}"
        ) from error


def _read(
    config: DataConfig,
    source: Any,
    count: int,
    decode: Callable[[Any, int], images.Image],
    classes: int,
    progress: Progress,
) -> Dataset:
    """Reads examples a batch at a time, so that only the resized bytes stay in memory."""
    if len(source) != count:
        raise ValueError(f"{len(source)} examples where its description says {count}")
    pixels: npt.NDArray[np.uint8] | None = None
    labels = np.zeros(count, np.int32) if classes else None
    starts = range(0, count, _BATCH)
    for start in progress(starts, f"reading {config.name}", len(starts)):
        batch = source.__getitems__(range(start, min(start + _BATCH, count)))
        for position, example in enumerate(batch, start):
            image = decode(example["image"], position)
            if pixels is None:
                pixels = np.empty((count, *image.shape), np.uint8)
            if image.shape != pixels.shape[1:]:
                raise UserError(
                    f"{config.name!r} has images of several sizes, such as {pixels.shape[1:3]} "
                    f"and {image.shape[:2]}; choose one with --data.resolution"
                )
            pixels[position] = image
            if labels is not None:
                labels[position] = example["label"]
    assert pixels is not None
    if labels is not None and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(
            f"{config.name!r} holds labels from {labels.min()} to {labels.max()} in "
            f"{config.split}, but has classes 0 to {classes - 1}; choose another split or set"
        )
    return Dataset(config.name, config.split, pixels, labels, classes)


def _classes(tfds: Any, features: Mapping[str, Any]) -> int:
    label = features.get("label")
    return int(label.num_classes) if isinstance(label, tfds.features.ClassLabel) else 0


def _image_reader(
    tfds: Any, features: Mapping[str, Any], config: DataConfig
) -> tuple[Callable[[Any, int], images.Image], Iterable[str]]:
    """Finds how to turn the stored image into an array, and which features not to decode."""
    feature = features.get("image")
    if feature is None:
        keys = ", ".join(sorted(features))
        raise UserError(f"{config.name!r} has no feature 'image', only: {keys}")
    if np.dtype(feature.np_dtype) != np.uint8:
        raise UserError(
            f"{config.name!r} holds {np.dtype(feature.np_dtype)} images; only uint8 can be used"
        )
    rank, channels = len(feature.shape), feature.shape[-1]
    if rank != 3 or channels not in (1, 3, 4):
        raise UserError(
            f"{config.name!r} has images of shape {feature.shape}; "
            "needed: height, width and 1, 3 or 4 channels"
        )
    others = [key for key in features if key not in ("image", "label")]

    def from_bytes(content: Any, position: int) -> images.Image:
        where = f"{position} of {config.name}/{config.split}"
        return images.decode(content, min(channels, 3), where, config.resolution)

    def from_array(array: Any, position: int) -> images.Image:
        return images.resize(np.asarray(array)[..., :3], config.resolution)

    # Pillow decodes 2 to 3 times as fast without TFDS's wrapper around it.
    if isinstance(feature, tfds.features.Image):
        return from_bytes, ["image", *others]
    return from_array, others


def _choose_split(config: DataConfig, splits: Mapping[str, T]) -> T:
    return lookup(splits, config.split, f"split of {config.name}")


def _missing(name: str, directory: Path) -> UserError:
    known = prepared.list_builders()
    if name.split("/")[0] not in known:
        own = {row.name for row in prepared.scan(directory)}
        return prepared.unknown(name, {"digits", *mixtures.MIXTURES} | known | own)
    return UserError(
        f"data set {name!r} isn't prepared in {directory}; run: genjax data prepare {name} "
        f"(downloads it), or: genjax data import {name} --from DIR (files you have)"
    )
