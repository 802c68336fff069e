"""Options that save time or memory, against the plain step that they must equal."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import image_spec

from genjax.config import DCGAN, SGD, SNGAN, DataConfig, Experiment, GANConfig, Goodfellow
from genjax.config.json import from_json, to_dict
from genjax.core.players import apply_training
from genjax.core.rng import latents, stream
from genjax.domains.image import scale_images
from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.composition import make_networks

KEY = jax.random.key(0)
SIZE = 8
OPTIMIZER = SGD(learning_rate=0.01)
PLAIN = DCGAN(width=8, norm="none")


@functools.cache
def compiled(text, image):
    config = from_json(text).model
    algorithm = make_gan(config, image_spec(SIZE, image, 10))
    return algorithm, jax.jit(algorithm.init)(KEY), jax.jit(algorithm.step)


def run(config, raw_batch, image=(8, 8, 1), steps=2):
    """The state and the metrics after some steps."""
    experiment = Experiment("work", DataConfig(), config)
    algorithm, state, advance = compiled(json.dumps(to_dict(experiment)), image)
    for number in range(steps):
        batch = raw_batch(number, algorithm.examples, image)
        batch = {"image": scale_images(jnp.asarray(batch["image"])), "label": batch["label"]}
        state, metrics = advance(state, batch)
    return state, metrics


def weights(state):
    players = (state.generator, state.discriminator)
    return [(player.params, player.variables, player.ema) for player in players]


def close(a, b, rtol=1e-4, atol=1e-6):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def with_networks(config, **fields):
    changed = {
        name: dataclasses.replace(getattr(config, name), **fields)
        for name in ("generator", "discriminator")
    }
    return dataclasses.replace(config, **changed)


RESIDUAL = GANConfig(
    generator=SNGAN(width=8),
    discriminator=SNGAN(width=8, norm="none", spectral_norm=True),
    generator_optimizer=OPTIMIZER,
    discriminator_optimizer=OPTIMIZER,
    loss="hinge",
    latent=8,
)


def distance(a, b):
    squares = jax.tree.map(lambda x, y: np.sum(np.square(np.float64(x) - np.float64(y))), a, b)
    return np.sqrt(sum(jax.tree.leaves(squares)))


@pytest.mark.parametrize(
    ("name", "image"),
    [("dcgan", (28, 28, 1)), pytest.param("sngan", (8, 8, 3), marks=pytest.mark.full)],
)
def test_twenty_steps_with_fast_and_with_stock_convolutions(small_gan, raw_batch, name, image):
    """Rounding, and what training makes of it, is all that differs.

    It may decide a ReLU otherwise, which alone moves G by a hundredth of its way.
    """
    config = {"dcgan": small_gan, "sngan": RESIDUAL}[name]
    plain = with_networks(config, convolutions="stock")
    start = jax.jit(make_gan(config, image_spec(SIZE, image, 10)).init)(KEY)
    for steps, bound in ((1, 1e-4), (20, 5e-2)):
        fast, _ = run(config, raw_batch, image, steps)
        stock, _ = run(plain, raw_batch, image, steps)
        for player in ("generator", "discriminator"):
            a, b, first = (getattr(state, player).params for state in (fast, stock, start))
            assert 0 < distance(a, b) < bound * distance(b, first)


def test_stock_convolutions_are_those_of_xla(small_gan):
    """The switch reaches every convolution of a step."""
    config = dataclasses.replace(small_gan, generator=PLAIN, discriminator=PLAIN)

    def count(config):
        algorithm = make_gan(config, image_spec(SIZE, (8, 8, 1)))
        state = jax.eval_shape(algorithm.init, KEY)
        batch = {"image": jax.ShapeDtypeStruct((SIZE, 8, 8, 1), jnp.float32)}
        return str(jax.make_jaxpr(algorithm.step)(state, batch)).count("conv_general_dilated[")

    # Both networks have two convolutions. G runs twice and D three times. D learns from two passes
    # without the gradient of its images; G's gradient goes through D to G's weights and maps.
    stock = 2 * 2 + 3 * 2 + 2 * (2 + 1) + 2 + 2 * 2
    assert count(with_networks(config, convolutions="stock")) == stock
    assert count(config) != stock


@pytest.mark.parametrize("remat", [pytest.param("activations", marks=pytest.mark.full), "all"])
def test_remat_computes_the_same(small_gan, raw_batch, remat):
    plain, _ = run(small_gan, raw_batch)
    saved, _ = run(with_networks(small_gan, remat=remat), raw_batch)
    close(weights(plain), weights(saved), rtol=1e-4, atol=1e-6)
    assert jax.tree.structure(plain) == jax.tree.structure(saved)


def residual_bytes(config, image):
    """What D's loss keeps for its backward pass, beside what it is given."""
    d = make_networks(config, image_spec(SIZE, image), None)[1]
    variables = jax.eval_shape(lambda: d.init(KEY, jnp.zeros((1, *image)), False))
    inputs = jax.ShapeDtypeStruct((SIZE, *image), jnp.float32)

    def loss(params, others, x):
        return jnp.sum(apply_training(d, params, others, x)[0].logits)

    others = {name: value for name, value in variables.items() if name != "params"}
    pull = jax.eval_shape(lambda *a: jax.vjp(loss, *a)[1], variables["params"], others, inputs)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull))


