"""Examples that can be scored: a split of a data set, or files."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int

from genjax.config import DataConfig
from genjax.core.schema import Source
from genjax.data import readers
from genjax.data.classes import number_classes
from genjax.data.digest import content_digest
from genjax.data.order import batch_indices
from genjax.data.progress import Progress, no_progress
from genjax.data.raw import RawSplit
from genjax.data.schema import image_schema
from genjax.data.sources import load, load_held_out, splits_of
from genjax.domains import domain_of
from genjax.errors import UserError

Numbers: TypeAlias = Int[np.ndarray, "n"]

_BATCH = 1024


def examples(source: Source, numbers: Numbers | None = None) -> Any:
    """The field of its domain that a source consists of, of some examples or of all."""
    chosen = np.arange(source.count) if numbers is None else numbers
    return source.read(chosen)[domain_of(source.schema.domain).field]


def shape_of(source: Source) -> tuple[int, ...]:
    """Of that field, without the axis over the examples."""
    return source.schema.fields[domain_of(source.schema.domain).field].shape


def labels_of(source: Source) -> Int[np.ndarray, "count"] | None:
    """The labels of all examples, or None where there are none."""
    return source.arrays.get("label")


def batches(source: Source, size: int, numbers: Numbers | None = None) -> Iterator[Any]:
    """Reads examples a batch at a time; all of them in order, or those with some numbers."""
    chosen = np.arange(source.count) if numbers is None else numbers
    for start in range(0, len(chosen), size):
        yield examples(source, chosen[start : start + size])


def identify(source: Source) -> dict[str, Any]:
    """What a record says of real examples: whose they are, how many, and a hash of all in order."""
    digest = hashlib.sha256()
    for batch in batches(source, _BATCH):
        digest.update(np.ascontiguousarray(batch).data)
    return {
        "data": source.name,
        "split": source.split,
        "count": source.count,
        "contents": digest.hexdigest()[:12],
    }


def open_images(
    source: str,
    resolution: int | None = None,
    directory: str | None = None,
    progress: Progress = no_progress,
) -> tuple[Source, Source | None]:
    """Opens images by a name or a path.

    Args:
      source: a folder of PNG or JPEG files, an .npz file or IDX files; or a data set, perhaps with
        its split, as in ``mnist:test``. Without a split it is ``train``, or else the first.
      resolution: side in pixels to resize them to.
      directory: folder of prepared data sets.
      progress: shows how far the reading is.

    Returns:
      The images, and the ``test`` split beside them or None. Those of a folder are decoded only
      when they are read.

    Raises:
      UserError: nothing usable is there.
    """
    path = Path(source)
    if path.exists():
        return _open_files(path, resolution, progress)
    name, _, split = source.partition(":")
    splits = () if split else splits_of(name, directory)
    usual = split or ("train" if "train" in splits else next(iter(splits), "train"))
    config = DataConfig(name, usual, resolution, directory=directory)
    try:
        images = load(config, progress)
    except UserError as error:
        if "/" in source or path.suffix:
            raise UserError(f"{source} doesn't exist, and is no data set: {error}") from None
        raise
    return images, load_held_out(config, progress)


def _open_files(
    path: Path, resolution: int | None, progress: Progress
) -> tuple[Source, Source | None]:
    raw, _ = number_classes(readers.read(path, None, resolution, progress))
    height, width, channels = raw.shape
    if height is None or width is None:
        raise UserError(f"{path} has images of several sizes; choose one with --resolution")
    shape = (height, width, channels)
    main = "train" if "train" in raw.splits else next(iter(raw.splits))
    names = raw.class_names
    images = _from_files(path.name, main, raw.splits[main], shape, names)
    if main == "test" or "test" not in raw.splits:
        return images, None
    return images, _from_files(path.name, "test", raw.splits["test"], shape, names)


def _from_files(
    name: str,
    split: str,
    raw: RawSplit,
    shape: tuple[int, int, int],
    names: tuple[str, ...] | None,
) -> Source:
    def read(numbers: Numbers) -> dict[str, Any]:
        # What is in memory is as it was stored, and what is read has the size asked for.
        if raw.array is not None and raw.array.shape[1:] == shape:
            pixels = raw.array[numbers]
        else:
            pixels = np.stack([raw.read(int(number)) for number in numbers])
        return {"image": pixels} | {name: array[numbers] for name, array in labels.items()}

    labels = {} if raw.labels is None else {"label": raw.labels}
    classes = 0 if raw.labels is None else len(names or ()) or int(raw.labels.max()) + 1
    source = Source(
        name,
        split,
        raw.count,
        image_schema(shape, classes, names),
        read,
        labels,
        functools.cache(lambda: content_digest(source)),
    )
    return source


def with_channels(images: Source, channels: int, like: str) -> Source:
    """The same images with as many channels as others have.

    Grey ones are often stored as RGB, and may be scored beside RGB.

    Args:
      images: the set.
      channels: 1 or 3.
      like: whose images have as many, for the error.

    Returns:
      The set itself where it has as many. A grey set of three channels becomes one of one channel,
      and the other way round; colours are noticed, as a UserError, when they are read.
    """
    height, width, own = shape_of(images)
    if own == channels or {own, channels} != {1, 3}:
        return images

    def read(numbers: Numbers) -> Mapping[str, Any]:
        arrays = images.read(numbers)
        pixels = np.asarray(arrays["image"])
        if own == 3 and not (pixels == pixels[..., :1]).all():
            raise UserError(f"{images.name} has images in colour, but those of {like} are grey")
        return {**arrays, "image": np.repeat(pixels[..., :1], channels, axis=-1)}

    field = images.schema.fields["image"]._replace(shape=(height, width, channels))
    schema = images.schema._replace(fields={**images.schema.fields, "image": field})
    kept = {name: array for name, array in images.arrays.items() if name != "image"}
    source = dataclasses.replace(
        images, schema=schema, read=read, arrays=kept, digest=lambda: content_digest(source)
    )
    return source


def subset(images: Source, count: int, seed: int) -> Numbers:
    """Chooses images at random, without repetition.

    Args:
      images: the set.
      count: how many, at least 1.
      seed: of the choice.

    Returns:
      Their numbers, int64 [count]; all of them, in order, where there are no more.
    """
    if count >= images.count:
        return np.arange(images.count)
    return batch_indices(0, count, images.count, seed)


def tracked(
    images: Source, size: int, numbers: Numbers | None, progress: Progress, what: str
) -> Iterable[Any]:
    """Reads images while a bar counts the batches.

    Args:
      images: the set.
      size: images in a batch; the last may be smaller.
      numbers: int64 [n], which ones; None for all, in order.
      progress: shows the bar.
      what: a few words for it.

    Returns:
      The batches, each as `examples` gives them.
    """
    count = images.count if numbers is None else len(numbers)
    return progress(batches(images, size, numbers), what, -(-count // size))
