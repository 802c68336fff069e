"""Samples from a finished or interrupted run, without the data it was trained on."""

from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8

from genjax import checkpoint, run_directory
from genjax.errors import UserError
from genjax.families import make_algorithm
from genjax.loop import make_sampler


def sample_run(
    directory: Path, count: int, seed: int, which: checkpoint.Which
) -> tuple[UInt8[np.ndarray, "n height width channels"], int]:
    """Draws samples from a checkpoint of a run.

    Args:
      directory: of the run.
      count: how many samples.
      seed: of the series.
      which: the checkpoint: last, best, or a step.

    Returns:
      uint8 [count, height, width, channels], and the step of the checkpoint.

    Raises:
      UserError: not a run, or no such checkpoint.
    """
    experiment = run_directory.read_config(directory)
    manifest = run_directory.read_manifest(directory)
    algorithm = make_algorithm(experiment, manifest["data"]["image"], manifest["data"]["classes"])
    folder = directory / "checkpoints"
    if not folder.is_dir():
        raise UserError(f"{directory} holds no checkpoints")
    with checkpoint.open_checkpoints(folder, experiment.keep_checkpoints) as manager:
        step = checkpoint.find_step(manager, which)
        state = checkpoint.restore(manager, step, algorithm.init, jax.random.key(0), None)
    return make_sampler(algorithm)(state, jax.random.key(seed), count), step
