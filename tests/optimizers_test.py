"""Update rules and their step sizes, against the papers' recursions in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.config import OptimizerConfig
from genjax.core.optimizers import OPTIMIZERS, make_optimizer


def rate(step, decay_updates):
    return 0.1 * max(0.0, 1 - step / decay_updates) if decay_updates else 0.1


def adam(gradients, b1, b2, rates):
    """Kingma & Ba 2015, algorithm 1."""
    m = v = x = 0.0
    for t, (g, step_size) in enumerate(zip(gradients, rates, strict=True), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        x = x - step_size * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
    return x


def rmsprop(gradients, b1, b2, rates):
    """Tieleman & Hinton 2012, with momentum."""
    v = trace = x = 0.0
    for g, step_size in zip(gradients, rates, strict=True):
        v = b2 * v + (1 - b2) * g**2
        trace = b1 * trace + step_size * g / np.sqrt(v + 1e-8)
        x = x - trace
    return x


def sgd(gradients, b1, b2, rates):
    """With Polyak's momentum."""
    trace = x = 0.0
    for g, step_size in zip(gradients, rates, strict=True):
        trace = b1 * trace + g
        x = x - step_size * trace
    return x


RULES = {"adam": adam, "rmsprop": rmsprop, "sgd": sgd}


def test_every_optimizer_has_a_formula_here():
    assert set(RULES) == set(OPTIMIZERS)


@pytest.mark.parametrize("decay_updates", [0, 4])
@pytest.mark.parametrize("b1", [0.0, 0.5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_rules(name, b1, decay_updates):
    """The step size falls linearly, from its full value at the first update to 0."""
    optimizer = make_optimizer(OptimizerConfig(name, 0.1, b1, 0.9, decay_updates))
    gradients = [1.0, -0.5, 2.0, 0.3, 1.0, 1.0]
    update = jax.jit(optimizer.update)
    x = jnp.zeros(())
    state, path = optimizer.init(x), []
    for gradient in gradients:
        change, state = update(jnp.float32(gradient), state, x)
        x = optax.apply_updates(x, change)
        path.append(float(x))
    rates = [rate(step, decay_updates) for step in range(6)]
    expected = [RULES[name](gradients[:n], b1, 0.9, rates[:n]) for n in range(1, 7)]
    np.testing.assert_allclose(path, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_a_fused_update_is_the_same(name):
    """Small arrays as one, a large one apart."""
    generator = np.random.default_rng(0)
    shapes = {"bias": (7,), "kernel": (3, 5), "large": (70, 70)}
    params, *gradients = (
        {key: jnp.asarray(generator.normal(size=shape)) for key, shape in shapes.items()}
        for _ in range(4)
    )
    results = []
    for fuse in (False, True):
        config = OptimizerConfig(name, learning_rate=0.1, decay_updates=4, fuse=fuse)
        optimizer = make_optimizer(config)
        state, current = optimizer.init(params), params
        for gradient in gradients:
            updates, state = optimizer.update(gradient, state, current)
            current = optax.apply_updates(current, updates)
        results.append((current, [leaf.shape for leaf in jax.tree.leaves(state)]))
    (plain, _), (fused, kept) = results
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), plain, fused)
    assert (22,) in kept
    assert (7,) not in kept
