"""Adversarial losses against the papers' formulas in float64, in probabilities where they have
them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.families.gan.losses import LOSSES

pytestmark = pytest.mark.smoke

REAL = np.array([-3.0, -0.4, 0.0, 1.7, 6.0])
FAKE = np.array([2.0, 0.3, -0.1, -5.0, 4.0])
SMOOTHINGS = [0.0, 0.1]


def probability(logits):
    return 1 / (1 + np.exp(-logits))


def binary_cross_entropy(target, p):
    return -target * np.log(p) - (1 - target) * np.log(1 - p)


def standard_discriminator(real, fake, a):
    """Goodfellow et al. 2014, equation 1, with targets 1 - a and 0 (Salimans et al. 2016)."""
    real, fake = probability(real), probability(fake)
    return binary_cross_entropy(1 - a, real) + binary_cross_entropy(0, fake)


def hinge_discriminator(real, fake, a):
    """Miyato et al. 2018, equation 16, whose value is maximised."""
    as_real, as_fake = np.minimum(0, -1 + real), np.minimum(0, -1 - real)
    return -((1 - a) * as_real + a * as_fake + np.minimum(0, -1 - fake))


def least_squares_discriminator(real, fake, a):
    """Mao et al. 2017, equation 9; the target of a real image is 0 with probability a."""
    return (1 - a) * (real - 1) ** 2 / 2 + a * real**2 / 2 + fake**2 / 2


def wasserstein_discriminator(real, fake, a):
    """Arjovsky et al. 2017, algorithm 1, whose value is maximised."""
    return -((1 - a) * real - a * real - fake)


def relativistic_discriminator(real, fake, a):
    """Jolicoeur-Martineau 2018: D(x_r, x_f) is how probable it is that x_r is the more real."""
    return binary_cross_entropy(1 - a, probability(real - fake))


def average_probabilities(real, fake):
    """Jolicoeur-Martineau 2018: each image against the mean logit of the other kind."""
    return probability(real - fake.mean()), probability(fake - real.mean())


def relativistic_average_discriminator(real, fake, a):
    p_real, p_fake = average_probabilities(real, fake)
    return binary_cross_entropy(1 - a, p_real) + binary_cross_entropy(0, p_fake)


def relativistic_average_generator(real, fake):
    p_real, p_fake = average_probabilities(real, fake)
    return -np.log(p_fake) - np.log(1 - p_real)


FORMULAS = {
    "hinge": (hinge_discriminator, lambda real, fake: -fake),
    "least_squares": (least_squares_discriminator, lambda real, fake: (fake - 1) ** 2 / 2),
    "minimax": (standard_discriminator, lambda real, fake: np.log(1 - probability(fake))),
    "non_saturating": (standard_discriminator, lambda real, fake: -np.log(probability(fake))),
    "relativistic": (
        relativistic_discriminator,
        lambda real, fake: -np.log(probability(fake - real)),
    ),
    "relativistic_average": (relativistic_average_discriminator, relativistic_average_generator),
    "wasserstein": (wasserstein_discriminator, lambda real, fake: -fake),
}


def slopes(formula, *logits, step=1e-6):
    """Central differences of the mean of `formula` by each logit of each argument."""
    result = []
    for which, values in enumerate(logits):
        slope = np.zeros_like(values)
        for place in range(len(values)):
            moved = []
            for sign in (1, -1):
                arguments = [x.copy() for x in logits]
                arguments[which][place] += sign * step
                moved.append(formula(*arguments).mean())
            slope[place] = (moved[0] - moved[1]) / (2 * step)
        result.append(slope)
    return result


def test_every_loss_has_a_formula_here():
    assert set(FORMULAS) == set(LOSSES)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("name", LOSSES)
def test_discriminator(name, smoothing):
    def formula(real, fake):
        return FORMULAS[name][0](real, fake, smoothing)

    def actual(real, fake):
        return LOSSES[name].discriminator(real, fake, smoothing)

    logits = jnp.float32(REAL), jnp.float32(FAKE)
    assert actual(*logits).shape == (5,)
    np.testing.assert_allclose(actual(*logits), formula(REAL, FAKE), rtol=3e-6, atol=1e-6)
    gradients = jax.grad(lambda *s: jnp.mean(actual(*s)), argnums=(0, 1))(*logits)
    for gradient, expected in zip(gradients, slopes(formula, REAL, FAKE), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_generator(name):
    formula, loss = FORMULAS[name][1], LOSSES[name]
    real, fake = jnp.float32(REAL), jnp.float32(FAKE)
    given = real if loss.paired else None
    assert loss.generator(given, fake).shape == (5,)
    np.testing.assert_allclose(loss.generator(given, fake), formula(REAL, FAKE), rtol=3e-6)
    gradient = jax.grad(lambda s: jnp.mean(loss.generator(given, s)))(fake)
    expected = slopes(lambda s: formula(REAL, s), FAKE)[0]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


def test_paired_are_the_losses_whose_generator_sees_real_images():
    """The generator's formula depends on the real logits just where the flag says so."""
    for name, (_, formula) in FORMULAS.items():
        depends = not np.allclose(formula(REAL, FAKE), formula(REAL + 1, FAKE))
        assert LOSSES[name].paired == depends, name


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name, smoothing):
    loss = LOSSES[name]
    extreme = jnp.float32([-1e4, 1e4])
    for side in (
        lambda s: loss.discriminator(s, -s, smoothing),
        lambda s: loss.discriminator(-s, s, smoothing),
        lambda s: loss.discriminator(s, s, smoothing),
        lambda s: loss.generator(-s, s),
    ):
        assert np.isfinite(side(extreme)).all()
        assert np.isfinite(jax.grad(lambda s, side=side: jnp.sum(side(s)))(extreme)).all()


def test_smoothing_makes_overconfidence_costly():
    """Salimans et al. 2016, section 3.4: D(x) is best where it is 1 - a."""
    a = 0.1
    best = jnp.float32([np.log((1 - a) / a)])
    slope = jax.grad(lambda s: LOSSES["non_saturating"].discriminator(s, best, a)[0])(best)
    assert abs(float(slope[0])) < 1e-6


def test_non_saturating_learns_where_minimax_saturates():
    lost = jnp.float32([-12.0])
    slope = {
        name: abs(float(jax.grad(lambda s, n=name: LOSSES[n].generator(None, s)[0])(lost)[0]))
        for name in ("minimax", "non_saturating")
    }
    assert slope["minimax"] < 1e-4 < 0.99 < slope["non_saturating"]


@pytest.mark.parametrize("name", LOSSES)
def test_what_counts_as_generated(name):
    """D's loss is a sum of one for each kind of image, but where it compares them."""
    loss = LOSSES[name]
    assert (loss.generated is None) == loss.paired
    if loss.generated is None:
        return
    formula = FORMULAS[name][0]
    # Of the real ones, what is left of the loss is the same for all generated ones.
    of_real = formula(REAL, FAKE, 0.0) - np.asarray(loss.generated(jnp.asarray(FAKE)))
    other = formula(REAL, REAL, 0.0) - np.asarray(loss.generated(jnp.asarray(REAL)))
    np.testing.assert_allclose(of_real, other, rtol=1e-4, atol=1e-5)
