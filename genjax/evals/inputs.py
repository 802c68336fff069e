"""Images that can be scored, read by their number: a data set, files, or the samples of a run."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from genjax.config import DataConfig
from genjax.core.algorithm import quantize_images
from genjax.core.compiler import jit
from genjax.core.parallel import spread
from genjax.core.types import State
from genjax.data import readers
from genjax.data.mixtures import POINT_SHAPE
from genjax.data.order import batch_indices
from genjax.data.progress import Progress, no_progress
from genjax.data.raw import RawSplit
from genjax.data.sources import Dataset, load
from genjax.errors import UserError
from genjax.run.sampling import Run

Numbers: TypeAlias = Int[np.ndarray, "n"]


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A number of images.

    Attributes:
      name: what people call it.
      count: how many there are.
      shape: (height, width, channels).
      read: from numbers below `count`, int64 [n], to uint8 [n, height, width, channels], on the
        host or on devices; points of a mixture are float32.
      labels: int [count], or None.
      classes: number of classes, 0 without labels.
      identity: what a record says of them.
    """

    name: str
    count: int
    shape: tuple[int, ...]
    read: Callable[[Numbers], Any]
    labels: Int[np.ndarray, "count"] | None
    classes: int
    identity: Mapping[str, Any]

    def batches(self, size: int, numbers: Numbers | None = None) -> Iterator[Any]:
        """Reads images a batch at a time; all of them in order, or those with some numbers."""
        chosen = np.arange(self.count) if numbers is None else numbers
        for start in range(0, len(chosen), size):
            yield self.read(chosen[start : start + size])


def from_dataset(dataset: Dataset) -> ImageSet:
    """The images of a data set in memory."""
    images = dataset.images
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    identity = _identify(dataset.name, dataset.split, len(images), digest.hexdigest())
    return ImageSet(
        f"{dataset.name}:{dataset.split}",
        len(images),
        images.shape[1:],
        lambda numbers: images[numbers],
        dataset.labels,
        dataset.classes,
        identity,
    )


def _identify(name: str, split: str, count: int, digest: str) -> dict[str, Any]:
    """What a record says of real images; `digest` is of all their pixels, in order."""
    return {"data": name, "split": split, "count": count, "contents": digest[:12]}


def open_images(
    source: str,
    resolution: int | None = None,
    directory: str | None = None,
    progress: Progress = no_progress,
) -> tuple[ImageSet, ImageSet | None]:
    """Opens images by a name or a path.

    Args:
      source: a folder of PNG or JPEG files, an .npz file or IDX files; or a data set, perhaps with
        its split, as in ``mnist:test``. Without a split it is ``train``, where there are several.
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
    config = DataConfig(name, split or "train", resolution, directory=directory)
    try:
        images = from_dataset(load(config, progress))
    except UserError as error:
        if "/" in source or path.suffix:
            raise UserError(f"{source} doesn't exist, and is no data set: {error}") from None
        raise
    return images, open_held_out(config, progress)


def open_held_out(config: DataConfig, progress: Progress = no_progress) -> ImageSet | None:
    """The test split beside the split of a configuration; None where there is no other."""
    if config.split == "test":
        return None
    try:
        return from_dataset(load(dataclasses.replace(config, split="test"), progress))
    except UserError:
        return None


def _open_files(
    path: Path, resolution: int | None, progress: Progress
) -> tuple[ImageSet, ImageSet | None]:
    raw = readers.read(path, None, resolution, progress)
    height, width, channels = raw.shape
    if height is None or width is None:
        raise UserError(f"{path} has images of several sizes; choose one with --resolution")
    shape = (height, width, channels)
    main = "train" if "train" in raw.splits else next(iter(raw.splits))
    images = _from_files(path.name, main, raw.splits[main], shape, progress)
    if main == "test" or "test" not in raw.splits:
        return images, None
    return images, _from_files(path.name, "test", raw.splits["test"], shape, progress)


def _from_files(
    name: str, split: str, raw: RawSplit, shape: tuple[int, int, int], progress: Progress
) -> ImageSet:
    def read(numbers: Numbers) -> Any:
        if raw.array is not None:
            return raw.array[numbers]
        return np.stack([raw.read(int(number)) for number in numbers])

    digest = hashlib.sha256()
    for number in progress(range(raw.count), f"reading {name}", raw.count):
        digest.update(np.ascontiguousarray(raw.read(number)).data)
    identity = _identify(name, split, raw.count, digest.hexdigest())
    classes = 0 if raw.labels is None else int(raw.labels.max()) + 1
    return ImageSet(name, raw.count, shape, read, raw.labels, classes, identity)


def from_run(run: Run, name: str, count: int, seed: int, chunk: int) -> ImageSet:
    """The samples of a run; sample i depends on the seed and on i alone.

    A conditional model makes its classes in turn.

    Args:
      run: from `open_run`.
      name: what people call it.
      count: how many samples.
      seed: of the series.
      chunk: samples made at once, on all devices.

    Returns:
      The samples, made when they are read.
    """
    key = jax.random.key(seed)
    classes = run.algorithm.classes
    labels = np.arange(count) % classes if classes else None
    devices, whole, split = spread(jax.local_devices())
    size = -(-chunk // devices) * devices
    shape = jax.eval_shape(run.algorithm.sample, run.state, key, jnp.arange(1), None).shape[1:]

    def sample(state: State, index: jax.Array, label: jax.Array | None) -> jax.Array:
        images = run.algorithm.sample(state, key, index, label)
        return images if shape == POINT_SHAPE else quantize_images(images)

    compiled = jit(sample, in_shardings=(whole, split, split), out_shardings=split)
    state = jax.device_put(run.state, whole)

    def read(numbers: Numbers) -> Any:
        parts = []
        for start in range(0, len(numbers), size):
            some = numbers[start : start + size]
            # All chunks have one size, so that the sampler is compiled once.
            index = np.zeros(size, np.int32)
            index[: len(some)] = some
            label = None if labels is None else labels[index].astype(np.int32)
            parts.append(compiled(state, index, label)[: len(some)])
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts)

    return ImageSet(name, count, shape, read, labels, classes, {})


def subset(images: ImageSet, count: int, seed: int) -> Numbers:
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
    images: ImageSet, size: int, numbers: Numbers | None, progress: Progress, what: str
) -> Iterable[Any]:
    """Reads images while a bar counts the batches.

    Args:
      images: the set.
      size: images in a batch; the last may be smaller.
      numbers: int64 [n], which ones; None for all, in order.
      progress: shows the bar.
      what: a few words for it.

    Returns:
      The batches, each as `images.read` gives them.
    """
    count = images.count if numbers is None else len(numbers)
    return progress(images.batches(size, numbers), what, -(-count // size))
