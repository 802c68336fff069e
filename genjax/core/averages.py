"""Averages of parameters over all of training by power functions, and any of them from stored ones.

The average of profile gamma at time t weighs the parameters of time s by ``s^gamma``. Its relative
width is the profile's standard deviation over t.

Reference: Karras et al. 2024 (EDM2), section 3 and appendix C.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def exponent(width: float) -> float:
    """The gamma of a relative width, ``(gamma + 1)^(1/2) (gamma + 2)^(-1) (gamma + 3)^(-1/2)``.

    Args:
      width: above 0, below ``12^(-1/2)``, where gamma is 0.

    Returns:
      gamma, the largest root of ``(gamma + 2)^2 (gamma + 3) = (gamma + 1) / width^2``.
    """
    square = width**-2.0
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


def new_share(width: float, step: Int[Array, ""]) -> Float[Array, ""]:
    """The weight of the new parameters in a step, ``1 - (1 - 1 / step)^(gamma + 1)``.

    Args:
      width: of the profile.
      step: int32 scalar, steps made, this one included.

    Returns:
      float32 scalar in (0, 1]; 1 in the first step.
    """
    # The power itself, near 1, would lose the digits that count.
    return -jnp.expm1((exponent(width) + 1) * jnp.log1p(-1 / step.astype(jnp.float32)))


def _products(
    times: Float[np.ndarray, "n"],
    exponents: Float[np.ndarray, "n"],
    other_times: Float[np.ndarray, "m"],
    other_exponents: Float[np.ndarray, "m"],
) -> Float[np.ndarray, "n m"]:
    """Integrals of products of profiles ``(gamma + 1) s^gamma / t^(gamma + 1)``, 0 after t."""
    t, g = times[:, None], exponents[:, None]
    u, h = other_times[None], other_exponents[None]
    least = np.minimum(t, u)
    ratio = (least / t) ** g * (least / u) ** h / np.maximum(t, u)
    result: np.ndarray = (g + 1) * (h + 1) / (g + h + 1) * ratio
    return result


def coefficients(
    steps: Sequence[int], widths: Sequence[float], step: int, width: float
) -> tuple[Float[np.ndarray, "n"], float]:
    """The sum of stored averages that comes nearest to another one, by least squares.

    Args:
      steps: at which each was stored.
      widths: of each.
      step: of the wanted one.
      width: of the wanted one.

    Returns:
      The weight of each, float64, with the sum 1; and how far the sum's profile is from the wanted
      one, as a share of its norm.
    """
    # In units of the wanted time, and of norm 1, so that the system is well scaled.
    times, one = np.array(steps, np.float64) / step, np.ones(1)
    exponents, wanted = np.array([exponent(w) for w in widths]), np.array([exponent(width)])
    inner = _products(times, exponents, times, exponents)
    right = _products(times, exponents, one, wanted)[:, 0]
    square = _products(one, wanted, one, wanted)[0, 0]
    norms = np.sqrt(np.diag(inner))
    found = np.linalg.lstsq(inner / np.outer(norms, norms), right / norms, rcond=None)[0] / norms
    found /= found.sum()
    distance = found @ inner @ found - 2 * found @ right + square
    return found, float(np.sqrt(max(distance, 0) / square))


def nearest_width(
    steps: Sequence[int], widths: Sequence[float], step: int, width: float, distance: float
) -> float:
    """The width nearest to a wanted one that stored averages make within a distance.

    Args:
      steps: as of `coefficients`.
      widths: of each; one of them was stored at `step`.
      step: of the wanted one.
      width: of the wanted one.
      distance: of the sum's profile from that of the width found, as a share of its norm.

    Returns:
      The width, between the wanted one and the nearest that was stored.
    """
    kept = [own for own, at in zip(widths, steps, strict=True) if at == step]
    far, near = width, min(kept, key=lambda own: abs(np.log(own / width)))
    for _ in range(8):
        middle = float(np.sqrt(far * near))
        if coefficients(steps, widths, step, middle)[1] <= distance:
            near = middle
        else:
            far = middle
    return near
