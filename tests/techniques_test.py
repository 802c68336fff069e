"""Techniques beside the game itself, against loops in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import image_spec
from tiny_gan import IMAGE, IMAGES, KEY, SIZE, TINY, judge, run_steps

from genjax.config import Constant, Cosine, Linear
from genjax.core.players import ramped_decay
from genjax.core.rng import latents, stream
from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.composition import make_networks
from genjax.families.gan.techniques import (
    clip_weights,
    move_history,
    top_k_weights,
    weight_terms,
)

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(16, 5)).astype(np.float32)


def close(a, b, **tolerances):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerances), a, b)


# ---- top-k ----


def test_top_k_weights():
    """Sinha et al. 2020, section 3: k falls by a factor a step, down to a share of the batch."""
    logits = np.array([0.3, -2, 5, 0.1, 7, -1, 2, 2.5, -4, 0.2])
    run = jax.jit(top_k_weights, static_argnums=(1, 2))
    counts = []
    for step in range(9):
        weights = run(jnp.float32(logits), 0.4, 0.9, jnp.int32(step))
        k = int(max(0.9**step, 0.4) * 10)
        expected = np.zeros(10)
        expected[np.argsort(logits)[::-1][:k]] = 1 / k
        np.testing.assert_allclose(weights, expected, rtol=1e-6)
        counts.append(k)
    assert counts == [10, 9, 8, 7, 6, 5, 5, 4, 4]
    floor = run(jnp.float32(logits), 0.4, 0.9, jnp.int32(1000))
    assert np.count_nonzero(floor) == 4


def test_top_k_of_everything_is_the_mean():
    for share, decay in ((1.0, 0.5), (0.3, 1.0)):
        weights = top_k_weights(jnp.float32(FEATURES[:, 0]), share, decay, jnp.int32(50))
        np.testing.assert_allclose(weights, np.full(16, 1 / 16), rtol=1e-6)


def test_top_k_keeps_at_least_one():
    weights = top_k_weights(jnp.float32([1, 3, 2]), 0.01, 0.1, jnp.int32(9))
    np.testing.assert_allclose(weights, [0, 1, 0])


def test_top_k_of_equal_logits_takes_k():
    weights = top_k_weights(jnp.zeros(8), 0.5, 0.1, jnp.int32(9))
    assert sorted(np.asarray(weights)) == [0] * 4 + [0.25] * 4


def test_top_k_rounds_down_but_not_because_of_float32():
    """In float32, 13 / 22 of 22 is below 13, and 0.9^2 of 100 below 81."""
    assert np.float32(13 / 22) * np.float32(22) < 13
    weights = top_k_weights(jnp.arange(22) * 1.0, 13 / 22, 1e-9, jnp.int32(5))
    assert np.count_nonzero(weights) == 13
    weights = top_k_weights(jnp.arange(100) * 1.0, 0.1, 0.9, jnp.int32(2))
    assert np.count_nonzero(weights) == 81


# ---- terms and bounds on the weights ----


def draw_params():
    return {
        "Dense_0": {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)},
        "logit": {"kernel": RNG.normal(size=(3, 1))},
    }


def test_historical_averaging():
    """Salimans et al. 2016, section 3.3: ``|theta - 1/t sum_i theta[i]|^2``."""
    path = [draw_params() for _ in range(5)]
    history = {"generator": jax.tree.map(jnp.float32, path[0])}
    move = jax.jit(move_history)
    for step, params in enumerate(path[1:]):
        history = move(history, {"generator": jax.tree.map(jnp.float32, params)}, jnp.int32(step))
        expected = jax.tree.map(lambda *all: np.mean(all, 0), *path[: step + 2])
        close(history["generator"], expected, rtol=1e-5, atol=1e-6)
    now = draw_params()
    mean = jax.tree.map(lambda *all: np.mean(all, 0), *path)
    distances = jax.tree.map(lambda p, m: np.sum((p - m) ** 2), now, mean)
    params = jax.tree.map(jnp.float32, now)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda p: weight_terms(p, 0.0, 0.3, history["generator"]))
    )(params)
    np.testing.assert_allclose(value, 0.3 * sum(jax.tree.leaves(distances)), rtol=1e-5)
    expected = jax.tree.map(lambda p, m: 2 * 0.3 * (p - m), now, mean)
    close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_weight_terms_add_up():
    params = jax.tree.map(jnp.float32, draw_params())
    zeros = jax.tree.map(jnp.zeros_like, params)
    distance = sum(float((np.float64(p) ** 2).sum()) for p in jax.tree.leaves(params))
    off_diagonal = 0.0
    for layer in params.values():
        gram = np.float64(layer["kernel"]).T @ np.float64(layer["kernel"])
        off_diagonal += np.sum((gram * (1 - np.eye(len(gram)))) ** 2)
    assert weight_terms(params, 0.0, 0.0, None) == 0
    np.testing.assert_allclose(weight_terms(params, 2.0, 0.0, None), 2 * off_diagonal, rtol=1e-5)
    np.testing.assert_allclose(
        weight_terms(params, 2.0, 0.5, zeros), 2 * off_diagonal + 0.5 * distance, rtol=1e-5
    )


def test_clip_weights():
    params = draw_params()
    clipped = clip_weights(jax.tree.map(jnp.float32, params), 0.3)
    close(clipped, jax.tree.map(lambda p: np.minimum(np.maximum(p, -0.3), 0.3), params), rtol=1e-6)


# ---- averages and step sizes ----


def test_ramp_of_the_average():
    """StyleGAN2's: the half-life in images is at most a share of the images seen so far."""
    batch, half_life = 32, 10_000
    decay = 0.5 ** (batch / half_life)
    for step in (1, 10, 1000, 6000, 10_000):
        images = min(half_life, 0.05 * step * batch)
        expected = 0.5 ** (batch / images)
        actual = ramped_decay(decay, 0.05, Constant(), jnp.int32(step), batch)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert ramped_decay(decay, None, Constant(), jnp.int32(3), batch) == decay
    assert ramped_decay(0.0, 0.05, Constant(), jnp.int32(3), batch) == 0


