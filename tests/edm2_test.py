"""EDM2's U-Net against PyTorch in float64, its layers, and how its weights stay normalised."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from denoiser_inputs import CLASSES, KEY, close, description, draw_all, equals, inputs
from in_process import genjax
from safetensors.numpy import load_file

from genjax.config import UNet
from genjax.core.magnitude import DIRECTION, bring_back, unit_magnitude
from genjax.core.players import make_player, update_player
from genjax.nn.denoisers import make_denoiser
from genjax.nn.magnitude import MPConv, MPDense, MPFourier, mp_concatenate, mp_silu, mp_sum

TINY = UNet(variant="edm2", width=4, widths=(1, 2), blocks=1, attention=(4,), head=4)
SMALL = UNet(variant="edm2", width=8, widths=(1,), blocks=1, head=4)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def make(config, side=8, channels=2, classes=CLASSES, dtype=jnp.float32):
    return make_denoiser(config, (side, side, channels), classes, dtype, None)


class Theirs:
    """PyTorch's operations, on our parameters; maps are NCHW."""

    def __init__(self, torch, config, params, told=None):
        self.torch, self.config, self.params, self.told = torch, config, params, told

    def unit(self, x, axis):
        return x / (1e-4 + (x**2).mean(axis, keepdim=True).sqrt())

    def kernel(self, layer):
        w = layer[DIRECTION].movedim(-1, 0)
        flat = w.flatten(1)
        return (self.unit(flat, 1) / flat.shape[1] ** 0.5).reshape(w.shape)

    def conv(self, layer, x):
        kernel = self.kernel(layer).movedim(-1, 1)
        return self.torch.nn.functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2)

    def dense(self, layer, x):
        return x @ self.kernel(layer).T

    def silu(self, x):
        return x * self.torch.sigmoid(x) / 0.596

    def sum(self, a, b, t):
        return ((1 - t) * a + t * b) / ((1 - t) ** 2 + t**2) ** 0.5

    def attend(self, layers, x):
        b, c, h, w = x.shape
        heads = max(1, c // self.config.head)
        qkv = self.conv(layers["qkv"], x).reshape(b, heads, c // heads, 3, h * w)
        q, k, v = self.unit(qkv, 2).unbind(3)
        there = self.torch.ones(b, h * w, dtype=bool)
        if self.told is not None:
            tokens = self.torch.tensor(np.float64(self.told.tokens))
            more = self.dense(layers["tokens"], tokens).unflatten(2, (2, heads, c // heads))
            more = self.unit(more, 4).permute(2, 0, 3, 4, 1)
            k, v = self.torch.cat([k, more[0]], 3), self.torch.cat([v, more[1]], 3)
            present = self.torch.tensor(np.asarray(self.told.present))
            there = self.torch.cat([there, present], 1)
        scores = self.torch.einsum("bhcq,bhck->bhqk", q, k) / (c // heads) ** 0.5
        shares = scores.masked_fill(~there[:, None, None], -np.inf).softmax(-1)
        seen = self.torch.einsum("bhqk,bhck->bhcq", shares, v).reshape(b, c, h, w)
        return self.sum(x, self.conv(layers["out"], seen), 0.3)

    def block(self, name, x, embedding, down):
        layers, functional = self.params[name], self.torch.nn.functional
        if name.startswith("down"):
            x = functional.avg_pool2d(x, 2)
        if name.startswith("up"):
            x = functional.interpolate(x, scale_factor=2)
        skip = "skip" in layers
        if down:
            x = self.unit(self.conv(layers["skip"], x) if skip else x, 1)
        y = self.conv(layers["conv_0"], self.silu(x))
        gain = layers["embedding_gain"] * self.dense(layers["embedding"], embedding) + 1
        y = self.conv(layers["conv_1"], self.silu(y * gain[:, :, None, None]))
        x = self.conv(layers["skip"], x) if skip and not down else x
        x = self.sum(x, y, 0.3)
        x = self.attend(layers["attention"], x) if "attention" in layers else x
        return x.clip(-256, 256)

    def embed(self, noise, labels):
        waves, torch = self.params["constants"]["fourier"], self.torch
        angles = torch.outer(torch.tensor(np.float64(noise)), waves["frequencies"])
        x = 2**0.5 * torch.cos(angles + waves["phases"])
        x = self.dense(self.params["embed_noise"], x)
        if labels is not None:
            hot = torch.tensor(np.eye(CLASSES + 1)[labels, :CLASSES] * CLASSES**0.5)
            x = self.sum(x, self.dense(self.params["embed_label"], hot), 0.5)
        if self.told is not None:
            vector = torch.tensor(np.float64(self.told.vector))
            x = self.sum(x, self.dense(self.params["embed_description"], vector), 0.5)
        return self.silu(x)

    def __call__(self, x, noise, labels):
        config, embedding = self.config, self.embed(noise, labels)
        stages = range(len(config.widths))
        x = self.conv(self.params["first"], self.torch.cat([x, self.torch.ones_like(x[:, :1])], 1))
        kept = [x]
        for stage in stages:
            names = [f"down_{stage}"] if stage else []
            for name in names + [f"encoder_{stage}_{n}" for n in range(config.blocks)]:
                x = self.block(name, x, embedding, down=True)
                kept.append(x)
        for name in ("middle_0", "middle_1"):
            x = self.block(name, x, embedding, down=False)
        for stage in reversed(stages):
            if stage + 1 < len(stages):
                x = self.block(f"up_{stage}", x, embedding, down=False)
            for number in range(config.blocks + 1):
                y = kept.pop()
                m, n = x.shape[1], y.shape[1]
                scale = ((m + n) / 2) ** 0.5
                x = self.torch.cat([x * scale / m**0.5, y * scale / n**0.5], 1)
                x = self.block(f"decoder_{stage}_{number}", x, embedding, down=False)
        assert not kept
        return self.conv(self.params["last"], x) * self.params["last_gain"]


@pytest.mark.parametrize(
    ("config", "classes"),
    [
        (SMALL, CLASSES),
        pytest.param(TINY, CLASSES, marks=pytest.mark.full),
        pytest.param(SMALL, 0, marks=pytest.mark.full),
    ],
)
def test_equals_pytorch(torch, config, classes):
    """Output and gradients by the image and by all parameters; one image is without a label.

    With labels there are descriptions, too, one of them without tokens, and a map beside the image.
    """
    given = inputs(4, 3 if classes else 2, classes)
    told = description() if classes else None

    def theirs(torch, config, params, x, noise, labels, told):
        return Theirs(torch, config, params, told)(x, noise, labels)

    equals(torch, make(config, 4, classes=classes), config, theirs, given, told)


def magnitude(x, axis=None):
    return np.sqrt(np.mean(np.square(np.float64(x)), axis))


def test_layers_keep_magnitudes():
    """Of N(0, 1), expected over random weights (Karras et al. 2024, section 2.2)."""
    rng = np.random.default_rng(2)
    a, b = (jnp.float32(rng.normal(size=(32, 8, 8, channels))) for channels in (8, 24))
    flat = a.reshape(-1, 8)

    @jax.jit
    def all_of_them():
        return {
            "silu": mp_silu(a),
            "sum": mp_sum(a, jnp.roll(a, 1, axis=0), 0.3),
            "concatenation": mp_concatenate(a, b, 0.3),
            "convolution": MPConv(512, 1).init_with_output(KEY, a)[0],
            "dense": MPDense(512).init_with_output(KEY, flat)[0],
            "waves": MPFourier(4096).init_with_output(KEY, flat[:32, 0])[0],
            "unit": unit_magnitude(5 * b),
        }

    made = all_of_them()
    for name, x in made.items():
        np.testing.assert_allclose(magnitude(x), 1, rtol=0.03, err_msg=name)
    # Each part has its share of what comes of it, whatever its channels are.
    parts = np.split(np.float64(made["concatenation"]), [8], axis=-1)
    first, second = (np.sum(part**2) for part in parts)
    np.testing.assert_allclose(second / first, (0.3 / 0.7) ** 2, rtol=0.05)


def test_a_vector_of_zeros_has_derivatives():
    x = jnp.zeros((2, 3)).at[0].set(1.0)
    x, pull = jax.vjp(jax.jit(unit_magnitude), x)
    np.testing.assert_array_equal(x[1], 0)
    (gradient,) = pull(jnp.ones_like(x))
    assert np.isfinite(gradient).all()


def test_weights_stay_at_one_magnitude():
    """Adam's steps, as with weights that are normalised before each of them (equation 66)."""
    rng = np.random.default_rng(3)
    x, y = (jnp.float32(rng.normal(size=(6, size))) for size in (4, 3))
    layer, optimizer = MPDense(3), optax.adam(0.1, 0.9, 0.99)
    variables = {"params": {"layer": layer.init(KEY, x)["params"], "gain": jnp.float32(0.7)}}
    kernel, exact = np.float64(variables["params"]["layer"][DIRECTION]), np.float64(x)
    np.testing.assert_allclose(magnitude(kernel, 0), 1, rtol=1e-3)

    def loss(params):
        made = layer.apply({"params": params["layer"]}, x, params["gain"])
        return jnp.mean((made - y) ** 2)

    @jax.jit
    def step(player):
        return update_player(player, jax.grad(loss)(player.params), {}, optimizer)

    player = make_player(variables, optimizer, average=False)
    theirs = {"gain": np.float64(0.7), "w": kernel}
    moments = dict.fromkeys(theirs, (0.0, 0.0))
    for number in range(1, 6):
        player = step(player)
        root = magnitude(theirs["w"], 0) + 1e-4
        w = theirs["w"] = theirs["w"] / root
        root = magnitude(w, 0) + 1e-4
        unit = w / root / 2
        error = 2 * (exact @ unit * theirs["gain"] - np.float64(y)) / y.size
        by_unit = theirs["gain"] * exact.T @ error
        by_w = (by_unit - w * np.mean(by_unit * w, 0) / root / magnitude(w, 0)) / root / 2
        for name, g in {"gain": np.sum(exact @ unit * error), "w": by_w}.items():
            m, v = moments[name]
            moments[name] = m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
            move = m / (1 - 0.9**number) / (np.sqrt(v / (1 - 0.99**number)) + 1e-8)
            theirs[name] = theirs[name] - 0.1 * move
    np.testing.assert_allclose(player.params["gain"], theirs["gain"], rtol=1e-4)
    own, wanted = player.params["layer"][DIRECTION], theirs["w"]
    np.testing.assert_allclose(own, wanted / (magnitude(wanted, 0) + 1e-4), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(magnitude(own, 0), 1, rtol=1e-3)
    assert np.abs(magnitude(wanted, 0) - 1).max() > 0.02


def test_other_parameters_are_not_brought_back():
    params = {"layer": {"kernel": jnp.ones((2, 2)), DIRECTION: 3 * jnp.ones((2, 2))}}
    brought = bring_back(params)
    assert brought["layer"]["kernel"] is params["layer"]["kernel"]
    np.testing.assert_allclose(brought["layer"][DIRECTION], 1, rtol=1e-3)


@functools.cache
def small(**changes):
    network = make(dataclasses.replace(SMALL, **changes), 4, 1)
    given = inputs(4, 1)
    return network, draw_all(network, *given), given


def outcome(network, variables, x, noise, labels, train=False):
    apply = jax.jit(network.apply, static_argnums=2)
    return apply(variables, x, train, noise, labels, rngs={"dropout": KEY})


@pytest.mark.full
def test_begins_at_zero_and_with_waves_that_stay():
    network, _, (x, noise, labels) = small()
    variables = jax.jit(lambda: network.init(KEY, x, False, noise, labels))()
    np.testing.assert_array_equal(outcome(network, variables, x, noise, labels), 0)
    assert set(variables) == {"params", "constants"}
    waves = variables["constants"]["fourier"]
    assert {name: value.shape for name, value in waves.items()} == {
        "frequencies": (8,),
        "phases": (8,),
    }


@pytest.mark.full
def test_dropout_and_what_is_computed_again():
    """Units are dropped in training alone, and the same whatever the backward pass keeps."""
    network, variables, given = small(dropout=0.5)
    fixed = {"constants": variables["constants"]}

    def gradients(network):
        x, noise, labels = given

        def loss(params):
            made = network.apply(
                {"params": params, **fixed}, x, True, noise, labels, rngs={"dropout": KEY}
            )
            return jnp.sum(jnp.square(made))

        return jax.jit(jax.grad(loss))(variables["params"])

    again = dataclasses.replace(network.config, remat="activations")
    jax.tree.map(close, gradients(network.clone(config=again)), gradients(network))
    dropped = outcome(network, variables, *given, train=True)
    whole = outcome(network, variables, *given)
    assert np.abs(dropped - whole).max() > 0.1 * np.abs(whole).max()
    undropped = network.clone(config=dataclasses.replace(network.config, dropout=0.0))
    np.testing.assert_array_equal(whole, outcome(undropped, variables, *given))


@pytest.mark.full
def test_bfloat16():
    """What it makes is float32, and near that of float32."""
    network, variables, given = small()
    exact = outcome(network, variables, *given)
    layers = network.layers._replace(dtype=jnp.bfloat16)
    rough = outcome(network.clone(layers=layers), variables, *given)
    assert rough.dtype == jnp.float32
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.full
def test_sides_and_several_times():
    """Of a mean flow it is given two times an image; each has waves of its own."""
    network = make(UNet(variant="edm2"), 28, 1)
    x, _, labels = inputs(28, 1)

    def apply():
        variables = network.init(KEY, x, False, jnp.zeros((2, 2)), labels)
        return network.apply(variables, x, False, jnp.zeros((2, 2)), labels), variables

    made, variables = jax.eval_shape(apply)
    assert (made.shape, made.dtype) == (x.shape, jnp.float32)
    assert variables["params"]["embed_noise"][DIRECTION].shape == (128, 128)
    assert math.prod(variables["constants"]["fourier"]["phases"].shape) == 64


TRAIN = ["diffusion-digits", "--batch-size", 12, "--accumulate", 3, "--mode", "jit"]
TRAIN += ["--model.network.variant", "edm2", "--model.network.width", 4]
TRAIN += ["--model.network.widths", 1, "--model.conditional", True, "--model.weighting", "learned"]
TRAIN += ["--model.optimizer.schedule.name", "inverse_sqrt", "--model.ema-profiles", 0.1, 0.2]
TRAIN += ["--eval.rank", "none", "--eval.every", 100, "--checkpoint-every", 2]


def succeed(*words):
    outcome = genjax(*words)
    assert outcome.status == 0, outcome


@pytest.mark.full
def test_runs_go_on_and_have_averages_of_any_width(tmp_path):
    """Waves are exported with the weights, and are the same after resuming and in averages."""
    whole, parted, average = (tmp_path / name for name in ("whole", "parted", "average"))
    succeed("train", *TRAIN, "--steps", 6, "--out", whole)
    succeed("train", *TRAIN, "--steps", 4, "--out", parted)
    first = load_file(parted / "network.safetensors")
    succeed("resume", parted, "--steps", 6)
    weights, again = (load_file(path / "network.safetensors") for path in (whole, parted))
    assert weights.keys() == again.keys()
    waves = [name for name in weights if "constants/" in name]
    assert len(waves) == 8
    for name, value in weights.items():
        np.testing.assert_array_equal(value, again[name])
        if name in waves:
            np.testing.assert_array_equal(value, first[name])
        elif name.endswith(DIRECTION) and not name.startswith("ema"):
            own = magnitude(value, tuple(range(value.ndim - 1)))
            np.testing.assert_allclose(own, 1, rtol=1e-3)
    succeed("average", whole, "--width", 0.2, "--out", average)
    kept = load_file(whole / "averages" / "6.safetensors")
    made = load_file(average / "network.safetensors")
    for name, value in weights.items():
        if name.startswith("ema/params"):
            wanted = kept[f"network/0.2/{name.removeprefix('ema/')}"]
            np.testing.assert_allclose(made[name], wanted, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(made[name], value)
    succeed("sample", average, "--n", 2, "--steps", 2, "--npz", tmp_path / "samples.npz")
    assert np.load(tmp_path / "samples.npz")["images"].shape == (2, 8, 8, 1)
