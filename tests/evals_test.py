"""What all scores share: float64 in a float32 program, and coarse pixels as features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.domains.image import pixel_features
from genjax.errors import UserError
from genjax.evals.frechet import frechet_distance, measure_moments
from genjax.evals.precision import float64, require_finite


def test_scores_leave_the_program_in_float32():
    moments = measure_moments(np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
    assert moments.scatter.dtype == np.float64
    assert frechet_distance(moments, moments) == pytest.approx(0, abs=1e-12)
    assert jnp.ones(1).dtype == jnp.float32


def test_accelerators_without_float64_are_left_alone(monkeypatch):
    with float64():
        assert jax.config.jax_default_device is None
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with float64():
        assert jax.config.jax_default_device == jax.local_devices(backend="cpu")[0]
        assert jnp.ones(1).dtype == jnp.float64
    assert jax.config.jax_default_device is None


def test_features_that_are_not_finite_are_named():
    features = np.zeros((5, 2))
    require_finite(features, "fake")
    features[3:] = np.nan
    with pytest.raises(UserError, match=r"2 of 5 fake features .* first row 3"):
        require_finite(features, "fake")


def test_pixels_are_averaged_over_cells():
    images = np.random.default_rng(4).integers(0, 256, (3, 28, 28, 2), dtype=np.uint8)
    wanted = images.reshape(3, 7, 4, 7, 4, 2).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(pixel_features(images), wanted.reshape(3, -1))
    assert pixel_features(images[:, :5, :5]).shape == (3, 5 * 5 * 2)


def test_pixel_distance_grows_with_the_shift():
    images = np.random.default_rng(5).integers(0, 200, (100, 8, 8, 1), dtype=np.uint8)
    real, *shifted = (
        measure_moments(pixel_features(images + np.uint8(shift))) for shift in (0, 10, 40)
    )
    near, far = (frechet_distance(real, fake) for fake in shifted)
    assert near == pytest.approx(49 * (10 / 255) ** 2, rel=1e-6)
    assert far == pytest.approx(16 * near, rel=1e-6)
