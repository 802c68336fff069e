"""StyleGAN2's networks against PyTorch in float64, with a kernel of each example's own."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import StyleGAN2
from genjax.errors import UserError
from genjax.families.gan.networks import Discriminator, Generator
from genjax.nn.equalized import EqualConv
from genjax.nn.layers import Layers
from genjax.nn.stylegan2 import (
    Mapping,
    ModulatedConv,
    StyleGAN2Decoder,
    map_sides,
)
from genjax.nn.stylegan2_encoder import StyleGAN2Encoder

KEY = jax.random.key(6)
RNG = np.random.default_rng(0)
SMALL = StyleGAN2(channel_base=64, channel_max=8, style=6, mapping=2)
FORMS = ("auto", "stock")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def normal(*shape):
    return jnp.float32(RNG.normal(size=shape))


def draw(module, *inputs):
    """Variables of which none is at a special value."""
    variables = jax.eval_shape(lambda: module.init(KEY, *inputs))
    return jax.tree.map(lambda p: normal(*p.shape), variables)


def close(actual, wanted, rtol=1e-4):
    assert jax.tree.structure(actual) == jax.tree.structure(wanted)
    for a, w in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
        a, w = np.asarray(a), np.asarray(w)
        assert a.shape == w.shape
        assert np.abs(w).max() > 0
        np.testing.assert_allclose(a, w, rtol=rtol, atol=rtol * np.abs(w).max())


class Theirs:
    """PyTorch's operations in float64, on our parameters; maps are NCHW."""

    def __init__(self, torch, params, noise=None):
        self.torch, self.functional = torch, torch.nn.functional
        self.params = jax.tree.map(
            lambda p: torch.tensor(np.float64(p), requires_grad=True), dict(params)
        )
        self.noise = jax.tree.map(lambda n: torch.tensor(np.float64(n)), noise)

    def gradients(self):
        return jax.tree.map(lambda p: p.grad.numpy(), self.params)

    def lrelu(self, x, gain=1.0, clamp=None):
        y = self.functional.leaky_relu(x, 0.2) * math.sqrt(2) * gain
        return y if clamp is None else y.clamp(-clamp * gain, clamp * gain)

    def dense(self, layer, x, rate=1.0):
        return rate * (x @ layer["kernel"] / math.sqrt(x.shape[1]) + layer.get("bias", 0.0))

    def unit(self, x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def mapping(self, layers, z, condition=None):
        parts = [] if z is None else [self.unit(z)]
        if condition is not None:
            parts.append(self.unit(self.dense(layers["embed"], condition)))
        x = self.torch.cat(parts, 1)
        for number in range(len([name for name in layers if name.startswith("fc")])):
            layer = layers[f"fc{number}"]
            x = self.lrelu(0.01 * (x @ layer["kernel"] / math.sqrt(x.shape[1]) + layer["bias"]))
        return x

    def fir(self, x, before, after):
        taps = self.torch.tensor([1.0, 3, 3, 1], dtype=self.torch.float64) / 8
        c = x.shape[1]
        kernel = self.torch.outer(taps, taps).expand(c, 1, 4, 4)
        return self.functional.conv2d(self.functional.pad(x, (before, after) * 2), kernel, groups=c)

    def zeros_between(self, x):
        b, c, h, w = x.shape
        wide = self.torch.zeros(b, c, 2 * h, 2 * w, dtype=x.dtype)
        wide[:, :, ::2, ::2] = x
        return wide

    def convolve(self, x, kernel, resampling):
        """One example [1, inputs, h, w] and its kernel [outputs, inputs, k, k]."""
        pad = kernel.shape[-1] // 2
        if resampling == "up":
            # A wide border, so that the filter sees all that the convolution makes.
            wide = self.functional.pad(self.zeros_between(x), (4, 4, 4, 4))
            y = 4 * self.fir(self.functional.conv2d(wide, kernel, padding=pad), 2, 1)
            return y[:, :, 4:-4, 4:-4]
        if resampling == "down":
            wide = self.fir(x, 4, 4)
            y = self.functional.conv2d(wide, kernel, padding=pad)
            # Its first value at an even place is that between -1 and 0 of the image.
            return y[:, :, 3 : 3 + x.shape[2] : 2, 3 : 3 + x.shape[3] : 2]
        return self.functional.conv2d(x, kernel, padding=pad)

    def conv(self, layer, x, resampling="none", gain=1.0, clamp=None, activation=True):
        kernel = layer["kernel"].permute(3, 2, 0, 1)
        y = self.convolve(x, kernel / math.sqrt(kernel[0].numel()), resampling)
        if not activation:
            return y * gain
        return self.lrelu(y + layer["bias"][:, None, None], gain, clamp)

    def modulated(self, layer, x, w, resampling, demodulate):
        kernel = layer["kernel"].permute(3, 2, 0, 1)
        made = []
        for row, style in zip(x, self.dense(layer["affine"], w), strict=True):
            own = kernel * style[None, :, None, None]
            if demodulate:
                own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            else:
                own = own / math.sqrt(kernel[0].numel())
            made.append(self.convolve(row[None], own, resampling))
        return self.torch.cat(made)

    def layer(self, name, x, w, resampling, gain=1.0, clamp=None):
        own = self.params["decoder"]["synthesis"][name]
        y = self.modulated(own["conv"], x, w, resampling, True)
        if self.noise is not None:
            y = y + own["strength"] * self.noise["decoder"]["synthesis"][name]["const"]
        return self.lrelu(y + own["bias"][:, None, None], gain, clamp)

    def synthesize(self, styles, sides, architecture, clamp=None):
        params = self.params["decoder"]["synthesis"]
        x = params["const"].permute(2, 0, 1)[None].expand(len(styles), -1, -1, -1)
        image, half = None, math.sqrt(0.5)
        for number, side in enumerate(sides):
            around = None
            if number:
                if architecture == "residual":
                    around = self.conv(params[f"skip{side}"], x, "up", half, activation=False)
                x = self.layer(f"conv{side}_up", x, styles[:, 2 * number - 1], "up", clamp=clamp)
            gain = 1.0 if around is None else half
            x = self.layer(f"conv{side}", x, styles[:, 2 * number], "none", gain, clamp)
            x = x if around is None else x + around
            if image is not None:
                image = 4 * self.fir(self.zeros_between(image), 2, 1)
            if architecture == "skip" or side == sides[-1]:
                to_image = params[f"to_image{side}"]
                y = self.modulated(to_image["conv"], x, styles[:, 2 * number + 1], "none", False)
                y = y + to_image["bias"][:, None, None]
                y = y if clamp is None else y.clamp(-clamp, clamp)
                image = y if image is None else image + y
        return image

    def encode(self, images, architecture, group, clamp=None):
        params, half = self.params["encoder"], math.sqrt(0.5)
        x, side = None, images.shape[2]
        while True:
            if x is None or architecture == "skip":
                seen = self.conv(params[f"from_image{side}"], images, clamp=clamp)
                x = seen if x is None else x + seen
                images = self.fir(images, 1, 1)[:, :, ::2, ::2]
            if side == 4:
                break
            gain = half if architecture == "residual" else 1.0
            y = self.conv(params[f"conv{side}"], x, clamp=clamp)
            y = self.conv(params[f"conv{side}_down"], y, "down", gain, clamp)
            if architecture == "residual":
                y = y + self.conv(params[f"skip{side}"], x, "down", gain, activation=False)
            x, side = y, side // 2
        groups = x.reshape(group, -1, *x.shape[1:])
        deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        maps = deviation.repeat(group)[:, None, None, None].expand(-1, 1, 4, 4)
        x = self.conv(params["conv4"], self.torch.cat([x, maps], 1), clamp=clamp)
        return self.lrelu(self.dense(params["fc"], x.permute(0, 2, 3, 1).flatten(1)))


def double(torch, x):
    return torch.tensor(np.float64(x))


def nchw(torch, x):
    return double(torch, x).permute(0, 3, 1, 2).requires_grad_()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kernel", "resampling", "demodulate"),
    [(3, "none", True), (3, "up", True), (1, "none", False)],
)
def test_a_modulated_convolution_has_a_kernel_for_each_example(
    torch, kernel, resampling, demodulate, form
):
    x, w = normal(3, 4, 4, 5), normal(3, 6)
    layer = ModulatedConv(7, kernel, resampling, demodulate, Layers(convolutions=form))
    params = draw(layer, x, w)["params"]
    side = 8 if resampling == "up" else 4
    weights = normal(3, side, side, 7)

    def loss(params, x, w):
        y = layer.apply({"params": params}, x, w)
        return jnp.sum(y * weights), y

    (_, y), grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(params, x, w)
    theirs = Theirs(torch, params)
    tx, tw = nchw(torch, x), double(torch, w).requires_grad_()
    ty = theirs.modulated(theirs.params, tx, tw, resampling, demodulate)
    (ty.permute(0, 2, 3, 1) * double(torch, weights)).sum().backward()
    close(y, ty.permute(0, 2, 3, 1).detach())
    close(grads, (theirs.gradients(), tx.grad.permute(0, 2, 3, 1), tw.grad))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("resampling", ["none", "up", "down"])
