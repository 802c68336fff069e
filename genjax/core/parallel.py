"""One step body, compiled for one device or for many, in three ways."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from genjax.config import Mode
from genjax.core.algorithm import Algorithm
from genjax.core.compiler import jit, traced_for
from genjax.core.frozen import with_frozen
from genjax.core.held import Held, hold, pick
from genjax.core.types import AXIS, Batch, Key, Metrics, State
from genjax.errors import UserError

Data = Mapping[str, Held]
"""A data set on the devices."""


class Compiled(NamedTuple):
    """An algorithm's training step, ready to run on its devices, several steps a call.

    Attributes:
      init: ``(key) -> state``, placed on the devices.
      load: ``(arrays by name) -> data``: a whole data set, copied to each device.
      place: ``(tree) -> batches``: arrays [steps, examples, ...], split over the devices by their
        second axis.
      step: ``(state, data, batches) -> (state, metrics)``: a step for each entry of the first axis.
        With data, batches are examples' numbers, int32 [steps, examples]; with None they are the
        examples themselves, ``{"image": [steps, examples, ...], ...}``. Metrics are [steps]. The
        old state is donated and can't be used.
      sharding: of every leaf of the state; None leaves it to the default device.
    """

    init: Callable[[Key], State]
    load: Callable[[Batch], Data]
    place: Callable[[Any], Any]
    step: Callable[[State, Data | None, Any], tuple[State, Metrics]]
    sharding: jax.sharding.Sharding | None


def choose_mode(mode: Mode, devices: Sequence[jax.Device]) -> Mode:
    """Resolves ``auto``: jit on one device, mesh on several."""
    if mode != "auto":
        return mode
    return "jit" if len(devices) == 1 else "mesh"


def copy_to(sharding: jax.sharding.Sharding, tree: Any) -> Any:
    """Brings arrays that every process holds to the devices of all.

    Args:
      sharding: of the result.
      tree: of arrays, the same in each process.

    Returns:
      The tree; of an array that is split over devices, each process passes on only its part.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(x.shape, sharding, lambda part: x[part]), tree
    )


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


def repeat(step: Callable[[State, Batch], tuple[State, Metrics]]) -> Callable[..., Any]:
    """Lets a step take several batches, or numbers of the examples that they consist of.

    Args:
      step: ``(state, batch) -> (state, metrics)``.

    Returns:
      ``(state, data, batches) -> (state, metrics)``, as in `Compiled`, not yet compiled.
    """

    def steps(state: State, data: Data | None, batches: Any) -> tuple[State, Metrics]:
        def body(state: State, batch: Any) -> tuple[State, Metrics]:
            if data is not None:
                batch = pick(data, batch)
            return step(state, batch)

        if jax.tree.leaves(batches)[0].shape[0] > 1:
            return jax.lax.scan(body, state, batches)
        state, metrics = body(state, jax.tree.map(lambda x: x[0], batches))
        return state, jax.tree.map(lambda x: x[None], metrics)

    return steps


def compile_init(
    algorithm: Algorithm, device: jax.Device, sharding: jax.sharding.Sharding | None = None
) -> Callable[[Key], State]:
    """Compiles what makes the first state of a run, with the networks of other runs.

    Args:
      algorithm: of the run.
      device: that it is compiled for.
      sharding: of the state; None leaves it to the device.

    Returns:
      ``(key) -> state``.
    """
    init = jit(algorithm.init, device, **({} if sharding is None else {"out_shardings": sharding}))
    place = jax.device_put if sharding is None else partial(copy_to, sharding)
    return lambda key: with_frozen(init(key), algorithm.frozen, place)


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
      UserError: the batch can't be split evenly over the devices, or the mode is not for several
        processes.
    """
    steps = repeat(algorithm.step)
    if mode != "mesh" and jax.process_count() > 1:
        raise UserError(f"--mode {mode} runs in one process; several need --mode mesh")
    if mode == "jit":
        return Compiled(
            init=compile_init(algorithm, devices[0]),
            load=lambda arrays: jax.device_put(hold(arrays, devices[0].platform)),
            place=jax.device_put,
            step=jit(steps, devices[0], donate_argnums=0),
            sharding=None,
        )
    count = len(devices)
    platform = devices[0].platform
    if algorithm.examples % count:
        raise UserError(
            f"{algorithm.examples} examples a step can't be split over {count} devices; "
            f"set --batch-size to a multiple of {count}"
        )
    _, replicated, _ = spread(devices)
    second = NamedSharding(replicated.mesh, PartitionSpec(None, AXIS))
    init = compile_init(algorithm, devices[0], replicated)
    split = partial(copy_to, second)

    def load(arrays: Batch) -> Data:
        return copy_to(replicated, hold(arrays, platform))

    if mode == "mesh":

        @wraps(steps)
        def on_mesh(*arguments: Any) -> tuple[State, Metrics]:
            # Lets `example_index` split what a step draws as its batch is split.
            with jax.sharding.use_abstract_mesh(replicated.mesh.abstract_mesh):
                return steps(*arguments)

        step = jit(
            on_mesh,
            devices[0],
            donate_argnums=0,
            in_shardings=(replicated, replicated, second),
            out_shardings=(replicated, replicated),
        )
        return Compiled(init, load, split, step, replicated)
    step = jax.pmap(
        traced_for(platform, steps),
        axis_name=AXIS,
        in_axes=(None, None, 1),
        out_axes=(None, None),
        devices=devices,
        donate_argnums=0,
    )

    def place(tree: Any) -> Any:
        rows: Callable[[Any], Any] = lambda x: x.reshape(len(x), count, -1, *x.shape[2:])  # noqa: E731
        return split(jax.tree.map(rows, tree))

    return Compiled(init, load, place, step, replicated)


def step_once(compiled: Compiled, state: State, batch: Batch) -> tuple[State, Metrics]:
    """Makes one step on a batch of the host, for scripts that do without the loop.

    Args:
      compiled: from `compile_step`.
      state: from ``compiled.init``, or a later one; it is donated and can't be used again.
      batch: arrays [examples, ...].

    Returns:
      The new state, and metrics as scalars.
    """
    batches = compiled.place({name: array[None] for name, array in batch.items()})
    state, metrics = compiled.step(state, None, batches)
    return state, {name: value[0] for name, value in metrics.items()}
