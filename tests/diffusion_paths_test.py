"""Paths, predictions, weights and times of diffusion models, in float64 against their formulas."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoising import CONFIGS, course_of
from scipy import integrate, stats

from genjax.config import (
    LogitNormal,
    LogNormal,
    Uniform,
)
from genjax.families.diffusion.paths import rates, ratio
from genjax.families.diffusion.predictions import PREDICTIONS, determinant, recover
from genjax.families.diffusion.times import draw
from genjax.families.diffusion.weightings import WEIGHTINGS, Noise

T = {"ve": np.array([0.002, 0.3, 5.0, 80.0])}
RNG = np.random.default_rng(0)


def times_of(name):
    return T.get(name, np.array([1e-3, 0.2, 0.5, 0.93, 1.0]))


def expected_scales(name, t):
    if name == "vp":
        # The rate 0.1 + 19.9 t, summed up by quadrature.
        lost = [integrate.quad(lambda u: 0.1 + 19.9 * u, 0, end)[0] for end in t]
        alpha = np.exp(-0.5 * np.array(lost))
        return alpha, np.sqrt(1 - alpha**2)
    return {
        "ve": (np.ones_like(t), t),
        "cosine": (np.cos(np.pi * t / 2), np.sin(np.pi * t / 2)),
        "flow": (1 - t, t),
    }[name]


@pytest.mark.parametrize("name", CONFIGS)
def test_scales_and_their_inverse(name):
    with jax.enable_x64(True):
        course, t = course_of(name), times_of(name)
        scales = course.scales(jnp.asarray(t))
        np.testing.assert_allclose(scales, expected_scales(name, t), rtol=1e-9, atol=1e-12)
        inside = t[:-1]
        s = ratio(course, jnp.asarray(inside))
        np.testing.assert_allclose(course.time_of(s), inside, rtol=1e-7)
        step = 1e-6
        for middle in inside:
            beside = [np.array(course.scales(jnp.float64(middle + k * step))) for k in (-1, 1)]
            slopes = (beside[1] - beside[0]) / (2 * step)
            found = rates(course, jnp.float64(middle))
            np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-8)


def test_all_noise_is_the_most():
    for name in CONFIGS:
        course = course_of(name)
        alpha, sigma = course.scales(jnp.float32(course.most))
        assert sigma / max(alpha, 1e-9) >= 80 * (1 - 1e-6)


MIXTURES = {
    "data": lambda alpha, sigma: (1, 0),
    "noise": lambda alpha, sigma: (0, 1),
    "v": lambda alpha, sigma: (-np.sin(np.arctan2(sigma, alpha)), np.cos(np.arctan2(sigma, alpha))),
    "velocity": lambda alpha, sigma: (-1, 1),
}


def edm_target(x, noisy, s, std):
    """Karras et al. 2022, equation 7 and table 1."""
    skip = std**2 / (s**2 + std**2)
    out = s * std / np.sqrt(s**2 + std**2)
    return (x - skip * noisy) / out


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_prediction_gives_data_and_noise(prediction, name):
    with jax.enable_x64(True):
        t = times_of(name)
        t = t[:-1] if prediction in ("noise", "edm") else t
        alpha, sigma = expected_scales(name, t)
        x, e = RNG.normal(size=(2, len(t), 3, 2))
        a, s = (scale[:, None, None] for scale in (alpha, sigma))
        noisy = a * x + s * e
        if prediction == "edm":
            said = edm_target(x, noisy / a, s / a, 0.3)
        else:
            p, q = np.broadcast_arrays(*MIXTURES[prediction](alpha, sigma), alpha)[:2]
            said = p[:, None, None] * x + q[:, None, None] * e
        scales = course_of(name).scales(jnp.asarray(t))
        found = recover(said, noisy, *scales, *PREDICTIONS[prediction](*scales, 0.3))
        np.testing.assert_allclose(found[0], x, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found[1], e, rtol=1e-6, atol=1e-6)


def weights(name, scales, density=1.0):
    alpha, sigma = (jnp.asarray(x) for x in scales)
    return WEIGHTINGS[name](Noise(alpha, sigma, 0.3, 5.0, jnp.full_like(alpha, density)))


def test_weights():
    s = np.array([0.01, 0.2, 1.0, 30.0])
    for alpha in (np.ones(4), np.array([0.9, 0.5, 0.2, 0.01])):
        scales = alpha, s * alpha
        edm = (s**2 + 0.3**2) / (s * 0.3) ** 2
        np.testing.assert_allclose(weights("edm", scales), edm, rtol=1e-5)
        np.testing.assert_allclose(weights("min_snr", scales), np.minimum(1 / s**2, 5), rtol=1e-5)
        np.testing.assert_allclose(weights("likelihood", scales, 0.5), 2 / s**2, rtol=1e-5)
        # A plain error of EDM's network is one of the data with EDM's weight.
        p, q = PREDICTIONS["edm"](*map(jnp.asarray, scales), 0.3)
        plain = (determinant(*scales, p, q) / scales[1]) ** 2
        np.testing.assert_allclose(plain, edm, rtol=1e-5)


TIMES = {"log_normal": LogNormal(mean=-0.7, std=0.9), "logit_normal": LogitNormal(mean=0.3)}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("times", ["uniform", "log_normal", "logit_normal"])
def test_times_are_drawn_with_their_density(times, name):
    """The density's integral between quantiles is the share of the times that lie there."""
    config = TIMES.get(times, Uniform())
    with jax.enable_x64(True):
        course = course_of(name)
        u = np.linspace(0.02, 0.98, 4001)
        t, density = map(np.asarray, draw(config, course, jnp.asarray(u)))
        logarithm = np.log(ratio(course, jnp.asarray(t)))
        share = integrate.trapezoid(density, logarithm)
    np.testing.assert_allclose(share, 0.96, rtol=1e-4)
    if times == "log_normal":
        np.testing.assert_allclose(logarithm, stats.norm.ppf(u, -0.7, 0.9), rtol=1e-4, atol=1e-6)
        return
    place = u if times == "uniform" else 1 / (1 + np.exp(-stats.norm.ppf(u, 0.3)))
    if name == "ve":
        expected = np.log(0.002) + place * math.log(80 / 0.002)
        np.testing.assert_allclose(np.log(t), expected, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_allclose(t, place, atol=2e-5)


def test_the_likelihood_weighs_all_times_alike_in_nats():
    """With D = 0 and x of size 1 the bound's loss is half the fall of ``SNR`` (equation 15)."""
    with jax.enable_x64(True):
        course = course_of("cosine")
        u = jnp.linspace(0.05, 0.95, 20001)
        t, density = draw(Uniform(), course, u)
        found = integrate.trapezoid(weights("likelihood", course.scales(t)) / density, u)
        ends = [float(ratio(course, jnp.float64(end))) ** -2 for end in (0.05, 0.95)]
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2, rtol=1e-5)
