"""R3GAN's networks against PyTorch in float64: output, gradients, and those of penalties."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import R3GAN
from genjax.core.compiler import traced_for
from genjax.errors import UserError
from genjax.families.gan.networks import Discriminator, Generator
from genjax.nn import conv
from genjax.nn.conv_forms import stock_conv
from genjax.nn.layers import Layers
from genjax.nn.r3gan import R3GANDecoder, R3GANEncoder, stage_sides
from genjax.nn.resampling import (
    downsample,
    fast_downsample,
    fast_upsample,
    stock_downsample,
    stock_upsample,
    upsample,
)
from genjax.targets.flops import products_of

KEY = jax.random.key(6)
RNG = np.random.default_rng(0)
SMALL = R3GAN(widths=(12, 8), blocks=(1, 2), group=8)
FORMS = ("auto", "stock")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def draw(module, *inputs):
    """Parameters of which none is at a special value; those of matrices keep the scale of maps."""

    def value(path, p):
        fan = math.prod(p.shape[:-1]) if path[-1].key == "kernel" else 4
        return jnp.float32(RNG.normal(size=p.shape) / fan**0.5)

    variables = jax.eval_shape(lambda: module.init(KEY, *inputs))
    return jax.tree_util.tree_map_with_path(value, variables["params"])


def close(actual, wanted):
    assert jax.tree.structure(actual) == jax.tree.structure(wanted)
    for a, w in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
        a, w = np.asarray(a), np.asarray(w)
        assert a.shape == w.shape
        assert np.abs(w).max() > 0
        np.testing.assert_allclose(a, w, rtol=1e-4, atol=1e-4 * np.abs(w).max())


class Theirs:
    """PyTorch's operations in float64, on our parameters; maps are NCHW."""

    def __init__(self, torch, params):
        self.torch, self.functional = torch, torch.nn.functional
        self.params = jax.tree.map(
            lambda p: torch.tensor(np.float64(p), requires_grad=True), params
        )

    def conv(self, layer, x, groups=1):
        kernel = layer["kernel"].permute(3, 2, 0, 1)
        padding = kernel.shape[-1] // 2
        return self.functional.conv2d(x, kernel, layer.get("bias"), padding=padding, groups=groups)

    def filter(self, channels):
        taps = self.torch.tensor([1.0, 3, 3, 1], dtype=self.torch.float64) / 8
        return self.torch.outer(taps, taps).expand(channels, 1, 4, 4)

    def upsample(self, x):
        c = x.shape[1]
        return self.functional.conv_transpose2d(
            x, 4 * self.filter(c), stride=2, padding=1, groups=c
        )

    def downsample(self, x):
        c = x.shape[1]
        return self.functional.conv2d(x, self.filter(c), stride=2, padding=1, groups=c)

    def stage(self, layers, x, blocks, group):
        """1 x 1, grouped 3 x 3, 1 x 1, the last one without bias, beside the identity."""
        for block in range(blocks):
            first, second, third = (layers[f"Conv_{3 * block + i}"] for i in range(3))
            assert "bias" not in third
            y = self.functional.leaky_relu(self.conv(first, x), 0.2)
            groups = y.shape[1] // group
            y = self.functional.leaky_relu(self.conv(second, y, groups), 0.2)
            x = x + self.conv(third, y)
        return x

    def decode(self, params, z, blocks, group):
        scale = z @ params["Dense_0"]["kernel"]
        x = params["basis"].permute(2, 0, 1)[None] * scale[:, :, None, None]
        used = itertools.count()
        for number, count in enumerate(blocks):
            if number:
                width = params[f"Stage_{number}"]["Conv_0"]["kernel"].shape[2]
                if width != x.shape[1]:
                    x = self.conv(params[f"Conv_{next(used)}"], x)
                x = self.upsample(x)
            x = self.stage(params[f"Stage_{number}"], x, count, group)
        return self.conv(params[f"Conv_{next(used)}"], x).permute(0, 2, 3, 1)

    def encode(self, params, images, blocks, group):
        used = itertools.count()
        x = self.conv(params[f"Conv_{next(used)}"], images.permute(0, 3, 1, 2))
        for number, count in enumerate(blocks):
            if number:
                x = self.downsample(x)
                width = params[f"Stage_{number}"]["Conv_0"]["kernel"].shape[2]
                if width != x.shape[1]:
                    x = self.conv(params[f"Conv_{next(used)}"], x)
            x = self.stage(params[f"Stage_{number}"], x, count, group)
        return (x * params["basis"].permute(2, 0, 1)).sum((2, 3))

    def numbers(self, tree):
        return jax.tree.map(lambda t: t.detach().numpy(), tree)

    def gradients(self, value, tree, **options):
        leaves, structure = jax.tree.flatten(tree)
        found = self.torch.autograd.grad(value, leaves, **options)
        return jax.tree.unflatten(structure, found)


