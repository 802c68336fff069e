"""Normalisation of hidden layers against float64 sums."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import image_spec

from genjax.errors import UserError
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.networks import Generator
from genjax.nn.layers import Layers
from genjax.nn.mlp import MLPDecoder
from genjax.nn.norms import NORMS, GroupNorm, Normalize

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
MAPS = RNG.normal(2, 3, (6, 4, 5, 3)).astype(np.float32)
VECTORS = RNG.normal(-1, 2, (6, 7)).astype(np.float32)
INPUTS = pytest.mark.parametrize("x", [MAPS, VECTORS], ids=["maps", "vectors"])
EPSILON, REFERENCE = 1e-5, 2


def standardize(x, axes, of=None):
    """``(x - mean) / sqrt(var + epsilon)`` with the moments of `of`, by default x itself."""
    of = np.float64(x if of is None else of)
    mean = of.mean(axes, keepdims=True)
    variance = ((of - mean) ** 2).mean(axes, keepdims=True)
    return (np.float64(x) - mean) / np.sqrt(variance + EPSILON)


def batch(x):
    """Ioffe & Szegedy 2015, algorithm 1: a channel over the examples and the map."""
    return standardize(x, tuple(range(x.ndim - 1)))


def layer(x):
    """Ba et al. 2016, equation 3: an example over all of its units."""
    return standardize(x, tuple(range(1, x.ndim)))


def virtual(x):
    """Salimans et al. 2016, section 3.5: each example in a batch with the reference alone."""
    axes, fixed = tuple(range(x.ndim - 1)), x[:REFERENCE]
    rows = [standardize(fixed, axes)]
    for row in x[REFERENCE:]:
        rows.append(standardize(row[None], axes, of=np.concatenate([fixed, row[None]])))
    return np.concatenate(rows)


FORMULAS = {"batch": batch, "layer": layer, "virtual": virtual}


def test_every_norm_has_a_formula_here():
    assert set(FORMULAS) == set(NORMS)


@INPUTS
@pytest.mark.parametrize("name", NORMS)
def test_values(name, x):
    module = Normalize(NORMS[name](True, None, REFERENCE))
    variables = module.init(KEY, jnp.asarray(x))
    gain, bias = (RNG.normal(size=x.shape[-1]).astype(np.float32) for _ in range(2))
    assert jax.tree.map(np.shape, variables["params"]) == {"scale": gain.shape, "bias": bias.shape}
    variables = {**variables, "params": jax.tree.map(jnp.asarray, {"scale": gain, "bias": bias})}
    y, _ = module.apply(variables, jnp.asarray(x), mutable=["batch_stats"])
    np.testing.assert_allclose(y, FORMULAS[name](x) * gain + bias, rtol=1e-4, atol=1e-5)


def test_batch_norm_evaluates_with_its_running_moments():
    """Which start at 0 and 1, and move by a tenth in each batch."""
    training = Normalize(NORMS["batch"](True, None, 0))
    evaluating = Normalize(NORMS["batch"](False, None, 0))
    variables = training.init(KEY, jnp.asarray(MAPS))
    mean, variance = np.zeros(3), np.ones(3)
    for number in range(3):
        x = MAPS * (1 + number)
        _, changed = training.apply(variables, jnp.asarray(x), mutable=["batch_stats"])
        variables = {**variables, **changed}
        mean = 0.9 * mean + 0.1 * np.float64(x).mean((0, 1, 2))
        variance = 0.9 * variance + 0.1 * np.float64(x).var((0, 1, 2))
    expected = (MAPS - mean) / np.sqrt(variance + EPSILON)
    y = evaluating.apply(variables, jnp.asarray(MAPS))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NORMS)
def test_constant_units_stay_finite(name):
    """Their variance is 0, and rounding must not make it negative."""
    for value in (0.0, 0.1, 100.1, -333.3):
        module = Normalize(NORMS[name](True, None, REFERENCE))
        x = jnp.full((5, 3, 3, 2), value, jnp.float32)
        y, _ = module.init_with_output(KEY, x)
        assert np.isfinite(y).all()


def test_batch_norm_over_devices_is_that_of_the_whole_batch():
    x = jnp.asarray(MAPS)
    module = Normalize(NORMS["batch"](True, "data", 0))
    variables = Normalize(NORMS["batch"](True, None, 0)).init(KEY, x)
    run = jax.vmap(
        lambda x: module.apply(variables, x, mutable=["batch_stats"])[0], axis_name="data"
    )
    y = run(x.reshape(3, 2, *x.shape[1:])).reshape(x.shape)
    np.testing.assert_allclose(y, batch(MAPS), rtol=1e-4, atol=1e-5)


def test_virtual_rows_depend_on_the_reference_and_themselves_alone():
    module = Normalize(NORMS["virtual"](True, None, REFERENCE))
    x = jnp.asarray(MAPS)
    y, variables = module.init_with_output(KEY, x)
    assert set(variables) == {"params"}
    changed = module.apply(variables, x.at[3].multiply(-5.0))
    np.testing.assert_array_equal(np.delete(changed, 3, axis=0), np.delete(y, 3, axis=0))
    assert not np.allclose(changed[3], -5 * y[3])
    moved = module.apply(variables, x.at[0].add(1.0))
    assert not np.isclose(moved, y, atol=1e-4).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("conditioning", ["none", "concat"])
def test_generator_with_virtual_batch_norm(conditioning):
    """The whole network in float64; its reference is what it was initialised with."""
    decoder = MLPDecoder((2, 2, 1), 5, 1, Layers("virtual", reference=3))
    module = Generator(decoder, conditioning, virtual=True)
    z = RNG.normal(size=(7, 4)).astype(np.float32)
    labels = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1, 0, 1]] if conditioning != "none" else None
    first, then = slice(0, 3), slice(3, 7)

    def given(rows):
        return jnp.asarray(z[rows]), None if labels is None else jnp.asarray(labels[rows])

    fixed_z, fixed_labels = given(first)
    variables = module.init(KEY, fixed_z, False, fixed_labels)
    new_z, new_labels = given(then)
    images = module.apply(variables, new_z, True, new_labels)
    assert images.shape == (4, 2, 2, 1)

    weights = jax.tree.map(np.float64, variables["params"]["decoder"])
    inputs = np.float64(z if labels is None else np.concatenate([z, labels], 1))
    hidden = inputs @ weights["Dense_0"]["kernel"] + weights["Dense_0"]["bias"]
    normal = [
        standardize(row[None], 0, of=np.concatenate([hidden[first], row[None]]))
        for row in hidden[then]
    ]
    hidden = np.maximum(np.concatenate(normal), 0)
    expected = np.tanh(hidden @ weights["Dense_1"]["kernel"] + weights["Dense_1"]["bias"])
    np.testing.assert_allclose(images.reshape(4, -1), expected, rtol=1e-4, atol=1e-5)

    one = module.apply(variables, new_z[2:3], True, None if labels is None else new_labels[2:3])
    np.testing.assert_allclose(one, images[2:3], rtol=1e-5, atol=1e-6)


def test_virtual_batch_norm_in_the_discriminator_is_refused(small_gan):
    network = dataclasses.replace(small_gan.discriminator, norm="virtual")
    config = dataclasses.replace(small_gan, discriminator=network)
    with pytest.raises(UserError, match="'virtual' is for a GAN's generator"):
        jax.eval_shape(make_gan(config, image_spec(4, (8, 8, 1))).init, KEY)


def test_unknown_norms_list_the_choices(small_gan):
    network = dataclasses.replace(small_gan.discriminator, norm="batsh")
    config = dataclasses.replace(small_gan, discriminator=network)
    with pytest.raises(UserError, match="norm 'batsh'; did you mean 'batch'"):
        jax.eval_shape(make_gan(config, image_spec(4, (8, 8, 1))).init, KEY)


@pytest.mark.parametrize(("channels", "groups"), [(2, 1), (12, 3), (144, 24), (256, 32)])
def test_groups_of_channels(channels, groups):
    """At least 4 channels a group, at most 32 groups, and as many as divide the channels."""
    x = RNG.normal(2, 3, (2, 3, 2, channels)).astype(np.float32)
    parts = standardize(x.reshape(2, 3, 2, groups, -1), (1, 2, 4))
    norm = Normalize(GroupNorm())
    made = norm.apply(norm.init(KEY, jnp.asarray(x)), jnp.asarray(x))
    np.testing.assert_allclose(made, parts.reshape(x.shape), rtol=1e-4, atol=1e-5)
