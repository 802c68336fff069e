"""Penalties of D against PyTorch in float64, with gradients through them to D's parameters.

The points at which a penalty asks the critic are recorded, so that no draw is copied here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scenes import (
    AVERAGE_FAKE,
    AVERAGE_REAL,
    BATCH,
    CONDITION,
    FAKE,
    KEY,
    REAL,
    RNG,
    make_scene,
)
from scipy import stats

from genjax.families.gan.networks import Discriminator
from genjax.families.gan.penalties import PENALTIES, Origin
from genjax.nn.dcgan import DCGANEncoder
from genjax.nn.layers import Layers

PARAMS = [
    RNG.normal(size=shape).astype(np.float32) * 0.5 for shape in ((16, 8), (8,), (8, 8), (8,), (8,))
]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def mlp(params, images, activation):
    """Two hidden layers of eight units, and a logit."""
    w1, b1, w2, b2, w3 = params
    hidden = activation(images.reshape(images.shape[0], -1) @ w1 + b1)
    return activation(hidden @ w2 + b2) @ w3


def asked_points(name, real=REAL, fake=FAKE, key=KEY):
    """Where the penalty evaluates D, beside the images themselves."""
    seen = []

    def critic(x):
        jax.debug.callback(lambda x: seen.append(np.asarray(x, np.float64)), x)
        return jnp.tanh(x).sum((1, 2, 3))

    def run(key):
        scene = make_scene(lambda x: jnp.zeros(x.shape[0]), real, fake, key)
        origins = Origin(scene.real, critic), Origin(scene.fake, critic)
        scene = scene._replace(critic=critic, real_origin=origins[0], fake_origin=origins[1])
        return PENALTIES[name].compute(scene)

    jax.jit(run)(key)
    jax.effects_barrier()
    # Of shifted images, the real ones first.
    return sorted(seen, key=lambda points: not shifts_of(real[0], points[0]))


def shift(image, down, right):
    """Moves an image and fills with zeros."""
    result = np.zeros_like(image)
    for row, line in enumerate(image):
        for column, pixel in enumerate(line):
            if 0 <= row + down < image.shape[0] and 0 <= column + right < image.shape[1]:
                result[row + down, column + right] = pixel
    return result


def shifts_of(image, moved):
    """All (down, right) of up to two that make `moved` of `image`."""
    steps = range(-2, 3)
    return [(a, b) for a in steps for b in steps if np.array_equal(shift(image, a, b), moved)]


def squared_norm(critic, x):
    """Of the gradient of each example's logit by its pixels, so that it can be differentiated."""
    import torch

    x = x.clone().requires_grad_()
    gradient = torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0]
    return gradient.square().flatten(1).sum(1)


def unit_norm(critic, x):
    return (squared_norm(critic, x).sqrt() - 1) ** 2


def mismatched(critic, real, fake, points):
    """Reed et al. 2016: with the next image's caption, real ones count as generated.

    Those of the third and the fifth example are an equal caption and none.
    """
    import torch

    sums = torch.tensor(np.roll(CONDITION, -1, axis=0).sum(1))
    taken = torch.tensor([6 / 4, 6 / 4, 0, 6 / 4, 0, 6 / 4])
    return -taken * torch.log(1 - torch.sigmoid(critic(real) * sums))


# ``(critic, real, fake, points) -> [batch]``
FORMULAS = {
    # Mescheder et al. 2018, equations 9 and 10.
    "r1": lambda critic, real, fake, points: squared_norm(critic, real) / 2,
    "r2": lambda critic, real, fake, points: squared_norm(critic, fake) / 2,
    # Gulrajani et al. 2017, equation 3.
    "wgan_gp": lambda critic, real, fake, points: unit_norm(critic, points[0]),
    # Kodali et al. 2017, equation 2 with k = 1.
    "dragan": lambda critic, real, fake, points: unit_norm(critic, points[0]),
    # Tseng et al. 2021.
    "lecam": lambda critic, real, fake, points: (
        (critic(real) - AVERAGE_FAKE) ** 2 + (critic(fake) - AVERAGE_REAL) ** 2
    ),
    "mismatch": mismatched,
    # Zhang et al. 2020.
    "cr": lambda critic, real, fake, points: (critic(real) - critic(points[0])) ** 2,
    # Zhao et al. 2021.
    "bcr": lambda critic, real, fake, points: (
        (critic(real) - critic(points[0])) ** 2 + (critic(fake) - critic(points[1])) ** 2
    ),
}
POINTS = {"r1": 1, "r2": 1, "wgan_gp": 1, "dragan": 1, "lecam": 0, "mismatch": 0, "cr": 1, "bcr": 2}


