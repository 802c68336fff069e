"""The formula of a step's floating-point operations: by hand, and beside the compiler's count."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from gan_flops import Cost, gan_layers, part_flops
from specs import image_spec

from genjax.config import DCGAN, SGD, GANConfig
from genjax.data.schema import image_schema
from genjax.families.gan.algorithm import make_gan
from genjax.presets import preset
from genjax.targets.flops import count_flops, products_of

OPTIMIZER = SGD()
STOCK = DCGAN(width=16, norm="none", convolutions="stock")
CONVOLUTIONAL = GANConfig(
    generator=STOCK,
    discriminator=STOCK,
    generator_optimizer=OPTIMIZER,
    discriminator_optimizer=OPTIMIZER,
)


def test_dcgan_by_hand():
    """Width 64 on 28 x 28: maps of 7, 14 and 28; z of 100; kernels of 5 and strides of 2."""
    from_28, from_14 = 5 * 14 - 3, 5 * 7 - 3
    project = 100 * (7 * 7 * 128)
    inner = from_14**2 * 128 * 64
    outer = from_28**2 * 64 * 1
    logit = 7 * 7 * 128 * 1
    g = project + inner + outer
    d = outer + inner + logit
    of_d = g + 2 * (3 * d - outer)
    of_g = 3 * g - project + 2 * d
    experiment = preset("dcgan-fashion")
    assert experiment.batch_size == 128
    for part, products in (
        ("discriminator", of_d),
        ("generator", of_g),
        ("step", of_d + of_g),
    ):
        assert count_flops(experiment, image_schema((28, 28, 1), 10), part) == 2 * 128 * products
    assert 2 * 128 * (of_d + of_g) == 26_999_816_192


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({}, 0.02),
        ({"discriminator_updates": 2}, 0.02),
        ({"loss": "relativistic"}, 0.02),
        ({"feature_matching": True}, 0.02),
        ({"share_generated": True}, 0.02),
        # Norms on maps this narrow are 2 % of the work.
        ({"generator": dataclasses.replace(STOCK, norm="batch"), "dtype": "bfloat16"}, 0.04),
        (
            {
                "generator": dataclasses.replace(STOCK, name="sngan"),
                "discriminator": dataclasses.replace(STOCK, name="sngan"),
            },
            0.04,
        ),
    ],
    ids=["plain", "two updates", "paired", "features", "shared", "norm", "sngan"],
)
def test_the_compiler_counts_as_much(changes, tolerance):
    config = dataclasses.replace(CONVOLUTIONAL, **changes)
    spec = image_spec(32, (32, 32, 3))
    algorithm = make_gan(config, spec)
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    batch = {"image": jax.ShapeDtypeStruct((algorithm.examples, *spec.shape), jnp.float32)}
    formula = part_flops(config, *map(Cost.of, gan_layers(config, spec)))
    for part, function in {"step": algorithm.step, **algorithm.updates}.items():
        # Before it is optimised, which computes some sums twice.
        counted = jax.jit(function).lower(state, batch).cost_analysis()["flops"]
        assert formula[part] <= counted <= (1 + tolerance) * formula[part], part


def test_a_compiled_step_costs_as_much():
    spec = image_spec(32, (32, 32, 3))
    algorithm = make_gan(CONVOLUTIONAL, spec)
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    batch = {"image": jax.ShapeDtypeStruct((32, *spec.shape), jnp.float32)}
    formula = part_flops(CONVOLUTIONAL, *map(Cost.of, gan_layers(CONVOLUTIONAL, spec)))
    compiled = jax.jit(algorithm.step).lower(state, batch).compile()
    assert compiled.cost_analysis()["flops"] == pytest.approx(formula["step"], rel=0.03)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"discriminator_updates": 3, "share_generated": True},
        {"loss": "relativistic"},
        {"dtype": "bfloat16"},
        {"generator": DCGAN(width=16), "discriminator": DCGAN(width=16)},
    ],
    ids=["plain", "shared", "paired", "bfloat16", "forms"],
)
def test_what_is_read_from_a_step_is_the_sum_by_hand(changes):
    """Also of forms that make more products than there is work, such as those of CPUs."""
    config = dataclasses.replace(CONVOLUTIONAL, **changes)
    spec = image_spec(8, (28, 28, 1))
    algorithm = make_gan(config, spec)
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    batch = {"image": jax.ShapeDtypeStruct((algorithm.examples, *spec.shape), jnp.float32)}
    formula = part_flops(config, *map(Cost.of, gan_layers(config, spec)))
    for part, function in {"step": algorithm.step, **algorithm.updates}.items():
        if part != "generator" or not config.share_generated:
            found = products_of(function, state, batch)
            assert sum(product.flops for product in found) == formula[part]


def test_an_autoencoder_by_hand():
    """784 - 400 - 2 x 20 and back: the first layer's input needs no gradient."""
    experiment = preset("vae-mnist")
    encoder, decoder = 784 * 400 + 400 * 40, 20 * 400 + 400 * 784
    products = 3 * (encoder + decoder) - 784 * 400
    assert count_flops(experiment, image_schema((28, 28, 1), 10)) == 2 * 128 * products


def test_loops_count_as_often_as_they_turn_and_branches_once():
    w = jax.ShapeDtypeStruct((5, 5), jnp.float32)

    def scanned(w):
        return jax.lax.scan(lambda x, _: (x @ w, None), w, length=7)[0]

    def branched(w):
        return jax.lax.cond(w[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, w)

    def unused(w):
        return jax.jit(lambda x: (x @ x, x @ x @ x))(w)[0]

    counts = [sum(x.flops for x in products_of(f, w)) for f in (scanned, branched, unused)]
    assert counts == [7 * 250, 2 * 250, 250]


def test_products_say_where_they_are_traced():
    def loss(w):
        with jax.named_scope("inner"):
            return jnp.sum(w @ jnp.ones((5, 2)))

    found = products_of(jax.value_and_grad(loss), jax.ShapeDtypeStruct((5, 5), jnp.float32))
    assert [product.scope for product in found] == ["jvp(inner)", "transpose(jvp(inner))"]
