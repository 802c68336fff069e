"""Scores by classifiers, against plain NumPy; the classifiers are stubs or tiny."""

import jax.numpy as jnp
import numpy as np
import pytest

from genjax.evals.classification import (
    class_agreement,
    class_histogram,
    classification_accuracy_score,
    count_modes,
)
from genjax.evals.classifier import Recipe, Trained, accuracy
from genjax.evals.features import FeatureNetwork, Output

RNG = np.random.default_rng(0)


def logits_of(labels, classes=10):
    """Logits whose largest is that of the label, though none is near one-hot."""
    noise = RNG.normal(size=(len(labels), classes))
    noise[np.arange(len(labels)), labels] = noise.max(axis=1) + 0.1
    return noise


def test_agreement_is_the_share_named_as_asked():
    asked = RNG.integers(0, 10, 200)
    named = np.where(np.arange(200) < 150, asked, (asked + 1) % 10)
    assert class_agreement(logits_of(named), asked) == 0.75


def test_histogram():
    named = RNG.integers(0, 4, 100)
    expected = [np.mean(named == label) for label in range(6)]
    np.testing.assert_allclose(class_histogram(logits_of(named, 6)), expected)


def test_modes_of_known_histograms():
    p, q = RNG.integers(1, 50, 10), RNG.integers(1, 50, 10)
    real, fake = (logits_of(np.repeat(np.arange(10), counts)) for counts in (q, p))
    found = count_modes(real, fake)
    p, q = p / p.sum(), q / q.sum()
    assert found.kl == pytest.approx(sum(p * np.log(p / q)))
    assert found.modes == sum(p >= 0.1 * q)
    assert count_modes(real, real) == (10, 0)


@pytest.mark.parametrize(("count", "modes"), [(0, 1), (4, 1), (5, 2), (6, 2)])
def test_a_class_counts_from_a_tenth_of_its_share_on(count, modes):
    """The reference has two classes of one half each; a tenth of that is 5 of 100."""
    real = logits_of(np.repeat([0, 1], 50), 3)
    fake = logits_of(np.repeat([0, 1], [100 - count, count]), 3)
    assert count_modes(real, fake).modes == modes


def test_a_class_that_the_reference_lacks_makes_the_divergence_infinite():
    found = count_modes(logits_of([0, 1, 1], 3), logits_of([0, 1, 2], 3))
    assert found == (2, np.inf)


def shaded(count):
    """Images of 8 x 8 in ten shades, which are their classes, with noise."""
    labels = np.arange(count, dtype=np.int32) % 10
    noise = RNG.integers(0, 10, (count, 8, 8, 1))
    return (noise + 25 * labels[:, None, None, None]).astype(np.uint8), labels


def test_accuracy_of_a_classifier_trained_on_samples():
    """It learns the labels that it is given, here each shade's next; the real one isn't asked."""

    def by_shade(_, images):
        shade = images.mean(axis=(1, 2, 3))
        return Output(shade[:, None], -jnp.abs(shade[:, None] - 4.5 - 25 * jnp.arange(10)))

    recipe = Recipe(epochs=60, batch=64, learning_rate=1e-2, width=4, shift=1)
    real = FeatureNetwork("classifier-shades", "", "none", None, by_shade)
    trained = Trained(real, "shades", "image", (8, 8, 1), 10, recipe, 1.0, "test", 0.0, "", {})
    (images, labels), (test, answers) = shaded(60), shaded(40)
    wrong = (labels + 1) % 10
    found = classification_accuracy_score(images, wrong, test, (answers + 1) % 10, trained)
    assert found.generated > 0.9
    assert found.real == 0
    assert accuracy(real, test, answers) == 1
