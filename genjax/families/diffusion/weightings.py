"""Which errors weigh how much: by the time, on the squared error of the data."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.families.diffusion.paths import Time


class Noise(NamedTuple):
    """What a weight may depend on.

    Attributes:
      alpha: share of the data, [batch].
      sigma: share of the noise, above 0, [batch].
      std: of the data.
      bound: `DiffusionConfig.snr_bound`.
      density: of ``ln s``, as times are drawn, [batch].
    """

    alpha: Time
    sigma: Time
    std: float
    bound: float
    density: Time


def _snr(noise: Noise) -> Time:
    return (noise.alpha / noise.sigma) ** 2


def _edm(noise: Noise) -> Time:
    """``(s^2 + std^2) / (s std)^2`` (Karras et al. 2022, table 1)."""
    power = (noise.alpha * noise.std) ** 2
    return (noise.sigma**2 + power) / (noise.sigma * noise.std) ** 2


def _likelihood(noise: Noise) -> Time:
    """``-1/2 d SNR / d ln s`` over the density (Kingma et al. 2021, equation 17).

    Its mean over all times is the diffusion loss of the bound on ``-log p(x)``, in nats.
    """
    return _snr(noise) / noise.density


WEIGHTINGS: dict[str, Callable[[Noise], Float[Array, "batch"]] | None] = {
    "plain": None,
    "edm": _edm,
    # Hang et al. 2023, section 3.4.
    "min_snr": lambda noise: jnp.minimum(_snr(noise), noise.bound),
    "likelihood": _likelihood,
    # Beside what is learned: ``error / exp(u) + u`` (Karras et al. 2024, equation 21).
    "learned": None,
}
"""None weighs all errors of the network's own output alike."""
