"""What a network says of data x and noise e, and how one estimate becomes another.

Each prediction is a mixture ``p x + q e``, with p and q by the time, so that from it and from
``x_t = alpha x + sigma e`` both follow exactly.
"""

from collections.abc import Callable

import jax.numpy as jnp

from genjax.core.types import Examples
from genjax.families.diffusion.paths import Time, over

Mixture = Callable[[Time, Time, float], tuple[Time, Time]]


def _edm(alpha: Time, sigma: Time, std: float) -> tuple[Time, Time]:
    size = jnp.sqrt(sigma**2 + (alpha * std) ** 2)
    return sigma / (size * std), -alpha * std / size


def _v(alpha: Time, sigma: Time, std: float) -> tuple[Time, Time]:
    size = jnp.sqrt(alpha**2 + sigma**2)
    return -sigma / size, alpha / size


PREDICTIONS: dict[str, Mixture] = {
    "data": lambda alpha, sigma, std: (jnp.ones_like(alpha), jnp.zeros_like(alpha)),
    "noise": lambda alpha, sigma, std: (jnp.zeros_like(alpha), jnp.ones_like(alpha)),
    # Salimans & Ho 2022, with alpha and sigma brought to alpha^2 + sigma^2 = 1.
    "v": _v,
    # The velocity of the path flow (Liu et al. 2023).
    "velocity": lambda alpha, sigma, std: (-jnp.ones_like(alpha), jnp.ones_like(alpha)),
    # F of Karras et al. 2022, equation 7: (x - c_skip x_t / alpha) / c_out.
    "edm": _edm,
}
"""From alpha, sigma and the data's standard deviation to p and q."""


def determinant(alpha: Time, sigma: Time, p: Time, q: Time) -> Time:
    """``alpha q - sigma p``: an error of the prediction is that many times one of x over -sigma."""
    return alpha * q - sigma * p


def recover(
    said: Examples, noisy: Examples, alpha: Time, sigma: Time, p: Time, q: Time
) -> tuple[Examples, Examples]:
    """Data and noise from a prediction.

    ``x = (q x_t - sigma m) / (alpha q - sigma p)`` and ``e = (alpha m - p x_t) / (same)``.

    Args:
      said: m = p x + q e, [batch, ...].
      noisy: x_t.
      alpha: share of the data, a scalar or [batch].
      sigma: share of the noise, likewise.
      p: see `PREDICTIONS`.
      q: likewise.

    Returns:
      Estimates of x and of e.
    """
    whole = determinant(alpha, sigma, p, q)
    a, b, c, d = (over(x, noisy) for x in (q / whole, sigma / whole, alpha / whole, p / whole))
    return a * noisy - b * said, c * said - d * noisy
