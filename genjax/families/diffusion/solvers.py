"""From noise to data: solvers of the equation whose solutions a path's noisy data are.

All are told by an estimate of the data, ``D(x_t, t)``, and the noise that follows from it,
``(x_t - alpha D) / sigma``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from genjax.config import DiffusionSampling, Path, VarianceExploding
from genjax.core.types import Examples
from genjax.families.diffusion.paths import Course, rates, ratio

Scalar = Float[Array, ""]


class Problem(NamedTuple):
    """What is solved.

    Attributes:
      course: the path.
      grid: all times, from `times`, [times].
      estimate: ``(x_t, t) -> D``, with a scalar t for all examples.
      noise: from a step's number to N(0, I) in the shape of the examples.
      options: of the solver.
    """

    course: Course
    grid: Any
    estimate: Callable[[Examples, Scalar], Examples]
    noise: Callable[[Int[Array, ""]], Examples]
    options: DiffusionSampling


Carry = tuple[Examples, Examples]
"""The noisy data, and the last estimate."""
Step = Callable[[Problem, Carry, Int[Array, ""], Scalar, Scalar], Carry]
"""From a carry, the number of the step and its two times to the carry at the second."""


def times(config: Path, options: DiffusionSampling, start: float) -> Float[np.ndarray, "times"]:
    """The times of all steps, from noise to data.

    On the path ve ``(most^(1/rho) + i / (N - 1) (least^(1/rho) - most^(1/rho)))^rho`` for i < N
    and 0; on others ``shift u / (1 + (shift - 1) u)`` of numbers u that fall evenly from 1 to 0.

    Args:
      config: the path.
      options: of the solver.
      start: the first time.

    Returns:
      float64 [steps + 1], the last one 0.

    Reference: Karras et al. 2022, equation 5; Esser et al. 2024, equation 23.
    """
    count = options.steps
    if isinstance(config, VarianceExploding):
        most, least = start ** (1 / options.rho), config.least ** (1 / options.rho)
        share = np.arange(count) / max(count - 1, 1)
        found = (most + share * (least - most)) ** options.rho
    else:
        u = 1 - np.arange(count) / count
        found = start * options.shift * u / (1 + (options.shift - 1) * u)
    return np.append(found, 0.0)


def _noise_of(problem: Problem, x: Examples, t: Scalar, data: Examples) -> Examples:
    alpha, sigma = problem.course.scales(t)
    return (x - alpha * data) / sigma


def _slope(problem: Problem, x: Examples, t: Scalar, data: Examples) -> Examples:
    """``dx / dt = alpha' D + sigma' e``."""
    alpha, sigma = rates(problem.course, t)
    return alpha * data + sigma * _noise_of(problem, x, t, data)


def _churned(
    problem: Problem, x: Examples, t: Scalar, i: Int[Array, ""]
) -> tuple[Examples, Scalar]:
    """Back to more noise, by Karras et al. 2022, algorithm 2; as it is without churn."""
    options, course = problem.options, problem.course
    if not options.churn:
        return x, t
    alpha, s = course.scales(t)[0], ratio(course, t)
    most = jnp.inf if options.churn_most is None else options.churn_most
    inside = (s >= options.churn_least) & (s <= most) & jnp.isfinite(s)
    gamma = jnp.where(inside, min(options.churn / options.steps, 2**0.5 - 1), 0.0)
    s = jnp.where(inside, s, 1.0)
    more = s * (1 + gamma)
    extra = options.churn_noise * jnp.sqrt(more**2 - s**2) * problem.noise(i)
    later = jnp.where(inside, course.time_of(more), t)
    changed = course.scales(later)[0] * (x / jnp.where(inside, alpha, 1.0) + extra)
    return jnp.where(inside, changed, x), later


def _euler(problem: Problem, carry: Carry, i: Int[Array, ""], t: Scalar, to: Scalar) -> Carry:
    x, t = _churned(problem, carry[0], t, i)
    data = problem.estimate(x, t)
    return x + (to - t) * _slope(problem, x, t, data), data


def _heun(problem: Problem, carry: Carry, i: Int[Array, ""], t: Scalar, to: Scalar) -> Carry:
    x, t = _churned(problem, carry[0], t, i)
    data = problem.estimate(x, t)
    slope = _slope(problem, x, t, data)
    guess = x + (to - t) * slope
    after = _slope(problem, guess, to, problem.estimate(guess, to))
    return x + (to - t) * (slope + after) / 2, data


def _ancestral(eta: Callable[[DiffusionSampling], float]) -> Step:
    """To less noise at once: DDIM, by Song et al. 2021, equation 12, with a share of DDPM's noise.

    The noise has the deviation ``eta sigma' sqrt(1 - (alpha sigma' / (alpha' sigma))^2)``.
    """

    def step(problem: Problem, carry: Carry, i: Int[Array, ""], t: Scalar, to: Scalar) -> Carry:
        x, share = carry[0], eta(problem.options)
        data = problem.estimate(x, t)
        alpha, sigma = problem.course.scales(t)
        alpha_to, sigma_to = problem.course.scales(to)
        e = _noise_of(problem, x, t, data)
        if not share:
            return alpha_to * data + sigma_to * e, data
        kept = (alpha * sigma_to / (alpha_to * sigma)) ** 2
        fresh = share * sigma_to * jnp.sqrt(jnp.maximum(1 - kept, 0))
        old = jnp.sqrt(jnp.maximum(sigma_to**2 - fresh**2, 0))
        return alpha_to * data + old * e + fresh * problem.noise(i), data

    return step


def _dpmpp_2m(problem: Problem, carry: Carry, i: Int[Array, ""], t: Scalar, to: Scalar) -> Carry:
    """DPM-Solver++ 2M (Lu et al. 2022, algorithm 2), of the first order in the first step.

    With ``h = ln(s / s')``, ``x' = sigma' / sigma x + alpha' (1 - s' / s) (D + (D - D_before) h /
    (2 h_before))``.
    """
    x, before = carry
    data = problem.estimate(x, t)
    alpha_to, sigma_to = problem.course.scales(to)
    here, there, last = (ratio(problem.course, time) for time in (t, to, problem.grid[i - 1]))
    further = jnp.where(i == 0, 0, jnp.log(here / there) / (2 * jnp.log(last / here)))
    moved = data + further * (data - before)
    sigma = problem.course.scales(t)[1]
    return sigma_to / sigma * x + alpha_to * (1 - there / here) * moved, data


_ddim = _ancestral(lambda options: options.eta)
_straight = _ancestral(lambda options: 0.0)

SOLVERS: dict[str, tuple[Step, Step]] = {
    "ddim": (_ddim, _ddim),
    "ddpm": (_ancestral(lambda options: 1.0), _straight),
    "dpmpp_2m": (_dpmpp_2m, _straight),
    "euler": (_euler, _euler),
    "heun": (_heun, _euler),
}
"""A step, and the last one, to t = 0, where there is no noise to estimate any more."""

OPTIONS: dict[str, tuple[str, ...]] = {
    "churn": ("euler", "heun"),
    "eta": ("ddim",),
}
"""Which solvers an option is for, where that is not all."""


def solve(problem: Problem, x: Examples) -> Examples:
    """Goes through all times of the grid.

    Args:
      problem: what is solved.
      x: the noisy data at the grid's first time, [batch, ...].

    Returns:
      The data, [batch, ...].
    """
    step, last = SOLVERS[problem.options.solver]
    problem = problem._replace(grid=jnp.asarray(problem.grid, x.dtype))
    grid = problem.grid

    def move(carry: Carry, i: Int[Array, ""]) -> tuple[Carry, None]:
        return step(problem, carry, i, grid[i], grid[i + 1]), None

    count = len(grid) - 1
    carry, _ = jax.lax.scan(move, (x, jnp.zeros_like(x)), jnp.arange(count - 1))
    final = jnp.asarray(count - 1)
    return last(problem, carry, final, grid[count - 1], grid[count])[0]
