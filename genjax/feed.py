"""What brings batches to the compiled step: their examples, or the numbers of examples it holds."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax.config import Experiment
from genjax.data.order import batch_indices
from genjax.data.sources import Dataset
from genjax.parallel import Compiled
from genjax.types import Batch

_SHARE = 0.25


class Feeder(NamedTuple):
    """Feeds a compiled step.

    Attributes:
      data: the data set on the devices, or None where batches are gathered on the host.
      batches: number of the first step, from 0, to what the step takes beside it, on the devices.
    """

    data: Batch | None
    batches: Callable[[int], Any]


def fits_on_device(dataset: Dataset) -> bool:
    """Whether the devices are accelerators with four times as much memory as the data set takes."""
    memory = jax.devices()[0].memory_stats()
    if jax.default_backend() == "cpu" or not memory:
        return False
    return dataset.images.nbytes <= _SHARE * memory.get("bytes_limit", 0)


def make_feeder(
    experiment: Experiment, dataset: Dataset, compiled: Compiled, examples: int
) -> Feeder:
    """Prepares the batches of a run, in the order that its seed gives.

    Args:
      experiment: says where batches are gathered, and for how many steps at once.
      dataset: in memory.
      compiled: of the run.
      examples: in a step.

    Returns:
      The feeder.
    """
    arrays: dict[str, Any] = {"image": dataset.images}
    if dataset.labels is not None:
        arrays["label"] = dataset.labels

    def numbers(first: int) -> Any:
        steps = range(first, first + experiment.steps_per_call)
        size, seed = len(dataset.images), experiment.seed
        return np.stack([batch_indices(step, examples, size, seed) for step in steps])

    place = compiled.place
    if experiment.feed == "device" or (experiment.feed == "auto" and fits_on_device(dataset)):
        return Feeder(compiled.load(arrays), lambda first: place(numbers(first).astype(np.int32)))

    def gather(first: int) -> Any:
        index = numbers(first)
        return place({name: array[index] for name, array in arrays.items()})

    return Feeder(None, gather)
