"""The diffusion family: its loss, its samples and what it refuses."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoising import moved
from in_process import genjax
from scipy import special, stats
from specs import image_spec

from genjax.config import (
    SGD,
    CosinePath,
    DenoisingMLP,
    DiffusionConfig,
    DiffusionSampling,
    LogitNormal,
    Straight,
    Uniform,
    VariancePreserving,
)
from genjax.core.rng import example_keys, stream
from genjax.core.schema import Field, Spec
from genjax.errors import UserError
from genjax.families.diffusion.algorithm import make_diffusion

KEY = jax.random.key(3)
IMAGE = (4, 4, 1)
CLASSES = 3
PLAIN = DiffusionConfig(
    network=DenoisingMLP(width=8, depth=1), optimizer=SGD(learning_rate=0.1), ema_decay=None
)
CONDITIONAL = dataclasses.replace(PLAIN, conditional=True, label_dropout=0.4)
INDEX = jnp.arange(6)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(1)
    return {
        "image": jnp.asarray(rng.uniform(-1, 1, (6, *IMAGE)).astype(np.float32)),
        "label": jnp.arange(6) % CLASSES,
    }


@functools.cache
def build(config, sampling=None):
    return moved(make_diffusion(config, image_spec(6, IMAGE, CLASSES), sampling=sampling), KEY)


def said(state, x, label, labels=None):
    """What the network says: a dense layer, SiLU, and another."""
    params = jax.device_get(state.network.params)
    params = params.get("network", params)
    frequencies = 10_000.0 ** (-np.arange(16) / 16)
    angles = np.asarray(label)[:, None] * frequencies
    parts = [np.asarray(x).reshape(len(x), -1), np.cos(angles), np.sin(angles)]
    if labels is not None:
        parts.append(np.asarray(labels)[:, None] == np.arange(CLASSES))
    y = np.concatenate(parts, axis=1)
    for name in ("Dense_0", "Dense_1"):
        y = y @ params[name]["kernel"] + params[name]["bias"]
        y = y / (1 + np.exp(-y)) if name == "Dense_0" else y
    return y.reshape(x.shape)


def drawn(key, shape=IMAGE):
    """Numbers of U(0, 1) and noise of the examples of a step or an evaluation."""
    u = jax.vmap(jax.random.uniform)(example_keys(stream(key, "time"), INDEX))
    keys = example_keys(stream(key, "noise"), INDEX)
    return np.float64(u), np.float64(jax.vmap(lambda k: jax.random.normal(k, shape))(keys))


def spread(x):
    return np.asarray(x)[:, None, None, None]


def test_edms_loss(batch):
    """Karras et al. 2022, equations 7 and 8, with c_skip, c_out, c_in and c_noise of table 1."""
    algorithm, state = build(PLAIN)
    _, metrics = algorithm.step(state, batch)
    u, noise = drawn(stream(KEY, "network update", 0))
    s = np.exp(-1.2 + 1.2 * stats.norm.ppf(u))
    skip, out = 0.25 / (s**2 + 0.25), s * 0.5 / np.sqrt(s**2 + 0.25)
    x = np.float64(batch["image"])
    noisy = x + spread(s) * noise
    f = said(state, spread(1 / np.sqrt(s**2 + 0.25)) * noisy, np.log(s) / 4)
    data = spread(skip) * noisy + spread(out) * f
    weight = (s**2 + 0.25) / (s * 0.5) ** 2
    expected = np.mean(spread(weight) * (data - x) ** 2)
    np.testing.assert_allclose(metrics["network/loss"], expected, rtol=1e-4)


def test_learned_weights(batch):
    """Karras et al. 2024, equation 21, with u linear in Fourier features that stay as drawn."""
    config = dataclasses.replace(PLAIN, weighting="learned", ema_decay=0.5)
    spec = image_spec(6, IMAGE, CLASSES)
    algorithm, state = moved(make_diffusion(config, spec, accumulate=3), KEY)
    after, metrics = algorithm.step(state, batch)
    u, noise = drawn(stream(KEY, "network update", 0))
    s = np.exp(-1.2 + 1.2 * stats.norm.ppf(u))
    size = np.sqrt(s**2 + 0.25)
    x = np.float64(batch["image"])
    label = np.log(s) / 4
    f = said(state, (x + spread(s) * noise) / spread(size), label)
    wanted = (spread(s**2) * x - spread(0.25 * s) * noise) / spread(size * s * 0.5)
    errors = np.mean((wanted - f) ** 2, axis=(1, 2, 3))
    constants = state.network.variables["constants"]
    waves = {name: np.float64(value) for name, value in constants["fourier"].items()}
    features = 2**0.5 * np.cos(np.outer(label, waves["frequencies"]) + waves["phases"])
    direction = np.float64(state.network.params["linear"]["unit_direction"])[:, 0]
    doubt = features @ direction / np.linalg.norm(direction)
    expected = np.mean(errors / np.exp(doubt) + doubt)
    np.testing.assert_allclose(metrics["network/loss"], expected, rtol=1e-3)
    brought = after.network.params["linear"]["unit_direction"]
    np.testing.assert_allclose(np.mean(np.square(brought)), 1, rtol=1e-3)
    assert np.abs(brought - state.network.params["linear"]["unit_direction"]).max() > 1e-3
    for kept in (after.network.variables, after.network.ema):
        jax.tree.map(np.testing.assert_array_equal, kept["constants"], constants)


def test_flow_matching(batch):
    """Liu et al. 2023, equation 1."""
    config = dataclasses.replace(
        PLAIN, path=Straight(), prediction="velocity", times=LogitNormal(mean=0.5, std=0.8)
    )
    algorithm, state = build(config)
    _, metrics = algorithm.step(state, batch)
    u, noise = drawn(stream(KEY, "network update", 0))
    t = special.expit(0.5 + 0.8 * special.ndtri(u))
    x = np.float64(batch["image"])
    velocity = said(state, spread(1 - t) * x + spread(t) * noise, 1000 * t)
    expected = np.mean((noise - x - velocity) ** 2)
    np.testing.assert_allclose(metrics["network/loss"], expected, rtol=1e-3)


@pytest.mark.parametrize("path", [VariancePreserving(), CosinePath()])
def test_ddpm_with_bounded_weights(path, batch):
    """Ho et al. 2020, equation 14, weighed as Hang et al. 2023: ``min(SNR, 5) / SNR``."""
    config = dataclasses.replace(
        PLAIN, path=path, prediction="noise", times=Uniform(), weighting="min_snr"
    )
    algorithm, state = build(config)
    _, metrics = algorithm.step(state, batch)
    u, noise = drawn(stream(KEY, "network update", 0))
    if isinstance(path, CosinePath):
        t = u
        alpha, sigma = np.cos(np.pi * t / 2), np.sin(np.pi * t / 2)
    else:
        t = 1e-5 + (1 - 1e-5) * u
        alpha = np.exp(-0.25 * t**2 * 19.9 - 0.5 * t * 0.1)
        sigma = np.sqrt(1 - alpha**2)
    x = np.float64(batch["image"])
    error = (noise - said(state, spread(alpha) * x + spread(sigma) * noise, 1000 * t)) ** 2
    snr = (alpha / sigma) ** 2
    expected = np.mean(spread(np.minimum(snr, 5) / snr) * error)
    np.testing.assert_allclose(metrics["network/loss"], expected, rtol=1e-3)


def test_labels_are_left_out_at_random(batch):
    algorithm, state = build(CONDITIONAL)
    _, metrics = algorithm.step(state, batch)
    key = stream(KEY, "network update", 0)
    u, noise = drawn(key)
    dropped = jax.vmap(jax.random.uniform)(example_keys(stream(key, "label dropout"), INDEX)) < 0.4
    assert 0 < dropped.sum() < 6
    s = np.exp(-1.2 + 1.2 * stats.norm.ppf(u))
    x, size = np.float64(batch["image"]), np.sqrt(s**2 + 0.25)
    labels = np.where(dropped, -1, batch["label"])
    f = said(state, spread(1 / size) * (x + spread(s) * noise), np.log(s) / 4, labels)
    target = (x - spread(0.25 / size**2) * (x + spread(s) * noise)) / spread(s * 0.5 / size)
    np.testing.assert_allclose(metrics["network/loss"], np.mean((target - f) ** 2), rtol=1e-4)


def test_evaluation_is_the_loss_at_a_time_of_each_eighth(batch):
    algorithm, state = build(PLAIN)
    found = algorithm.evaluate(state, batch, KEY)["evaluation/loss"]
    assert found.shape == (6,)
    again = algorithm.evaluate(state, batch, KEY)["evaluation/loss"]
    np.testing.assert_array_equal(found, again)
    u, _ = drawn(KEY)
    total = np.zeros(6)
    for number in range(8):
        keys = example_keys(stream(KEY, "noise", number), INDEX)
        noise = np.float64(jax.vmap(lambda k: jax.random.normal(k, IMAGE))(keys))
        s = np.exp(-1.2 + 1.2 * stats.norm.ppf((number + u) / 8))
        x, size = np.float64(batch["image"]), np.sqrt(s**2 + 0.25)
        noisy = x + spread(s) * noise
        f = said(state, spread(1 / size) * noisy, np.log(s) / 4)
        target = (x - spread(0.25 / size**2) * noisy) / spread(s * 0.5 / size)
        total += ((target - f) ** 2).mean((1, 2, 3)) / 8
    np.testing.assert_allclose(found, total, rtol=1e-3)


# ---- samples ----


@pytest.mark.parametrize("solver", ["heun", "ddpm"])
def test_a_sample_does_not_depend_on_the_others(solver):
    options = DiffusionSampling(solver=solver, steps=4, churn=3.0 if solver == "heun" else 0.0)
    algorithm, state = build(PLAIN, options)
    samples = algorithm.sample(state, KEY, jnp.arange(5), {})
    assert samples.shape == (5, *IMAGE)
    assert float(jnp.abs(samples).max()) <= 1
    some = algorithm.sample(state, KEY, jnp.asarray([3, 1]), {})
    np.testing.assert_allclose(some, samples[jnp.asarray([3, 1])], rtol=1e-5, atol=1e-6)
    other = algorithm.sample(state, jax.random.key(4), jnp.arange(5), {})
    assert float(jnp.abs(other - samples).max()) > 0.01


def one_step(config, labels, guidance=1.0, **options):
    """From the most noise to the estimate at once; small values are not clipped."""
    options = DiffusionSampling(solver="euler", steps=1, guidance=guidance, **options)
    algorithm, state = build(config, options)
    return np.asarray(algorithm.sample(state, KEY, INDEX, {"label": labels}))


def test_guidance_goes_beyond_the_label():
    """Ho & Salimans 2022, equation 6, of estimates of the data."""
    labels = jnp.arange(6) % CLASSES
    near = dataclasses.replace(CONDITIONAL, path=dataclasses.replace(CONDITIONAL.path, most=0.2))
    plain = one_step(near, labels)
    free = one_step(near, jnp.full(6, CLASSES))
    inside = (np.abs(plain) < 0.6) & (np.abs(free) < 0.6)
    assert inside.sum() > 20
    guided = one_step(near, labels, 1.5)
    np.testing.assert_allclose(
        guided[inside], (free + 1.5 * (plain - free))[inside], rtol=1e-4, atol=1e-5
    )
    assert np.abs(guided - plain).max() > 1e-3
    without = one_step(near, labels, 0.0)
    np.testing.assert_allclose(without, free, rtol=1e-4, atol=1e-5)
    for bounds in ({"guidance_least": 0.3}, {"guidance_most": 0.1}):
        np.testing.assert_allclose(one_step(near, labels, 1.5, **bounds), plain, atol=1e-6)


def test_points_are_not_clipped():
    config = dataclasses.replace(PLAIN, data_std=3.0)
    algorithm = make_diffusion(config, image_spec(4, (2,)))
    state = algorithm.init(KEY)
    samples = algorithm.sample(state, KEY, jnp.arange(64), {})
    assert samples.shape == (64, 2)
    assert float(jnp.abs(samples).max()) > 1


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"prediction": "nosie"}, {}, ["'nosie'", "noise"]),
        ({"weighting": "snr"}, {}, ["'snr'", "min_snr"]),
        ({}, {"solver": "henu"}, ["'henu'", "heun"]),
        ({}, {"eta": 0.5}, ["eta is 0.5", "'heun'", "ddim"]),
        ({}, {"churn": 3.0, "solver": "ddim"}, ["churn is 3", "euler or heun"]),
        ({}, {"shift": 3.0}, ["shift is 3", "'ve'"]),
        ({"path": Straight()}, {"rho": 3.0}, ["rho is 3", "'flow'"]),
        ({}, {"guidance": 2.0}, ["guidance is 2", "label_dropout"]),
    ],
)
def test_mistakes(changes, options, said):
    config = dataclasses.replace(PLAIN, **changes)
    with pytest.raises(UserError) as error:
        make_diffusion(config, image_spec(6, IMAGE, CLASSES), sampling=DiffusionSampling(**options))
    assert all(part in str(error.value) for part in said)


def test_what_it_is_not_for():
    tokens = Spec(4, {"text": Field((8,), "int32", 65)}, "text")
    with pytest.raises(UserError, match="autoregressive"):
        make_diffusion(PLAIN, tokens)
    with pytest.raises(UserError, match="needs class labels"):
        make_diffusion(CONDITIONAL, image_spec(6, IMAGE, 0))
    with pytest.raises(UserError, match="label_dropout is"):
        make_diffusion(dataclasses.replace(PLAIN, label_dropout=0.1), image_spec(6, IMAGE, CLASSES))


# ---- from the command line ----


@pytest.mark.full
def test_a_run_is_trained_sampled_scored_and_interpolated(tmp_path):
    run = tmp_path / "run"
    network = ("--model.network.name", "mlp", "--model.network.width", "16")
    labels = ("--model.conditional", "True", "--model.label-dropout", "0.1")
    trained = genjax("train", "diffusion-digits", *network, *labels, "--steps", "12", "--out", run)
    assert trained.status == 0, trained.err
    grid = tmp_path / "grid.png"
    options = ("--solver", "dpmpp_2m", "--steps", "5", "--guidance", "2")
    drawn = genjax("sample", run, *options, "--label", "3", "--n", "4", "--out", grid)
    assert drawn.status == 0, drawn.err
    assert grid.exists()
    scored = genjax("evaluate", run, "--metrics", "fid,likelihood", "--samples", "64", *options)
    assert scored.status == 0, scored.err
    fid, bits, bound = (json.loads(x) for x in (run / "scores.jsonl").read_text().splitlines())
    assert fid["sampling"]["solver"] == "dpmpp_2m"
    assert fid["sampling"]["steps"] == 5
    assert fid["sampling"]["guidance"] == 2
    assert (bits["metric"], bound["metric"]) == ("bits_per_dim", "bits_per_dim_bound")
    assert {"steps": 50, "probes": 1, "examples": 64}.items() <= bits["parameters"].items()
    assert {"steps": 1000, "draws": 100, "examples": 64}.items() <= bound["parameters"].items()
    for record in (bits, bound):
        assert record["better"] == "lower"
        assert min(record["value"], record["spread"]) > 0
        assert record["parameters"]["images"]["split"] == "test"
    way = tmp_path / "way.png"
    assert genjax("interpolate", run, "--label", "3", "--out", way).status == 0
    assert way.exists()
    refused = genjax("sample", run, "--eta", "0.3", "--out", tmp_path / "no.png")
    assert refused.status == 2
    assert "ddim" in refused.err
