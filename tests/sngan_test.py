"""The residual networks of Miyato et al. 2018 against PyTorch in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import SNGAN
from genjax.errors import UserError
from genjax.nn.layers import Layers
from genjax.nn.networks import DECODERS, ENCODERS
from genjax.nn.sngan import SNGANDecoder, SNGANEncoder

KEY = jax.random.key(6)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


class Theirs:
    """PyTorch's operations in float64, on our parameters of one network; maps are NCHW."""

    def __init__(self, torch, variables):
        self.functional = torch.nn.functional
        self.variables = jax.tree.map(lambda p: torch.tensor(np.float64(p)), variables)
        self.params = self.variables["params"]

    def conv(self, name, x):
        kernel, bias = self.params[name]["kernel"], self.params[name]["bias"]
        padding = kernel.shape[0] // 2
        return self.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=padding)

    def activate(self, number, x):
        """Batch norm, where there is one, and ReLU."""
        name = f"Normalize_{number}"
        if name in self.params:
            gain, bias = self.params[name]["scale"], self.params[name]["bias"]
            x = self.functional.batch_norm(x, None, None, gain, bias, training=True, eps=1e-5)
        return self.functional.relu(x)

    def upsample(self, x):
        return self.functional.interpolate(x, scale_factor=2, mode="nearest")

    def pool(self, x):
        return self.functional.avg_pool2d(x, 2)


def draw(module, *inputs):
    """Parameters of which none is at a special value."""
    variables = jax.eval_shape(lambda: module.init(KEY, *inputs))
    return jax.tree.map(lambda p: jnp.float32(0.3 * RNG.normal(size=p.shape)), variables)


def decode(theirs, z, base, width, blocks):
    """Dense; blocks of BN, ReLU, doubling, conv, BN, ReLU, conv beside doubling and 1x1 conv; BN,
    ReLU, conv."""
    dense = theirs.params["Dense_0"]
    x = (z @ dense["kernel"] + dense["bias"]).reshape(-1, base, base, width).permute(0, 3, 1, 2)
    for block in range(blocks):
        y = theirs.upsample(theirs.activate(2 * block, x))
        y = theirs.activate(2 * block + 1, theirs.conv(f"Conv_{3 * block}", y))
        y = theirs.conv(f"Conv_{3 * block + 1}", y)
        x = y + theirs.conv(f"Conv_{3 * block + 2}", theirs.upsample(x))
    x = theirs.conv(f"Conv_{3 * blocks}", theirs.activate(2 * blocks, x))
    return x.permute(0, 2, 3, 1)


def encode(theirs, images):
    """Two blocks that halve the map and two that don't, ReLU and a sum over the map."""
    x = images.permute(0, 3, 1, 2)
    # Conv, ReLU, conv, halving beside halving and 1x1 conv: no ReLU on pixels.
    y = theirs.activate(0, theirs.conv("Conv_0", x))
    x = theirs.pool(theirs.conv("Conv_1", y)) + theirs.pool(theirs.conv("Conv_2", x))
    y = theirs.activate(2, theirs.conv("Conv_3", theirs.activate(1, x)))
    x = theirs.pool(theirs.conv("Conv_4", y)) + theirs.pool(theirs.conv("Conv_5", x))
    for block in (2, 3):
        y = theirs.activate(2 * block - 1, x)
        y = theirs.activate(2 * block, theirs.conv(f"Conv_{2 * block + 2}", y))
        x = x + theirs.conv(f"Conv_{2 * block + 3}", y)
    return theirs.activate(7, x).sum((2, 3))


def encode_wide(theirs, images, blocks):
    """Blocks as (whether they halve, whether they have a 1 x 1 convolution), each but the first of
    which widens in its second convolution; ReLU and a sum."""
    x, conv, norm = images.permute(0, 3, 1, 2), 0, 0
    for number, (halves, skip) in enumerate(blocks):
        y = x
        if number:
            y, norm = theirs.activate(norm, y), norm + 1
        y = theirs.activate(norm, theirs.conv(f"Conv_{conv}", y))
        y = theirs.conv(f"Conv_{conv + 1}", y)
        x = theirs.conv(f"Conv_{conv + 2}", x) if skip else x
        conv, norm = conv + 2 + skip, norm + 1
        x = theirs.pool(x) + theirs.pool(y) if halves else x + y
    return theirs.activate(norm, x).sum((2, 3))


@pytest.mark.parametrize(
    ("side", "base", "blocks", "norm"), [(8, 2, 2, "none"), (28, 7, 2, "batch"), (48, 6, 3, "none")]
)
def test_decoder(torch, side, base, blocks, norm):
    module = SNGANDecoder((side, side, 3), 4, Layers(norm))
    z = RNG.normal(size=(3, 5)).astype(np.float32)
    variables = draw(module, jnp.asarray(z), True)
    images, _ = jax.jit(lambda v, z: module.apply(v, z, True, mutable="batch_stats"))(
        variables, jnp.asarray(z)
    )
    assert images.shape == (3, side, side, 3)
    width = 4 * 2**blocks if side == 48 else 4
    expected = decode(Theirs(torch, variables), torch.tensor(z).double(), base, width, blocks)
    expected = expected.numpy()
    np.testing.assert_allclose(images, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("side", "norm"), [(8, "batch"), (28, "none")])
