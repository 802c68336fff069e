"""EDM's augmentation against the same in another way, and what the network is told of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ada_test import reference_geometry
from denoiser_inputs import CLASSES, draw_all, inputs
from denoising import moved
from scipy import stats
from specs import image_spec

from genjax.config import SGD, DenoisingMLP, DiffusionConfig, DiT, UNet
from genjax.core.rng import example_keys, stream
from genjax.core.schema import Field, Spec
from genjax.errors import UserError
from genjax.families.diffusion import augment
from genjax.families.diffusion.algorithm import make_diffusion
from genjax.nn.denoisers import make_denoiser

KEY = jax.random.key(7)
COUNT = 4000
CHANGES = augment.Changes(
    flips=np.float32([[1, 0], [1, 1], [0, 1], [0, 0]]),
    scale=np.float32([0.7, -1.6, 0, 0]),
    turn=np.float32([-2.4, 0.9, 0, 0]),
    stretch=np.float32([1.3, -0.8, 0, 0]),
    axis=np.float32([0.6, -2.9, 1.0, 0]),
    move=np.float32([[0.4, -1.7], [-0.9, 0.3], [0, 0], [0, 0]]),
)


def test_changes():
    """As ADA's reference makes them, of images that are flipped before."""
    # Not square, so that sides can't be taken for each other.
    images = np.random.default_rng(0).uniform(-1, 1, (4, 11, 14, 2)).astype(np.float32)
    made = jax.jit(augment.change)(images, CHANGES)
    for place, image in enumerate(np.float64(images)):
        of = augment.Changes(*(np.float64(numbers[place]) for numbers in CHANGES))
        image = image[:, ::-1] if of.flips[0] else image
        image = image[::-1] if of.flips[1] else image
        same = {
            "scale": 2 ** (0.2 * of.scale),
            "rotate": (of.turn - of.axis, of.axis),
            "aniso": 2 ** (0.2 * of.stretch),
            "xfrac": of.move / 8,
        }
        expected = reference_geometry(image, same)
        np.testing.assert_allclose(made[place], expected, rtol=1e-5, atol=1e-5)
        assert (np.abs(expected - images[place]).max() > 0.1) == (place < 3)


def test_what_is_told():
    """In the order of EDM's code; of no change nine zeros, whatever the axis."""
    said = augment.told(augment.Changes(*map(jnp.asarray, CHANGES)))
    expected = [1, 0, 0.7, np.cos(-2.4) - 1, np.sin(-2.4), 1.3 * np.cos(0.6), 1.3 * np.sin(0.6)]
    np.testing.assert_allclose(said[0], [*expected, 0.4, -1.7], rtol=1e-5)
    np.testing.assert_array_equal(said[2], [0, 1, *[0] * 7])
    np.testing.assert_array_equal(said[3], np.zeros(augment.TOLD))


@pytest.fixture(scope="module")
def drawn():
    draw = jax.jit(augment.draw, static_argnums=2)
    return {p: jax.device_get(draw(KEY, jnp.arange(COUNT), p)) for p in (0.3, 1.0)}


