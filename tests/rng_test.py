"""Draws depend on the seed, the stream, the step and the example, and on nothing else."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from specs import stand_in

from genjax.config import GANConfig
from genjax.core.parallel import compile_step, mapped_axis, step_once
from genjax.core.rng import example_index, latents, stream
from genjax.domains.image import IMAGE
from genjax.families.gan.augment import AUGMENTATIONS, make_augmentation
from genjax.families.gan.conditioning import make_conditioning
from genjax.families.gan.penalties import PENALTIES, Origin, Scene
from genjax.families.registry import with_stored
from genjax.families.vae.likelihoods import binarize
from genjax.nn.layers import Dropout, gather_batch

KEY = jax.random.key(3)
PLACES = [(mode, count) for mode in ("mesh", "pmap") for count in (2, 4, 8)]


def test_streams_and_counters_differ():
    keys = [
        stream(KEY, "a"),
        stream(KEY, "b"),
        stream(KEY, "a", 0),
        stream(KEY, "a", 1),
        stream(KEY, "a", 1, 0),
        stream(jax.random.key(4), "a"),
    ]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == len(keys)


def test_a_latent_depends_on_its_own_example_only():
    whole = latents(KEY, jnp.arange(10), 5)
    part = latents(KEY, jnp.array([7, 2]), 5)
    np.testing.assert_array_equal(part, whole[jnp.array([7, 2])])


def test_latents_are_standard_normal():
    z = np.asarray(latents(KEY, jnp.arange(4000), 16))
    assert abs(z.mean()) < 0.02
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.eye(16), atol=0.1)


def test_mapped_devices_hold_consecutive_examples():
    index = jax.pmap(lambda _: example_index(3, "data"), axis_name="data")(np.zeros(4))
    np.testing.assert_array_equal(index.ravel(), example_index(12, None))


class State(NamedTuple):
    """What draws depend on beside their names, and what a step has drawn."""

    step: Any
    key: Any
    drawn: Any


def penalty_draws(images, key, index, axis_name):
    """Penalties of a D whose gradient at each image is one of the points it was drawn at."""

    def critic(images):
        return jnp.square(images[:, 0, 0, 0]) / 2

    real = jnp.ones_like(images).at[:, ::2].set(-1)
    logits = jnp.zeros(len(images))
    origins = Origin(real, critic), Origin(images, critic)
    seen = critic, real, images, *origins, logits, logits, 0.0, 0.0, key, index, axis_name
    scene = Scene(*seen, None, lambda images, condition: critic(images), None)
    return {name: PENALTIES[name].compute(scene) for name in ("dragan", "wgan_gp")}


def all_draws(axis_name):
    """An algorithm that learns nothing, but keeps all that a step draws at random."""
    config = GANConfig(
        generator_conditioning="concat",
        discriminator_conditioning="infogan",
    )
    codes = make_conditioning(config, 10)
    augment = make_augmentation(["plain", "translation"])

    def step(state, batch):
        images = batch["image"]
        index = example_index(images.shape[0], axis_name)
        key = stream(state.key, "update", state.step)
        dropout = Dropout(0.5, axis_name)
        drawn = {
            "flip": images,
            "latent": latents(key, index, 5),
            "code": codes.draw(key, index, None),
            "dropout": dropout.apply({}, jnp.ones_like(images), True, rngs={"dropout": key}),
            "augment": augment(images, key, index),
            "binarize": binarize(images, key, index),
            **penalty_draws(images, key, index, axis_name),
        }
        drawn = {name: gather_batch(rows, axis_name) for name, rows in drawn.items()}
        return State(state.step + 1, state.key, drawn), {}

    plain = stand_in(step, init=lambda key: State(jnp.int32(0), key, {}))
    return with_stored(plain, IMAGE, ("flip",), axis_name)


def draw_twice(mode, count, raw_batch):
    compiled = compile_step(all_draws(mapped_axis(mode)), mode, jax.devices()[:count])
    state, drawn = compiled.init(KEY), []
    for number in range(2):
        state, _ = step_once(compiled, state._replace(drawn={}), raw_batch(number, 16))
        drawn.append(jax.device_get(state.drawn))
    return drawn


def test_every_draw_has_the_same_bits_on_any_number_of_devices(raw_batch, monkeypatch):
    """The reference is one device. An augmentation of one draw a pixel stands for the others."""
    plain = lambda image, key: image + jax.random.uniform(key, image.shape)  # noqa: E731
    monkeypatch.setitem(AUGMENTATIONS, "plain", plain)
    reference = draw_twice("jit", 1, raw_batch)
    for first, second in zip(reference[0].values(), reference[1].values(), strict=True):
        assert not np.array_equal(first, second)
    for name, rows in reference[0].items():
        assert len({row.tobytes() for row in rows}) > 14, name
    for mode, count in PLACES:
        for step, drawn in enumerate(draw_twice(mode, count, raw_batch)):
            assert drawn.keys() == reference[step].keys()
            for name, rows in drawn.items():
                same = rows.tobytes() == reference[step][name].tobytes()
                assert same, f"{name} differs in mode {mode} on {count} devices"
