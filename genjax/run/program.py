"""The compiled steps of one run, or of several runs of one structure as one program."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax.config import Experiment
from genjax.core.algorithm import Algorithm
from genjax.core.compiler import jit
from genjax.core.held import hold
from genjax.core.parallel import Data, choose_mode, compile_init, compile_step, mapped_axis, repeat
from genjax.core.schema import Schema
from genjax.core.types import Batch, Key, Metrics, State
from genjax.errors import UserError
from genjax.run.opening import open_algorithm
from genjax.run.scalars import varying, with_scalars

Grouping = Literal["single", "vmap", "scan"]


class Program(NamedTuple):
    """The step of one run or of several, ready to run on the devices.

    Attributes:
      algorithm: of the runs; of several, that of the first one.
      where: what is run and where, in words.
      init: ``(key) -> state`` of one run.
      load: ``(arrays by name) -> data``: a whole data set, copied to each device.
      place: ``(tree) -> batches``: arrays [steps, examples, ...] of one run, or
        [runs, steps, examples, ...], on the devices.
      step: ``(states, data, batches) -> (states, metrics)``; of one run states are its state and
        metrics are [steps], of several states have a first axis [runs] and metrics are
        [runs, steps]; otherwise as `genjax.core.parallel.Compiled` has it.
      join: from the states of the runs to what `step` takes.
      take: ``(states, run) -> state`` of one of them.
      sharding: of every leaf of the state of a run; None leaves it to the default device.
    """

    algorithm: Algorithm
    where: str
    init: Callable[[Key], State]
    load: Callable[[Batch], Data]
    place: Callable[[Any], Any]
    step: Callable[[State, Data | None, Any], tuple[State, Metrics]]
    join: Callable[[Sequence[State]], State]
    take: Callable[[State, int], State]
    sharding: jax.sharding.Sharding | None


def compile_runs(
    experiments: Sequence[Experiment],
    schema: Schema,
    grouping: Grouping,
    devices: Sequence[jax.Device],
) -> Program:
    """Compiles the step of one run, or of several.

    Args:
      experiments: of the runs, of one `genjax.run.scalars.structure`.
      schema: of their data.
      grouping: ``single`` is one run, compiled in the mode that its configuration names. ``vmap``
        makes each operation once, for all runs; where there are several devices and the runs can be
        split evenly, each has some. ``scan`` makes the step of one run after the other, within the
        program.
      devices: the devices to use.

    Returns:
      The program.

    Raises:
      UserError: the configuration does not fit the data or the devices.
    """
    if grouping == "single":
        [experiment] = experiments
        mode = choose_mode(experiment.mode, devices)
        algorithm = open_algorithm(experiment, schema, mapped_axis(mode))
        compiled = compile_step(algorithm, mode, devices)
        count = 1 if mode == "jit" else len(devices)
        # In the other modes, updates and parts are those of the whole batch.
        parts = count * experiment.accumulate
        if mode == "pmap" and experiment.batch_size % parts:
            raise UserError(
                f"batch_size is {experiment.batch_size}, but with pmap {count} devices share each "
                f"batch, and accumulate {experiment.accumulate} divides what each has; set it to a "
                f"multiple of {parts}, or mode to mesh"
            )
        where = f"mode {mode} on {count} x {devices[0].device_kind}"
        return Program(
            algorithm,
            where,
            *(compiled.init, compiled.load, compiled.place, compiled.step),
            join=lambda states: states[0],
            take=lambda states, run: states,
            sharding=compiled.sharding,
        )
    return _compile_group(experiments, schema, grouping, devices)


def _compile_group(
    experiments: Sequence[Experiment],
    schema: Schema,
    grouping: Grouping,
    devices: Sequence[jax.Device],
) -> Program:
    values = varying(experiments)
    scalars = list(values.values())

    def one(state: State, own: list[Any], data: Data | None, batches: Any) -> Any:
        experiment = with_scalars(experiments[0], dict(zip(values, own, strict=True)))
        step = open_algorithm(experiment, schema).step
        return repeat(step)(state, data, batches)

    def all_runs(states: State, data: Data | None, batches: Any) -> Any:
        if grouping == "vmap":
            return jax.vmap(one, in_axes=(0, 0, None, 0))(states, scalars, data, batches)
        own = (states, [jnp.asarray(value) for value in scalars], batches)
        return jax.lax.map(lambda x: one(x[0], x[1], data, x[2]), own)

    algorithm = open_algorithm(experiments[0], schema)
    arguments: dict[str, Any] = {}
    load_on: Callable[[Any], Any] = jax.device_put
    place: Callable[[Any], Any] = jax.device_put
    count = 1
    if grouping == "vmap" and len(devices) > 1 and len(experiments) % len(devices) == 0:
        count = len(devices)
        mesh = Mesh(devices, ("runs",))
        split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("runs",), ()))
        arguments = {"in_shardings": (split, whole, split), "out_shardings": (split, split)}
        load_on, place = (partial(_put, where) for where in (whole, split))
    return Program(
        algorithm,
        where=f"one program ({grouping}) on {count} x {devices[0].device_kind}",
        init=compile_init(algorithm, devices[0]),
        load=lambda arrays: load_on(hold(arrays, devices[0].platform)),
        place=place,
        step=jit(all_runs, devices[0], donate_argnums=0, **arguments),
        join=_stack,
        take=lambda states, run: jax.tree.map(lambda leaf: leaf[run], states),
        sharding=None,
    )


def _stack(states: Sequence[State]) -> State:
    """Joins states along a new first axis."""
    chex.assert_trees_all_equal_shapes_and_dtypes(*states)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def _put(where: NamedSharding, tree: Any) -> Any:
    return jax.device_put(tree, where)
