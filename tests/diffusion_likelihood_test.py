"""Likelihoods of diffusion models, against densities that are known."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffusion_solvers_test import CONFIGS, MEANS, SHARES, STDS
from scipy import stats

from genjax.families.diffusion.likelihood import (
    dequantized,
    discretized_gaussian,
    flow_log_density,
    gaussian,
    noises,
    variational_bound,
)
from genjax.families.diffusion.paths import PATHS, ratio

POINTS = np.linspace(-1, 1.2, 9)
DENSITIES = np.log((SHARES * stats.norm.pdf(POINTS[:, None], MEANS, STDS)).sum(-1))
KEY = jax.random.key(3)


def course_of(name):
    return PATHS[type(CONFIGS[name])](CONFIGS[name])


def of_mixture(course):
    """The best denoiser, of a softmax whose derivative is finite however it is compiled."""

    def estimate(x, t):
        y, s = x[..., None] / course.scales(t)[0], ratio(course, t)
        variance = STDS**2 + s**2
        logits = np.log(SHARES) - (jnp.log(variance) + (y - MEANS) ** 2 / variance) / 2
        return (jax.nn.softmax(logits) * (y * STDS**2 + MEANS * s**2) / variance).sum(-1)

    return estimate


@functools.cache
def flow_error(name, steps):
    course = course_of(name)
    index = jnp.arange(len(POINTS))
    density = jax.jit(
        lambda x: flow_log_density(course, of_mixture(course), x, KEY, index, 0.5, steps, 1)
    )
    return np.abs(density(jnp.float32(POINTS)) - DENSITIES)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_flow_has_the_density_of_the_data(name):
    assert flow_error(name, 40).max() < 4e-3
    assert flow_error(name, 5).mean() > 20 * flow_error(name, 40).mean()


COVARIANCE = np.array([[0.5, 0.35, 0.0], [0.35, 0.4, -0.1], [0.0, -0.1, 0.2]])
CENTRE = np.array([0.3, -0.2, 0.1])


def of_correlated(course):
    """``E[x | y]`` of N(centre, covariance), by the axes of the covariance."""
    values, axes = (jnp.float32(a) for a in np.linalg.eigh(COVARIANCE))

    def estimate(x, t):
        share = values / (values + ratio(course, t) ** 2)
        along = (x / course.scales(t)[0] - jnp.float32(CENTRE)) @ axes
        return CENTRE + (share * along) @ axes.T

    return estimate


def correlated_densities(probes, copies):
    course = course_of("vp")
    x = np.array([[0.5, 0.0, 0.2], [-0.6, -0.9, 0.3]])
    given = jnp.float32(np.repeat(x, copies, axis=0))
    index = jnp.arange(len(given))
    found = jax.jit(
        lambda x: flow_log_density(course, of_correlated(course), x, KEY, index, 0.5, 20, probes)
    )(given)
    exact = stats.multivariate_normal.logpdf(x, CENTRE, COVARIANCE)
    return np.asarray(found).reshape(2, copies) - exact[:, None]


def test_signs_estimate_the_trace_without_bias():
    """Each example with signs of its own; of four probes the mean has half the deviation."""
    errors = correlated_densities(1, 500)
    assert (errors.std(1) > 0.1).all()
    assert (np.abs(errors.mean(1)) < 4 * errors.std(1) / math.sqrt(500)).all()
    of_four = correlated_densities(4, 500)
    np.testing.assert_allclose(of_four.std(1) / errors.std(1), 0.5, rtol=0.15)


@functools.cache
def bounds(name, steps, draws, copies=200):
    course = course_of(name)
    x = jnp.float32(np.repeat(POINTS, copies))
    index = jnp.arange(len(x))
    found = jax.jit(
        lambda x: variational_bound(
            course, of_mixture(course), x, KEY, index, gaussian, steps, draws
        )
    )(x)
    return np.asarray(found).reshape(len(POINTS), copies) - DENSITIES[:, None]


@pytest.mark.parametrize("name", ["ve", "vp"])
def test_the_bound_is_below_the_density_and_comes_close(name):
    """Its gap halves with twice the steps."""
    few, many = bounds(name, 32, 32), bounds(name, 256, 256)
    error = many.std(1) / math.sqrt(many.shape[1])
    assert (many.mean(1) < 3 * error).all()
    assert many.mean() > -0.4
    assert few.mean() < 6 * many.mean()


def test_some_of_the_terms_estimate_the_whole_bound():
    """Here 50 of 256, which fall into shares of five and six."""
    some, all_terms = bounds("vp", 256, 50).mean(), bounds("vp", 256, 256).mean()
    assert abs(some - all_terms) < 0.1


def test_the_bound_is_the_sum_of_its_terms():
    """By NumPy, of an estimate that doesn't depend on the noise."""
    course = course_of("cosine")
    x = np.array([[0.2, -0.4], [0.9, 0.1]])
    found = variational_bound(
        course,
        lambda x, t: jnp.full_like(x, 0.1),
        jnp.float32(x),
        KEY,
        jnp.arange(2),
        gaussian,
        7,
        7,
    )
    s = np.geomspace(0.002, 100, 8)
    error = ((x - 0.1) ** 2).sum(1)
    diffusion = (1 / s[:-1] ** 2 - 1 / s[1:] ** 2).sum() / 2 * error
    prior = (x**2).sum(1) / (2 * s[-1] ** 2)
    said = stats.norm.logpdf(x, 0.1, 0.002).sum(1)
    np.testing.assert_allclose(found, said - diffusion - prior, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_noises_are_within_the_path(name):
    most = {"ve": 80, "vp": 100, "cosine": 100, "flow": 100}[name]
    np.testing.assert_allclose(noises(course_of(name), 9), np.geomspace(0.002, most, 10), rtol=1e-4)


LEVELS = np.arange(256) / 127.5 - 1


@pytest.mark.parametrize("std", [0.002, 0.05, 2.0])
def test_levels_have_the_probabilities_of_a_gaussian(std):
    means = np.array([-1.3, -1.0, -0.3004, 0.0, 0.52, 1.0])
    x, mean = (a.reshape(-1, 1) for a in np.meshgrid(LEVELS, means))
    found = np.float64(discretized_gaussian(jnp.float32(x), jnp.float32(mean), jnp.float32(std)))
    np.testing.assert_allclose(np.exp(found).reshape(6, 256).sum(1), 1, rtol=1e-3)
    above = np.where(x > 1 - 1e-6, np.inf, (x + 1 / 255 - mean) / std)
    below = np.where(x < -1 + 1e-6, -np.inf, (x - 1 / 255 - mean) / std)
    # The same on either side of the mean, and by differences where these keep their digits.
    low, high = np.where(above + below > 0, (-above, -below), (below, above))
    expected = stats.norm.logcdf(high) + np.log1p(
        -np.exp(stats.norm.logcdf(low) - stats.norm.logcdf(high))
    )
    np.testing.assert_allclose(found, expected[:, 0], rtol=2e-3, atol=2e-3)


def test_noise_of_bytes_is_as_wide_as_a_level():
    x = jnp.float32(LEVELS[[0, 100, 255]]).reshape(3, 1, 1, 1) * jnp.ones((1, 40, 40, 1))
    u = np.asarray(dequantized(x, KEY, jnp.arange(3)) - x) * 127.5
    assert stats.kstest(u.ravel(), stats.uniform(-0.5, 1).cdf).pvalue > 1e-3
    assert not np.array_equal(u[0], u[1])
