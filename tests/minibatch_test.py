"""Layers that let D see its batch, against loops in float64 and over eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.families.gan.networks import MINIBATCH, Discriminator
from genjax.nn.layers import Layers, MinibatchDiscrimination, MinibatchStddev
from genjax.nn.mlp import MLPEncoder

KEY = jax.random.key(4)
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(16, 5)).astype(np.float32)


def close(a, b, **tolerances):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerances), a, b)


def discrimination_formula(features, tensor, kernels, dimensions):
    """Salimans et al. 2016, section 3.2, over all pairs of different examples."""
    m = (np.float64(features) @ np.float64(tensor)).reshape(-1, kernels, dimensions)
    o = np.zeros((len(m), kernels))
    for i in range(len(m)):
        for j in range(len(m)):
            for b in range(kernels):
                if i != j:
                    o[i, b] += np.exp(-np.abs(m[i, b] - m[j, b]).sum())
    return np.concatenate([features, o], 1)


def stddev_formula(features, group):
    """Karras et al. 2018, section 3: one number for all examples of a group."""
    rows = []
    for start in range(0, len(features), group):
        members = np.float64(features[start : start + group])
        deviations = [
            np.sqrt(np.mean((column - column.mean()) ** 2) + 1e-8) for column in members.T
        ]
        rows += [[np.mean(deviations)]] * len(members)
    return np.concatenate([features, rows], 1)


def minibatch_formula(name, features, params):
    if name == "none":
        return np.float64(features)
    if name == "stddev":
        return stddev_formula(features, 4)
    kernel = params["minibatch"]["tensor"]["kernel"]
    assert kernel.shape == (features.shape[1], 500)
    return discrimination_formula(features, kernel, 100, 5)


LAYERS = {
    "discrimination": lambda axis_name: MinibatchDiscrimination(3, 2, axis_name),
    "stddev": lambda axis_name: MinibatchStddev(axis_name=axis_name),
}


def test_every_minibatch_layer_has_a_formula_here():
    assert {"none", *LAYERS} == set(MINIBATCH)
    assert MINIBATCH["none"] is None


def test_minibatch_discrimination():
    module = LAYERS["discrimination"](None)
    tensor = jnp.asarray(RNG.normal(size=(5, 6)), jnp.float32)
    params = {"tensor": {"kernel": tensor}}
    y = jax.jit(module.apply)({"params": params}, jnp.asarray(FEATURES))
    expected = discrimination_formula(FEATURES, tensor, 3, 2)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "group"), [(16, 4), (4, 4), (6, 6)])
def test_minibatch_stddev(size, group):
    """In fours, or over all of a batch that can't be divided so."""
    x = FEATURES[:size]
    y = jax.jit(LAYERS["stddev"](None).apply)({}, jnp.asarray(x))
    np.testing.assert_allclose(y, stddev_formula(x, group), rtol=1e-4, atol=1e-6)


def test_minibatch_stddev_of_equal_examples_has_a_gradient():
    module = LAYERS["stddev"](None)
    same = jnp.ones((4, 3))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(module.apply({}, x) ** 2)))(same)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", LAYERS)
def test_minibatch_layers_over_eight_devices(name):
    """Values, and gradients to the parameters and the features, are those of the whole batch."""
    whole, split = LAYERS[name](None), LAYERS[name]("data")
    x = jnp.asarray(FEATURES)
    variables = jax.eval_shape(lambda: whole.init(KEY, x))
    params = jax.tree.map(
        lambda p: jnp.float32(RNG.normal(size=p.shape)), variables.get("params", {})
    )
    appended = {"discrimination": 3, "stddev": 1}[name]
    weight = jnp.asarray(RNG.normal(size=(16, 5 + appended)), jnp.float32)

    def loss(module):
        def value(params, x, weight):
            y = module.apply({"params": params}, x)
            return jnp.mean(jnp.sum(y * weight, -1)), y

        return jax.value_and_grad(value, argnums=(0, 1), has_aux=True)

    (_, y), (params_gradient, x_gradient) = jax.jit(loss(whole))(params, x, weight)

    def on_device(params, x, weight):
        (_, y), (of_params, of_x) = loss(split)(params, x, weight)
        # The mean over devices of what each has of the sum over all examples.
        return y, jax.lax.pmean(of_params, "data"), of_x / 8

    def rows(a):
        return a.reshape(8, 2, -1)

    mapped = jax.pmap(on_device, axis_name="data", in_axes=(None, 0, 0))
    split_y, split_params, split_x = mapped(params, rows(x), rows(weight))
    np.testing.assert_allclose(split_y.reshape(y.shape), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(split_x.reshape(x.shape), x_gradient, rtol=1e-4, atol=1e-6)
    close(jax.tree.map(lambda a: a[3], split_params), params_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MINIBATCH)
def test_minibatch_layers_in_the_discriminator(name):
    """They come before the logit; feature matching and a further output see plain features."""
    make = MINIBATCH[name]
    module = Discriminator(
        MLPEncoder(6, 1, Layers()),
        Layers(),
        minibatch=None if make is None else make(None),
        auxiliary=(("class", 3),),
    )
    images = RNG.uniform(-1, 1, (8, 4, 4, 1)).astype(np.float32)
    inputs = jnp.asarray(images), True
    shapes = jax.eval_shape(lambda: module.init(KEY, *inputs))
    variables = jax.tree.map(lambda p: jnp.float32(0.3 * RNG.normal(size=p.shape)), shapes)
    judgement = jax.jit(lambda v: module.apply(v, *inputs))(variables)
    params = jax.tree.map(np.float64, variables["params"])
    dense = params["encoder"]["Dense_0"]
    hidden = images.reshape(8, -1) @ dense["kernel"] + dense["bias"]
    features = np.where(hidden > 0, hidden, 0.2 * hidden)
    judged = minibatch_formula(name, features, params)
    logits = (judged @ params["logit"]["kernel"] + params["logit"]["bias"])[:, 0]
    np.testing.assert_allclose(judgement.logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(judgement.features, features, rtol=1e-4, atol=1e-5)
    expected = features @ params["class"]["kernel"] + params["class"]["bias"]
    np.testing.assert_allclose(judgement.auxiliary["class"], expected, rtol=1e-4, atol=1e-5)
