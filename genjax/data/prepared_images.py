"""Reads prepared sets of images: into memory, or from the disk where they are too large for it."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from genjax.config import DataConfig
from genjax.core.schema import Source
from genjax.data import images, memory, prepared
from genjax.data.classes import with_empty
from genjax.data.digest import content_digest
from genjax.data.memory import in_memory
from genjax.data.prepared import Prepared
from genjax.data.progress import Progress
from genjax.data.schema import image_schema
from genjax.data.splits import NoSplit, choose_split
from genjax.errors import UserError, reason

_BATCH = 1024

_Decode = Callable[[Any, int], images.Image]


def open_prepared(config: DataConfig, found: Prepared, progress: Progress) -> Source:
    """Opens a split of a set of TensorFlow Datasets, which must be stored as array_record.

    Args:
      config: which split, and the size of the images.
      found: the set.
      progress: shows how far the reading is.

    Returns:
      The split. Images that take more than a quarter of the memory are decoded when they are read.

    Raises:
      UserError: there is no such split, it is damaged, or it holds no images that can be used.
    """
    count = choose_split(found.splits, config)
    again = f"delete the folder {found.path} and prepare {found.name!r} again"
    if not found.readable:
        raise UserError(
            f"{found.name!r} in {found.path} isn't stored as array_record, so that reading it "
            f"would need TensorFlow; {again}"
        )
    if not count:
        raise NoSplit(f"split {config.split!r} of {found.name!r} in {found.path} is empty")
    tfds = prepared.import_tfds()
    prepared.check_files(found)
    try:
        builder = tfds.core.read_only_builder.builder_from_directory(
            str(found.path), file_format=prepared.FILE_FORMAT
        )
        features = dict(builder.info.features.items())
        decode, skipped = _image_reader(tfds, features, config)

        def source(*left: str) -> Any:
            decoders = {key: tfds.decode.SkipDecoding() for key in (*skipped, *left)}
            return builder.as_data_source(config.split, decoders=decoders)

        examples, names = source(), _class_names(tfds, features)
        if len(examples) != count:
            raise ValueError(f"{len(examples)} examples where its description says {count}")
        first = decode(examples[0]["image"], 0)
        if memory.fits(count * first.nbytes):
            return _read(config, examples, decode, first.shape, names, progress)
        return _stream(config, examples, source("image"), decode, first.shape, names, progress)
    except UserError:
        raise
    # TFDS, protobuf and array_record have no common base for what a damaged file raises.
    except Exception as error:
        raise UserError(
            f"cannot read {found.name!r} in {found.path}: {reason(error)}; {again}"
        ) from error


def _read(
    config: DataConfig,
    examples: Any,
    decode: _Decode,
    shape: tuple[int, ...],
    class_names: tuple[str, ...],
    progress: Progress,
) -> Source:
    """Reads examples a batch at a time, so that only the resized bytes stay in memory."""
    count = len(examples)
    pixels = np.empty((count, *shape), np.uint8)
    labels = np.zeros(count, np.int32) if class_names else None
    for position, example in _in_order(config, examples, progress):
        pixels[position] = _decode_one(config, decode, example, position, shape)
        if labels is not None:
            labels[position] = example["label"]
    arrays = {"image": pixels} | _checked(config, labels, class_names)
    schema = with_empty(image_schema(shape, len(class_names), class_names), labels)
    return in_memory(config.name, config.split, schema, arrays)


def _stream(
    config: DataConfig,
    examples: Any,
    undecoded: Any,
    decode: _Decode,
    shape: tuple[int, ...],
    class_names: tuple[str, ...],
    progress: Progress,
) -> Source:
    """Reads the labels alone; images are decoded when they are asked for."""
    labels = np.zeros(len(examples), np.int32) if class_names else None
    if labels is not None:
        for position, example in _in_order(config, undecoded, progress):
            labels[position] = example["label"]
    arrays = _checked(config, labels, class_names)

    def read(numbers: Any) -> dict[str, Any]:
        positions = [int(number) for number in numbers]
        pixels = np.empty((len(positions), *shape), np.uint8)
        for row, example in enumerate(examples.__getitems__(positions)):
            pixels[row] = _decode_one(config, decode, example, positions[row], shape)
        return {"image": pixels} | {name: array[numbers] for name, array in arrays.items()}

    schema = with_empty(image_schema(shape, len(class_names), class_names), labels)
    source = Source(
        config.name,
        config.split,
        len(examples),
        schema,
        read,
        arrays,
        functools.cache(lambda: content_digest(source)),
    )
    return source


def _in_order(
    config: DataConfig, examples: Any, progress: Progress
) -> Iterable[tuple[int, Mapping[str, Any]]]:
    starts = range(0, len(examples), _BATCH)
    for start in progress(starts, f"reading {config.name}", len(starts)):
        end = min(start + _BATCH, len(examples))
        yield from enumerate(examples.__getitems__(range(start, end)), start)


def _decode_one(
    config: DataConfig,
    decode: _Decode,
    example: Mapping[str, Any],
    position: int,
    shape: tuple[int, ...],
) -> images.Image:
    image = decode(example["image"], position)
    if image.shape != shape:
        raise UserError(
            f"{config.name!r} has images of several sizes, such as {shape[:2]} and "
            f"{image.shape[:2]}; choose one with --data.resolution"
        )
    return image


def _checked(
    config: DataConfig, labels: npt.NDArray[np.int32] | None, class_names: tuple[str, ...]
) -> dict[str, Any]:
    """The field of labels, if any, all of which name a class."""
    if labels is None:
        return {}
    if not 0 <= labels.min() <= labels.max() < len(class_names):
        raise UserError(
            f"{config.name!r} holds labels from {labels.min()} to {labels.max()} in "
            f"{config.split}, but has classes 0 to {len(class_names) - 1}; choose another split or "
            "set"
        )
    return {"label": labels}


def _class_names(tfds: Any, features: Mapping[str, Any]) -> tuple[str, ...]:
    label = features.get("label")
    return tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else ()


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
