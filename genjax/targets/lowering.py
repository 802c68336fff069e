"""Traces a step for devices that may be absent."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from genjax.config import Experiment
from genjax.core.algorithm import Algorithm
from genjax.core.frozen import state_shapes
from genjax.core.held import hold
from genjax.core.parallel import choose_mode, compile_step, mapped_axis, spread
from genjax.core.schema import Schema
from genjax.core.types import AXIS
from genjax.data.sources import whole_count
from genjax.errors import UserError
from genjax.run.feed import worth_holding
from genjax.run.opening import open_algorithm
from genjax.targets.devices import Target, devices_of


class Lowered(NamedTuple):
    """A step that is ready to be compiled for a target.

    Attributes:
      experiment: whose it is.
      schema: of the data.
      target: of the devices.
      algorithm: of the experiment.
      mode: how it is compiled.
      devices: how many are used.
      sizes: bytes on one device of its arguments, by kind.
      shapes: of the parameters.
      stage: JAX's.
    """

    experiment: Experiment
    schema: Schema
    target: Target
    algorithm: Algorithm
    mode: str
    devices: int
    sizes: Mapping[str, int]
    shapes: frozenset[tuple[int, ...]]
    stage: Any


def lower(
    experiment: Experiment, schema: Schema, target: Target, own: int | None = None
) -> Lowered:
    """Traces a step for a target.

    Args:
      experiment: the configuration; its mode is auto, jit or mesh.
      schema: of the data.
      target: of the devices.
      own: examples of a set that is no usual one, if it lies in memory.

    Returns:
      What can be compiled.

    Raises:
      UserError: the mode is pmap, which compiles only for devices that are there, or the
        configuration does not fit the data or the devices.
    """
    devices = devices_of(target)
    mode = choose_mode(experiment.mode, devices)
    if mode == "pmap":
        raise UserError("--mode pmap compiles only for devices that are there; choices: jit, mesh")
    algorithm = open_algorithm(experiment, schema, mapped_axis(mode))
    compiled = compile_step(algorithm, mode, devices)
    if mode == "jit":
        used = 1
        whole: Any = SingleDeviceSharding(devices[0])
        split: Any = whole
    else:
        used = len(devices)
        laid = spread(devices)
        whole = laid.whole
        split = NamedSharding(whole.mesh, PartitionSpec(None, AXIS))

    def described(tree: Any, sharding: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
        )

    state = described(state_shapes(algorithm), whole)
    count = _held(experiment, schema, target, own)
    steps = experiment.steps_per_call
    data: Any = None
    batches: Any
    if count is None:
        batches = {
            name: jax.ShapeDtypeStruct((steps, algorithm.examples, *field.shape), field.dtype)
            for name, field in schema.fields.items()
        }
    else:
        # Nothing of it is touched, so it takes no memory.
        arrays = {
            name: np.broadcast_to(np.zeros((), field.dtype), (count, *field.shape))
            for name, field in schema.fields.items()
        }
        data = hold(arrays, target.platform)
        batches = jax.ShapeDtypeStruct((steps, algorithm.examples), np.int32)
    sizes = {"state": _size(state), "data": _size(data), "batch": _size(batches) // used}
    step: Any = compiled.step
    stage = step.lower(state, described(data, whole), described(batches, split))
    shapes = frozenset(leaf.shape for leaf in jax.tree.leaves(state))
    return Lowered(experiment, schema, target, algorithm, mode, used, sizes, shapes, stage)


def _held(experiment: Experiment, schema: Schema, target: Target, own: int | None) -> int | None:
    """Examples of the data set where the device holds it; None where batches come from the host."""
    data = experiment.data
    count = whole_count(data.name, data.split) if own is None else own
    if experiment.feed == "device" and count is None:
        raise UserError(f"feed is 'device', but {data.name} is read from the disk; set host")
    if count is None or experiment.feed == "host":
        return None
    size = count * sum(
        int(np.prod(field.shape)) * np.dtype(field.dtype).itemsize
        for field in schema.fields.values()
    )
    memory = 0 if target.chip is None else target.chip.memory
    chosen = experiment.feed == "device" or worth_holding(target.platform, size, memory)
    return count if chosen else None


def _size(tree: Any) -> int:
    return sum(int(np.prod(leaf.shape)) * _itemsize(leaf.dtype) for leaf in jax.tree.leaves(tree))


def _itemsize(dtype: Any) -> int:
    # A key of JAX's is two words.
    return 8 if jnp.issubdtype(dtype, jax.dtypes.prng_key) else int(np.dtype(dtype).itemsize)
