"""How likely examples are: by the equation that takes them to noise, and by a bound.

Both go along the noise ``s = sigma / alpha``, evenly in its logarithm, which suits all paths: with
``y = x_t / alpha`` they have one equation, ``dy / d ln s = y - D``.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from genjax.core.rng import example_keys, latents, stream
from genjax.core.types import Examples, Index, Key, PerExample
from genjax.domains.image import LEVEL
from genjax.families.diffusion.paths import Course, ratio

LEAST, MOST = 0.002, 100.0
"""Noise to begin and to end with, where a path has less or more."""

Scalar = Float[Array, ""]
Estimate = Callable[[Examples, Scalar], Examples]
Reconstruction = Callable[[Examples, Examples, Scalar], PerExample]


_STAGES = (np.array([0, 1 / 2, 1 / 2, 1]), np.array([1, 2, 2, 1]) / 6)
"""Of a step of Runge and Kutta: how far on it looks, by the slope before, and what counts how
much."""


def noises(course: Course, steps: int) -> Float[Array, "steps+1"]:
    """From the least noise to the most, a step a constant factor."""
    least = jnp.maximum(ratio(course, course.place(jnp.float32(0))), LEAST)
    most = jnp.minimum(ratio(course, jnp.float32(course.most)), MOST)
    share = jnp.arange(steps + 1) / steps
    return jnp.exp((1 - share) * jnp.log(least) + share * jnp.log(most))


def flow_log_density(
    course: Course,
    estimate: Estimate,
    x: Examples,
    key: Key,
    index: Index,
    std: float,
    steps: int,
    probes: int,
) -> PerExample:
    """Log-densities of what the probability-flow equation makes of noise N(0, sigma^2).

    With ``z = y / c`` and ``c^2 = s^2 + std^2`` it is ``dz / d ln s = (std / c)^2 z - D / c =: g``,
    which hardly moves z at either end, so ``ln p(x) = ln p(z_end) - d ln c + int tr(dg / dz) d ln
    s``. Steps are those of the classical Runge-Kutta method; the trace is the mean of ``v dg/dz v``
    over signs v, which stay the same all along. What is least noisy is x itself.

    Args:
      course: the path.
      estimate: ``(x_t, t) -> D``, with a scalar t for all examples.
      x: float32 [batch, ...], d numbers an example.
      key: of the signs.
      index: int32 [batch], positions of the examples.
      std: of the data; it sets how well the steps fit, and not the result.
      steps: at least 1; each asks for four estimates.
      probes: vectors v of each example, at least 1.

    Returns:
      float32 [batch], in nats; of data of one number exact but for the steps.

    Reference: Song et al. 2021, section 4.3; Grathwohl et al. 2019 (FFJORD).
    """
    axes = tuple(range(1, x.ndim))

    def signs(number: Int[Array, ""]) -> Examples:
        keys = example_keys(stream(key, "probe", number), index)
        return jax.vmap(lambda key: jax.random.rademacher(key, x.shape[1:], x.dtype))(keys)

    vectors = jax.vmap(signs)(jnp.arange(probes))

    def slope(z: Examples, log_s: Scalar) -> tuple[Examples, PerExample]:
        t = course.time_of(jnp.exp(log_s))
        alpha, sigma = course.scales(t)
        size = _size(alpha, sigma, std)

        def g(z: Examples) -> Examples:
            return (alpha * std / size) ** 2 * z - alpha / size * estimate(size * z, t)

        # Backwards, since convolutions may have no derivative forwards.
        value, pull = jax.vjp(g, z)
        traces = jax.lax.map(lambda v: jnp.sum(v * pull(v)[0], axes), vectors)
        return value, jnp.mean(traces, 0)

    grid = noises(course, steps)
    ends = jnp.log(grid)
    h = (ends[-1] - ends[0]) / steps
    stages = jax.tree.map(jnp.asarray, _STAGES)

    def move(
        carry: tuple[Examples, PerExample], log_s: Scalar
    ) -> tuple[tuple[Examples, PerExample], None]:
        z, total = carry

        def stage(
            inner: tuple[Examples, Examples, PerExample], along: tuple[Scalar, Scalar]
        ) -> tuple[tuple[Examples, Examples, PerExample], None]:
            last, moved, total = inner
            offset, weight = along
            change, trace = slope(z + offset * h * last, log_s + offset * h)
            return (change, moved + weight * h * change, total + weight * h * trace), None

        # A loop, in which the network is compiled once.
        (_, z, total), _ = jax.lax.scan(stage, (jnp.zeros_like(z), z, total), stages)
        return (z, total), None

    alpha, sigma = course.scales(course.time_of(grid[0]))
    c = _size(alpha, sigma, std) / alpha
    (z, total), _ = jax.lax.scan(move, (x / c, jnp.zeros(len(x))), ends[:-1])
    alpha, sigma = course.scales(course.time_of(grid[-1]))
    prior = gaussian(z, jnp.zeros_like(z), sigma / _size(alpha, sigma, std))
    return prior - math.prod(x.shape[1:]) * jnp.log(c) + total


def variational_bound(
    course: Course,
    estimate: Estimate,
    x: Examples,
    key: Key,
    index: Index,
    reconstruction: Reconstruction,
    steps: int,
    draws: int,
) -> PerExample:
    """The bound on ``ln p(x)`` of a sampler of N ancestral steps, which begins with N(0, sigma^2).

    ``E ln p(x | D(x_0)) - sum_i 1/2 (1 / s_i^2 - 1 / s_i+1^2) E |x - D(x_i+1)|^2 - |x|^2 / (2
    s_N^2)``. Of the sum's terms one is drawn of each of M shares, with noise of its own.

    Args:
      course: the path.
      estimate: ``(x_t, t) -> D``, with a scalar t for all examples.
      x: float32 [batch, ...].
      key: of the terms and of the noise.
      index: int32 [batch], positions of the examples.
      reconstruction: ``(x, D, s) -> ln p(x | x_0)``, such as `gaussian`.
      steps: N, at least 1.
      draws: M, from 1 to N; with N all terms are there.

    Returns:
      float32 [batch], in nats, unbiased estimates.

    Reference: Kingma et al. 2021 (VDM), equations 11 to 15.
    """
    grid, size = noises(course, steps), math.prod(x.shape[1:])
    axes = tuple(range(1, x.ndim))

    def estimated(s: Scalar, number: Int[Array, ""]) -> Examples:
        t = course.time_of(s)
        alpha, sigma = course.scales(t)
        e = latents(stream(key, "noise", number), index, size).reshape(x.shape)
        return estimate(alpha * x + sigma * e, t)

    def add(total: PerExample, number: Int[Array, ""]) -> tuple[PerExample, None]:
        first, end = number * steps // draws, (number + 1) * steps // draws
        i = jax.random.randint(stream(key, "term", number), (), first, end)
        # 1 / s_i^2 - 1 / s_i+1^2, which would cancel.
        weight = jnp.expm1(2 * jnp.log(grid[i + 1] / grid[i])) / grid[i + 1] ** 2
        error = jnp.sum((x - estimated(grid[i + 1], number)) ** 2, axes)
        return total + (end - first) * weight * error / 2, None

    diffusion, _ = jax.lax.scan(add, jnp.zeros(len(x)), jnp.arange(draws))
    said = reconstruction(x, estimated(grid[0], jnp.asarray(draws)), grid[0])
    return said - diffusion - jnp.sum(x**2, axes) / (2 * grid[-1] ** 2)


def gaussian(x: Examples, mean: Examples, std: Scalar) -> PerExample:
    """``ln N(x; mean, std^2)``, summed over all numbers of an example; [batch]."""
    axes = tuple(range(1, x.ndim))
    log_norm = jnp.log(std) + 0.5 * math.log(2 * math.pi)
    return jnp.sum(-0.5 * ((x - mean) / std) ** 2 - log_norm, axes)


def discretized_gaussian(x: Examples, mean: Examples, std: Scalar) -> PerExample:
    """Probabilities that a Gaussian gives to the 256 levels of a byte.

    ``P(x) = Phi((x + 1/255 - m) / std) - Phi((x - 1/255 - m) / std)``, where the darkest level has
    all that is below and the brightest all that is above, so that all sum to 1.

    Args:
      x: float32 [batch, ...] in [-1, 1].
      mean: of any range.
      std: above 0.

    Returns:
      float32 [batch], logarithms in nats, summed over all numbers of an example.

    Reference: Ho et al. 2020, equation 13.
    """
    half, tail = LEVEL / 2, jax.scipy.special.log_ndtr
    # On the side of the mean where the tails keep their digits.
    side = jnp.where(x > mean, -1, 1)
    above, below = side * (x - mean) + half, side * (x - mean) - half
    log_above, log_below = tail(above / std), tail(below / std)
    between = log_above + jnp.log(-jnp.expm1(log_below - log_above))
    darkest, brightest = x < -1 + half, x > 1 - half
    log_prob = jnp.where(darkest, tail((x + half - mean) / std), between)
    log_prob = jnp.where(brightest, tail((mean - x + half) / std), log_prob)
    return jnp.sum(log_prob, tuple(range(1, x.ndim)))


def dequantized(x: Examples, key: Key, index: Index) -> Examples:
    """Images of bytes with uniform noise as wide as one level, of which densities are bounded.

    ``ln P(x) >= E ln p(x + u) + d ln(level)``; see `genjax.domains.image.bits_per_dim`.

    Args:
      x: float32 [batch, ...] in [-1, 1].
      key: of the noise.
      index: int32 [batch], positions of the examples.

    Returns:
      float32 [batch, ...], as far as half a level beyond [-1, 1].

    Reference: Theis et al. 2016, section 3.1.
    """
    keys = example_keys(key, index)
    u = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], x.dtype, -0.5, 0.5))(keys)
    return x + LEVEL * u


def _size(alpha: Scalar, sigma: Scalar, std: float) -> Scalar:
    """The standard deviation of noisy data."""
    return jnp.sqrt(sigma**2 + (alpha * std) ** 2)