def test_encoder(torch, side, norm):
    module = SNGANEncoder(4, Layers(norm))
    images = RNG.uniform(-1, 1, (3, side, side, 2)).astype(np.float32)
    variables = draw(module, jnp.asarray(images), True)
    features, _ = jax.jit(lambda v, x: module.apply(v, x, True, mutable="batch_stats"))(
        variables, jnp.asarray(images)
    )
    assert features.shape == (3, 4)
    expected = encode(Theirs(torch, variables), torch.tensor(images).double()).numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("side", "blocks"),
    [
        (48, [(True, True)] * 4 + [(False, True)]),
        (64, [(True, True)] * 5),
        (128, [(True, True)] * 5 + [(False, False)]),
    ],
)
def test_wide_encoder(torch, side, blocks):
    module = SNGANEncoder(1, Layers("none"))
    images = RNG.uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    variables = draw(module, jnp.asarray(images), True)
    features = jax.jit(lambda v, x: module.apply(v, x, True))(variables, jnp.asarray(images))
    assert features.shape == (2, 16)
    theirs = Theirs(torch, variables)
    expected = encode_wide(theirs, torch.tensor(images).double(), blocks).numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def shapes(module, *inputs):
    variables = jax.eval_shape(lambda: module.init(KEY, *inputs))
    return {
        name: layer["kernel"].shape
        for name, layer in variables["params"].items()
        if "kernel" in layer
    }


def test_generator_of_the_paper():
    """Table 4: dense to 4 x 4 x 256, three blocks of 256 that double, 3 x 3 to the image."""
    module = DECODERS[SNGAN](SNGAN(width=256), (32, 32, 3), Layers("batch"))
    block = [(3, 3, 256, 256), (3, 3, 256, 256), (1, 1, 256, 256)]
    expected = {"Dense_0": (128, 4 * 4 * 256)}
    expected |= {f"Conv_{i}": shape for i, shape in enumerate(block * 3)}
    assert shapes(module, jnp.zeros((1, 128)), False) == expected | {"Conv_9": (3, 3, 256, 3)}
    images = jax.eval_shape(lambda: module.init_with_output(KEY, jnp.zeros((1, 128)), False)[0])
    assert images.shape == (1, 32, 32, 3)


def test_discriminator_of_the_paper():
    """Table 4: four blocks of 128, of which two halve and have a 1 x 1 convolution beside."""
    module = ENCODERS[SNGAN](SNGAN(width=128), Layers())
    wide, skip = (3, 3, 128, 128), (1, 1, 128, 128)
    kernels = [(3, 3, 3, 128), wide, (1, 1, 3, 128), wide, wide, skip, wide, wide, wide, wide]
    inputs = jnp.zeros((1, 32, 32, 3)), False
    assert shapes(module, *inputs) == {f"Conv_{i}": shape for i, shape in enumerate(kernels)}
    features = jax.eval_shape(lambda: module.init_with_output(KEY, *inputs)[0])
    assert features.shape == (1, 128)


@pytest.mark.parametrize(
    ("side", "widths", "judges"),
    [
        (48, [512, 256, 128, 64], [64, 128, 256, 512, 1024]),
        (64, [1024, 512, 256, 128, 64], [64, 128, 256, 512, 1024]),
        (128, [1024, 1024, 512, 256, 128, 64], [64, 128, 256, 512, 1024, 1024]),
    ],
)
def test_networks_of_larger_images(side, widths, judges):
    """Channels of the blocks of tables 5 and 6, and of the authors' code at 64 pixels."""
    decoder = DECODERS[SNGAN](SNGAN(width=64), (side, side, 3), Layers("batch"))
    found = shapes(decoder, jnp.zeros((1, 128)), False)
    assert found["Dense_0"][1] % widths[0] == 0
    kernels = [found[f"Conv_{i}"] for i in range(len(found) - 1)]
    expected = []
    for before, width in itertools.pairwise(widths):
        expected += [(3, 3, before, width), (3, 3, width, width), (1, 1, before, width)]
    assert kernels == [*expected, (3, 3, widths[-1], 3)]

    encoder = ENCODERS[SNGAN](SNGAN(width=64), Layers())
    found = shapes(encoder, jnp.zeros((1, side, side, 3)), False)
    expected = [(3, 3, 3, 64), (3, 3, 64, 64), (1, 1, 3, 64)]
    for before, width in itertools.pairwise(judges):
        expected += [(3, 3, before, before), (3, 3, before, width)]
        expected += [(1, 1, before, width)] if before != width else []
    assert found == {f"Conv_{i}": shape for i, shape in enumerate(expected)}


@pytest.mark.parametrize(("side", "millions"), [(64, 10.1), (128, 29.0)])
def test_parameters_of_the_published_discriminators(side, millions):
    encoder = SNGANEncoder(64, Layers())
    images = jnp.zeros((1, side, side, 3))
    variables = jax.eval_shape(lambda: encoder.init(KEY, images, False))
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert round(count / 1e6, 1) == millions


def test_start():
    """Glorot's uniform, with gain sqrt(2) on the residual branch, as in the authors' code."""
    images = jnp.zeros((1, 8, 8, 3))
    params = jax.jit(lambda: SNGANEncoder(64).init(KEY, images, False))()["params"]
    for name, fan, gain in (("Conv_1", 9 * 64 + 9 * 64, 2**0.5), ("Conv_5", 64 + 64, 1.0)):
        limit = gain * np.sqrt(6 / fan)
        kernel = np.asarray(params[name]["kernel"])
        assert 0.99 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)
        np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.02)
        assert not params[name]["bias"].any()


def test_sides_that_do_not_halve_are_refused():
    with pytest.raises(UserError, match="resolution 32"):
        SNGANEncoder(4).init(KEY, jnp.zeros((1, 30, 30, 1)), False)
    with pytest.raises(UserError, match=r"96 pixels a side; set --data\.resolution 64, or"):
        SNGANEncoder(4).init(KEY, jnp.zeros((1, 96, 96, 1)), False)
    with pytest.raises(UserError, match="resolution"):
        SNGANDecoder((30, 30, 1), 4).init(KEY, jnp.zeros((1, 5)), False)
