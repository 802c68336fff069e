"""What scores may know of the latents that a run's samples are made from."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from genjax.core.algorithm import Latent
from genjax.core.compiler import jit
from genjax.core.types import Index, State

Space = Literal["z", "w"]


class Latents(NamedTuple):
    """The latents of samples.

    Attributes:
      latent: the two halves of the sampler, which compute in float32.
      state: of the model; None where nothing will be computed.
      condition: what the samples are made from beside their latents, [samples] each.
    """

    latent: Latent
    state: State
    condition: Mapping[str, Int[np.ndarray, "samples"]]

    @property
    def spaces(self) -> tuple[Space, ...]:
        """Those that its codes have."""
        return ("z", "w") if self.latent.styled else ("z",)

    def given(self, numbers: Int[np.ndarray, "n"]) -> dict[str, Array]:
        """What some samples are made from; those behind the last begin again."""
        return {
            name: jnp.asarray(rows[numbers % len(rows)]) for name, rows in self.condition.items()
        }


def codes_of(
    latents: Latents, seed: int, count: int, chunk: int
) -> dict[Space, Float[np.ndarray, "count size"]]:
    """Latents of the samples of a series.

    Args:
      latents: of a run.
      seed: of the series.
      count: how many samples.
      chunk: samples at once.

    Returns:
      z of each, and w, which is that of the first layer, where there is one.
    """
    key, latent = jax.random.key(seed), latents.latent

    def codes(state: State, index: Index, given: Any) -> dict[Space, Array]:
        z = latent.draw(key, index)
        if not latent.styled:
            return {"z": z}
        return {"z": z, "w": latent.encode(state, z, key, index, given)[:, 0]}

    made, parts = jit(codes), []
    for start in range(0, count, chunk):
        numbers = np.arange(start, start + chunk)
        index = jnp.asarray(numbers, jnp.int32)
        parts.append(jax.device_get(made(latents.state, index, latents.given(numbers))))
    return {
        space: np.concatenate([part[space] for part in parts])[:count] for space in latents.spaces
    }