def test_a_convolution_is_filtered_where_it_resamples(torch, kernel, resampling, form):
    x = normal(2, 4, 6, 3)
    layer = EqualConv(5, kernel, resampling, gain=0.7, clamp=0.3, form=form)
    params = draw(layer, x)["params"]
    y, pull = jax.vjp(lambda params, x: layer.apply({"params": params}, x), params, x)
    theirs, tx = Theirs(torch, params), nchw(torch, x)
    ty = theirs.conv(theirs.params, tx, resampling, 0.7, 0.3)
    weights = normal(*y.shape)
    (ty.permute(0, 2, 3, 1) * double(torch, weights)).sum().backward()
    assert np.abs(y).max() == pytest.approx(0.3 * 0.7)
    close(y, ty.permute(0, 2, 3, 1).detach())
    close(pull(weights), (theirs.gradients(), tx.grad.permute(0, 2, 3, 1)))


def test_mapping(torch):
    z, condition = normal(3, 5), jnp.eye(4)[jnp.array([0, 3, 1])]
    layer = Mapping(3, 6)
    params = draw(layer, z, condition)["params"]
    theirs = Theirs(torch, params)
    wanted = theirs.mapping(theirs.params, double(torch, z), double(torch, condition))
    close(layer.apply({"params": params}, z, condition), wanted.detach())


