"""The U-Nets of DDPM++ and ADM against PyTorch in float64, and what their settings do."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoiser_inputs import CLASSES, KEY, close, description, draw, equals, inputs

from genjax.config import UNet
from genjax.errors import UserError
from genjax.nn.denoisers import make_denoiser

TINY = {
    "ddpmpp": UNet(width=8, widths=(2, 1), blocks=1, attention=(8,)),
    "adm": UNet(variant="adm", width=8, widths=(1, 2), blocks=1, attention=(8,), head=8),
}
VARIANTS = sorted(TINY)
EPSILON = {"ddpmpp": 1e-6, "adm": 1e-5}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def make(config, side=8, channels=2, classes=CLASSES, dtype=jnp.float32):
    return make_denoiser(config, (side, side, channels), classes, dtype, None)


class Theirs:
    """PyTorch's operations, on our parameters; maps are NCHW."""

    def __init__(self, torch, config, params, told=None):
        self.told = told
        self.functional, self.config = torch.nn.functional, config
        self.torch, self.adm, self.params = torch, config.variant == "adm", params
        self.scale = 1.0 if self.adm else 0.5**0.5

    def tensor(self, values):
        return self.torch.tensor(np.float64(values))

    def conv(self, layer, x):
        kernel = layer["kernel"].permute(3, 2, 0, 1)
        return self.functional.conv2d(x, kernel, layer["bias"], padding=kernel.shape[-1] // 2)

    def norm(self, layer, x):
        groups, epsilon = min(32, x.shape[1] // 4), EPSILON[self.config.variant]
        return self.functional.group_norm(x, groups, layer["scale"], layer["bias"], epsilon)

    def dense(self, layer, x):
        return self.functional.linear(x, layer["kernel"].T, layer.get("bias"))

    def attend(self, layers, x):
        b, c, h, w = x.shape
        heads = c // self.config.head if self.adm else 1
        qkv = self.conv(layers["qkv"], self.norm(layers["norm"], x))
        q, k, v = (part.unflatten(1, (heads, -1)).flatten(3).mT for part in qkv.chunk(3, 1))
        mask = None
        if self.told is not None:
            tokens = self.dense(layers["tokens"], self.tensor(self.told.tokens))
            more = tokens.unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)
            k, v = self.torch.cat([k, more[0]], 2), self.torch.cat([v, more[1]], 2)
            there = self.torch.tensor(np.asarray(self.told.present))
            everywhere = self.torch.ones(b, h * w, dtype=bool)
            mask = self.torch.cat([everywhere, there], 1)[:, None, None]
        seen = self.functional.scaled_dot_product_attention(q, k, v, mask)
        y = self.conv(layers["out"], seen.mT.reshape(b, c, h, w))
        return (x + y) * self.scale

    def block(self, name, x, embedding):
        layers, silu = self.params[name], self.functional.silu

        def resample(x):
            if name.startswith("down"):
                return self.functional.avg_pool2d(x, 2)
            return self.functional.interpolate(x, scale_factor=2) if name.startswith("up") else x

        y = self.conv(layers["conv_0"], resample(silu(self.norm(layers["norm_0"], x))))
        given = self.dense(layers["affine"], embedding)[:, :, None, None]
        if self.adm:
            gain, bias = given.chunk(2, 1)
            y = (1 + gain) * self.norm(layers["norm_1"], y) + bias
        else:
            y = self.norm(layers["norm_1"], y + given)
        y = self.conv(layers["conv_1"], silu(y))
        x = resample(x)
        x = self.conv(layers["skip"], x) if "skip" in layers else x
        x = (x + y) * self.scale
        return self.attend(layers["attention"], x) if "attention" in layers else x

    def embed(self, noise, labels):
        params, silu, half = self.params, self.functional.silu, self.config.width // 2
        exponents = np.arange(half) / (half if self.adm else half - 1)
        angles = np.float64(noise)[:, None] / 10_000**exponents
        waves = [np.cos(angles), np.sin(angles)]
        x = self.tensor(np.concatenate(waves if self.adm else waves[::-1], axis=1))
        hot = None if labels is None else np.eye(CLASSES + 1)[labels, :CLASSES]
        if self.adm:
            x = self.dense(params["embed_1"], silu(self.dense(params["embed_0"], x)))
            x = x if hot is None else x + self.dense(params["embed_label"], self.tensor(hot))
            return silu(self.described(x))
        if hot is not None:
            x = x + self.dense(params["embed_label"], self.tensor(hot * CLASSES**0.5))
        x = self.described(x)
        return silu(self.dense(params["embed_1"], silu(self.dense(params["embed_0"], x))))

    def described(self, x):
        if self.told is None:
            return x
        return x + self.dense(self.params["embed_description"], self.tensor(self.told.vector))

    def __call__(self, x, noise, labels):
        config, embedding = self.config, self.embed(noise, labels)
        x = self.conv(self.params["first"], x)
        kept, stages = [x], range(len(config.widths))
        for stage in stages:
            names = [f"down_{stage}"] if stage else []
            for name in names + [f"encoder_{stage}_{n}" for n in range(config.blocks)]:
                x = self.block(name, x, embedding)
                kept.append(x)
        for name in ("middle_0", "middle_1"):
            x = self.block(name, x, embedding)
        for stage in reversed(stages):
            if stage + 1 < len(stages):
                x = self.block(f"up_{stage}", x, embedding)
            for number in range(config.blocks + 1):
                joint = self.torch.cat([x, kept.pop()], 1)
                x = self.block(f"decoder_{stage}_{number}", joint, embedding)
        assert not kept
        x = self.functional.silu(self.norm(self.params["last_norm"], x))
        return self.conv(self.params["last"], x)


@pytest.mark.parametrize("classes", [CLASSES, pytest.param(0, marks=pytest.mark.full)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_pytorch(torch, variant, classes):
    """Output and gradients by the image and by all parameters; one image is without a label.

    With labels there are descriptions, too, one of them without tokens, and a map beside the image.
    """
    config, told = TINY[variant], description() if classes else None
    given = inputs(channels=3 if classes else 2, classes=classes)

    def theirs(torch, config, params, x, noise, labels, told):
        return Theirs(torch, config, params, told)(x, noise, labels)

    equals(torch, make(config, classes=classes), config, theirs, given, told)


SMALL = UNet(width=8, widths=(1,), blocks=1)


def small(classes=0, dtype=jnp.float32, **changes):
    """A network of one stage with random parameters, and what it makes of its inputs."""
    network = make(dataclasses.replace(SMALL, **changes), 4, 1, classes, dtype)
    given = inputs(4, 1, classes)
    params = draw(network, *given)
    return network, params, given


def outcome(network, params, x, noise, labels, train=False):
    apply = jax.jit(network.apply, static_argnums=2)
    return apply({"params": params}, x, train, noise, labels, rngs={"dropout": KEY})


@pytest.mark.parametrize("side", [8, 28, 32, 64])
@pytest.mark.parametrize("variant", VARIANTS)
def test_sides(variant, side):
    network = make(UNet(variant=variant, attention=(side // 2,)), side, 3)
    x, noise, labels = inputs(side, 3)

    def apply():
        return network.apply(network.init(KEY, x, False, noise, labels), x, False, noise, labels)

    made = jax.eval_shape(apply)
    assert (made.shape, made.dtype) == (x.shape, jnp.float32)


def test_what_is_refused():
    x, noise, labels = inputs(30, 1)
    network = make(UNet(), 30, 1)
    with pytest.raises(UserError, match=r"30 pixels 2 times.* 28 or 32, or at most 2 widths"):
        network.init(KEY, x, False, noise, labels)
    network = make(UNet(attention=(16,)), 28, 1)
    with pytest.raises(UserError, match=r"attention is 16.* choices: 28, 14, 7"):
        network.init(KEY, jnp.zeros((1, 28, 28, 1)), False, noise[:1])
    with pytest.raises(UserError, match="images are 28 x 32; set"):
        make_denoiser(UNet(), (28, 32, 1), 0, jnp.float32, None)
    with pytest.raises(UserError, match=r"'unet' is for images, but examples have shape \(64,\)"):
        make_denoiser(UNet(), (64,), 0, jnp.float32, None)
    for wrong in ({"width": 9}, {"widths": ()}, {"blocks": 0}, {"dropout": 1.0}):
        with pytest.raises(UserError, match=f"{next(iter(wrong))} is"):
            UNet(**wrong)
    with pytest.raises(UserError, match=r"UNet.head is 64; .* such as 96"):
        UNet(variant="adm", width=96)


@pytest.mark.full
def test_no_label_is_the_last_of_labels():
    network, params, (x, noise, labels) = small(CLASSES)
    none = jnp.full(2, CLASSES)
    made = [outcome(network, params, x, noise, given) for given in (labels, none, None)]
    np.testing.assert_array_equal(made[1], made[2])
    # The second image has no label in any case.
    assert np.abs(made[0] - made[1]).max(axis=(1, 2, 3)).tolist()[1] == 0
    assert np.abs(made[0] - made[1])[0].max() > 1e-3


@pytest.mark.full
@pytest.mark.parametrize("variant", VARIANTS)
def test_begins_as_edm(variant):
    """Near 0, for the last kernels are; others have the deviations of EDM's code."""
    network = make(UNet(variant=variant, width=32, widths=(1, 2), blocks=1), classes=CLASSES)
    x, noise, labels = inputs()
    params = jax.jit(lambda: network.init(KEY, x, False, noise, labels))()["params"]
    adm = variant == "adm"
    for path, p in jax.tree_util.tree_leaves_with_path(params):
        *_, layer, kind = (key.key for key in path)
        if kind != "kernel":
            drawn = adm and layer.startswith(("conv_0", "qkv", "skip", "first", "affine", "embed"))
            assert drawn or (p == (kind == "scale")).all()
            continue
        inner = math.prod(p.shape[:-2])
        inputs_of, outputs = inner * p.shape[-2], inner * p.shape[-1]
        deviation = (1 / (3 * inputs_of)) ** 0.5 if adm else (2 / (inputs_of + outputs)) ** 0.5
        if layer in ("out", "conv_1", "last"):
            deviation *= 0 if adm else 1e-5
        elif layer == "qkv" and not adm:
            deviation *= 0.2**0.5
        elif layer == "embed_label" and adm:
            deviation = 1.0
        np.testing.assert_allclose(np.std(p), deviation, rtol=0.15)
    if adm:
        bias = np.asarray(params["encoder_1_0"]["affine"]["bias"])
        np.testing.assert_allclose(np.abs(bias).max(), 128**-0.5, rtol=0.05)


def test_dropout_and_what_is_computed_again():
    """Units are dropped in training alone, and the same whatever the backward pass keeps."""
    network, params, given = small(dropout=0.5)

    def gradients(network):
        x, noise, labels = given

        def loss(params):
            made = network.apply({"params": params}, x, True, noise, labels, rngs={"dropout": KEY})
            return jnp.sum(jnp.square(made))

        return jax.jit(jax.grad(loss))(params)

    again = dataclasses.replace(network.config, remat="all")
    jax.tree.map(close, gradients(network.clone(config=again)), gradients(network))
    dropped = outcome(network, params, *given, train=True)
    whole = outcome(network, params, *given)
    assert np.abs(dropped - whole).max() > 0.1
    undropped = network.clone(config=dataclasses.replace(network.config, dropout=0.0))
    np.testing.assert_array_equal(whole, outcome(undropped, params, *given))


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16(variant):
    """What it makes is float32, and near that of float32."""
    network, params, given = small(variant=variant, dtype=jnp.bfloat16)
    layers = network.layers._replace(dtype=jnp.float32)
    exact = outcome(network.clone(layers=layers), params, *given)
    rough = outcome(network, params, *given)
    assert rough.dtype == jnp.float32
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()