CASES = [
    pytest.param(4, SMALL, (1,), "auto", id="4"),
    pytest.param(8, SMALL, (1, 2), "stock", id="8-stock"),
    pytest.param(28, dataclasses.replace(SMALL, blocks=(1,)), (1, 1, 1), "auto", id="28"),
]


@pytest.mark.parametrize(("side", "config", "blocks", "form"), CASES)
def test_decoder(torch, side, config, blocks, form):
    config = dataclasses.replace(
        config, widths=config.widths[: len(blocks)], blocks=config.blocks[: len(blocks)]
    )
    module = R3GANDecoder((side, side, 3), config, Layers(convolutions=form))
    z = RNG.normal(size=(3, 5)).astype(np.float32)
    params = draw(module, jnp.asarray(z), True)
    weights = RNG.normal(size=(3, side, side, 3))

    def value(params, z):
        images = module.apply({"params": params}, z, True)
        return jnp.sum(jnp.sin(images) * jnp.float32(weights)), images

    gradients, images = jax.jit(jax.grad(value, (0, 1), has_aux=True))(params, jnp.asarray(z))
    theirs = Theirs(torch, params)
    wide = torch.tensor(np.float64(z), requires_grad=True)
    expected = theirs.decode(theirs.params, wide, blocks, 8)
    close(images, expected.detach().numpy())
    loss = (torch.sin(expected) * torch.tensor(weights)).sum()
    close(gradients, theirs.numbers(theirs.gradients(loss, (theirs.params, wide))))


@pytest.mark.parametrize(("side", "config", "blocks", "form"), CASES)
def test_encoder_and_a_penalty_on_its_gradient(torch, side, config, blocks, form):
    """What R1 and R2 differentiate: ``|grad_x D(x)|^2``, by D's parameters."""
    config = dataclasses.replace(
        config, widths=config.widths[: len(blocks)], blocks=config.blocks[: len(blocks)]
    )
    module = R3GANEncoder(config, Layers(convolutions=form))
    images = RNG.uniform(-1, 1, (3, side, side, 2)).astype(np.float32)
    params = draw(module, jnp.asarray(images), True)
    weights = RNG.normal(size=(3, config.widths[0]))

    def value(params, x):
        features = module.apply({"params": params}, x, True)
        return jnp.sum(jnp.sin(features) * jnp.float32(weights)), features

    def penalty(params, x):
        return jnp.sum(jnp.square(jax.grad(value, 1, has_aux=True)(params, x)[0]))

    @jax.jit
    def run(params, x):
        gradients, features = jax.grad(value, (0, 1), has_aux=True)(params, x)
        return features, gradients, jax.grad(penalty, (0, 1))(params, x)

    theirs = Theirs(torch, params)
    wide = torch.tensor(np.float64(images), requires_grad=True)
    inputs = theirs.params, wide
    features = theirs.encode(theirs.params, wide, blocks[::-1], 8)
    loss = (torch.sin(features) * torch.tensor(weights)).sum()
    gradients = theirs.gradients(loss, inputs, create_graph=True)
    square = gradients[1].square().sum()
    expected = theirs.numbers((features, gradients, theirs.gradients(square, inputs)))
    close(run(params, jnp.asarray(images)), expected)


def everything(operation, *arguments):
    """Output, gradients, and gradients of a penalty on gradients."""
    shape = jax.eval_shape(operation, *arguments).shape
    weights = jnp.cos(jnp.arange(math.prod(shape), dtype=jnp.float32)).reshape(shape)
    places = tuple(range(len(arguments)))

    def value(*arguments):
        return jnp.sum(jnp.sin(operation(*arguments)) * weights)

    def penalty(*arguments):
        return sum(jnp.sum(jnp.square(g)) for g in jax.grad(value, places)(*arguments))

    return jax.jit(
        lambda *a: (operation(*a), jax.grad(value, places)(*a), jax.grad(penalty, places)(*a))
    )(*arguments)


