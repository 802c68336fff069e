"""Samples on the way from one latent to the next."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax.core.algorithm import Latent
from genjax.core.compiler import jit
from genjax.core.schema import Schema
from genjax.core.types import Condition, Number, State
from genjax.domains import domain_of
from genjax.domains.domain import Samples
from genjax.errors import UserError
from genjax.run.checkpoint import Which
from genjax.run.latents import latent_of
from genjax.run.opening import open_run
from genjax.run.sampling import Embed, condition_of

Space = Literal["z", "w"]


class Way(NamedTuple):
    """Which latents are passed, and how.

    Attributes:
      rows: ways beside each other.
      keys: latents that each passes; way r passes those of the samples ``r keys + k``.
      steps: from one to the next.
      space: z along great circles, or w along straight lines; None is w where there is one.
      closed: whether it leads from the last back to the first, which is not repeated.
    """

    rows: int
    keys: int
    steps: int
    space: Space | None
    closed: bool

    def times(self) -> np.ndarray:
        """Of each frame, in latents passed: float64 [frames], from 0."""
        if self.closed:
            return np.arange(self.keys * self.steps) / self.steps
        return np.arange((self.keys - 1) * self.steps + 1) / self.steps


class Interpolation(NamedTuple):
    """Samples on their way.

    Attributes:
      frames: as they are stored, [frames, rows, ...].
      step: of the checkpoint.
      schema: of the data.
      space: in which the way is straight.
    """

    frames: Samples
    step: int
    schema: Schema
    space: Space


def slerp(
    a: Float[Array, "*batch size"], b: Float[Array, "*batch size"], share: Number
) -> Float[Array, "*batch size"]:
    """``(sin((1-t) o) a + sin(t o) b) / sin o``, with o the angle between a and b.

    Args:
      a: where the way begins.
      b: where it ends.
      share: t, in [0, 1].

    Returns:
      The point; on the straight line where the angle is too small to divide by.

    Reference: Shoemake 1985.
    """

    def unit(x: Array) -> Array:
        return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)

    cosine = jnp.sum(unit(a) * unit(b), axis=-1, keepdims=True)
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    sine = jnp.sin(angle)
    straight = (1 - share) * a + share * b
    round_ = (jnp.sin((1 - share) * angle) * a + jnp.sin(share * angle) * b) / jnp.where(
        sine < 1e-4, 1.0, sine
    )
    return jnp.where(sine < 1e-4, straight, round_)


def choose_space(latent: Latent, space: Space | None) -> Space:
    """The space of a way; raises UserError where there is no w."""
    if space == "w" and not latent.styled:
        raise UserError("--space is w, which this model does not have; choices: z")
    return space or ("w" if latent.styled else "z")


def interpolate_run(
    directory: str | Path,
    seed: int,
    which: Which,
    way: Way,
    label: int | str | None = None,
    sampling: Any = None,
    average: bool = True,
    prompts: Sequence[str] = (),
    embed: Embed | None = None,
) -> Interpolation:
    """Draws samples on the way between latents of a checkpoint.

    Each way keeps the class, and all that is drawn beside the latent, of one sample.

    Args:
      directory: of the run.
      seed: of the series of samples.
      which: the checkpoint: last, best, or a step.
      way: which latents are passed.
      label: class of all samples, see `genjax.run.sampling.condition_of`; None gives each row one
        in turn.
      sampling: how they are drawn, see `genjax.families.registry.make_algorithm`.
      average: sample from the moving average of the parameters where the run keeps one.
      prompts: see `genjax.run.sampling.condition_of`; taken in turn, one a way.
      embed: likewise.

    Returns:
      The samples.

    Raises:
      UserError: not a run, no such checkpoint or class, or no such space.
    """
    run = open_run(directory, which, average, sampling)
    latent = latent_of(run)
    space = choose_space(latent, way.space)
    domain = domain_of(run.schema.domain)
    key, rows = jax.random.key(seed), jnp.arange(way.rows, dtype=jnp.int32)
    condition = condition_of(run, way.rows, label, prompts, embed, seed)
    given = {name: jnp.asarray(x) for name, x in condition.items()}

    def codes(state: State, condition: Condition) -> Array:
        """Of all latents that are passed, [keys, rows, ...]."""
        passed = []
        for number in range(way.keys):
            z = latent.draw(key, rows * way.keys + number)
            passed.append(z if space == "z" else latent.encode(state, z, key, rows, condition))
        return jnp.stack(passed)

    def frame(state: State, passed: Array, time: Array, condition: Condition) -> Array:
        first = jnp.floor(time).astype(jnp.int32)
        a, b = passed[first], passed[(first + 1) % way.keys]
        share = time - first
        if space == "z":
            code = latent.encode(state, slerp(a, b, share), key, rows, condition)
        else:
            code = (1 - share) * a + share * b
        return domain.to_stored(latent.decode(state, code, key, rows, condition))

    passed, paint = jit(codes)(run.state, given), jit(frame)
    frames = [
        np.asarray(paint(run.state, passed, jnp.float32(time), given)) for time in way.times()
    ]
    return Interpolation(np.stack(frames), run.step, run.schema, space)
