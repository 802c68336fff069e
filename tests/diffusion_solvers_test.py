"""Solvers of diffusion models on mixtures of Gaussians, whose best denoiser is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoising import (
    CONFIGS,
    MEANS,
    POINTS,
    SHARES,
    STDS,
    denoised,
    exact,
    problem,
    start_of,
)
from scipy import stats

from genjax.config import DiffusionSampling, Straight
from genjax.families.diffusion import solvers


def solution(solved, begin):
    return np.asarray(jax.jit(functools.partial(solvers.solve, solved))(jnp.asarray(begin)))


ORDERS = {"euler": 1, "ddim": 1, "heun": 2, "dpmpp_2m": 2}


@pytest.mark.parametrize(
    ("name", "solver"),
    [(name, solver) for name in CONFIGS for solver in ("euler", "ddim", "heun")]
    # Even times, as other paths have them, are not even in the noise's logarithm.
    + [("ve", "dpmpp_2m")],
)
def test_order(name, solver):
    """Twice the steps, half or a quarter of the error."""
    with jax.enable_x64(True):
        begin, expected = exact(name)
        error = []
        for steps in (64, 128):
            options = DiffusionSampling(solver=solver, steps=steps)
            solved = problem(name, options, start_of(name))
            error.append(np.abs(solution(solved, begin) - expected))
    order = np.log2(error[0].mean() / error[1].mean())
    assert abs(order - ORDERS[solver]) < 0.3
    assert error[1].mean() < (0.02 if ORDERS[solver] == 1 else 2e-3)


def test_edms_sampler():
    """Karras et al. 2022, algorithm 2, in NumPy with the same draws."""
    options = DiffusionSampling(
        steps=9, churn=12.0, churn_least=0.05, churn_most=20.0, churn_noise=1.003, rho=5.0
    )
    key = jax.random.key(2)
    with jax.enable_x64(True):
        solved = problem("ve", options, 80.0, key=key)
        found = solution(solved, 80 * POINTS)
        draws = [np.asarray(solved.noise(jnp.asarray(i))) for i in range(9)]
    most, least = 80 ** (1 / 5), 0.002 ** (1 / 5)
    t = np.append((most + np.arange(9) / 8 * (least - most)) ** 5, 0)
    x = 80 * POINTS
    for i in range(9):
        gamma = min(12 / 9, np.sqrt(2) - 1) if 0.05 <= t[i] <= 20 else 0
        raised = t[i] * (1 + gamma)
        x = x + np.sqrt(raised**2 - t[i] ** 2) * 1.003 * draws[i]
        slope = (x - denoised(x, raised)) / raised
        moved = x + (t[i + 1] - raised) * slope
        if t[i + 1] > 0:
            after = (moved - denoised(moved, t[i + 1])) / t[i + 1]
            moved = x + (t[i + 1] - raised) * (slope + after) / 2
        x = moved
    np.testing.assert_allclose(found, x, rtol=1e-6, atol=1e-8)


def posterior(x, data, before, after):
    """Mean and variance of ``x_t'`` given ``x_t`` and x: a product of two normal densities."""
    (alpha, sigma), (alpha_to, sigma_to) = before, after
    step = alpha / alpha_to
    noise = sigma**2 - (step * sigma_to) ** 2
    precision = step**2 / noise + 1 / sigma_to**2
    return (step * x / noise + alpha_to * data / sigma_to**2) / precision, 1 / precision


@pytest.mark.parametrize("name", ["vp", "flow"])
def test_ancestral_steps(name):
    """Ho et al. 2020, equation 7; DDIM with all of the noise makes the same."""
    with jax.enable_x64(True):
        for options in (
            DiffusionSampling(solver="ddpm", steps=6),
            DiffusionSampling(solver="ddim", steps=6, eta=1.0),
        ):
            solved = problem(name, options, start_of(name), key=jax.random.key(5))
            course, grid = solved.course, np.asarray(solved.grid)
            found = solution(solved, POINTS)
            draws = [np.asarray(solved.noise(jnp.asarray(i))) for i in range(6)]
            scales = [tuple(float(x) for x in course.scales(jnp.float64(t))) for t in grid]
            x = POINTS
            for i in range(5):
                alpha, sigma = scales[i]
                mean, variance = posterior(
                    x, denoised(x / alpha, sigma / alpha), scales[i], scales[i + 1]
                )
                x = mean + np.sqrt(variance) * draws[i]
            alpha, sigma = scales[5]
            np.testing.assert_allclose(found, denoised(x / alpha, sigma / alpha), rtol=1e-6)


SOLVERS = {
    "euler": DiffusionSampling(solver="euler", steps=120),
    "heun": DiffusionSampling(solver="heun", steps=40),
    "heun with churn": DiffusionSampling(solver="heun", steps=60, churn=20.0),
    "ddpm": DiffusionSampling(solver="ddpm", steps=200),
    "ddim": DiffusionSampling(solver="ddim", steps=120, eta=0.5),
    "dpmpp_2m": DiffusionSampling(solver="dpmpp_2m", steps=60),
}


@pytest.mark.parametrize("name", ["ve", "flow"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_samples_are_of_the_data(solver, name):
    """Noise that is denoised step by step has the distribution of the mixture."""
    count = 4000
    key = jax.random.key(1)
    solved = problem(name, SOLVERS[solver], start_of(name), count, key)
    sigma = solved.course.scales(jnp.float32(solved.grid[0]))[1]
    noise = jax.random.normal(jax.random.key(7), (count,))
    samples = solution(solved, sigma * noise)

    def distribution(x):
        return (SHARES * stats.norm.cdf(x[..., None], MEANS, STDS)).sum(-1)

    assert stats.kstest(samples, distribution).pvalue > 1e-3


def test_the_last_times_are_0_and_a_shift_delays():
    even = solvers.times(Straight(), DiffusionSampling(steps=4), 1.0)
    np.testing.assert_allclose(even, [1, 0.75, 0.5, 0.25, 0])
    shifted = solvers.times(Straight(), DiffusionSampling(steps=4, shift=3.0), 1.0)
    np.testing.assert_allclose(shifted, [1, 0.9, 0.75, 0.5, 0], rtol=1e-6)
    single = solvers.times(Straight(), DiffusionSampling(steps=1), 1.0)
    np.testing.assert_allclose(single, [1, 0])