@pytest.mark.parametrize(
    ("architecture", "clamp"),
    [("skip", None), pytest.param("residual", 2.0, marks=pytest.mark.full), ("plain", None)],
)
def test_generator(torch, architecture, clamp):
    config = dataclasses.replace(SMALL, architecture=architecture, clamp=clamp)
    decoder = StyleGAN2Decoder((8, 8, 2), config, noise="const")
    generator = Generator(decoder, "mapping")
    z, condition = normal(3, 5), jnp.eye(4)[jnp.array([0, 3, 1])]
    variables = draw(generator, z, False, condition)
    weights = normal(3, 8, 8, 2)

    def loss(params):
        made, _ = generator.apply(
            {**variables, "params": params}, z, True, condition, mutable=["batch_stats"]
        )
        return jnp.sum(made * weights), made

    (_, made), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    theirs = Theirs(torch, variables["params"], variables["noise"])
    w = theirs.mapping(
        theirs.params["decoder"]["mapping"],
        double(torch, z),
        double(torch, condition),
    )
    assert decoder.count == 4
    styles = w[:, None].repeat(1, 4, 1)
    wanted = theirs.synthesize(styles, [4, 8], architecture, clamp).permute(0, 2, 3, 1)
    (wanted * double(torch, weights)).sum().backward()
    close(made, wanted.detach())
    close(grads, theirs.gradients())


@pytest.mark.parametrize(
    ("architecture", "clamp"),
    [("residual", None), pytest.param("skip", 2.0, marks=pytest.mark.full), ("plain", None)],
)
def test_discriminator_and_the_gradient_of_its_penalty(torch, architecture, clamp):
    config = dataclasses.replace(SMALL, architecture=architecture, clamp=clamp)
    network = Discriminator(StyleGAN2Encoder(config), Layers(), "mapping")
    images, condition = normal(8, 8, 8, 2), jnp.eye(4)[jnp.array([0, 3, 1, 1] * 2)]
    params = draw(network, images, False, condition)["params"]

    def loss(params):
        def logits(images):
            return network.apply({"params": params}, images, True, condition).logits

        values = logits(images)
        gradient = jax.grad(lambda x: jnp.sum(logits(x)))(images)
        return jnp.sum(jax.nn.softplus(values)) + 5 * jnp.mean(
            jnp.sum(jnp.square(gradient), (1, 2, 3))
        ), values

    (_, values), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    theirs, seen = Theirs(torch, params), nchw(torch, images)
    features = theirs.encode(seen, architecture, 4, clamp)
    mapped = theirs.mapping(theirs.params["mapping"], None, double(torch, condition))
    wanted = (theirs.dense(theirs.params["logit"], features) * mapped).sum(1)
    wanted = wanted / math.sqrt(mapped.shape[1])
    (gradient,) = torch.autograd.grad(wanted.sum(), seen, create_graph=True)
    penalty = gradient.square().sum((1, 2, 3)).mean()
    (torch.nn.functional.softplus(wanted).sum() + 5 * penalty).backward()
    close(values, wanted.detach())
    close(grads, theirs.gradients(), rtol=3e-4)


def test_images_of_other_sides_are_the_middle_of_the_next_power_of_two():
    assert map_sides(28) == map_sides(32) == [4, 8, 16, 32]
    with pytest.raises(UserError, match="makes no images of 6 pixels"):
        map_sides(6)
    whole, cut = (StyleGAN2Decoder((side, side, 1), SMALL) for side in (16, 12))
    z = normal(2, 5)
    variables = draw(whole, z, False)
    made, middle = (jax.jit(lambda v, n=n: n.apply(v, z, False))(variables) for n in (whole, cut))
    np.testing.assert_allclose(middle, made[:, 2:14, 2:14], rtol=1e-5, atol=1e-5)
    encoder, images = StyleGAN2Encoder(SMALL), normal(4, 12, 12, 1)
    variables = draw(encoder, images, False)
    grown = jnp.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    judge = jax.jit(lambda x: encoder.apply(variables, x, False))
    np.testing.assert_allclose(judge(images), judge(grown), rtol=1e-4)