@pytest.mark.parametrize("ramp", [None, 0.05])
def test_schedule_of_the_average(ramp):
    """R3GAN's: the half-life in images rises with the images before the step, from 0 on."""
    batch, half_life, length = 32, 10_000, 64_000
    schedule = Cosine(length=length, start=0.0, end=1.0, unit="images")
    for step in (1, 2, 500, 2001, 10_000):
        seen = (step - 1) * batch
        images = half_life * (1 - np.cos(np.pi * min(seen / length, 1))) / 2
        if ramp is not None:
            images = min(images, ramp * step * batch)
        expected = 0.5 ** (batch / max(images, 1e-8))
        decay = 0.5 ** (batch / half_life)
        actual = ramped_decay(decay, ramp, schedule, jnp.int32(step), batch)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
        assert expected > 0 or step < 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ema_decay": None, "ema_ramp": 0.1}, "ema_ramp is 0.1 without a moving average"),
        ({"ema_decay": None, "ema_schedule": Linear(length=9)}, "ema_schedule is Linear.* without"),
        ({"penalty_schedule": Linear(length=9)}, "penalty_schedule is Linear.* without penalties"),
        ({"ada_schedule": Linear(length=9)}, "ada_schedule is Linear.* without a strength"),
    ],
)
def test_a_course_of_nothing_is_refused(small_gan, fields, words):
    with pytest.raises(UserError, match=words):
        make_gan(dataclasses.replace(small_gan, **fields), image_spec(8, (8, 8, 1)))


# ---- in a step ----