@pytest.mark.parametrize(
    ("fast", "stock", "theirs"),
    [
        (fast_upsample, stock_upsample, "upsample"),
        (fast_downsample, stock_downsample, "downsample"),
    ],
    ids=["up", "down"],
)
def test_resampling(torch, fast, stock, theirs):
    x = RNG.normal(size=(2, 6, 10, 3))
    close(everything(fast, jnp.float32(x)), everything(stock, jnp.float32(x)))
    wide = torch.tensor(x).permute(0, 3, 1, 2)
    expected = getattr(Theirs(torch, {}), theirs)(wide).permute(0, 2, 3, 1)
    close(fast(jnp.float32(x)), expected.numpy())


def test_the_stock_operations_are_xlas():
    """The switch reaches the resampling and the grouped convolutions."""
    x, kernel = jnp.ones((1, 4, 4, 6)), jnp.ones((3, 3, 3, 6))
    for platform, form, grouped in (
        ("cpu", "auto", 0),
        ("cpu", "stock", 3),
        ("reference", "auto", 3),
    ):

        def run(x, kernel, form=form):
            return upsample(x, form), downsample(x, form), conv.conv(x, kernel, 1, form, 2)

        jaxpr = str(jax.make_jaxpr(traced_for(platform, run))(x, kernel))
        assert sum(jaxpr.count(f"feature_group_count={count}") for count in (2, 6)) == grouped