def test_remat_keeps_less():
    config = GANConfig(discriminator=DCGAN(width=16))
    kept = [
        residual_bytes(with_networks(config, remat=remat), (32, 32, 3))
        for remat in ("none", "activations", "all")
    ]
    assert kept[2] < kept[1] < kept[0]


JOINT = {
    "projection": {
        "generator": PLAIN,
        "generator_conditioning": "concat",
        "discriminator": dataclasses.replace(PLAIN, norm="layer"),
        "discriminator_conditioning": "projection",
        "penalties": {"r1": (0.1, 1), "lecam": (0.1, 1)},
        "loss": "relativistic_average",
    },
    "acgan": {
        "generator": PLAIN,
        "generator_conditioning": "concat",
        "discriminator": PLAIN,
        "discriminator_conditioning": "acgan",
        "discriminator_updates": 2,
    },
}


@pytest.mark.parametrize("axes", JOINT)
def test_a_joint_pass_equals_two(small_gan, raw_batch, axes):
    config = dataclasses.replace(small_gan, **JOINT[axes])
    apart, expected = run(config, raw_batch)
    joint, metrics = run(dataclasses.replace(config, joint_pass=True), raw_batch)
    close(weights(joint), weights(apart))
    close(metrics, expected)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"discriminator": PLAIN, "minibatch": "stddev"},
        {"discriminator": Goodfellow(width=8)},
    ],
    ids=["batch norm", "minibatch", "dropout"],
)
def test_a_joint_pass_that_would_change_the_result_is_refused(small_gan, fields):
    config = dataclasses.replace(small_gan, joint_pass=True, **fields)
    with pytest.raises(UserError, match="joint_pass needs a D that judges each image alone"):
        make_gan(config, image_spec(SIZE, (8, 8, 1)))


def test_shared_images_are_those_of_the_last_update_of_d(dense_gan, raw_batch):
    """D learns as before; G's gradient is that on D's noise, against the new D."""
    updates = 2
    config = dataclasses.replace(dense_gan, discriminator_updates=updates)
    shared, metrics = run(dataclasses.replace(config, share_generated=True), raw_batch, steps=1)
    algorithm = make_gan(config, image_spec(SIZE, (8, 8, 1)))
    batch = {"image": scale_images(jnp.asarray(raw_batch(0, algorithm.examples)["image"]))}
    state = jax.jit(algorithm.init)(KEY)
    apart, _ = jax.jit(algorithm.updates["discriminator"])(state, batch)
    close(shared.discriminator.params, apart.discriminator.params)

    g_network, d_network = make_networks(config, image_spec(SIZE, (8, 8, 1)), None)
    start = state.generator
    key = stream(stream(KEY, "discriminator update", 0, updates - 1), "latent")
    z = latents(key, jnp.arange(SIZE), config.latent)

    def loss(params):
        images, variables = apply_training(g_network, params, start.variables, z)
        d = shared.discriminator
        judged, _ = apply_training(d_network, d.params, d.variables, images)
        return jnp.mean(jax.nn.softplus(-judged.logits)), variables

    (value, variables), grads = jax.value_and_grad(loss, has_aux=True)(start.params)
    rate = config.generator_optimizer.learning_rate
    expected = jax.tree.map(lambda p, g: p - rate * g, start.params, grads)
    close(shared.generator.params, expected)
    close(shared.generator.variables, variables)
    np.testing.assert_allclose(metrics["generator/loss"], value, rtol=1e-5)
