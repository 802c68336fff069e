"""Updates of G on a batch, and in parts, of its own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import image_spec

from genjax.config import MLP, SGD, GANConfig
from genjax.core.parallel import compile_step, mapped_axis, step_once
from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.game import compose
from genjax.families.gan.generator import batch_of_generator

KEY = jax.random.key(3)
IMAGE = (4, 4, 1)
RNG = np.random.default_rng(0)
NETWORK = MLP(width=6, depth=1, norm="none")
GAN = GANConfig(
    generator=NETWORK,
    discriminator=NETWORK,
    generator_optimizer=SGD(learning_rate=0.1),
    discriminator_optimizer=SGD(learning_rate=0.1),
    latent=4,
)


def batch(size):
    return {"image": RNG.uniform(-1, 1, (size, *IMAGE)).astype(np.float32)}


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)


@pytest.mark.parametrize("size", [2, 16])
def test_an_update_of_g_is_that_of_a_gan_of_its_batch(size):
    own = make_gan(dataclasses.replace(GAN, generator_batch=size), image_spec(8, IMAGE))
    wanted = make_gan(GAN, image_spec(size, IMAGE))
    state = own.init(KEY)
    found = [
        jax.jit(gan.updates["generator"])(state, batch(count))[0].generator.params
        for gan, count in ((own, 8), (wanted, size))
    ]
    close(*found)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.generator.params, found[0])
    assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize(("size", "updates"), [(4, 3), (24, 3), (16, 2)])
def test_real_examples_beside_those_of_g_do_not_depend_on_the_devices(size, updates):
    config = dataclasses.replace(GAN, generator_batch=size, discriminator_updates=updates)
    game = compose(config, image_spec(8, IMAGE), None, 1)
    labels = jnp.arange(8 * updates).reshape(8, updates)
    real = jnp.broadcast_to(labels[..., None, None, None], (8, updates, *IMAGE))
    images, chosen = batch_of_generator(game, real, labels)
    np.testing.assert_array_equal(images[:, 0, 0, 0], chosen)
    assert len(set(np.asarray(chosen).tolist())) == size
    last = updates - 1
    row = {4: [last, 2 * updates + last], 24: [2, 1, 0], 16: [1, 0]}[size]
    np.testing.assert_array_equal(chosen[: len(row)], row)
    halves = [batch_of_generator(game, real[d : d + 4], labels[d : d + 4])[1] for d in (0, 4)]
    np.testing.assert_array_equal(np.concatenate(halves), chosen)


def test_g_alone_learns_in_parts():
    found = []
    for changes in ({}, {"generator_accumulate": 4}):
        gan = make_gan(dataclasses.replace(GAN, **changes), image_spec(8, IMAGE))
        state, _ = jax.jit(gan.step)(gan.init(KEY), {"image": jnp.full((8, *IMAGE), 0.5)})
        found.append((state.generator.params, state.discriminator.params))
    close(*found)
    parts = [
        compose(dataclasses.replace(GAN, **c), image_spec(8, IMAGE), None, 2)
        for c in ({}, {"generator_accumulate": 4})
    ]
    assert [(g.accumulate, g.generator_parts) for g in parts] == [(2, 2), (2, 4)]


@pytest.mark.full
@pytest.mark.parametrize("size", [4, 16])
def test_devices_agree(size):
    config = dataclasses.replace(
        GAN, generator_batch=size, discriminator_updates=2, loss="relativistic"
    )
    data, found = batch(16), []
    for mode, count in (("jit", 1), ("pmap", 4), ("mesh", 4)):
        gan = make_gan(config, image_spec(8, IMAGE), mapped_axis(mode))
        compiled = compile_step(gan, mode, jax.devices()[:count])
        state, _ = step_once(compiled, compiled.init(KEY), data)
        found.append(jax.device_get(state.generator.params))
    close(found[0], found[1])
    close(found[0], found[2])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator_batch": 12}, "generator_batch is 12; it must be a multiple or a divisor"),
        ({"generator_batch": 4, "share_generated": True}, "share_generated lets G learn from D's"),
        ({"generator_accumulate": 3}, "generator_accumulate is 3; it must be a divisor"),
        (
            {"generator_accumulate": 2, "share_generated": True},
            "accumulate is 2, but share_generated",
        ),
        (
            {"generator_batch": 16, "loss": "relativistic"},
            "generator_batch is 16, but G needs as many real examples or labels, and a step has 8",
        ),
    ],
)
def test_batches_that_are_refused(changes, said):
    with pytest.raises(UserError, match=said):
        make_gan(dataclasses.replace(GAN, **changes), image_spec(8, IMAGE))


def test_devices_with_too_few_examples_are_named():
    gan = make_gan(dataclasses.replace(GAN, generator_batch=2), image_spec(8, IMAGE), "data")
    compiled = compile_step(gan, "pmap", jax.devices()[:4])
    with pytest.raises(UserError, match="generator_batch is 2 of 8, which devices with 2 examples"):
        step_once(compiled, compiled.init(KEY), batch(8))