@pytest.mark.parametrize(("size", "stride", "inputs"), [(3, 1, 6), (3, 2, 8), (1, 1, 4)])
def test_grouped_convolutions(torch, size, stride, inputs):
    x = RNG.normal(size=(2, 6, 6, inputs))
    kernel = RNG.normal(size=(size, size, inputs // 2, 10))
    arguments = jnp.float32(x), jnp.float32(kernel)
    ours = everything(lambda x, k: conv.conv(x, k, stride, groups=2), *arguments)
    close(ours, everything(lambda x, k: stock_conv(x, k, stride, 2), *arguments))
    # 'SAME' has the odd zero of an even side at the end.
    before = (size - stride) // 2 if size > stride else 0
    after = max(size - stride, 0) - before
    padded = torch.nn.functional.pad(
        torch.tensor(x).permute(0, 3, 1, 2), (before, after, before, after)
    )
    wanted = torch.nn.functional.conv2d(
        padded, torch.tensor(kernel).permute(3, 2, 0, 1), stride=stride, groups=2
    )
    close(ours[0], wanted.permute(0, 2, 3, 1).numpy())


def test_grouped_convolutions_of_several_models():
    """Several at once, as when seeds are trained together."""
    x = jnp.float32(RNG.normal(size=(2, 3, 4, 4, 6)))
    kernels = jnp.float32(RNG.normal(size=(2, 3, 3, 3, 4)))
    actual = jax.vmap(lambda x, k: conv.conv(x, k, 1, groups=2))(x, kernels)
    for number in range(2):
        close(actual[number], stock_conv(x[number], kernels[number], 1, 2))


PUBLISHED = {
    "CIFAR-10": (R3GAN(widths=(768,)), 32, 20_732_160, 20_683_776),
    "FFHQ-64": (R3GAN(widths=(768, 768, 768, 768, 384)), 64, 22_429_824, 22_381_440),
    "ImageNet-32": (R3GAN(widths=(1536,), group=32), 32, 82_914_304, 86_548_992),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_the_published_networks(name):
    """As the authors' code counts them; D's logit has no bias there."""
    config, side, generator, discriminator = PUBLISHED[name]
    labels = name.startswith("ImageNet")
    mode = "embed" if labels else "none"
    condition = jnp.zeros((1, 1000)) if labels else None
    g = Generator(R3GANDecoder((side, side, 3), config), mode)
    d = Discriminator(R3GANEncoder(config), Layers(), mode)
    arguments = [(g, jnp.zeros((1, 64))), (d, jnp.zeros((1, side, side, 3)))]
    sizes = []
    for module, inputs in arguments:
        shapes = jax.eval_shape(
            traced_for("reference", lambda m=module, x=inputs: m.init(KEY, x, False, condition))
        )
        sizes.append(sum(leaf.size for leaf in jax.tree.leaves(shapes)))
    assert sizes == [generator, discriminator + (0 if labels else 1)]


def test_start():
    """He's normal initialiser, scaled by ``depth^(-1/4)`` within blocks that begin at 0."""
    config = R3GAN(widths=(64, 32), blocks=(2, 3))
    decoder = R3GANDecoder((8, 8, 1), config)
    z = jnp.asarray(RNG.normal(size=(4, 64)), jnp.float32)
    params = jax.jit(lambda: decoder.init(KEY, z, False))()["params"]
    gain = math.sqrt(2 / 1.04) * 5 ** (-1 / 4)
    for layer, deviation in (
        (params["Dense_0"], 64**-0.5),
        (params["Stage_0"]["Conv_0"], gain * 64**-0.5),
        (params["Stage_0"]["Conv_1"], gain * (9 * 16) ** -0.5),
        (params["Stage_1"]["Conv_4"], gain * (9 * 16) ** -0.5),
        (params["Conv_0"], 64**-0.5),
    ):
        kernel = np.asarray(layer["kernel"])
        np.testing.assert_allclose(kernel.std(), deviation, rtol=0.05)
        assert np.abs(kernel).max() > 2.5 * deviation
    assert params["Stage_1"]["Conv_1"]["kernel"].shape == (3, 3, 16, 64)
    for block in range(3):
        layer = params["Stage_1"][f"Conv_{3 * block + 2}"]
        assert set(layer) == {"kernel"}
        assert not layer["kernel"].any()
    np.testing.assert_allclose(np.std(params["basis"]), 1, rtol=0.1)
    images = jax.jit(lambda: decoder.apply({"params": params}, z, True))()
    x = params["basis"] * (z @ params["Dense_0"]["kernel"])[:, None, None]
    x = stock_upsample(x @ params["Conv_0"]["kernel"][0, 0])
    close(images, x @ params["Conv_1"]["kernel"][0, 0])


def test_samples_are_clipped_and_what_is_trained_is_not():
    module = Generator(R3GANDecoder((4, 4, 1), R3GAN(widths=(8,), blocks=(1,))))
    z = 9 * jnp.asarray(RNG.normal(size=(8, 5)), jnp.float32)
    variables = jax.jit(lambda: module.init(KEY, z, False))()
    trained, sampled = (module.apply(variables, z, train) for train in (True, False))
    assert jnp.abs(trained).max() > 1
    np.testing.assert_array_equal(sampled, jnp.clip(trained, -1, 1))


def test_flops_by_hand():
    """Width 16 at 8 pixels and 32 at 4, groups of 16: an encoder, and a gradient by its weights."""
    config = R3GAN(widths=(32, 16), blocks=(1,))
    encoder = R3GANEncoder(config)
    images = jnp.zeros((2, 8, 8, 3))
    params = jax.eval_shape(lambda: encoder.init(KEY, images, True))["params"]

    def forward(params, x):
        return encoder.apply({"params": params}, x, True)

    def block(side, width):
        inner, places = 2 * width, (3 * side - 2) ** 2
        return 2 * side**2 * width * inner + places * inner * 16

    first = 8 * 8 * 3 * 16
    # Of each axis, 4 places and 4 taps less the two on padding.
    halve = (4 * 4 - 2) ** 2 * 16
    rest = block(8, 16) + 4 * 4 * 16 * 32 + block(4, 32) + 4 * 4 * 32
    counted = products_of(forward, params, images)
    assert sum(product.flops for product in counted) == 2 * 2 * (first + halve + rest)
    gradient = jax.grad(lambda params, x: jnp.sum(forward(params, x)))
    counted = products_of(gradient, params, images)
    # The features themselves aren't needed, nor is the gradient by the images or the filter.
    basis = 4 * 4 * 32
    wanted = 2 * first + 2 * halve + 3 * rest - basis
    assert sum(product.flops for product in counted) == 2 * 2 * wanted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"widths": ()}, "widths is (); it must be one or more"),
        ({"blocks": (1, 0)}, "blocks is (1, 0); it must be"),
        ({"widths": (64, 20)}, "2 times, is a multiple of group, 16"),
        ({"group": 0}, "group is 0; it must be at least 1"),
    ],
)
def test_sizes_that_do_not_fit_each_other(change, words):
    with pytest.raises(UserError) as error:
        R3GAN(**change)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("side", "advice"), [(3, "resolution 4$"), (9, "resolution 8 or 10$"), (30, "28 or 32$")]
)
def test_sides_that_do_not_halve_are_refused(side, advice):
    with pytest.raises(UserError, match=advice):
        stage_sides(side)


def test_more_stages_than_the_image_has_are_refused():
    encoder = R3GANEncoder(R3GAN(widths=(64, 64, 32)))
    with pytest.raises(UserError, match=r"2 stages for images of 8 pixels, .* leave out 1\b"):
        encoder.init(KEY, jnp.zeros((1, 8, 8, 1)), False)


def test_labels_need_no_norm_here():
    decoder = R3GANDecoder((4, 4, 1), R3GAN())
    with pytest.raises(UserError, match="'embed' or 'concat'"):
        decoder.init(KEY, jnp.zeros((1, 5)), False, jnp.zeros((1, 10)))