def test_every_penalty_has_a_formula_here():
    assert set(FORMULAS) == set(PENALTIES) == set(POINTS)


@pytest.mark.parametrize("name", PENALTIES)
def test_values_and_gradients(torch, name):
    """With tanh, whose second derivative the gradient of a gradient needs."""

    def penalty(params):
        values = PENALTIES[name].compute(make_scene(lambda x: mlp(params, x, jnp.tanh)))
        return jnp.mean(values), values

    (_, values), gradients = jax.jit(jax.value_and_grad(penalty, has_aux=True))(
        [jnp.asarray(p) for p in PARAMS]
    )

    params = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in PARAMS]
    real, fake = (torch.tensor(x, dtype=torch.float64) for x in (REAL, FAKE))
    points = [torch.tensor(x) for x in asked_points(name)]
    assert len(points) == POINTS[name]
    expected = FORMULAS[name](lambda x: mlp(params, x, torch.tanh), real, fake, points)
    assert values.shape == (BATCH,)
    np.testing.assert_allclose(values, expected.detach().numpy(), rtol=1e-4, atol=1e-6)
    # Constants of the logit have no gradient in a penalty on gradients.
    wanted = torch.autograd.grad(expected.mean(), params, allow_unused=True)
    for gradient, want in zip(gradients, wanted, strict=True):
        want = np.zeros(gradient.shape) if want is None else want.numpy()
        np.testing.assert_allclose(gradient, want, rtol=1e-3, atol=1e-5)


