"""Checkpoints of the whole training state.

Beside the arrays of a checkpoint lie their names, types and shapes, and the SHA-256 of each file:
what was damaged later is noticed, and named, before an array is read. Format 1 had neither: its
checkpoints are read as they are.
"""

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from genjax.core.frozen import without_frozen
from genjax.core.types import Key, State
from genjax.errors import RunFailed, UserError
from genjax.run.checkpoint_store import FILES, ITEM, Checkpoints, Handler
from genjax.run.processes import first_does, is_first
from genjax.run.seals import Damaged, file_digest, seal, unseal

Which = Literal["last", "best"] | int

_SCORE = "score"
_HEALTHY = "healthy"
_LEAVES = "leaves"
_NOTES = "_CHECKPOINT_METADATA"


def open_checkpoints(directory: str | Path, keep: int) -> Checkpoints:
    """Opens a folder of checkpoints, creating it where there is none.

    Args:
      directory: the folder. Remains of a save that was cut off are removed.
      keep: how many of the latest checkpoints stay, beside the one with the lowest score.

    Returns:
      A manager, to be closed by the caller.
    """
    directory = Path(directory)
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
    if is_first():
        _mend_metrics(directory)
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    handler = Handler()
    for kind in (ocp.args.StandardSave, ocp.args.StandardRestore):
        registry.add(ITEM, kind, handler)
    return Checkpoints(directory, options=options, handler_registry=registry)


def save(manager: Checkpoints, step: int, state: State, score: float, healthy: bool = True) -> None:
    """Starts to write a checkpoint; the state may be donated right after.

    Args:
      manager: from `open_checkpoints`.
      step: steps made.
      state: the whole training state.
      score: how good its samples are; lower is better.
      healthy: whether the run showed no sign of collapse.

    Raises:
      RunFailed: it can't be written, or the one before, which was still being written.
    """
    state = without_frozen(state)
    metrics = {_SCORE: score, _HEALTHY: float(healthy)}
    described = seal({**metrics, _LEAVES: _kinds(state)})
    save = ocp.args.StandardSave(state)
    _write(
        manager, lambda: manager.save(step, args=save, metrics=metrics, custom_metadata=described)
    )


def wait(manager: Checkpoints) -> None:
    """Waits until all checkpoints are written; raises RunFailed where one can't be."""
    _write(manager, manager.wait_until_finished)


def _write(manager: Checkpoints, action: Callable[[], Any]) -> None:
    failure = None
    try:
        action()
    # Whatever the writers of arrays make of a full disk, one of them in the background.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        failure = f"cannot write a checkpoint into {manager.folder}: {manager.named(lines[0])}"
    if failure is None:
        return
    # It counts what it was about to write, and no more what it would have deleted then.
    manager.reload()
    left = f"the latest whole one is of step {manager.latest_step()}"
    raise RunFailed(failure, f"{left}; make room, or take another disk, and resume the run")


def drop_unhealthy(manager: Checkpoints) -> int | None:
    """Deletes the checkpoints after the latest healthy one.

    Args:
      manager: from `open_checkpoints`.

    Returns:
      The step of that one; None, with nothing deleted, where no checkpoint is healthy.
    """
    wait(manager)
    steps = sorted(manager.all_steps())
    healthy = [step for step in steps if _describe(manager, step)[_HEALTHY]]
    if not healthy:
        return None
    for step in steps[steps.index(healthy[-1]) + 1 :]:
        manager.delete(step)
    return healthy[-1]


def find_step(manager: Checkpoints, which: Which) -> int:
    """Resolves ``last``, ``best`` or a step to a checkpoint that is there.

    Raises:
      UserError: no such checkpoint; the message lists those that are there.
      Damaged: one of them has a score that can't be read.
    """
    steps = sorted(manager.all_steps())
    if not steps:
        raise UserError(f"{manager.folder} holds no checkpoint yet")
    if which == "last":
        return steps[-1]
    if which == "best":
        return max(steps, key=lambda step: (-_describe(manager, step)[_SCORE], step))
    if which not in steps:
        raise UserError(f"no checkpoint of step {which}; choices: {', '.join(map(str, steps))}")
    return which


