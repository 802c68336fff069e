"""Times what brings images to the training step, one path at a time, without a step.

`python -m benchmarks.input_pipeline DATASET ...` from the root of the repository.

order    the numbers of a batch's examples, `genjax.data.order.batch_indices`; part of both below
host     numbers, images gathered by NumPy, and the batch placed on the device
device   numbers placed on the device, and images gathered there by a program of its own; in
         training that gather is a part of the step's program

Both feeds are those of training (`genjax.run.feed.make_feeder`). Each batch is waited for before
the next one begins; in training the host prepares it while the device works, so a path only costs
time where it is slower than the step. The paths run by turns, a block of batches each. `noise-128`
is noise of 128 x 128 pixels in 3 channels, of which there are 2,000 images.

Reading is `genjax.data.sources.load`, from the disk or from wherever the data set comes, to
memory. The first reading imports what it needs and finds the files cold or warm as they are; later
ones find them in the memory of the system.
"""

import dataclasses
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import tyro

from benchmarks.machine import append_records, describe_machine, print_machine
from benchmarks.timing import alternate, spread, summary, timed
from genjax.config import DataConfig
from genjax.core.parallel import compile_step
from genjax.core.schema import Source
from genjax.core.types import Batch
from genjax.data.memory import in_memory
from genjax.data.order import batch_indices
from genjax.data.schema import image_schema
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.families.registry import make_algorithm
from genjax.presets import preset
from genjax.run.feed import make_feeder
from genjax.run.startup import keep_memory

PACKAGES = ("genjax", "jax", "jaxlib", "numpy", "pillow", "tensorflow-datasets", "array-record")
NOISE = "noise-128"


class Reading(NamedTuple):
    """A data set and the seconds that reading it took, at first and later."""

    source: Source
    first: float
    later: list[float]


def make_noise() -> Source:
    """Images that are larger than those of the data sets at hand."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2000, 128, 128, 3), dtype=np.uint8)
    labels = generator.integers(0, 10, len(images), dtype=np.int32)
    schema = image_schema((128, 128, 3), 10)
    return in_memory(NOISE, "train", schema, {"image": images, "label": labels})


def read(name: str, repeats: int) -> Reading | None:
    """Reads a data set several times; None, and a line that says why, where it is missing."""
    try:
        first, source = timed(partial(load, DataConfig(name)))
    except UserError as error:
        print(f"\nleft out: {error}")
        return None
    return Reading(
        source, first, [timed(partial(load, DataConfig(name)))[0] for _ in range(repeats)]
    )


def make_paths(source: Source, batch: int) -> dict[str, Callable[[int], Any]]:
    """Prepares the paths.

    Args:
      source: in memory.
      batch: examples in a step.

    Returns:
      From path to a function of the number of the step that brings its batch and waits for it.

    Raises:
      UserError: the batch is larger than the data set.
    """
    # Any model will do that takes images of all sizes: its step is never compiled.
    base = dataclasses.replace(preset("vae-digits"), batch_size=batch, data=DataConfig(source.name))
    algorithm = make_algorithm(base, source.schema)
    compiled = compile_step(algorithm, "jit", jax.devices())
    on_host, on_device = (
        make_feeder([dataclasses.replace(base, feed=feed)], source, compiled, batch)
        for feed in ("host", "device")
    )
    assert on_device.data is not None

    @jax.jit
    def gather(data: Batch, numbers: Any) -> Batch:
        return {name: array[numbers[0]] for name, array in data.items()}

    data = on_device.data
    return {
        "order": lambda step: batch_indices(step, batch, source.count, base.seed),
        "host": lambda step: jax.block_until_ready(on_host.batches(step)),
        "device": lambda step: jax.block_until_ready(gather(data, on_device.batches(step))),
    }


def block(path: Callable[[int], Any], steps: int) -> None:
    """Brings the batches of some steps."""
    for step in range(steps):
        path(step)


def measure(source: Source, batch: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    """Times the paths of a data set by turns and prints them.

    Args:
      source: in memory.
      batch: examples in a step.
      steps: batches in a block.
      repeats: blocks of each path.

    Returns:
      A record of each path.
    """
    paths = make_paths(source, batch)
    calls = [partial(block, path, steps) for path in paths.values()]
    for path in paths.values():
        path(0)
    records = []
    for name, took in zip(paths, alternate(calls, repeats), strict=True):
        seconds = [x / steps for x in took]
        rate = batch / statistics.median(seconds)
        print(
            f"| {_describe(source)} | {batch} | {name} | {rate:,.0f} "
            f"| {summary([1e3 * x for x in seconds], 3)} |"
        )
        records.append(
            {
                "benchmark": "input_pipeline",
                "data": source.name,
                "image": _shape(source),
                "path": name,
                "batch": batch,
                "steps": steps,
                "seconds": seconds,
                "images_per_second": rate,
            }
        )
    sys.stdout.flush()
    return records


def print_readings(readings: list[Reading]) -> list[dict[str, Any]]:
    """Prints how long the data sets took to read; returns a record of each."""
    print("\n| data | images | first, s | later, s | min to max | images/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    records = []
    for source, first, later in readings:
        count, median = source.count, statistics.median(later)
        print(
            f"| {_describe(source)} | {count:,} | {first:.2f} | {median:.3f} "
            f"| {spread(later, 3)} | {count / median:,.0f} |"
        )
        records.append(
            {
                "benchmark": "input_pipeline",
                "data": source.name,
                "image": _shape(source),
                "path": "read",
                "images": count,
                "first_s": first,
                "seconds": later,
                "images_per_second": count / median,
            }
        )
    return records


def _shape(source: Source) -> tuple[int, ...]:
    return source.schema.fields["image"].shape


def _describe(source: Source) -> str:
    return f"{source.name}, {' x '.join(map(str, _shape(source)))}"


def main(
    data: tyro.conf.Positional[tuple[str, ...]] = ("digits", "fashion_mnist", NOISE),
    batches: tuple[int, ...] = (64, 256),
    steps: int = 100,
    repeats: int = 5,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Time what brings images to the training step and print Markdown tables.

    Args:
      data: Data sets, or noise-128; those that are missing are left out.
      batches: Examples in a step.
      steps: Batches in a block.
      repeats: Blocks of each path, and readings after the first.
      json_file: File to append to, one line a row.
    """
    keep_memory()
    if min(steps, repeats, *batches) < 1:
        raise UserError("batches, steps and repeats must be at least 1")
    machine = describe_machine(PACKAGES)
    print_machine(machine)
    print(f"jax on {jax.devices()[0].device_kind}; {repeats} blocks of {steps} batches by turns")
    readings = [found for name in data if name != NOISE and (found := read(name, repeats))]
    datasets = [reading.source for reading in readings] + [make_noise()] * (NOISE in data)
    records = print_readings(readings) if readings else []
    print("\n| data | batch | path | images/s | ms/batch | min to max |")
    print("| --- | --- | --- | --- | --- | --- |")
    for source in datasets:
        for batch in batches:
            records += measure(source, batch, steps, repeats)
    append_records(json_file, records, machine)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
