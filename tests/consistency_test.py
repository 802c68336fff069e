"""Consistency models: their loss with a teacher and without against float64, and their samples."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoising import moved
from scipy import special
from specs import image_spec

from genjax.config import (
    SGD,
    ConsistencyConfig,
    ConsistencySampling,
    DenoisingMLP,
    DiffusionConfig,
    GANConfig,
    Straight,
    Uniform,
)
from genjax.core.frozen import Frozen, with_frozen
from genjax.core.rng import example_keys, latents, stream
from genjax.core.schema import Field
from genjax.errors import UserError
from genjax.families.diffusion.algorithm import make_diffusion
from genjax.families.diffusion.consistency import make_consistency

KEY = jax.random.key(5)
IMAGE = (3, 3, 1)
INDEX = jnp.arange(8)
SPEC = image_spec(8, IMAGE)
NETWORK = DenoisingMLP(width=8, depth=1)
CONFIG = ConsistencyConfig(
    network=NETWORK, optimizer=SGD(learning_rate=0.1), ema_decay=None, intervals=5
)
LEAST, MOST, STD = 0.002, 80.0, 0.5


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(1)
    return {"image": jnp.asarray(rng.uniform(-1, 1, (8, *IMAGE)).astype(np.float32))}


@functools.cache
def teacher(path):
    """A diffusion model, as another run's."""
    config = DiffusionConfig(network=NETWORK, ema_decay=None)
    if path == "flow":
        config = dataclasses.replace(config, path=Straight(), prediction="velocity")
    _, state = moved(make_diffusion(config, SPEC), jax.random.key(7))
    params = jax.device_get(state.network.params)
    return Frozen(config, SPEC, {"network": {"params": params}})


@functools.cache
def build(config, sampling=None):
    networks = {}
    if config.teacher is not None:
        networks = {"teacher": teacher(config.teacher)}
    algorithm = make_consistency(config, SPEC, sampling=sampling, networks=networks)
    algorithm, state = moved(algorithm, KEY)
    return algorithm, with_frozen(state, networks)


def spread(x):
    return x[:, None, None, None]


def said(params, x, label):
    """What the network says, in float64."""
    params = jax.tree.map(np.float64, params)
    angles = label[:, None] * 10_000.0 ** (-np.arange(16) / 16)
    parts = [x, np.cos(angles), np.sin(angles)]
    y = np.concatenate([part.reshape(len(x), -1) for part in parts], axis=1)
    y = y @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    y = y / (1 + np.exp(-y))
    return (y @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]).reshape(x.shape)


def consistent(state, x, t):
    """Song et al. 2023, equation 5 and appendix C."""
    kept = STD**2 / ((t - LEAST) ** 2 + STD**2)
    changed = STD * (t - LEAST) / np.sqrt(t**2 + STD**2)
    inner = spread(1 / np.sqrt(t**2 + STD**2)) * x
    params = jax.device_get(state.network.params)
    return spread(kept) * x + spread(changed) * said(params, inner, np.log(t) / 4)


def denoised(path, x, t):
    """The teacher's estimate of the data, where ``x = data + t noise``."""
    params = teacher(path).variables["network"]["params"]
    if path == "ve":
        inner = spread(1 / np.sqrt(t**2 + STD**2)) * x
        f = said(params, inner, np.log(t) / 4)
        kept, changed = STD**2 / (t**2 + STD**2), t * STD / np.sqrt(t**2 + STD**2)
        return spread(kept) * x + spread(changed) * f
    time = t / (1 + t)
    noisy = spread(1 - time) * x
    return noisy - spread(time) * said(params, noisy, 1000 * time)


def drawn(key):
    keys = example_keys(stream(key, "time"), INDEX)
    u = np.float64(jax.vmap(jax.random.uniform)(keys))
    keys = example_keys(stream(key, "noise"), INDEX)
    return u, np.float64(jax.vmap(lambda key: jax.random.normal(key, IMAGE))(keys))


def between(share):
    ends = LEAST ** (1 / 7), MOST ** (1 / 7)
    return (ends[0] + share * (ends[1] - ends[0])) ** 7


def neighbours(u, uniform, count):
    """The times on either side of each of the intervals that are learnt."""
    share = u
    if not uniform:
        # Song & Dhariwal 2024, equation 10: of what lies between the ends.
        low, high = (special.ndtr((np.log(end) + 1.1) / 2) for end in (LEAST, MOST))
        t = np.exp(-1.1 + 2 * special.ndtri(low + u * (high - low)))
        share = (t ** (1 / 7) - LEAST ** (1 / 7)) / (MOST ** (1 / 7) - LEAST ** (1 / 7))
    number = np.clip(np.floor(share * count), 0, count - 1)
    return between((number + 1) / count), between(number / count)


def expected_loss(state, x, u, e, config, count=5):
    t, to = neighbours(u, isinstance(config.times, Uniform), count)
    noisy, earlier = x + spread(t) * e, x + spread(to) * e
    if config.teacher is not None:
        slope = (noisy - denoised(config.teacher, noisy, t)) / spread(t)
        guess = noisy + spread(to - t) * slope
        after = (guess - denoised(config.teacher, guess, to)) / spread(to)
        earlier = noisy + spread(to - t) * (slope + after) / 2
    apart = consistent(state, noisy, t) - consistent(state, earlier, to)
    bound = 0.00054 * 3
    return (np.sqrt(np.sum(apart**2, (1, 2, 3)) + bound**2) - bound) / (t - to)