def test_gradient_penalty_of_a_convolutional_critic(torch):
    """R1 through the real networks: DCGAN's encoder at 8 x 8 and a logit."""
    functional = torch.nn.functional
    network = Discriminator(DCGANEncoder(4, Layers()), Layers())
    images = RNG.uniform(-1, 1, (3, 8, 8, 1)).astype(np.float32)
    shapes = jax.eval_shape(lambda: network.init(KEY, jnp.asarray(images), False))["params"]
    params = jax.tree.map(lambda p: jnp.float32(0.3 * RNG.normal(size=p.shape)), shapes)

    def penalty(params):
        def critic(x):
            return network.apply({"params": params}, x, True).logits

        return jnp.mean(PENALTIES["r1"].compute(make_scene(critic, images, images)))

    value, gradients = jax.jit(jax.value_and_grad(penalty))(params)

    theirs = jax.tree.map(lambda p: torch.tensor(np.float64(p), requires_grad=True), params)
    first, second = theirs["encoder"]["Conv_0"], theirs["encoder"]["Conv_1"]

    def critic(x):
        x = x.permute(0, 3, 1, 2)
        for layer in (first, second):
            x = functional.pad(x, (1, 2, 1, 2))  # 'SAME' for an even side, 5 x 5 and stride 2
            x = functional.conv2d(x, layer["kernel"].permute(3, 2, 0, 1), layer["bias"], stride=2)
            x = functional.leaky_relu(x, 0.2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        return (x @ theirs["logit"]["kernel"] + theirs["logit"]["bias"])[:, 0]

    expected = squared_norm(critic, torch.tensor(images).double()).mean() / 2
    np.testing.assert_allclose(value, expected.item(), rtol=1e-4)
    kernels = [first["kernel"], second["kernel"], theirs["logit"]["kernel"]]
    wanted = torch.autograd.grad(expected, kernels)
    encoder = gradients["encoder"]
    actual = [encoder["Conv_0"], encoder["Conv_1"], gradients["logit"]]
    for gradient, want in zip(actual, wanted, strict=True):
        scale = np.abs(want.numpy()).max()
        np.testing.assert_allclose(gradient["kernel"], want.numpy(), rtol=1e-3, atol=1e-5 * scale)


@pytest.mark.parametrize("name", [n for n, p in PENALTIES.items() if p.differentiates])
def test_zero_critic_has_finite_gradients(name):
    """Where the gradient vanishes, its norm has none."""

    def penalty(params):
        return jnp.mean(PENALTIES[name].compute(make_scene(lambda x: mlp(params, x, jnp.tanh))))

    zeros = [jnp.zeros_like(p) for p in PARAMS]
    value, gradients = jax.jit(jax.value_and_grad(penalty))(zeros)
    np.testing.assert_allclose(value, 0 if name in ("r1", "r2") else 1, rtol=1e-5)
    assert all(np.isfinite(g).all() for g in gradients)


def test_wgan_gp_asks_between_real_and_generated():
    """``e x_real + (1 - e) x_fake`` with one ``e ~ U[0, 1)`` an example."""
    real, fake = (RNG.uniform(-1, 1, (400, 2, 2, 1)).astype(np.float32) for _ in range(2))
    point = asked_points("wgan_gp", real, fake)[0]
    way = (real - fake).astype(np.float64)
    share = np.sum((point - fake) * way, (1, 2, 3)) / np.sum(way**2, (1, 2, 3))
    np.testing.assert_allclose(point, fake + share[:, None, None, None] * way, atol=1e-6)
    assert stats.kstest(share, stats.uniform.cdf).pvalue > 0.01
    other = asked_points("wgan_gp", real, fake, jax.random.key(4))[0]
    assert np.abs(other - point).max(axis=(1, 2, 3)).min() > 0


def test_dragan_asks_near_real():
    """``x + a (std / 2) u`` with ``u ~ U[0, 1)`` a pixel and ``a ~ U[0, 1)`` an example."""
    real = (3 + 2 * RNG.uniform(-1, 1, (400, 8, 8, 1))).astype(np.float32)
    noise = asked_points("dragan", real, real)[0] - real
    relative = noise / (np.std(real.astype(np.float64)) / 2)
    assert relative.min() >= -1e-5
    # Of 64 draws on [0, a) the largest is on average 64 a / 65.
    share = relative.max((1, 2, 3)) * 65 / 64
    assert stats.kstest(share, stats.uniform.cdf).pvalue > 0.01
    within = (relative / relative.max((1, 2, 3), keepdims=True)).reshape(400, -1)
    within = np.sort(within, axis=1)[:, :-1]
    assert stats.kstest(within.ravel(), stats.uniform.cdf).pvalue > 0.01


def test_dragan_of_constant_images_is_finite():
    """Their standard deviation is 0, and rounding must not make it that of a negative number."""
    run = jax.jit(
        lambda real: PENALTIES["dragan"].compute(
            make_scene(lambda x: jnp.sum(x**2, (1, 2, 3)), real, real)
        )
    )
    for value in (0.2, 0.55, 0.9, -0.9):
        real = np.full((3, 8, 8, 1), value, np.float32)
        # The gradient is 2 x.
        expected = (np.sqrt(np.sum((2 * np.float64(real)) ** 2, (1, 2, 3))) - 1) ** 2
        np.testing.assert_allclose(run(jnp.asarray(real)), expected, rtol=1e-2)


@pytest.mark.parametrize("name", ["cr", "bcr"])
def test_consistency_asks_at_shifted_images(name):
    """Each by up to an eighth of its side, drawn for itself; zeros come in."""
    real, fake = (RNG.uniform(0.1, 1, (40, 16, 16, 1)).astype(np.float32) for _ in range(2))
    found = []
    asked = asked_points(name, real, fake)
    assert len(asked) == {"cr": 1, "bcr": 2}[name]
    for images, points in zip((real, fake), asked, strict=False):
        shifts = []
        for image, point in zip(images, points, strict=True):
            matches = shifts_of(image, point)
            assert len(matches) == 1
            shifts += matches
        assert len(set(shifts)) > 10
        found.append(shifts)
    assert name == "cr" or found[0] != found[1]


@pytest.mark.parametrize("name", ["wgan_gp", "dragan", "bcr"])
def test_what_is_drawn_is_the_same_over_devices(name):
    """A mapped axis of two stands for two devices."""

    def critic(x):
        return jnp.sum(x**3, (1, 2, 3))

    scene = make_scene(critic)
    whole = jax.jit(lambda: PENALTIES[name].compute(scene))()

    def on_device(real, fake, place):
        part = scene._replace(
            real=real,
            fake=fake,
            real_logits=critic(real),
            fake_logits=critic(fake),
            place=place,
            axis_name="data",
        )
        return PENALTIES[name].compute(part)

    halves = [x.reshape(2, BATCH // 2, *x.shape[1:]) for x in (scene.real, scene.fake, scene.place)]
    split = jax.jit(jax.vmap(on_device, axis_name="data"))(*halves)
    np.testing.assert_allclose(split.reshape(-1), whole, rtol=1e-4, atol=1e-6)


def test_penalties_that_differentiate_are_those_that_batch_norm_would_spoil():
    """Just those ask for the gradient of the logits, not for the logits alone."""

    @jax.custom_vjp
    def refuses(x):
        return jnp.sum(x, (1, 2, 3))

    def forward(x):
        raise AssertionError("differentiated")

    refuses.defvjp(forward, lambda saved, dy: (dy,))
    for penalty in PENALTIES.values():

        def trace(compute=penalty.compute):
            jax.eval_shape(lambda: compute(make_scene(refuses)))

        if penalty.differentiates:
            with pytest.raises(AssertionError, match="differentiated"):
                trace()
        else:
            trace()