def generated(config, state, params=None):
    """G's images in its own update, from the state before."""
    network, _ = make_networks(config, image_spec(SIZE, IMAGE), None)
    key = stream(stream(KEY, "generator update", state.step), "latent")
    z = latents(key, jnp.arange(SIZE), config.latent)
    return network.apply({"params": state.generator.params if params is None else params}, z, True)


def test_feature_matching_clipping_and_history_in_a_step():
    """``|E f(x) - E f(G(z))|^2`` with D's features f (Salimans et al. 2016, section 3.1)."""
    config = dataclasses.replace(
        TINY,
        feature_matching=True,
        weight_clip=0.05,
        historical_averaging=0.5,
        generator_orthogonal=0.01,
    )
    _, d_network = make_networks(config, image_spec(SIZE, IMAGE), None)
    path = run_steps(config, 3)
    for state, new, metrics in path:
        d = new.discriminator.params
        largest = max(float(jnp.abs(p).max()) for p in jax.tree.leaves(d))
        np.testing.assert_allclose(largest, 0.05, rtol=1e-6)
        real, fake = judge(d, IMAGES)[0], judge(d, generated(config, state))[0]
        expected = np.sum((real.mean(0) - fake.mean(0)) ** 2)
        np.testing.assert_allclose(metrics["generator/loss"], expected, rtol=1e-4)
    for player in ("generator", "discriminator"):
        seen = [getattr(path[0][0], player).params]
        seen += [getattr(new, player).params for _, new, _ in path]
        mean = jax.tree.map(lambda *all: np.mean(np.float64(all), 0), *seen)
        close(path[-1][1].aux["history"][player], mean, rtol=1e-5, atol=1e-6)

    # G descends the sum of that and of the terms on its weights.
    state, new, _ = path[-1]
    d, past = new.discriminator.params, state.aux["history"]["generator"]

    def whole_loss(params):
        made = generated(config, state, params)
        means = [
            jnp.mean(d_network.apply({"params": d}, x, True).features, 0)
            for x in (jnp.asarray(IMAGES), made)
        ]
        total = jnp.sum((means[0] - means[1]) ** 2)
        for name in ("Dense_0", "Dense_1"):
            gram = params["decoder"][name]["kernel"].T @ params["decoder"][name]["kernel"]
            total += 0.01 * jnp.sum((gram * (1 - jnp.eye(len(gram)))) ** 2)
        squares = jax.tree.map(lambda p, m: jnp.sum((p - m) ** 2), params, past)
        return total + 0.5 * sum(jax.tree.leaves(squares))

    gradient = jax.jit(jax.grad(whole_loss))(state.generator.params)
    moved = jax.tree.map(lambda p, g: p - 0.3 * g, state.generator.params, gradient)
    close(new.generator.params, moved, rtol=1e-4, atol=1e-6)


def test_top_k_and_the_ramped_average_in_a_step():
    """G learns from the k images most realistic to the new D: 6, 3 and then 2 of 6. The average
    has a half-life of 0.8, 1.6 and then 2 steps."""
    half_life, ramp = 2.0, 0.8
    config = dataclasses.replace(
        TINY, top_k=1 / 3, top_k_decay=0.5, ema_decay=0.5 ** (1 / half_life), ema_ramp=ramp
    )
    path = run_steps(config, 3)
    mean = jax.tree.map(np.float64, path[0][0].generator.params)
    for number, ((state, new, metrics), k) in enumerate(zip(path, (6, 3, 2), strict=True), 1):
        _, logits = judge(new.discriminator.params, generated(config, state))
        losses = -np.log(1 / (1 + np.exp(-np.sort(logits)[::-1][:k])))
        np.testing.assert_allclose(metrics["generator/loss"], losses.mean(), rtol=1e-4)
        decay = 0.5 ** (1 / min(half_life, ramp * number))
        mean = jax.tree.map(
            lambda a, b, decay=decay: decay * a + (1 - decay) * np.float64(b),
            mean,
            new.generator.params,
        )
        close(new.generator.ema["params"], mean, rtol=1e-5, atol=1e-6)