@pytest.mark.parametrize("path", [None, "ve", "flow"])
def test_loss(path, batch):
    config = dataclasses.replace(CONFIG, teacher=path)
    if path == "ve":
        config = dataclasses.replace(config, times=Uniform())
    algorithm, state = build(config)
    _, metrics = algorithm.step(state, batch)
    x = np.float64(batch["image"])
    expected = expected_loss(state, x, *drawn(stream(KEY, "network update", 0)), config)
    np.testing.assert_allclose(metrics["network/loss"], expected.mean(), rtol=1e-3)
    held_out = algorithm.evaluate(state, batch, KEY)["evaluation/loss"]
    np.testing.assert_allclose(
        held_out, expected_loss(state, x, *drawn(KEY), config), rtol=1e-3, atol=1e-4
    )


def test_intervals_are_doubled_up_to_a_bound(batch):
    config = dataclasses.replace(CONFIG, doubled_every=2, most_intervals=12)
    algorithm, state = build(config)
    counts = []
    for _ in range(6):
        before = state
        state, metrics = algorithm.step(state, batch)
        counts.append(float(metrics["network/intervals"]))
    assert counts == [5, 5, 10, 10, 12, 12]
    x, key = np.float64(batch["image"]), stream(KEY, "network update", 5)
    expected = expected_loss(before, x, *drawn(key), config, count=12)
    np.testing.assert_allclose(metrics["network/loss"], expected.mean(), rtol=1e-3)


@pytest.mark.parametrize("steps", [1, 3])
def test_samples(steps):
    """Song et al. 2023, algorithm 1."""
    algorithm, state = build(CONFIG, ConsistencySampling(steps=steps))
    samples = algorithm.sample(state, KEY, INDEX, {})
    noise = np.float64(latents(KEY, INDEX, 9)).reshape(8, *IMAGE)
    data = consistent(state, MOST * noise, np.full(8, MOST))
    for number in range(1, steps):
        keys = example_keys(stream(KEY, "solver", number), INDEX)
        noise = np.float64(jax.vmap(lambda key: jax.random.normal(key, IMAGE))(keys))
        t = between(1 - number / steps)
        data = consistent(state, data + np.sqrt(t**2 - LEAST**2) * noise, np.full(8, t))
    np.testing.assert_allclose(samples, np.clip(data, -1, 1), rtol=1e-3, atol=1e-3)
    assert (np.abs(data) < 1).sum() > 10


def test_a_teacher_without_labels_is_asked_only_if_it_knows_of_that():
    spec = image_spec(8, IMAGE, classes=10)
    model = DiffusionConfig(network=NETWORK, conditional=True)
    always = teacher("ve")._replace(model=model, spec=spec)
    config = dataclasses.replace(CONFIG, teacher="ve", conditional=True, label_dropout=0.1)
    with pytest.raises(UserError, match=r"label_dropout is 0.1, but the teacher was always given"):
        make_consistency(config, spec, networks={"teacher": always})


def captioned(teacher_given, teacher_left_out, left_out):
    """A student of captions and labels, and a teacher of some of these."""
    caption = Field((2, 5), "int32", 256)
    spec = image_spec(8, IMAGE, classes=10)
    fields, facts = {**spec.fields, "caption": caption}, {"tokenizer": "byte"}
    spec = spec._replace(fields=fields, given=("label", "caption"), facts=facts)
    model = DiffusionConfig(network=NETWORK, conditional=True, **teacher_left_out)
    frozen = teacher("ve")._replace(model=model, spec=spec._replace(given=teacher_given))
    config = dataclasses.replace(CONFIG, teacher="ve", conditional=True, **left_out)
    return lambda: make_consistency(config, spec, networks={"teacher": frozen})


@pytest.mark.parametrize(
    ("teacher_left_out", "left_out", "field"),
    [
        ({"caption_dropout": 0.0}, {"caption_dropout": 0.1}, "caption_dropout"),
        ({"caption_dropout": 0.0, "label_dropout": 0.1}, {"label_dropout": 0.1}, "label_dropout"),
    ],
)
def test_nor_is_one_asked_without_captions_that_always_had_some(teacher_left_out, left_out, field):
    with pytest.raises(UserError, match=rf"{field} is 0.1, but the teacher was always given the c"):
        captioned(("caption",), teacher_left_out, left_out)()


def test_one_that_never_had_captions_does_without():
    assert captioned(("label",), {}, {"caption_dropout": 0.1})().step


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        ({"model": GANConfig()}, SPEC, "teacher is a run of the family 'gan', which denoises"),
        ({"spec": image_spec(8, (4, 4, 1))}, SPEC, r"teacher learnt from \(4, 4, 1\), but this"),
        (
            {
                "model": DiffusionConfig(network=NETWORK, conditional=True),
                "spec": image_spec(8, IMAGE, classes=10),
            },
            SPEC,
            "teacher needs one of 10 labels, but this model is given none",
        ),
        (
            {"model": DiffusionConfig(network=NETWORK, autoencoder="a#1", latent_scale=0.2)},
            SPEC,
            "teacher denoises latents of the autoencoder 1 times 0.2, but this model data",
        ),
    ],
)
def test_teachers_that_do_not_fit_are_refused(changes, spec, message):
    config = dataclasses.replace(CONFIG, teacher="ve")
    with pytest.raises(UserError, match=message):
        make_consistency(config, spec, networks={"teacher": teacher("ve")._replace(**changes)})
