"""One step body, compiled for one device or for many, in three ways."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from genjax.algorithm import Algorithm
from genjax.config import Mode
from genjax.errors import UserError
from genjax.types import Batch, Key, Metrics, State

AXIS = "data"
"""Name of the axis over the devices."""


class Compiled(NamedTuple):
    """An algorithm's training step, ready to run on its devices.

    Attributes:
      init: ``(key) -> state``, placed on the devices.
      place: ``(host batch) -> batch``, split over the devices by the first axis.
      step: ``(state, batch) -> (state, metrics)``; the old state is donated and can't be used.
      sharding: of every leaf of the state; None leaves it to the default device.
    """

    init: Callable[[Key], State]
    place: Callable[[Batch], Batch]
    step: Callable[[State, Batch], tuple[State, Metrics]]
    sharding: jax.sharding.Sharding | None


def choose_mode(mode: Mode, devices: Sequence[jax.Device]) -> Mode:
    """Resolves ``auto``: jit on one device, mesh on several."""
    if mode != "auto":
        return mode
    return "jit" if len(devices) == 1 else "mesh"


def mapped_axis(mode: Mode) -> str | None:
    """The axis name that an algorithm must be built with for a mode."""
    return AXIS if mode == "pmap" else None


class Spread(NamedTuple):
    """How data lie on all devices of this process.

    Attributes:
      devices: their number.
      whole: a copy on each.
      split: split over them along the first axis.
    """

    devices: int
    whole: NamedSharding
    split: NamedSharding


def spread(devices: Sequence[jax.Device]) -> Spread:
    """Lays devices out in a row, along `AXIS`."""
    mesh = Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))
    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    return Spread(len(devices), NamedSharding(mesh, whole), NamedSharding(mesh, split))


def compile_step(algorithm: Algorithm, mode: Mode, devices: Sequence[jax.Device]) -> Compiled:
    """Compiles an algorithm's step.

    Args:
      algorithm: built with ``mapped_axis(mode)``.
      mode: ``jit`` runs on the first device. ``mesh`` is one program over the whole batch, split by
        the compiler (``jit`` with ``NamedSharding``). ``pmap`` runs the body once a device, with
        collectives over `AXIS`.
      devices: the devices to use.

    Returns:
      The compiled functions.

    Raises:
      UserError: the batch can't be split evenly over the devices.
    """
    if mode == "jit":
        return Compiled(
            init=jax.jit(algorithm.init),
            place=jax.device_put,
            step=jax.jit(algorithm.step, donate_argnums=0),
            sharding=None,
        )
    count = len(devices)
    if algorithm.examples % count:
        raise UserError(
            f"{algorithm.examples} images a step can't be split over {count} devices; "
            f"set --batch-size to a multiple of {count}"
        )
    _, replicated, split = spread(devices)
    init = jax.jit(algorithm.init, out_shardings=replicated)
    if mode == "mesh":
        step = jax.jit(
            algorithm.step,
            donate_argnums=0,
            in_shardings=(replicated, split),
            out_shardings=(replicated, replicated),
        )
        return Compiled(init, lambda batch: jax.device_put(batch, split), step, replicated)
    step = jax.pmap(
        algorithm.step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        devices=devices,
        donate_argnums=0,
    )

    def place(batch: Batch) -> Batch:
        rows: Callable[[Any], Any] = lambda x: x.reshape(count, -1, *x.shape[1:])  # noqa: E731
        return jax.device_put(jax.tree.map(rows, batch), split)

    return Compiled(init, place, step, replicated)