def restore(
    manager: Checkpoints,
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
      The state, bit for bit as it was saved; networks of other runs are not in it.

    Raises:
      Damaged: what is there is not what was saved.
      UserError: it belongs to another model.
    """
    folder = manager.folder / str(step)
    place = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    template = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        jax.eval_shape(init, key),
    )
    needed = _kinds(template)
    sealed = not _is_unsealed(folder)
    saved = _describe(manager, step)[_LEAVES] if sealed else needed
    for name in {**needed, **saved}:
        if saved.get(name) != needed.get(name):
            there, wanted = (kinds.get(name, "nothing") for kinds in (saved, needed))
            raise UserError(
                f"the checkpoint {folder} belongs to another model: it has {there} as {name}, and "
                f"the configuration needs {wanted}"
            )
    item = folder / ITEM
    for name, digest in (unseal(item / FILES) if sealed else {}).items():
        try:
            damaged = file_digest(item / name) != digest
        except OSError:
            damaged = True
        if damaged:
            raise Damaged(f"{item / name} is missing or damaged")
    try:
        return manager.restore(step, args=ocp.args.StandardRestore(template))
    except (ValueError, OSError, KeyError) as error:
        why = manager.named(str(error).strip().splitlines()[0])
        raise Damaged(f"the checkpoint {folder} can't be read: {why}") from error


def restore_common(
    managers: Mapping[int, Checkpoints],
    init: Any,
    sharding: jax.sharding.Sharding | None,
    say: Callable[[str], None],
) -> tuple[int, dict[int, State]] | None:
    """Reads the newest step of which all runs have a whole checkpoint; puts aside damaged ones.

    These are newer ones, and older ones whose notes can't be read, as a kill leaves them that comes
    while they are deleted: their scores could not be compared any more. Newer ones that are whole,
    but that another run lacks, are deleted.

    Args:
      managers: of the checkpoints of each run.
      init: as for `restore`.
      sharding: as for `restore`.
      say: told of each damaged one.

    Returns:
      The step and the state of each run; None where there is no checkpoint that all have.

    Raises:
      UserError: none of those that are there is whole, or one belongs to another model. Nothing was
        moved.
    """
    steps = {run: sorted(manager.all_steps(), reverse=True) for run, manager in managers.items()}
    damaged: dict[tuple[int, int], Damaged] = {}
    common = sorted(set.intersection(*map(set, steps.values())), reverse=True) if steps else []
    chosen, states = None, {}
    for step in common:
        try:
            for run, manager in managers.items():
                states[run] = restore(manager, step, init, jax.random.key(0), sharding)
        except Damaged as error:
            damaged[run, step] = error
            continue
        chosen = step
        break
    if chosen is None and damaged:
        run, step = next(iter(damaged))
        raise UserError(
            f"no checkpoint in {managers[run].folder} is whole; {damaged[run, step]}; train the "
            "run again from its start with another --out"
        )
    for run, manager in managers.items():
        own = {step: error for (place, step), error in damaged.items() if place == run}
        for step in steps[run]:
            if chosen is not None and step < chosen:
                try:
                    _describe(manager, step)
                except Damaged as error:
                    own[step] = error
        first_does(partial(_keep_up_to, manager, chosen, own, say))
        manager.reload()
    return None if chosen is None else (chosen, states)


def _keep_up_to(
    manager: Checkpoints,
    last: int | None,
    damaged: Mapping[int, Damaged],
    say: Callable[[str], None],
) -> None:
    """Leaves in a manager's folder what is whole and not after a step."""
    if last is not None:
        _put_aside(manager, damaged, last, say)
    manager.reload()
    for step in manager.all_steps():
        if last is None or step > last:
            manager.delete(step)


def _put_aside(
    manager: Checkpoints,
    damaged: Mapping[int, Damaged],
    whole: int,
    say: Callable[[str], None],
) -> None:
    """Moves damaged checkpoints out of the manager's folder."""
    folder = manager.folder
    for step, fault in damaged.items():
        aside = folder.parent / "damaged" / str(step)
        while aside.exists():
            aside = aside.with_name(aside.name + "+")
        aside.parent.mkdir(exist_ok=True)
        (folder / str(step)).rename(aside)
        say(f"{fault}; moved to {aside}, going on from step {whole}")


def _describe(manager: Checkpoints, step: int) -> Mapping[str, Any]:
    """What `save` noted of a checkpoint; raises Damaged where it can't be read or believed."""
    folder = manager.folder / str(step)
    if not _is_unsealed(folder):
        return unseal(folder / _NOTES, "custom_metadata")
    path = folder / "metrics" / "metrics"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        return {_SCORE: float(metrics[_SCORE]), _HEALTHY: float(metrics.get(_HEALTHY, 1.0))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(f"{path} is missing or damaged") from None


def _is_unsealed(folder: Path) -> bool:
    """Whether a checkpoint is of format 1; one that has lost a part of its seal is not."""
    try:
        notes = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
        return notes["custom_metadata"] == {} and not (folder / ITEM / FILES).exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _mend_metrics(directory: Path) -> None:
    """Writes Orbax's copies of scores anew where they are damaged: it can't open a folder then."""
    for notes in directory.glob(f"*/{_NOTES}"):
        if _is_unsealed(notes.parent):
            continue
        path = notes.parent / "metrics" / "metrics"
        try:
            described = unseal(notes, "custom_metadata")
            metrics = {name: described[name] for name in (_SCORE, _HEALTHY)}
        except Damaged:
            metrics = {_SCORE: sys.float_info.max, _HEALTHY: 0.0}
        try:
            if json.loads(path.read_text(encoding="utf-8")) == metrics:
                continue
        except (OSError, ValueError):
            pass
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(metrics), encoding="utf-8")


def _kinds(state: Any) -> dict[str, str]:
    """Type and shape of each leaf, by name."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
