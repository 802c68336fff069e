"""Update rules and their step sizes, against the papers' recursions in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.config import (
    SGD,
    Adam,
    Constant,
    Cosine,
    InverseSqrt,
    Linear,
    Optimizer,
    Piecewise,
    RMSProp,
    Schedule,
)
from genjax.core.optimizers import RULES, SCHEDULES, factor, make_optimizer

pytestmark = pytest.mark.smoke

BATCH = 8
GRADIENTS = [1.0, -0.5, 2.0, 0.3, 1.0, 1.0]


def adam(config, gradients, rates):
    """Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2. A b2 that changes is
    taken for what it always was when the bias is corrected, as by PyTorch's Adam."""
    m = v = 0.0
    x = 1.0
    factors = rates_of(config.b2_schedule, len(gradients))
    for t, (g, rate, b2_factor) in enumerate(zip(gradients, rates, factors, strict=True), 1):
        b2 = config.b2 * b2_factor
        m, v = config.b1 * m + (1 - config.b1) * g, b2 * v + (1 - b2) * g**2
        step = (m / (1 - config.b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
        x = x - rate * (step + config.weight_decay * x)
    return x


def rmsprop(config, gradients, rates):
    """Tieleman & Hinton 2012, with momentum; epsilon beside the root, as in PyTorch's."""
    v = trace = 0.0
    x = 1.0
    for g, rate in zip(gradients, rates, strict=True):
        v = config.decay * v + (1 - config.decay) * g**2
        trace = config.momentum * trace + rate * g / (np.sqrt(v) + 1e-8)
        x = x - trace
    return x


def sgd(config, gradients, rates):
    """With Polyak's momentum."""
    trace = 0.0
    x = 1.0
    for g, rate in zip(gradients, rates, strict=True):
        trace = config.momentum * trace + g
        x = x - rate * trace
    return x


FORMULAS = {Adam: adam, RMSProp: rmsprop, SGD: sgd}
CONFIGS = [
    Adam(learning_rate=0.1, b1=0.5, b2=0.9),
    Adam(learning_rate=0.1, b1=0.0, b2=0.9, weight_decay=0.3),
    Adam(learning_rate=0.1, b1=0.5, b2=0.9, b2_schedule=Cosine(length=4, end=1.1)),
    Adam(learning_rate=0.1, b2=0.9, b2_schedule=Linear(length=40, end=0.5, unit="images")),
    Adam(learning_rate=0.1, b2=0.9, b2_schedule=Piecewise(boundaries=(2,), factors=(0.5,))),
    Adam(learning_rate=0.1, b2=0.9, b2_schedule=Piecewise()),
    RMSProp(learning_rate=0.1, decay=0.9),
    RMSProp(learning_rate=0.1, decay=0.9, momentum=0.5),
    SGD(learning_rate=0.1),
    SGD(learning_rate=0.1, momentum=0.5),
]


def warm(config, n, unit):
    return min(1, (n + unit) / config.warmup) if config.warmup else 1


def constant(config, n):
    return 1.0


def linear(config, n):
    share = min(max(n - config.warmup, 0) / (config.length - config.warmup), 1)
    return config.start + share * (config.end - config.start)


def cosine(config, n):
    """Loshchilov & Hutter 2017, equation 5, without restarts."""
    share = min(max(n - config.warmup, 0) / (config.length - config.warmup), 1)
    return config.end + 0.5 * (config.start - config.end) * (1 + np.cos(np.pi * share))


def piecewise(config, n):
    passed = [f for b, f in zip(config.boundaries, config.factors, strict=True) if n >= b]
    return passed[-1] if passed else 1.0


def inverse_sqrt(config, n):
    """As in EDM2's code."""
    return 1 / np.sqrt(max(n / config.reference, 1))


COURSES = {
    Constant: constant,
    Linear: linear,
    Cosine: cosine,
    InverseSqrt: inverse_sqrt,
    Piecewise: piecewise,
}
SCHEDULED = [
    Constant(),
    Constant(warmup=3),
    Linear(length=4),
    Linear(length=5, warmup=2, end=0.25),
    Cosine(length=4),
    Cosine(length=5, warmup=2, end=0.25),
    Linear(length=4, start=0.25, end=2.0),
    Cosine(length=5, warmup=2, start=0.0, end=1.0),
    Piecewise(boundaries=(2, 4), factors=(0.5, 0.125)),
    Piecewise(boundaries=(3,), factors=(2.0,), warmup=2),
    Linear(length=30, warmup=10, unit="images"),
    Piecewise(boundaries=(16,), factors=(0.1,), unit="images"),
    InverseSqrt(reference=2, warmup=3),
    InverseSqrt(reference=20, unit="images"),
]


def test_every_rule_and_schedule_has_a_formula_here():
    assert set(FORMULAS) == set(RULES) == set(Optimizer.registry.values())
    assert set(COURSES) == set(SCHEDULES) == set(Schedule.registry.values())


def rates_of(schedule, steps=6):
    unit = BATCH if schedule.unit == "images" else 1
    course = COURSES[type(schedule)]
    return [course(schedule, n * unit) * warm(schedule, n * unit, unit) for n in range(steps)]


@pytest.mark.parametrize("schedule", SCHEDULED, ids=repr)
def test_schedules(schedule):
    found = [factor(schedule, jnp.int32(n), BATCH) for n in range(6)]
    np.testing.assert_allclose(found, rates_of(schedule), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("schedule", SCHEDULED, ids=repr)
def test_the_largest_factor_without_a_warm_up(schedule):
    schedule = dataclasses.replace(schedule, warmup=0)
    assert schedule.largest == max(rates_of(schedule, 40))


def test_a_warm_up_moves_from_the_first_update_on():
    assert rates_of(Constant(warmup=4)) == [0.25, 0.5, 0.75, 1, 1, 1]
    assert rates_of(Linear(length=6, warmup=2)) == [0.5, 1, 1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("schedule", [Constant(), Linear(length=4), Cosine(length=5, warmup=2)])
@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_update_rules(config, schedule):
    config = dataclasses.replace(config, schedule=schedule)
    optimizer = make_optimizer(config, BATCH)
    update = jax.jit(optimizer.update)
    x = jnp.ones(())
    state, path = optimizer.init(x), []
    for gradient in GRADIENTS:
        change, state = update(jnp.float32(gradient), state, x)
        x = optax.apply_updates(x, change)
        path.append(float(x))
    sizes = [0.1 * rate for rate in rates_of(schedule)]
    formula = FORMULAS[type(config)]
    expected = [formula(config, GRADIENTS[:n], sizes[:n]) for n in range(1, 7)]
    np.testing.assert_allclose(path, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("schedule", [Constant(), Linear(length=2)])
def test_adam_beside_updates_of_lazy_terms(schedule):
    """Karras et al. 2020 (StyleGAN2), appendix B: constants for 3 updates in 2 batches. Schedules
    count batches."""
    course = Cosine(length=4, end=1.1)
    config = Adam(learning_rate=0.1, b1=0.5, b2=0.9, b2_schedule=course, schedule=schedule)
    optimizer = make_optimizer(config, BATCH, 2 / 3)
    m = v = 0.0
    state = optimizer.init(jnp.ones(()))
    for t, g in enumerate(GRADIENTS, 1):
        change, state = optimizer.update(jnp.float32(g), state)
        passed = (t - 1) * 2 / 3
        b1, b2 = 0.5 ** (2 / 3), (0.9 * cosine(course, passed)) ** (2 / 3)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        step = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
        rate = 0.1 * 2 / 3 * COURSES[type(schedule)](schedule, passed)
        np.testing.assert_allclose(change, -rate * step, rtol=1e-4, atol=1e-7)


def trees():
    generator = np.random.default_rng(0)
    shapes = {"bias": (7,), "kernel": (3, 5), "large": (70, 70)}
    return [
        {key: jnp.asarray(generator.normal(size=shape)) for key, shape in shapes.items()}
        for _ in range(4)
    ]


def run(config, params, gradients):
    optimizer = make_optimizer(config, BATCH)
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("fuse", [False, True])
def test_a_long_gradient_is_scaled_down_as_a_whole(fuse):
    """Pascanu et al. 2013, algorithm 1, over all arrays together, the fused ones among them."""
    params, *gradients = trees()
    norm = [float(optax.tree.norm(gradient)) for gradient in gradients]
    bound = (min(norm) + max(norm)) / 2
    clipped, _ = run(SGD(learning_rate=0.1, clip=bound, fuse=fuse), params, gradients)
    for name, start in params.items():
        scaled = [
            np.float64(g[name]) * min(1, bound / n) for g, n in zip(gradients, norm, strict=True)
        ]
        np.testing.assert_allclose(clipped[name], start - 0.1 * sum(scaled), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", RULES)
def test_what_is_off_leaves_nothing_in_the_state(kind):
    """So that checkpoints of before are read."""
    params = {"a": jnp.ones(3)}
    plain = kind().learning_rate
    expected = {
        Adam: optax.adam(plain),
        RMSProp: optax.rmsprop(plain),
        SGD: optax.sgd(plain),
    }[kind].init(params)
    found = make_optimizer(kind(), BATCH).init(params)
    assert jax.tree.structure(found) == jax.tree.structure(expected)


@pytest.mark.parametrize("kind", RULES)
def test_a_fused_update_is_the_same(kind):
    """Small arrays as one, a large one apart."""
    params, *gradients = trees()
    config = kind(learning_rate=0.1, schedule=Linear(length=4))
    config = dataclasses.replace(config, **({"weight_decay": 0.1} if kind is Adam else {}))
    plain, _ = run(config, params, gradients)
    fused, state = run(dataclasses.replace(config, fuse=True), params, gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), plain, fused)
    if kind is Adam:
        kept = [leaf.shape for leaf in jax.tree.leaves(state)]
        assert (22,) in kept
        assert (7,) not in kept
