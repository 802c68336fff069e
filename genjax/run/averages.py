"""Averages that a run keeps with its checkpoints, and a run of any average that they make.

With each checkpoint, ``averages/STEP.safetensors`` has the averages of each width at that step,
which stay when the checkpoint is deleted. Tensors are named
``player/width/params/Dense_0/kernel``.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open

from genjax.core.averages import coefficients, exponent, nearest_width
from genjax.core.players import players
from genjax.core.spectral import COLLECTION, settle
from genjax.core.tensors import save_tensors
from genjax.core.types import NetState, Profiled, State, Variables
from genjax.errors import UserError
from genjax.run import checkpoint
from genjax.run import directory as run_directory
from genjax.run.opening import Run, open_run
from genjax.run.scoring import NO_SCORE
from genjax.run.seals import Damaged
from genjax.run.weights import describe_weights, export_weights, named_arrays

_FOLDER = "averages"


def store(directory: Path, step: int, state: State, widths: Sequence[float]) -> None:
    """Writes the averages of a state into the folder of its run.

    Args:
      directory: of the run.
      step: steps made.
      state: on this host.
      widths: of the averages.

    Raises:
      OSError: they can't be written.
    """
    tensors = {
        f"{name}/{width}/{tensor}": array
        for name, player in _profiled(state).items()
        for width, average in zip(widths, player.profiles, strict=True)
        for tensor, array in named_arrays(average)
    }
    path = _path(directory, step)
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    try:
        save_tensors(tensors, part)
    except SafetensorError as error:
        raise OSError(f"{part}: {error}") from error
    part.replace(path)


def drop_after(directory: Path, step: int) -> None:
    """Deletes the averages of later steps, which a run that goes back makes anew."""
    for later in _stored(directory):
        if later > step:
            _path(directory, later).unlink()


def average_run(
    directory: Path, which: checkpoint.Which, width: float, out: Path, near: float
) -> tuple[float, float]:
    """Makes a run whose moving average is that of a width, from the averages that another keeps.

    It can be sampled from, scored and gone on with like any other.

    Args:
      directory: of the other run.
      which: its checkpoint: last, best, or a step; later averages don't count.
      width: relative width of the average, above 0 and at most `genjax.config.model.WIDEST`.
      out: folder of the new run, whose manifest says how near it comes.
      near: a distance that is near enough.

    Returns:
      How far the weights of the steps in that average are from those that are wanted, as a share of
      their norm; and the width that is nearest to the wanted one and comes near enough.

    Raises:
      UserError: the run keeps no averages, has no such checkpoint, or is damaged; `out` is taken.
    """
    run_directory.check_new(out)
    run = open_run(directory, which)
    model: Any = run.experiment.model
    own = _profiled(run.state)
    if not own:
        raise UserError(
            f"{directory} keeps no averages to make others of; train with --model.ema-profiles "
            "0.05 0.1"
        )
    steps = [step for step in sorted(_stored(directory)) if step <= run.step]
    if run.step not in steps:
        raise Damaged(f"{_path(directory, run.step)} is missing")
    widths = model.ema_profiles
    kept = [(step, each) for step in steps for each in widths]
    at, each_width = [step for step, _ in kept], [each for _, each in kept]
    weights, distance = coefficients(at, each_width, run.step, width)
    sums: dict[str, np.ndarray] = {}
    for (step, each), weight in zip(kept, weights, strict=True):
        _add(sums, _path(directory, step), each, float(weight))
    changed = {name: _with_average(name, player, sums) for name, player in own.items()}
    noted = {"run": str(directory), "step": run.step, "width": width, "distance": distance}
    _write(dataclasses.replace(run.state, **changed), run, directory, noted, out)
    nearest = width if distance <= near else nearest_width(at, each_width, run.step, width, near)
    return distance, nearest


def _write(state: State, run: Run, directory: Path, noted: Mapping[str, Any], out: Path) -> None:
    model: Any = run.experiment.model
    decay = model.ema_decay
    if decay is None:
        # What the profile's own is at this step, should the run go on.
        decay = (1 - 1 / run.step) ** (exponent(noted["width"]) + 1)
    model = dataclasses.replace(model, ema_profiles=(), ema_decay=decay)
    experiment = dataclasses.replace(run.experiment, model=model)
    with run_directory.claim(out):
        run_directory.derive(out, experiment, directory, run.step, {"average": noted})
        keep = experiment.keep_checkpoints
        with checkpoint.open_checkpoints(out / "checkpoints", keep) as manager:
            checkpoint.save(manager, run.step, state, NO_SCORE)
            checkpoint.wait(manager)
        export_weights(state, out, describe_weights(experiment, run.schema, run.step))


def _with_average(name: str, player: Profiled, sums: Mapping[str, np.ndarray]) -> NetState:
    variables = {"params": player.params, **player.variables}

    def find(path: Any, leaf: Any) -> Any:
        tensor = "/".join([name, *(str(key.key) for key in path)])
        found = sums.get(tensor)
        # A single number is stored as an array of one.
        if found is None or found.shape != (leaf.shape or (1,)):
            raise Damaged(f"the averages that were stored have no {tensor} like that of the run")
        return jax.numpy.asarray(found.reshape(leaf.shape), leaf.dtype)

    averaged: Variables = jax.tree_util.tree_map_with_path(find, player.profiles[0])
    ema = {**variables, **averaged}
    if COLLECTION in ema:
        ema[COLLECTION] = settle(ema["params"], ema[COLLECTION])
    return NetState(player.params, player.variables, player.opt, ema)


def _add(sums: dict[str, np.ndarray], path: Path, width: float, weight: float) -> None:
    """Adds the averages of a width in a file, times a weight, to sums in float64."""
    try:
        with safe_open(path, "numpy") as file:
            for tensor in sorted(file.keys()):
                player, own, rest = tensor.split("/", 2)
                if own == str(width):
                    name = f"{player}/{rest}"
                    term = weight * file.get_tensor(tensor).astype(np.float64)
                    sums[name] = sums[name] + term if name in sums else term
    except (OSError, SafetensorError, ValueError) as error:
        raise Damaged(f"{path} can't be read: {error}") from error


def _profiled(state: State) -> dict[str, Profiled]:
    return {name: own for name, own in players(state).items() if isinstance(own, Profiled)}


def _path(directory: Path, step: int) -> Path:
    return directory / _FOLDER / f"{step}.safetensors"


def _stored(directory: Path) -> list[int]:
    found = (directory / _FOLDER).glob("*.safetensors")
    return [int(path.stem) for path in found if path.stem.isdecimal()]
