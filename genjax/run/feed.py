"""What brings batches to the compiled step: their examples, or the numbers of examples it holds."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from genjax.config import Experiment
from genjax.core.parallel import Data
from genjax.core.schema import Source
from genjax.core.types import Batch
from genjax.data.order import batch_indices
from genjax.errors import UserError

_SHARE = 0.25


class Placement(Protocol):
    """What batches are prepared for, such as `genjax.core.parallel.Compiled`."""

    @property
    def load(self) -> Callable[[Batch], Data]:
        """Copies a whole data set to each device."""

    @property
    def place(self) -> Callable[[Any], Any]:
        """Brings batches to the devices."""


class Feeder(NamedTuple):
    """Feeds a compiled step.

    Attributes:
      data: the data set on the devices, or None where batches are gathered on the host.
      batches: number of the first step, from 0, to what the step takes beside it, on the devices.
    """

    data: Data | None
    batches: Callable[[int], Any]


def fits_on_device(source: Source) -> bool:
    """Whether the devices are accelerators with four times as much memory as the data set takes."""
    device = jax.local_devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    size = sum(array.nbytes for array in source.arrays.values())
    return is_whole(source) and worth_holding(device.platform, size, memory)


def worth_holding(platform: str, size: int, memory: int) -> bool:
    """Whether a device should hold the data set.

    Args:
      platform: of the device; a CPU's memory is the host's.
      size: bytes of the data set.
      memory: bytes that the device has.

    Returns:
      Whether it is an accelerator with four times as much.
    """
    return platform != "cpu" and size <= _SHARE * memory


def is_whole(source: Source) -> bool:
    """Whether all fields of a source lie in memory."""
    return source.arrays.keys() >= source.schema.fields.keys()


def make_feeder(
    experiments: Sequence[Experiment], source: Source, placement: Placement, examples: int
) -> Feeder:
    """Prepares the batches of a run, or of several at once, in the order that each seed gives.

    Args:
      experiments: of the runs, which differ in their seeds; the first says where batches are
        gathered, and for how many steps at once.
      source: the examples.
      placement: of the runs; that of several takes batches with a first axis [runs].
      examples: in a step of a run.

    Returns:
      The feeder.

    Raises:
      UserError: the data are to lie on the device, and do not lie in memory.
    """
    first_of_all = experiments[0]

    def numbers(first: int) -> Any:
        steps = range(first, first + first_of_all.steps_per_call)
        each = [
            np.stack(
                [batch_indices(step, examples, source.count, experiment.seed) for step in steps]
            )
            for experiment in experiments
        ]
        return each[0] if len(each) == 1 else np.stack(each)

    place = placement.place
    feed = first_of_all.feed
    if feed == "device" and not is_whole(source):
        raise UserError(f"feed is 'device', but {source.name} is read from the disk; set host")
    if feed == "device" or (feed == "auto" and fits_on_device(source)):
        data = placement.load(source.arrays)
        return Feeder(data, lambda first: place(numbers(first).astype(np.int32)))

    def gather(first: int) -> Any:
        index = numbers(first)
        found = source.read(index.reshape(-1))
        shapes = {name: (*index.shape, *array.shape[1:]) for name, array in found.items()}
        return place({name: array.reshape(shapes[name]) for name, array in found.items()})

    return Feeder(None, gather)
