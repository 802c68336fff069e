"""Checkpoints of the whole training state, and weights for use elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN
from safetensors.numpy import save_file

from genjax.errors import UserError
from genjax.families import players
from genjax.types import Key, State

Which = Literal["last", "best"] | int

_SCORE = "score"
_HEALTHY = "healthy"


def open_checkpoints(directory: Path, keep: int) -> ocp.CheckpointManager:
    """Opens a folder of checkpoints, creating it where there is none.

    Args:
      directory: the folder. Remains of a save that was cut off are removed.
      keep: how many of the latest checkpoints stay, beside the one with the lowest score.

    Returns:
      A manager, to be closed by the caller.
    """
    options = ocp.CheckpointManagerOptions(
        best_fn=lambda metrics: metrics[_SCORE],
        best_mode="min",
        preservation_policy=AnyPreservationPolicy(
            [
                LatestN(keep),
                BestN(get_metric_fn=lambda metrics: metrics[_SCORE], reverse=True, n=1),
            ]
        ),
        cleanup_tmp_directories=True,
    )
    return ocp.CheckpointManager(directory.absolute(), options=options)


def save(
    manager: ocp.CheckpointManager, step: int, state: State, score: float, healthy: bool = True
) -> None:
    """Starts to write a checkpoint; the state may be donated right after.

    Args:
      manager: from `open_checkpoints`.
      step: steps made.
      state: the whole training state.
      score: how good its samples are; lower is better.
      healthy: whether the run showed no sign of collapse.
    """
    metrics = {_SCORE: score, _HEALTHY: float(healthy)}
    manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics)


def drop_unhealthy(manager: ocp.CheckpointManager) -> int | None:
    """Deletes the checkpoints after the latest healthy one.

    Args:
      manager: from `open_checkpoints`.

    Returns:
      The step of that one; None, with nothing deleted, where no checkpoint is healthy.
    """
    manager.wait_until_finished()
    steps = sorted(manager.all_steps())
    healthy = [step for step in steps if manager.metrics(step)[_HEALTHY]]
    if not healthy:
        return None
    for step in steps[steps.index(healthy[-1]) + 1 :]:
        manager.delete(step)
    return healthy[-1]


def find_step(manager: ocp.CheckpointManager, which: Which) -> int:
    """Resolves ``last``, ``best`` or a step to a checkpoint that is there.

    Raises:
      UserError: no such checkpoint; the message lists those that are there.
    """
    steps = sorted(manager.all_steps())
    if not steps:
        raise UserError(f"{manager.directory} holds no checkpoint yet")
    if which == "last":
        return steps[-1]
    if which == "best":
        return int(manager.best_step())
    if which not in steps:
        raise UserError(f"no checkpoint of step {which}; choices: {', '.join(map(str, steps))}")
    return which


def restore(
    manager: ocp.CheckpointManager,
    step: int,
    init: Any,
    key: Key,
    sharding: jax.sharding.Sharding | None,
) -> State:
    """Reads a checkpoint onto the devices.

    Args:
      manager: from `open_checkpoints`.
      step: a step from `find_step`.
      init: the function that made the first state; only its shapes are used.
      key: any key.
      sharding: where each leaf goes; None for the default device.

    Returns:
      The state, bit for bit as it was saved.

    Raises:
      UserError: the checkpoint is damaged or belongs to another model.
    """
    place = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    template = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        jax.eval_shape(init, key),
    )
    try:
        return manager.restore(step, args=ocp.args.StandardRestore(template))
    except (ValueError, OSError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise UserError(
            f"the checkpoint {manager.directory / str(step)} is damaged or belongs to another "
            f"model: {first_line}"
        ) from error


def export_weights(state: State, directory: Path) -> list[Path]:
    """Writes each player's weights as ``<player>.safetensors``.

    Tensors are named by their path, for example ``params/Dense_0/kernel``; the moving average,
    where there is one, lies under ``ema/``.

    Args:
      state: a training state; every field that is a `NetState` is a player.
      directory: an existing folder.

    Returns:
      The files written.
    """
    files = []
    for name, player in players(state).items():
        tree = {"params": player.params, **player.variables}
        if player.ema is not None:
            tree["ema"] = player.ema
        path = directory / f"{name}.safetensors"
        part = path.with_suffix(".part")
        save_file(dict(_named_arrays(tree)), part)
        part.replace(path)
        files.append(path)
    return files


def _named_arrays(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = "/".join(str(key.key) for key in path)
        # safetensors writes the memory as it lies, so it must lie in order.
        yield name, np.ascontiguousarray(jax.device_get(leaf))
