"""The Frechet distance against closed forms and SciPy's matrix root."""

import numpy as np
import pytest
import scipy.linalg

from genjax.evals.frechet import (
    frechet_distance,
    gaussian_moments,
    pixel_features,
    pixel_frechet_distance,
)


def moments(seed, size=6, rank=None):
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=(size, rank or size))
    return generator.normal(size=size), factor @ factor.T


def test_against_scipy():
    (mean_a, a), (mean_b, b) = moments(0), moments(1)
    root = scipy.linalg.sqrtm(a @ b).real
    wanted = np.sum((mean_a - mean_b) ** 2) + np.trace(a + b - 2 * root)
    assert frechet_distance(mean_a, a, mean_b, b) == pytest.approx(wanted, rel=1e-10)


def test_diagonal_gaussians_have_a_closed_form():
    a, b = np.array([1.0, 4.0, 0.0]), np.array([9.0, 4.0, 2.0])
    distance = frechet_distance(np.zeros(3), np.diag(a), np.ones(3), np.diag(b))
    assert distance == pytest.approx(3 + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2))


def test_equal_and_singular_covariances():
    mean, covariance = moments(2, size=8, rank=2)
    assert frechet_distance(mean, covariance, mean, covariance) == pytest.approx(0, abs=1e-6)


def test_moments_are_numpys():
    features = np.random.default_rng(3).normal(size=(50, 4)).astype(np.float32)
    mean, covariance = gaussian_moments(features)
    np.testing.assert_allclose(mean, features.astype(np.float64).mean(0))
    centred = features.astype(np.float64) - mean
    np.testing.assert_allclose(covariance, centred.T @ centred / 49)


def test_pixels_are_averaged_over_cells():
    images = np.random.default_rng(4).integers(0, 256, (3, 28, 28, 2), dtype=np.uint8)
    wanted = images.reshape(3, 7, 4, 7, 4, 2).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(pixel_features(images), wanted.reshape(3, -1))
    assert pixel_features(images[:, :5, :5]).shape == (3, 5 * 5 * 2)


def test_pixel_distance_grows_with_the_shift():
    images = np.random.default_rng(5).integers(0, 200, (100, 8, 8, 1), dtype=np.uint8)
    near, far = (pixel_frechet_distance(images, images + np.uint8(d)) for d in (10, 40))
    assert near == pytest.approx(49 * (10 / 255) ** 2, rel=1e-6)
    assert far == pytest.approx(16 * near, rel=1e-6)
