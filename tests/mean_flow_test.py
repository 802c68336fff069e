"""MeanFlow's loss against finite differences, its samples, and forward by backward derivatives."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoising import moved
from in_process import genjax
from scipy import special
from specs import image_spec

from genjax.config import SGD, DenoisingMLP, MeanFlowConfig, MeanFlowSampling
from genjax.core.rng import example_keys, latents, stream
from genjax.families.diffusion.mean_flow import jvp, make_mean_flow
from genjax.nn.layers import Layers

KEY = jax.random.key(5)
IMAGE = (3, 3, 1)
INDEX = jnp.arange(8)
CONFIG = MeanFlowConfig(
    network=DenoisingMLP(width=8, depth=1),
    optimizer=SGD(learning_rate=0.1),
    ema_decay=None,
    apart=0.5,
)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(1)
    return {"image": jnp.asarray(rng.uniform(-1, 1, (8, *IMAGE)).astype(np.float32))}


@functools.cache
def build(config, sampling=None):
    return moved(make_mean_flow(config, image_spec(8, IMAGE), sampling=sampling), KEY)


def said(state, x, t, r):
    """What the network says of the mean velocity from r to t, in float64."""
    params = jax.tree.map(np.float64, jax.device_get(state.network.params))
    waves = 10_000.0 ** (-np.arange(16) / 16)
    angles = 4 * np.stack([t, t - r], axis=-1)[..., None] * waves
    parts = [x, np.cos(angles), np.sin(angles)]
    y = np.concatenate([part.reshape(len(x), -1) for part in parts], axis=1)
    y = y @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    y = y / (1 + np.exp(-y))
    return (y @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]).reshape(x.shape)


def drawn(key):
    def uniform(name):
        keys = example_keys(stream(key, name), INDEX)
        return np.float64(jax.vmap(jax.random.uniform)(keys))

    one, other = (
        special.expit(-0.4 + special.ndtri(uniform(name))) for name in ("time", "other time")
    )
    apart = uniform("apart") < 0.5
    assert 0 < apart.sum() < 8
    keys = example_keys(stream(key, "noise"), INDEX)
    noise = np.float64(jax.vmap(lambda k: jax.random.normal(k, IMAGE))(keys))
    t = np.where(apart, np.maximum(one, other), one)
    return t, np.where(apart, np.minimum(one, other), one), noise


def spread(x):
    return x[:, None, None, None]


def errors(state, x, t, r, e):
    velocity, noisy, step = e - x, spread(1 - t) * x + spread(t) * e, 1e-5
    beside = [said(state, noisy + k * step * velocity, t + k * step, r) for k in (-1, 1)]
    slope = (beside[1] - beside[0]) / (2 * step)
    wanted = velocity - spread(t - r) * slope
    return np.sum((said(state, noisy, t, r) - wanted) ** 2, (1, 2, 3)), wanted


def test_loss(batch):
    """Geng et al. 2025, algorithm 1, with weights ``1 / (|error|^2 + 0.001)``."""
    algorithm, state = build(CONFIG)
    _, metrics = algorithm.step(state, batch)
    t, r, e = drawn(stream(KEY, "network update", 0))
    expected, wanted = errors(state, np.float64(batch["image"]), t, r, e)
    assert np.abs(wanted - (e - np.float64(batch["image"]))).max() > 0.01
    np.testing.assert_allclose(metrics["network/error"], expected.mean() / 9, rtol=1e-3)
    np.testing.assert_allclose(
        metrics["network/loss"], np.mean(expected / (expected + 1e-3)), rtol=1e-4
    )
    held_out = algorithm.evaluate(state, batch, KEY)["evaluation/loss"]
    expected, _ = errors(state, np.float64(batch["image"]), *drawn(KEY))
    np.testing.assert_allclose(held_out, expected / 9, rtol=1e-3)


def test_no_gradient_flows_through_what_is_fitted(batch):
    """The step is that of a plain regression on numbers."""
    config = dataclasses.replace(CONFIG, power=0.0)
    algorithm, state = build(config)
    after, _ = algorithm.step(state, batch)
    t, r, e = drawn(stream(KEY, "network update", 0))
    x = np.float64(batch["image"])
    _, wanted = errors(state, x, t, r, e)
    noisy = spread(1 - t) * x + spread(t) * e
    bias = np.float64(state.network.params["Dense_1"]["bias"])
    gradient = np.mean(2 * (said(state, noisy, t, r) - wanted), axis=0).ravel()
    np.testing.assert_allclose(
        after.network.params["Dense_1"]["bias"], bias - 0.1 * gradient, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_samples(steps):
    algorithm, state = build(CONFIG, MeanFlowSampling(steps=steps))
    samples = algorithm.sample(state, KEY, INDEX, {})
    x = np.float64(latents(KEY, INDEX, 9)).reshape(8, *IMAGE)
    for number in range(steps):
        t, r = (np.full(8, 1 - (number + k) / steps) for k in (0, 1))
        x = x - spread(t - r) * said(state, x, t, r)
    np.testing.assert_allclose(samples, np.clip(x, -1, 1), rtol=1e-3, atol=1e-3)
    assert (np.abs(x) < 1).sum() > 10


def test_forward_derivatives_of_what_has_backward_ones_alone():
    """Convolutions have derivatives of their own, which JAX's forward mode refuses."""
    rng = np.random.default_rng(2)
    x, v = jnp.asarray(rng.normal(size=(2, 2, 5, 5, 3)).astype(np.float32))
    forms = {}
    for form in ("auto", "stock"):
        conv = Layers(convolutions=form).conv(4, 3, 1, jax.nn.initializers.normal())
        params = conv.init(jax.random.key(0), x)

        def function(x, conv=conv, params=params):
            return jnp.tanh(conv.apply(params, x))

        forms[form] = jax.jit(lambda x, v, function=function: jvp(function, (x,), (v,)))(x, v)
    expected = jax.jvp(function, (x,), (v,))
    for found in forms.values():
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.full
def test_a_run_is_scored_by_all_that_applies(tmp_path):
    run = tmp_path / "run"
    network = ("--model.network.name", "mlp", "--model.network.width", "16")
    trained = genjax("train", "meanflow-digits", *network, "--steps", "12", "--out", run)
    assert trained.status == 0, trained.err
    assert "evaluation/loss" in (run / "metrics.jsonl").read_text()
    scored = genjax("evaluate", run, "--samples", "64")
    assert scored.status == 0, scored.err
    assert "fid" in scored.out
    assert "likelihood" not in scored.out + scored.err
    refused = genjax("evaluate", run, "--samples", "64", "--metrics", "likelihood")
    assert refused.status == 2
    assert "likelihood needs a run of a model with a likelihood" in refused.err
