"""Adversarial losses against the papers' formulas in probabilities, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.gan.losses import LOSSES

REAL = np.array([-3.0, -0.4, 0.0, 1.7, 6.0])
FAKE = np.array([2.0, 0.3, -0.1, -5.0, 4.0])


def probability(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def discriminator_formula(real, fake):
    return -np.log(probability(real)) - np.log(1 - probability(fake))


GENERATOR_FORMULAS = {
    "minimax": lambda fake: np.log(1 - probability(fake)),
    "non_saturating": lambda fake: -np.log(probability(fake)),
}


def test_every_loss_has_a_formula_here():
    assert set(GENERATOR_FORMULAS) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_values(name):
    loss = LOSSES[name]
    real, fake = jnp.float32(REAL), jnp.float32(FAKE)
    np.testing.assert_allclose(
        loss.discriminator(real, fake), discriminator_formula(REAL, FAKE), rtol=2e-6
    )
    np.testing.assert_allclose(
        loss.generator(None, fake), GENERATOR_FORMULAS[name](FAKE), rtol=2e-6
    )


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_against_finite_differences(name):
    loss, step = LOSSES[name], 1e-6
    fake = jnp.float32(FAKE)
    formula = GENERATOR_FORMULAS[name]
    expected = (formula(FAKE + step) - formula(FAKE - step)) / (2 * step)
    actual = jax.grad(lambda s: jnp.sum(loss.generator(None, s)))(fake)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name):
    loss = LOSSES[name]
    extreme = jnp.float32([-1e4, 1e4])
    for side in (
        lambda s: loss.discriminator(s, -s),
        lambda s: loss.discriminator(-s, s),
        lambda s: loss.generator(None, s),
    ):
        assert np.isfinite(side(extreme)).all()
        assert np.isfinite(jax.grad(lambda s, side=side: jnp.sum(side(s)))(extreme)).all()


def test_non_saturating_learns_where_minimax_saturates():
    lost = jnp.float32(-12.0)[None]
    slope = {
        name: abs(float(jax.grad(lambda s, n=name: LOSSES[n].generator(None, s)[0])(lost)[0]))
        for name in ("minimax", "non_saturating")
    }
    assert slope["minimax"] < 1e-4 < 0.99 < slope["non_saturating"]
