"""Gradients accumulated over parts of a batch are those of the whole batch, for every family."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import image_spec

from genjax.config import (
    DCGAN,
    GPT,
    MLP,
    SGD,
    AutoregressiveConfig,
    DataConfig,
    Experiment,
    GANConfig,
    VAEConfig,
    VAEGANConfig,
)
from genjax.core.from_loss import mean_over_parts
from genjax.core.schema import Field, Schema
from genjax.data.noise import noise
from genjax.data.schema import image_schema
from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan
from genjax.families.registry import make_algorithm

SGD_STEP = SGD(learning_rate=0.05)
PLAIN = MLP(width=8, depth=1, norm="none")
GAN = GANConfig(
    generator=PLAIN,
    discriminator=dataclasses.replace(PLAIN, spectral_norm=True),
    generator_optimizer=SGD_STEP,
    discriminator_optimizer=SGD_STEP,
    discriminator_conditioning="projection",
    generator_conditioning="concat",
    penalties={"r1": (0.1, 1), "wgan_gp": (0.1, 2), "cr": (0.1, 1)},
    augmentations=("translation",),
    ada={"brightness": 1.0},
    ada_p=0.5,
    ada_target=0.5,
    ada_speed=100,
    ada_interval=2,
    discriminator_updates=2,
    historical_averaging=0.1,
    latent=4,
    ema_decay=0.9,
)
IMAGES = image_schema((8, 8, 1), 3)
TEXT = Schema("tokens", {"tokens": Field((6,), "int32", 5)}, {"tokenizer": "byte"})
CASES = {
    "gan": (GAN, IMAGES),
    "vae": (VAEConfig(encoder=PLAIN, decoder=PLAIN, optimizer=SGD_STEP, latent=3), IMAGES),
    "vae_gan": (
        VAEGANConfig(
            encoder=PLAIN,
            generator=PLAIN,
            discriminator=PLAIN,
            encoder_optimizer=SGD_STEP,
            generator_optimizer=SGD_STEP,
            discriminator_optimizer=SGD_STEP,
            latent=3,
        ),
        IMAGES,
    ),
    "autoregressive": (
        AutoregressiveConfig(network=GPT(width=8, depth=1, heads=2), optimizer=SGD_STEP),
        TEXT,
    ),
}


def two_steps(model, schema, parts):
    data = DataConfig("mine", flip=schema is IMAGES)
    experiment = Experiment("it", data, model, batch_size=12, accumulate=parts)
    algorithm = make_algorithm(experiment, schema)
    state, step = jax.jit(algorithm.init)(jax.random.key(0)), jax.jit(algorithm.step)
    for number in range(2):
        state, metrics = step(state, noise(schema, algorithm.examples, number))
    return state, metrics


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=pytest.mark.full if "gan" in name else ()) for name in CASES],
)
def test_parts_have_the_step_of_the_whole(family):
    """Whatever a part draws is what its examples draw in the whole batch."""
    model, schema = CASES[family]
    whole, metrics = two_steps(model, schema, 1)
    parts, in_parts = two_steps(model, schema, 3)
    assert metrics.keys() == in_parts.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(in_parts[name], value, rtol=2e-4, atol=1e-6, err_msg=name)
    whole, parts = (dataclasses.replace(state, key=None) for state in (whole, parts))
    chex.assert_trees_all_close(whole, parts, rtol=2e-4, atol=2e-6)


def test_statistics_are_means_over_parts(small_gan):
    """Batch norm sees one part at a time."""
    config = dataclasses.replace(small_gan, generator=DCGAN(width=4), discriminator=DCGAN(width=4))
    algorithm = make_gan(config, image_spec(4, (8, 8, 1)), accumulate=2)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    images = jnp.asarray(noise(image_schema((8, 8, 1)), 4)["image"] / 127.5 - 1, jnp.float32)
    moved = [
        jax.jit(algorithm.updates["discriminator"])(state, {"image": rows})[0]
        for rows in (images, images[jnp.array([2, 1, 0, 3])], images[jnp.array([1, 0, 2, 3])])
    ]
    statistics = [new.discriminator.variables["batch_stats"]["encoder"] for new in moved]
    variances = [np.asarray(found["BatchNorm_0"]["var"]) for found in statistics]
    # Who is in which part matters, and their order does not.
    np.testing.assert_array_equal(variances[0], variances[1])
    assert not np.array_equal(variances[0], variances[2])


def test_mean_over_parts_takes_every_nth_example():
    seen = []

    def function(examples, part):
        seen.append((part, examples.tolist()))
        return {"mean": examples.mean(), "count": jnp.int32(7)}

    found = mean_over_parts(function, jnp.arange(6.0), 3)
    assert seen == [(0, [0.0, 3.0]), (1, [1.0, 4.0]), (2, [2.0, 5.0])]
    assert (float(found["mean"]), int(found["count"])) == (2.5, 7)


def test_what_does_not_fit_is_refused():
    shared = dataclasses.replace(GAN, share_generated=True)
    with pytest.raises(UserError, match="accumulate is 3, but share_generated keeps"):
        two_steps(shared, IMAGES, 3)
    with pytest.raises(UserError, match="accumulate is 5"):
        two_steps(GAN, IMAGES, 5)