def test_draws(drawn):
    every, some = drawn[1.0], drawn[0.3]
    for numbers in (every.scale, every.stretch, *every.move.T):
        assert stats.kstest(numbers, "norm").pvalue > 1e-3
    turned = every.axis[every.axis != 0]
    for angles in (every.turn, turned):
        assert stats.kstest(angles / np.pi, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    happens = {
        "x": (some.flips[:, 0] == 1, 0.5),
        "y": (some.flips[:, 1] == 1, 0.15),
        "scale": (some.scale != 0, 0.3),
        "turn": (some.turn != 0, 0.3),
        "stretch": (some.stretch != 0, 0.3),
        "axis": (some.axis != 0, 0.5),
        "move": ((some.move != 0).any(axis=1), 0.3),
    }
    for name, (times, chance) in happens.items():
        assert stats.binomtest(int(times.sum()), COUNT, chance).pvalue > 1e-3, name
    events = np.stack([times for times, _ in happens.values()])
    assert np.abs(np.corrcoef(events) - np.eye(len(events))).max() < 0.06
    numbers = np.stack([every.scale, every.turn, every.stretch, every.axis, *every.move.T])
    assert np.abs(np.corrcoef(numbers) - np.eye(len(numbers))).max() < 0.06


IMAGE = (4, 4, 1)
PLAIN = DiffusionConfig(
    network=DenoisingMLP(width=8, depth=1), optimizer=SGD(learning_rate=0.1), ema_decay=None
)


@pytest.mark.full
def test_the_network_learns_of_changes_and_samples_without():
    """EDM's loss of the changed images, by a network that is told of the changes."""
    spec, index = image_spec(6, IMAGE, CLASSES), jnp.arange(6)
    x = jnp.float32(np.random.default_rng(1).uniform(-1, 1, (6, *IMAGE)))
    algorithm, state = moved(make_diffusion(dataclasses.replace(PLAIN, augment=0.5), spec), KEY)
    params = state.network.params
    tell = params["changes"]["kernel"]
    assert tell.shape == (augment.TOLD, 8)
    after, metrics = algorithm.step(state, {"image": x, "label": jnp.zeros(6, int)})
    assert np.abs(after.network.params["changes"]["kernel"] - tell).max() > 1e-4
    network = make_denoiser(PLAIN.network, IMAGE, 0, jnp.float32, None)

    @jax.jit
    def expected():
        key = stream(KEY, "network update", 0)
        changes = augment.draw(stream(key, "augment"), index, 0.5)
        data = augment.change(x, changes)
        u = jax.vmap(jax.random.uniform)(example_keys(stream(key, "time"), index))
        keys = example_keys(stream(key, "noise"), index)
        noise = jax.vmap(lambda key: jax.random.normal(key, IMAGE))(keys)
        logarithm = -1.2 + 1.2 * jax.scipy.special.ndtri(u)
        s = jnp.exp(logarithm)[:, None, None, None]
        size = jnp.sqrt(s**2 + 0.25)
        given = logarithm / 4, None, augment.told(changes)
        said = network.apply({"params": params}, (data + s * noise) / size, True, *given)
        wanted = (s**2 * data - 0.25 * s * noise) / (size * s * 0.5)
        return jnp.mean((wanted - said) ** 2)

    np.testing.assert_allclose(metrics["network/loss"], expected(), rtol=1e-4)
    deaf = {**params, "changes": {"kernel": jnp.zeros_like(tell)}}
    without = dataclasses.replace(state, network=dataclasses.replace(state.network, params=deaf))
    drawn = [algorithm.sample(own, KEY, index[:2], {}) for own in (state, without)]
    np.testing.assert_array_equal(*drawn)


DENOISERS = {
    "dit": DiT(patch=2, width=8, depth=1, heads=2),
    "ddpmpp": UNet(width=4, widths=(1,), blocks=1),
    "adm": UNet(variant="adm", width=4, widths=(1,), blocks=1),
    "edm2": UNet(variant="edm2", width=4, widths=(1,), blocks=1),
}
# Where what is told comes in, and what it is multiplied by.
TOLD_BY = {
    "dit": "changes",
    "ddpmpp": "embed_changes",
    "adm": "embed_changes",
    "edm2": "changes_gain",
}


@pytest.mark.full
@pytest.mark.parametrize("name", DENOISERS)
def test_every_network_is_told(name):
    """Zeros are no change; others change what it makes, but for what begins at 0."""
    network = make_denoiser(DENOISERS[name], IMAGE, 0, jnp.float32, None)
    x, noise, _ = inputs(4, 1, 0)
    told = jnp.float32(np.random.default_rng(3).normal(size=(2, augment.TOLD)))

    @jax.jit
    def make(variables, told):
        return network.apply(variables, x, False, noise, None, told)

    variables = draw_all(network, x, noise, None, told)
    none = make(variables, None)
    np.testing.assert_allclose(make(variables, jnp.zeros_like(told)), none, rtol=1e-4, atol=1e-6)
    assert np.abs(make(variables, told) - none).max() > 1e-3 * np.abs(none).max()
    first = jax.jit(network.init, static_argnums=2)(KEY, x, False, noise, None, told)["params"]
    begins = [np.abs(value).max() for value in jax.tree.leaves(first[TOLD_BY[name]])]
    assert (max(begins) == 0) == (name != "ddpmpp")


def test_refusals():
    points = Spec(4, {"point": Field((2,), "float32")}, "point")
    with pytest.raises(UserError, match=r"augment is 0.1, but it is for images, .* shape \(2,\)"):
        make_diffusion(dataclasses.replace(PLAIN, augment=0.1), points)
    with pytest.raises(UserError, match=r"augment is 1.5; it must be in \[0, 1\]"):
        dataclasses.replace(PLAIN, augment=1.5)
