"""The latents of a run: what it makes its samples from, and the codes of many of them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax.core.algorithm import Latent
from genjax.core.compiler import jit
from genjax.core.types import State
from genjax.errors import UserError
from genjax.run.checkpoint import Which
from genjax.run.opening import Run, open_run
from genjax.run.sampling import HostCondition

_DRAWN = 10_000
_CHUNK = 500


def latent_of(run: Run) -> Latent:
    """The latents of a run's model; raises UserError where it has none."""
    latent = run.algorithm.latent
    if latent is None:
        name = run.experiment.name
        raise UserError(f"{name!r} does not make its samples from a latent")
    return latent


def open_for_images(
    directory: Path, which: Which, what: str, average: bool = True, sampling: Any = None
) -> Run:
    """`open_run` of a run of images that are made from a latent; `what` needs that, for errors."""
    run = open_run(directory, which, average, sampling)
    latent_of(run)
    if run.schema.domain != "image":
        raise UserError(f"{directory} makes {run.schema.domain}; {what} images")
    return run


def draw_codes(run: Run, condition: HostCondition) -> Float[np.ndarray, "n size"]:
    """Codes of the first layer, of many samples of a series of its own.

    Args:
      run: whose model has a latent.
      condition: what they are made from, one row or more, which come in turn.

    Returns:
      float32 [10,000, size].
    """
    key, latent = jax.random.key(0), latent_of(run)

    def codes(state: State, first: Array, given: Any) -> Array:
        index = first + jnp.arange(_CHUNK, dtype=jnp.int32)
        z = latent.draw(key, index)
        code = latent.encode(state, z, key, index, given)
        return code[:, 0] if latent.styled else code

    given = {
        name: jnp.asarray(rows[np.arange(_CHUNK) % len(rows)]) for name, rows in condition.items()
    }
    made = jit(codes)
    parts = [made(run.state, jnp.int32(first), given) for first in range(0, _DRAWN, _CHUNK)]
    return np.concatenate([np.asarray(part) for part in parts])
