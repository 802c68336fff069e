"""The formula of a step's floating-point operations: by hand, and beside the compiler's count."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from specs import image_spec

from benchmarks.flops import Cost, count_flops, gan_layers, part_flops
from genjax.config import DCGAN, SGD, GANConfig
from genjax.data.schema import image_schema
from genjax.families.gan.algorithm import make_gan
from genjax.presets import preset

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


@pytest.mark.parametrize("name", ["cgan-digits", "sngan-cifar10", "infogan-mnist", "gan-mnist"])
def test_other_gans_have_a_figure(name):
    experiment = dataclasses.replace(preset(name), batch_size=2)
    schema = image_schema((32, 32, 1), 10)
    parts = [count_flops(experiment, schema, part) for part in ("step", "discriminator")]
    assert 0 < parts[1] < parts[0]


def test_models_that_the_formula_does_not_cover():
    for name in ("vae-mnist", "wgan-gp-mnist"):
        assert count_flops(preset(name), image_schema((28, 28, 1), 10)) is None
