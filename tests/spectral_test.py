"""Spectral normalisation (Miyato et al. 2018) against NumPy's SVD and PyTorch, in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from specs import image_spec

from genjax.config import MLP, SGD
from genjax.core.players import make_player, update_player
from genjax.core.spectral import COLLECTION, power_iteration
from genjax.families.gan.algorithm import make_gan
from genjax.nn.conv import Conv, ConvTranspose
from genjax.nn.layers import Dense

KEY = jax.random.key(2)
RNG = np.random.default_rng(0)
LAYERS = {
    "dense": (Dense, (5,), (4, 7)),
    "conv": (Conv, (5, 3), (2, 4, 4, 3)),
    "conv_transpose": (ConvTranspose, (5, 3, 2), (2, 4, 4, 3)),
}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def as_matrix(kernel):
    """One row an output, in float64."""
    return np.float64(kernel).reshape(-1, kernel.shape[-1]).T


def iterate(kernel, vectors, times=1):
    """Algorithm 1: v = W^T u / |W^T u|, then u = W v / |W v|."""
    matrix, u = as_matrix(kernel), np.float64(vectors["u"])
    for _ in range(times):
        v = matrix.T @ u
        v /= np.linalg.norm(v)
        u = matrix @ v
        u /= np.linalg.norm(u)
    return {"u": u, "v": v}


def assert_iterated(new, old, params, times=1):
    """All singular vectors of a network are `times` iterations after the old ones."""
    assert new.keys() == old.keys()
    for name in new:
        if name == "vectors":
            expected = iterate(params["kernel"], old["vectors"], times)
            for side in ("u", "v"):
                np.testing.assert_allclose(
                    new["vectors"][side], expected[side], rtol=1e-4, atol=1e-5
                )
        else:
            assert_iterated(new[name], old[name], params[name], times)


def kernels(params):
    flat = jax.tree_util.tree_leaves_with_path(params)
    return sum(path[-1].key == "kernel" for path, _ in flat)


def vectors(spectral):
    return len(jax.tree.leaves(spectral)) // 2


@pytest.mark.parametrize("name", LAYERS)
def test_sigma_is_the_largest_singular_value(name):
    make, arguments, shape = LAYERS[name]
    layer, plain = make(*arguments, spectral_norm=True), make(*arguments)
    x = jnp.asarray(RNG.normal(size=shape), jnp.float32)
    variables = layer.init(KEY, x)
    params = {**variables["params"], "bias": jnp.asarray(RNG.normal(size=5), jnp.float32)}
    sigma = np.linalg.svd(as_matrix(params["kernel"]), compute_uv=False)[0]
    # The start already made some iterations.
    start = variables[COLLECTION]["vectors"]
    estimate = np.float64(start["u"]) @ as_matrix(params["kernel"]) @ np.float64(start["v"])
    assert 0.95 * sigma < estimate <= sigma * (1 + 1e-5)
    again = jax.jit(power_iteration)
    spectral = variables[COLLECTION]
    for _ in range(100):
        spectral = again(params, spectral)
    normalized = {**params, "kernel": jnp.float32(params["kernel"] / sigma)}
    np.testing.assert_allclose(
        layer.apply({"params": params, COLLECTION: spectral}, x),
        plain.apply({"params": normalized}, x),
        rtol=1e-4,
        atol=1e-5,
    )


def test_applying_a_layer_leaves_its_vectors_alone():
    layer, x = Dense(5, spectral_norm=True), jnp.ones((2, 7))
    variables = layer.init(KEY, x)
    _, changed = layer.apply(variables, x, mutable=[COLLECTION])
    jax.tree.map(np.testing.assert_array_equal, changed[COLLECTION], variables[COLLECTION])


def test_one_iteration_against_torch(torch):
    """PyTorch renews u before v, so that its u is half an iteration ahead of ours."""
    kernel = RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)
    module = torch.nn.Conv2d(2, 4, 3).double()
    with torch.no_grad():
        # [out, height, width, in] in memory, so that rows have our order.
        module.weight = torch.nn.Parameter(torch.tensor(kernel.transpose(3, 0, 1, 2)).double())
    torch.nn.utils.parametrizations.spectral_norm(module)
    theirs = module.parametrizations.weight[0]
    module.train()
    module.weight  # noqa: B018 (reading it is an iteration)
    u, v = theirs._u.numpy().copy(), theirs._v.numpy().copy()
    module.weight  # noqa: B018
    next_u = theirs._u.numpy().copy()
    ours = power_iteration(
        {"kernel": jnp.asarray(kernel)},
        {"vectors": {"u": jnp.float32(u), "v": jnp.zeros(18)}},
    )["vectors"]
    np.testing.assert_allclose(ours["v"], v, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours["u"], next_u, rtol=1e-4, atol=1e-6)


def test_value_and_gradient_against_torch(torch):
    """The gradient takes W in sigma along, and not u and v (equation 12)."""
    layer = Dense(5, spectral_norm=True)
    x = RNG.normal(size=(6, 7)).astype(np.float32)
    weight = RNG.normal(size=(6, 5)).astype(np.float32)
    variables = layer.init(KEY, jnp.asarray(x))
    kernel = jnp.asarray(RNG.normal(size=(7, 5)), jnp.float32)
    # Vectors of another kernel: far from converged, as after a large update.
    pair = iterate(RNG.normal(size=(7, 5)), {"u": RNG.normal(size=5)})
    spectral = {"vectors": jax.tree.map(jnp.float32, pair)}

    def loss(kernel):
        params = {**variables["params"], "kernel": kernel}
        y = layer.apply({"params": params, COLLECTION: spectral}, jnp.asarray(x))
        return jnp.sum(jnp.sin(y) * weight), y

    (_, y), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(kernel)

    module = torch.nn.Linear(7, 5, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor(np.asarray(kernel).T.copy()).double())
    torch.nn.utils.parametrizations.spectral_norm(module)
    theirs = module.parametrizations.weight
    theirs[0]._u.copy_(torch.tensor(pair["u"]))
    theirs[0]._v.copy_(torch.tensor(pair["v"]))
    module.eval()
    expected = module(torch.tensor(x).double())
    (torch.sin(expected) * torch.tensor(weight).double()).sum().backward()
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, theirs.original.grad.numpy().T, rtol=1e-4, atol=1e-5)


def test_an_update_is_one_iteration_with_the_new_parameters():
    params = {"a": {"kernel": jnp.asarray(RNG.normal(size=(7, 5)), jnp.float32)}}
    spectral = {"a": {"vectors": {"u": jnp.ones(5) / 5**0.5, "v": jnp.zeros(7)}}}
    optimizer = optax.sgd(0.5)
    player = make_player({"params": params, COLLECTION: spectral}, optimizer, average=False)
    grads = {"a": {"kernel": jnp.asarray(RNG.normal(size=(7, 5)), jnp.float32)}}
    new = update_player(player, grads, player.variables, optimizer)
    np.testing.assert_allclose(
        new.params["a"]["kernel"], params["a"]["kernel"] - 0.5 * grads["a"]["kernel"], rtol=1e-5
    )
    assert_iterated(new.variables[COLLECTION], spectral, new.params)


def test_in_a_step(small_gan):
    """One iteration an update of each player, though D is applied twice in its own and once in
    G's; the average's vectors follow the averaged parameters."""
    network = MLP(width=6, depth=1, norm="none", spectral_norm=True)
    config = dataclasses.replace(
        small_gan,
        generator=network,
        discriminator=network,
        generator_optimizer=SGD(learning_rate=0.5),
        # D stands still, so that its two updates have the same parameters.
        discriminator_optimizer=SGD(learning_rate=1e-30),
        discriminator_updates=2,
        ema_decay=0.5,
    )
    algorithm = make_gan(config, image_spec(4, (4, 4, 1)))
    state = jax.jit(algorithm.init)(KEY)
    images = jnp.asarray(RNG.uniform(-1, 1, (8, 4, 4, 1)), jnp.float32)
    new, _ = jax.jit(algorithm.step)(state, {"image": images})

    for player in (state.generator, state.discriminator):
        assert set(player.variables) == {COLLECTION}
        assert vectors(player.variables[COLLECTION]) == kernels(player.params) == 2
    d, new_d = state.discriminator, new.discriminator
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-20), d.params, new_d.params
    )
    assert_iterated(new_d.variables[COLLECTION], d.variables[COLLECTION], d.params, times=2)

    g, new_g = state.generator, new.generator
    assert_iterated(new_g.variables[COLLECTION], g.variables[COLLECTION], new_g.params)
    average = jax.tree.map(lambda a, b: (a + b) / 2, g.params, new_g.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        new_g.ema["params"],
        average,
    )
    assert_iterated(new_g.ema[COLLECTION], g.ema[COLLECTION], average)
