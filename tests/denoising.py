"""Paths of diffusion models, a mixture of Gaussians whose best denoiser is known, and small models
whose output layer is not 0 any more."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate

from genjax.config import CosinePath, Straight, VarianceExploding, VariancePreserving
from genjax.families.diffusion import solvers
from genjax.families.diffusion.paths import PATHS, ratio

CONFIGS = {
    "ve": VarianceExploding(),
    "vp": VariancePreserving(),
    "cosine": CosinePath(),
    "flow": Straight(),
}
MEANS, STDS, SHARES = np.array([[-0.6, 0.1, 0.9], [0.15, 0.3, 0.1], [0.3, 0.5, 0.2]])
POINTS = np.linspace(-2, 2, 9)


def course_of(name):
    return PATHS[type(CONFIGS[name])](CONFIGS[name])


def denoised(y, s, np=np):
    """``E[x | x + s e = y]`` of the mixture."""
    variance = STDS**2 + s**2
    logits = np.log(SHARES) - (np.log(variance) + (y[..., None] - MEANS) ** 2 / variance) / 2
    share = np.exp(logits - logits.max(-1, keepdims=True))
    means = (y[..., None] * STDS**2 + MEANS * s**2) / variance
    return (share * means).sum(-1) / share.sum(-1)


def problem(name, options, start, count=9, key=None):
    config, course = CONFIGS[name], course_of(name)

    def estimate(x, t):
        return denoised(x / course.scales(t)[0], ratio(course, t), jnp)

    def noise(number):
        return jax.random.normal(jax.random.fold_in(key, number), (count,))

    return solvers.Problem(course, solvers.times(config, options, start), estimate, noise, options)


def start_of(name):
    """Where there are still some data, by which this denoiser divides."""
    course = course_of(name)
    return min(course.most, float(course.time_of(jnp.float32(80))))


@functools.cache
def exact(name):
    """The solution of ``dy / d ln s = y - D(y, s)``, on every path the same equation."""
    course = course_of(name)
    alpha, sigma = (float(x) for x in course.scales(jnp.float64(start_of(name))))
    solution = integrate.solve_ivp(
        lambda log, y: y - denoised(y, np.exp(log)),
        (np.log(sigma / alpha), np.log(1e-9)),
        sigma * POINTS / alpha,
        rtol=1e-10,
        atol=1e-11,
    )
    return sigma * POINTS, solution.y[:, -1]


def moved(algorithm, key):
    """The algorithm, compiled, and a state of which all parameters are moved at random."""
    state = jax.jit(algorithm.init)(key)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + rng.normal(0, 0.3, x.shape).astype(np.float32), state.network.params
    )
    state = dataclasses.replace(state, network=dataclasses.replace(state.network, params=params))
    functions = {name: jax.jit(getattr(algorithm, name)) for name in ("step", "sample", "evaluate")}
    return algorithm._replace(**functions), state
