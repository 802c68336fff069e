"""Paths from data to noise: ``x_t = alpha(t) x + sigma(t) e``.

The noise of a time is the ratio ``s = sigma / alpha``, which grows with t on every path, so that a
time can be given by it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import CosinePath, Path, Straight, VarianceExploding, VariancePreserving

Time = Float[Array, "..."]


class Course(NamedTuple):
    """A path's functions of time.

    Attributes:
      scales: from t to alpha and sigma.
      time_of: from s to t.
      place: from u in [0, 1], which counts evenly, to t.
      most: t that is all noise, where samples begin.
      exploding: whether alpha is 1, and t the deviation of the noise.
    """

    scales: Callable[[Time], tuple[Time, Time]]
    time_of: Callable[[Time], Time]
    place: Callable[[Time], Time]
    most: float
    exploding: bool = False


def _exploding(config: VarianceExploding) -> Course:
    def place(u: Time) -> Time:
        return jnp.exp((1 - u) * math.log(config.least) + u * math.log(config.most))

    return Course(lambda t: (jnp.ones_like(t), t), lambda s: s, place, config.most, exploding=True)


def _preserving(config: VariancePreserving) -> Course:
    growth = config.fastest - config.slowest

    def scales(t: Time) -> tuple[Time, Time]:
        log_alpha = -(growth * t / 2 + config.slowest) * t / 2
        return jnp.exp(log_alpha), jnp.sqrt(-jnp.expm1(2 * log_alpha))

    def time_of(s: Time) -> Time:
        # The positive root, in the form that keeps digits at small s.
        log = jnp.log1p(s**2)
        return 2 * log / (jnp.sqrt(config.slowest**2 + 2 * growth * log) + config.slowest)

    return Course(scales, time_of, lambda u: _EARLIEST + (1 - _EARLIEST) * u, 1.0)


def _cosine(config: CosinePath) -> Course:
    def scales(t: Time) -> tuple[Time, Time]:
        # Through the sine, which is exact where t is 1.
        return jnp.sin((1 - t) * (math.pi / 2)), jnp.sin(t * (math.pi / 2))

    return Course(scales, lambda s: jnp.arctan(s) * (2 / math.pi), _evenly, 1.0)


def _straight(config: Straight) -> Course:
    return Course(lambda t: (1 - t, t), lambda s: s / (1 + s), _evenly, 1.0)


_EARLIEST = 1e-5
"""The time of vp that training begins at (Song et al. 2021, appendix C)."""


def _evenly(u: Time) -> Time:
    return u


PATHS: dict[type[Path], Callable[[Any], Course]] = {
    CosinePath: _cosine,
    Straight: _straight,
    VarianceExploding: _exploding,
    VariancePreserving: _preserving,
}


def ratio(course: Course, t: Time) -> Time:
    """The noise at a time, ``sigma / alpha``; infinite where there are no data."""
    alpha, sigma = course.scales(t)
    return sigma / alpha


def rates(course: Course, t: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The derivatives of alpha and sigma at a time, scalars."""
    found: tuple[Array, Array] = jax.jvp(course.scales, (t,), (jnp.ones_like(t),))[1]
    return found


def over(x: Time, examples: Float[Array, "batch ..."]) -> Float[Array, "..."]:
    """A scalar, or a number an example, in the shape in which it multiplies examples."""
    return x if x.ndim == 0 else x.reshape(x.shape + (1,) * (examples.ndim - 1))
