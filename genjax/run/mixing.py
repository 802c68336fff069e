"""Samples that have some layers' style of one latent and the others' of another."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from genjax.core.compiler import jit
from genjax.core.types import Condition, State
from genjax.domains import domain_of
from genjax.domains.domain import Samples
from genjax.errors import UserError
from genjax.run.checkpoint import Which
from genjax.run.latents import latent_of
from genjax.run.opening import open_run
from genjax.run.sampling import condition_of


def mix_run(
    directory: str | Path,
    seed: int,
    which: Which,
    rows: int,
    columns: int,
    layers: tuple[int, int] | None,
    label: int | str | None = None,
    sampling: Any = None,
    average: bool = True,
) -> tuple[Samples, tuple[int, int], int]:
    """Draws a grid of mixed samples of a checkpoint, beside those that they are mixed of.

    Row r begins with sample r of the series, column c with sample ``rows + c``; what stands where
    they meet is the row's but for some layers, whose style is the column's. All that is drawn
    beside the latent, and the class, are the row's.

    Args:
      directory: of the run.
      seed: of the series.
      which: the checkpoint: last, best, or a step.
      rows: samples that keep their other layers.
      columns: samples that give some.
      layers: first and last of those, from 0; None for the first half, whose maps are small.
      label: class of all samples, see `genjax.run.sampling.condition_of`; None takes one in turn.
      sampling: how they are drawn, see `genjax.families.registry.make_algorithm`.
      average: sample from the moving average of the parameters where the run keeps one.

    Returns:
      As they are stored, [1 + rows, 1 + columns, ...], with nothing (0) in the corner; the layers;
      and the step of the checkpoint.

    Raises:
      UserError: not a run, no such checkpoint, class or layers, or a model without styles.

    Reference: Karras et al. 2019, section 3.1 and figure 3.
    """
    run = open_run(directory, which, average, sampling)
    latent, domain = latent_of(run), domain_of(run.schema.domain)
    if not latent.styled:
        name = run.experiment.name
        raise UserError(f"{name!r} has no styles to mix; genjax interpolate goes from z to z")
    key, count = jax.random.key(seed), rows + columns
    index = jnp.arange(count, dtype=jnp.int32)
    given = {name: jnp.asarray(x) for name, x in condition_of(run, count, label).items()}

    def start(state: State) -> tuple[Array, Array]:
        codes = latent.encode(state, latent.draw(key, index), key, index, given)
        return codes, domain.to_stored(latent.decode(state, codes, key, index, given))

    def paint(state: State, codes: Array, number: Array, condition: Condition) -> Array:
        return domain.to_stored(latent.decode(state, codes, key, number, condition))

    codes, sources = jit(start)(run.state)
    last = codes.shape[1] - 1
    first, final = layers or (0, last // 2)
    if not 0 <= first <= final <= last:
        raise UserError(f"--layers is {first} {final}; this generator has the layers 0 to {last}")
    givers, made = codes[rows:], jit(paint)
    grid = [np.concatenate([np.zeros_like(sources[:1]), sources[rows:]])]
    for row in range(rows):
        mixed = jnp.repeat(codes[row : row + 1], columns, axis=0)
        mixed = mixed.at[:, first : final + 1].set(givers[:, first : final + 1])
        own = {name: jnp.repeat(x[row : row + 1], columns, axis=0) for name, x in given.items()}
        cells = made(run.state, mixed, jnp.full(columns, row, jnp.int32), own)
        grid.append(np.concatenate([sources[row : row + 1], cells]))
    return np.stack(grid), (first, final), run.step
