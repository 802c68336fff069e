"""Likelihoods against SciPy's distributions in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from genjax.domains.image import bits_per_dim
from genjax.families.vae.likelihoods import LIKELIHOODS, binarize

LEVELS = np.arange(256) / 127.5 - 1
SCALES = np.array([0.3, 0.05])
SHAPE = (3, 4, 5, 2)


def logistic_formula(x, m, s):
    """Differences of the distribution function, on the side where they do not cancel."""
    half = 1 / 255
    above = np.where(x > 0.999, np.inf, x + half - m) / s
    below = np.where(x < -0.999, -np.inf, x - half - m) / s
    mirrored = x > m
    above, below = np.where(mirrored, -below, above), np.where(mirrored, -above, below)
    log_cdf = stats.logistic.logcdf
    return log_cdf(above) + np.log1p(-np.exp(log_cdf(below) - log_cdf(above)))


FORMULAS = {
    "bernoulli": lambda x, m, s: (
        (x + 1) / 2 * stats.logistic.logcdf(m) + (1 - x) / 2 * stats.logistic.logsf(m)
    ),
    "gaussian": stats.norm.logpdf,
    "discretized_logistic": logistic_formula,
}


def draw(name, seed=0):
    """Images that the likelihood can be of, the edges of the range among them, and outputs."""
    rng = np.random.default_rng(seed)
    levels = LEVELS[[0, 255]] if name == "bernoulli" else LEVELS
    images = rng.choice(levels, SHAPE)
    images[0, 0, 0], images[0, 0, 1] = -1, 1
    return images, rng.normal(size=SHAPE) * (4 if name == "bernoulli" else 0.7)


def log_prob(name, images, output, scales):
    arrays = (jnp.float32(images), jnp.float32(output), jnp.float32(np.log(scales)))
    return LIKELIHOODS[name].log_prob(*arrays)


def test_every_likelihood_has_a_formula_here():
    assert set(FORMULAS) == set(LIKELIHOODS)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_values(name):
    images, output = draw(name)
    expected = FORMULAS[name](images, output, SCALES).sum(axis=(1, 2, 3))
    actual = log_prob(name, images, output, SCALES)
    assert actual.shape == (3,)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, rtol=2e-5)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradients_against_finite_differences(name):
    images, output = draw(name)
    total = jax.jit(
        jax.grad(
            lambda m, s: jnp.sum(LIKELIHOODS[name].log_prob(jnp.float32(images), m, s)),
            argnums=(0, 1),
        )
    )
    of_output, of_log_scale = total(jnp.float32(output), jnp.float32(np.log(SCALES)))
    formula, step = FORMULAS[name], 1e-6
    expected = formula(images, output + step, SCALES) - formula(images, output - step, SCALES)
    np.testing.assert_allclose(of_output, expected / (2 * step), rtol=2e-3, atol=1e-4)
    wider, narrower = SCALES * np.exp(step), SCALES * np.exp(-step)
    expected = formula(images, output, wider) - formula(images, output, narrower)
    expected = expected.sum(axis=(0, 1, 2)) / (2 * step)
    np.testing.assert_allclose(of_log_scale, expected, rtol=2e-3, atol=1e-3)


def test_extremes_are_finite():
    """Sure and wrong, sure and right, and a scale far below or above one level."""
    pixel = np.ones((1, 1, 1, 1))
    for logit, expected in ((-200.0, -200.0), (30.0, -math.exp(-30)), (200.0, 0.0)):
        value = log_prob("bernoulli", pixel, logit * pixel, np.ones(1))
        np.testing.assert_allclose(value, [expected], rtol=1e-6)
    for scale in (1e-3, 1e3):
        for level, mean in ((0.2, 3.0), (0.2, 0.2), (-1.0, 3.0), (1.0, 3.0)):
            level = LEVELS[np.abs(LEVELS - level).argmin()]
            value = log_prob("discretized_logistic", level * pixel, mean * pixel, np.array([scale]))
            expected = logistic_formula(level, mean, scale)
            np.testing.assert_allclose(value, [expected], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mean", [-1.5, -0.3, 0.0, 0.99])
@pytest.mark.parametrize("scale", [1e-3, 0.02, 0.5, 20.0])
def test_probabilities_of_the_256_levels_sum_to_one(mean, scale):
    images = LEVELS.reshape(256, 1, 1, 1)
    values = log_prob("discretized_logistic", images, np.full_like(images, mean), np.array([scale]))
    np.testing.assert_allclose(np.exp(np.float64(values)).sum(), 1, rtol=1e-4)


def test_means_are_images():
    output = jnp.linspace(-3, 3, 12).reshape(1, 3, 4, 1)
    for name, likelihood in LIKELIHOODS.items():
        logistic = 2 / (1 + np.exp(-np.float64(output))) - 1
        expected = logistic if name == "bernoulli" else np.clip(output, -1, 1)
        np.testing.assert_allclose(likelihood.mean(output), expected, atol=1e-6)


def test_bits_per_dim():
    """Equal probabilities of 256 levels take 8 bits; a density is taken over one level."""
    image = (3, 5, 2)
    uniform = jnp.float32(-30 * math.log(256))
    for name in ("bernoulli", "discretized_logistic"):
        np.testing.assert_allclose(
            bits_per_dim(uniform, image, LIKELIHOODS[name].level), 8, rtol=1e-6
        )
    scale, x = 0.1, LEVELS[140]
    half = 1 / 255
    probability = stats.norm.cdf(x + half, 0, scale) - stats.norm.cdf(x - half, 0, scale)
    density = jnp.float32(stats.norm.logpdf(x, 0, scale))
    actual = bits_per_dim(density, (1, 1, 1), LIKELIHOODS["gaussian"].level)
    np.testing.assert_allclose(actual, -math.log2(probability), rtol=1e-3)


def test_binarized_pixels_are_white_as_often_as_they_are_bright():
    key, grey = jax.random.key(0), jnp.float32([-1.0, -0.5, 0.2, 1.0]).reshape(1, 2, 2, 1)
    index = jnp.arange(4000)
    drawn = binarize(jnp.tile(grey, (4000, 1, 1, 1)), key, index)
    assert set(np.unique(drawn)) == {-1.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0), grey[0], atol=0.05)
    # An example's pixels follow its place alone, and the key.
    alone = binarize(jnp.tile(grey, (2, 1, 1, 1)), key, index[7:9])
    np.testing.assert_array_equal(alone, drawn[7:9])
    other = binarize(jnp.tile(grey, (4000, 1, 1, 1)), jax.random.key(1), index)
    assert not np.array_equal(other, drawn)
