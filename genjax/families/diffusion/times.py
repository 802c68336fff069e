"""The times that a network is trained at, from numbers u of U(0, 1)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from genjax.config import LogitNormal, LogNormal, Times, Uniform
from genjax.families.diffusion.paths import Course, Time, ratio

INSIDE = 1e-6
"""How far u stays from 0 and 1, so that no quantile is infinite and some noise is left."""


def _normal(u: Time, config: LogNormal | LogitNormal) -> Time:
    return config.mean + config.std * jax.scipy.special.ndtri(u)


TIMES: dict[type[Times], Callable[[Any, Course, Time], Time]] = {
    LogNormal: lambda config, course, u: course.time_of(jnp.exp(_normal(u, config))),
    LogitNormal: lambda config, course, u: course.place(jax.nn.sigmoid(_normal(u, config))),
    Uniform: lambda config, course, u: course.place(u),
}
"""The times' quantiles: they grow with u."""


def draw(config: Times, course: Course, u: Time) -> tuple[Time, Time]:
    """Times, and how densely they lie.

    Args:
      config: their distribution.
      course: the path.
      u: float32 [batch], of U(0, 1).

    Returns:
      t, and the density of ``ln s`` there, ``du / d ln s``.
    """
    u = jnp.clip(u, INSIDE, 1 - INSIDE)

    def logarithm(u: Time) -> tuple[Time, Time]:
        t = TIMES[type(config)](config, course, u)
        return jnp.log(ratio(course, t)), t

    _, slope, t = jax.jvp(logarithm, (u,), (jnp.ones_like(u),), has_aux=True)
    return t, 1 / slope
