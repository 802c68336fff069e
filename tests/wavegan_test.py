"""One-dimensional convolutions and WaveGAN's networks against PyTorch in float64."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.errors import UserError
from genjax.nn import conv
from genjax.nn.conv_forms import (
    joined_conv_transpose1d,
    shifted_conv_transpose1d,
    stock_conv1d,
    stock_conv_transpose1d,
)
from genjax.nn.layers import Layers
from genjax.nn.wavegan import PhaseShuffle, WaveGANDecoder, WaveGANEncoder, quarterings, shift

KEY = jax.random.key(8)
RNG = np.random.default_rng(0)
FORMS = {
    "fast_conv1d": (conv.fast_conv1d, stock_conv1d),
    "conv1d": (conv.conv1d, stock_conv1d),
    "fast_conv_transpose1d": (conv.fast_conv_transpose1d, stock_conv_transpose1d),
    "joined_conv_transpose1d": (joined_conv_transpose1d, stock_conv_transpose1d),
    "shifted_conv_transpose1d": (shifted_conv_transpose1d, stock_conv_transpose1d),
    "conv_transpose1d": (conv.conv_transpose1d, stock_conv_transpose1d),
}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")


def close(actual, wanted):
    assert actual.shape == wanted.shape
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def everything(operation, x, kernel, weights):
    """Output, both gradients, and both gradients of a penalty on gradients."""

    def value(x, kernel):
        return jnp.sum(jnp.sin(operation(x, kernel)) * weights)

    def penalty(x, kernel):
        return sum(jnp.sum(jnp.square(g)) for g in jax.grad(value, (0, 1))(x, kernel))

    gradients = jax.grad(value, (0, 1))(x, kernel)
    return operation(x, kernel), *gradients, *jax.grad(penalty, (0, 1))(x, kernel)


def ours(operation, x, kernel, weights, stride):
    run = jax.jit(lambda *arrays: everything(lambda a, b: operation(a, b, stride), *arrays))
    return run(*(jnp.asarray(a, jnp.float32) for a in (x, kernel, weights)))


def draw_case(operation, size, stride, length, inputs, outputs):
    x = RNG.normal(size=(2, length, inputs))
    kernel = RNG.normal(size=(size, inputs, outputs)) / (size * inputs) ** 0.5
    shape = jax.eval_shape(lambda: operation(jnp.asarray(x), jnp.asarray(kernel), stride)).shape
    return x, kernel, RNG.normal(size=shape)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("size", "stride"),
    [
        (25, 4),
        (3, 2),
        pytest.param(1, 1, marks=pytest.mark.full),
        pytest.param(4, 1, marks=pytest.mark.full),
        pytest.param(3, 4, marks=pytest.mark.full),
    ],
)
def test_forms_equal_stock(form, size, stride):
    operation, stock = FORMS[form]
    if size < stride and form.startswith(("joined", "shifted")):
        pytest.skip("a phase would have no tap")
    lengths = {"conv1d": [7, 12], "fast_conv1d": [12]}.get(form, [7])
    for length in lengths:
        for inputs, outputs in [(3, 2), (2, 1), (1, 3)]:
            case = draw_case(stock, size, stride, length, inputs, outputs)
            for actual, wanted in zip(
                ours(operation, *case, stride), ours(stock, *case, stride), strict=True
            ):
                close(actual, wanted)


@pytest.mark.parametrize("form", FORMS)
def test_vmap_over_kernels(form):
    """Several models at once, as when seeds are trained together."""
    operation, stock = FORMS[form]
    x = jnp.asarray(RNG.normal(size=(2, 3, 8, 3)), jnp.float32)
    kernels = jnp.asarray(RNG.normal(size=(2, 25, 3, 2)), jnp.float32)
    actual = jax.vmap(lambda x, k: operation(x, k, 4))(x, kernels)
    for number in range(2):
        close(actual[number], stock(x[number], kernels[number], 4))


def torch_conv(torch, x, kernel, stride):
    """TensorFlow's 'SAME': as few zeros as make ceil(t / s) outputs, the odd one at the end."""
    length, size = x.shape[1], kernel.shape[0]
    zeros = max((-(-length // stride) - 1) * stride + size - length, 0)
    x = torch.nn.functional.pad(x.transpose(1, 2), (zeros // 2, zeros - zeros // 2))
    return torch.nn.functional.conv1d(x, kernel.permute(2, 1, 0), stride=stride).transpose(1, 2)


def torch_conv_transpose(torch, x, kernel, stride):
    """The adjoint of the convolution from s * t: its output without what would be padding.

    PyTorch's kernel runs forwards in time as a stamp does, ours backwards.
    """
    length, size = x.shape[1], kernel.shape[0]
    weight = kernel.flip(0).permute(1, 2, 0)
    y = torch.nn.functional.conv_transpose1d(x.transpose(1, 2), weight, stride=stride)
    first = max(size - stride, 0) // 2
    y = torch.nn.functional.pad(y, (0, max(first + stride * length - y.shape[2], 0)))
    return y[:, :, first : first + stride * length].transpose(1, 2)


@pytest.mark.parametrize("form", ["auto", "stock"])
@pytest.mark.parametrize(("size", "stride", "length"), [(25, 4, 16), (5, 2, 8), (4, 1, 9)])
@pytest.mark.parametrize("kind", ["conv1d", "conv_transpose1d"])
def test_convolutions_equal_pytorch(torch, kind, size, stride, length, form):
    """Outputs, gradients, and the second derivatives of a gradient penalty."""
    operation = getattr(conv, kind)
    peer = {"conv1d": torch_conv, "conv_transpose1d": torch_conv_transpose}[kind]
    x, kernel, weights = draw_case(operation, size, stride, length, 3, 2)
    actual = ours(lambda x, k, s: operation(x, k, s, form), x, kernel, weights, stride)
    x, kernel = (torch.tensor(a, requires_grad=True) for a in (x, kernel))
    y = peer(torch, x, kernel, stride)
    value = (y.sin() * torch.tensor(weights)).sum()
    gradients = torch.autograd.grad(value, (x, kernel), create_graph=True)
    penalty = sum(g.square().sum() for g in gradients)
    second = torch.autograd.grad(penalty, (x, kernel))
    for a, wanted in zip(actual, (y, *gradients, *second), strict=True):
        close(a, wanted.detach().numpy())


def draw_variables(module, *inputs):
    """Parameters of which none is at a special value."""
    variables = jax.eval_shape(lambda: module.init(KEY, *inputs))
    return jax.tree.map(lambda p: jnp.float32(0.2 * RNG.normal(size=p.shape)), variables)


def to_torch(torch, tree):
    return jax.tree.map(lambda p: torch.tensor(np.float64(p), requires_grad=True), tree)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_decoder_equals_pytorch(torch, norm):
    module = WaveGANDecoder((128, 2), 3, Layers(norm))
    z = jnp.asarray(RNG.normal(size=(4, 5)), jnp.float32)
    variables = draw_variables(module, z, True)
    audio, _ = jax.jit(lambda v: module.apply(v, z, True, mutable="batch_stats"))(variables)
    params = to_torch(torch, variables["params"])
    functional = torch.nn.functional

    def activate(x, number):
        if norm == "batch":
            own = params[f"Normalize_{number}"]
            x = functional.batch_norm(
                x.transpose(1, 2), None, None, own["scale"], own["bias"], training=True
            ).transpose(1, 2)
        return x.relu()

    def layer(name, x):
        y = torch_conv_transpose(torch, x, params[name]["kernel"], 4)
        return y + params[name].get("bias", 0)

    dense = params["Dense_0"]
    x = torch.tensor(np.float64(z)) @ dense["kernel"] + dense.get("bias", 0)
    x = activate(x.reshape(4, 8, 6), 0)
    x = activate(layer("ConvTranspose1D_0", x), 1)
    close(audio, layer("ConvTranspose1D_1", x).detach().numpy())
    assert ("bias" in dense) == (norm == "none")


def test_critic_equals_pytorch(torch):
    """Features, and all gradients of WGAN-GP's loss of a critic of two layers."""
    module = WaveGANEncoder(3)
    audio = jnp.asarray(RNG.normal(size=(4, 128, 1)), jnp.float32)
    head = np.float32(RNG.normal(size=48))
    variables = draw_variables(module, audio, False)

    def critic(variables, audio):
        return module.apply(variables, audio, False).reshape(4, 48) @ head

    def loss(variables):
        slopes = jax.grad(lambda audio: critic(variables, audio).sum())(audio)
        norms = jnp.sqrt(jnp.sum(jnp.square(slopes), (1, 2)))
        return jnp.mean(critic(variables, audio)) + 10 * jnp.mean(jnp.square(norms - 1))

    features = jax.jit(lambda v: module.apply(v, audio, False))(variables)
    gradients = jax.jit(jax.grad(loss))(variables)["params"]

    params = to_torch(torch, variables["params"])
    x = waves = torch.tensor(np.float64(audio), requires_grad=True)
    for name in ("Conv1D_0", "Conv1D_1"):
        y = torch_conv(torch, x, params[name]["kernel"], 4) + params[name]["bias"]
        x = torch.nn.functional.leaky_relu(y, 0.2)
    wanted = x.reshape(4, 48)
    close(features.reshape(4, 48), wanted.detach().numpy())
    logits = wanted @ torch.tensor(head).double()
    (slopes,) = torch.autograd.grad(logits.sum(), waves, create_graph=True)
    penalty = (slopes.square().sum((1, 2)).sqrt() - 1).square().mean()
    (logits.mean() + 10 * penalty).backward()
    jax.tree.map(lambda a, p: close(a, p.grad.numpy()), gradients, params)


def shapes(module, *inputs):
    variables = jax.eval_shape(lambda: module.init(KEY, *inputs))
    return {
        name: layer["kernel"].shape
        for name, layer in variables["params"].items()
        if "kernel" in layer
    }


def test_networks_of_the_paper():
    """One second at 16 kHz: 16 steps of 1024 channels at one end, 16384 samples at the other."""
    decoder, encoder = WaveGANDecoder((16384, 1), 64), WaveGANEncoder(64)
    channels = [1024, 512, 256, 128, 64, 1]
    expected = {"Dense_0": (100, 16 * 1024)}
    for number in range(5):
        expected[f"ConvTranspose1D_{number}"] = (25, channels[number], channels[number + 1])
    assert shapes(decoder, jnp.zeros((1, 100)), False) == expected
    channels = channels[::-1]
    expected = {f"Conv1D_{i}": (25, channels[i], channels[i + 1]) for i in range(5)}
    audio = jnp.zeros((2, 16384, 1))
    assert shapes(encoder, audio, False) == expected
    features = jax.eval_shape(lambda: encoder.init_with_output(KEY, audio, False)[0])
    assert features.shape == (2, 16, 1024)
    z = jnp.zeros((2, 100))
    made = jax.eval_shape(lambda: decoder.init_with_output(KEY, z, False)[0])
    assert made.shape == (2, 16384, 1)


def test_start():
    """Glorot's uniform, TensorFlow's default, which the authors' code leaves in place."""
    params = jax.jit(lambda: WaveGANEncoder(16).init(KEY, jnp.zeros((1, 512, 1)), False))()
    layer = params["params"]["Conv1D_2"]
    limit = np.sqrt(6 / (25 * 32 + 25 * 64))
    assert 0.99 * limit < np.abs(layer["kernel"]).max() <= limit * (1 + 1e-6)
    assert not layer["bias"].any()


def test_spectral_norm():
    module = WaveGANEncoder(4, layers=Layers(spectral_norm=True))
    audio = jnp.asarray(RNG.normal(size=(2, 32, 1)), jnp.float32)
    variables = jax.jit(lambda: module.init(KEY, audio, False))()
    features = module.apply(variables, audio, False)
    kernel = np.asarray(variables["params"]["Conv1D_0"]["kernel"])
    kernel = kernel / np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2)
    y = np.asarray(stock_conv1d(audio, jnp.asarray(kernel), 4))
    np.testing.assert_allclose(features, np.maximum(y, 0.2 * y), atol=1e-3)


def test_condition():
    z, condition = jnp.ones((3, 5)), jnp.eye(3)
    with pytest.raises(UserError, match="needs a norm"):
        WaveGANDecoder((32, 1), 4).init(KEY, z, False, condition)
    module = WaveGANDecoder((32, 1), 4, Layers("batch"))
    variables = draw_variables(module, z, False, condition)
    audio = module.apply(variables, z, False, condition)
    assert not np.allclose(audio[0], audio[1])


def test_shift_equals_a_plain_loop():
    x = np.float32(RNG.normal(size=(7, 9, 2)))
    steps = np.arange(-3, 4)
    wanted = np.zeros_like(x)
    for example in range(7):
        for time in range(9):
            source = abs(time - steps[example])
            if source > 8:
                source = 16 - source
            wanted[example, time] = x[example, source]
    actual, pull = jax.vjp(lambda x: shift(x, jnp.asarray(steps), 3), jnp.asarray(x))
    np.testing.assert_array_equal(actual, wanted)
    # Linear, so the gradient is the adjoint.
    other = np.float32(RNG.normal(size=x.shape))
    back = pull(jnp.asarray(other))[0]
    np.testing.assert_allclose(np.vdot(back, x), np.vdot(other, wanted), rtol=1e-4)


def read_steps(module, count, time=8, **settings):
    """By how much each example of a ramp is shifted."""
    ramp = jnp.broadcast_to(jnp.arange(1.0, time + 1)[:, None], (count, time, 2))
    shifted = module.apply({}, ramp, True, rngs={"dropout": KEY}, **settings)
    assert (shifted[..., 0] == shifted[..., 1]).all()
    return np.asarray(time // 2 + 1 - shifted[:, time // 2, 0]).astype(int)


def test_shifts_are_uniform():
    steps = read_steps(PhaseShuffle(2), 5000)
    counts = np.bincount(steps + 2, minlength=5)
    assert len(counts) == 5
    assert (np.abs(counts - 1000) < 4.5 * np.sqrt(5000 * 0.2 * 0.8)).all()
    assert (read_steps(PhaseShuffle(0), 5) == 0).all()


def test_shifts_do_not_depend_on_batch_or_devices():
    steps = read_steps(PhaseShuffle(2), 12)
    assert len(np.unique(steps)) > 2
    np.testing.assert_array_equal(read_steps(PhaseShuffle(2), 5), steps[:5])
    x = jnp.asarray(RNG.normal(size=(12, 8, 2)), jnp.float32)
    parts = jax.vmap(
        lambda x: PhaseShuffle(2, "data").apply({}, x, True, rngs={"dropout": KEY}),
        axis_name="data",
    )(x.reshape(3, 4, 8, 2))
    np.testing.assert_array_equal(parts.reshape(x.shape), shift(x, jnp.asarray(steps), 2))


def test_shuffle_lies_between_convolutions():
    """After each activation but the last, with draws of its own; in training only."""
    audio = jnp.asarray(RNG.normal(size=(4, 512, 1)), jnp.float32)
    module = WaveGANEncoder(4)
    variables = draw_variables(module, audio, False)
    plain = WaveGANEncoder(4, 0).apply(variables, audio, True)
    np.testing.assert_array_equal(module.apply(variables, audio, False), plain)
    shuffled, kept = module.apply(
        variables, audio, True, rngs={"dropout": KEY}, capture_intermediates=True, mutable=True
    )
    assert not np.allclose(shuffled, plain)
    seen = kept["intermediates"]
    assert {name for name in seen if "Shuffle" in name} == {"PhaseShuffle_0", "PhaseShuffle_1"}
    drawn = []
    for number in range(2):
        before = jax.nn.leaky_relu(seen[f"Conv1D_{number}"]["__call__"][0], 0.2)
        after = seen[f"PhaseShuffle_{number}"]["__call__"][0]
        drawn.append(
            [
                next(
                    step
                    for step in range(-2, 3)
                    if (shift(before[i : i + 1], jnp.array([step]), 2) == after[i]).all()
                )
                for i in range(4)
            ]
        )
    assert drawn[0] != drawn[1]
    last = jax.nn.leaky_relu(seen["Conv1D_2"]["__call__"][0], 0.2)
    np.testing.assert_array_equal(shuffled, last)


@pytest.mark.parametrize("samples", [1, 31, 33, 127, 8000, 8191, 22050])
def test_lengths_that_do_not_quarter_are_refused(samples):
    with pytest.raises(UserError, match=f"audio of {samples} samples; use") as caught:
        WaveGANDecoder((samples, 1), 4).init(KEY, jnp.zeros((1, 5)), False)
    message = str(caught.value)
    assert "\n" not in message
    offers = re.findall(r"\d+", message.split("use")[1])
    assert offers
    for offer in offers:
        count = quarterings(int(offer))
        assert 8 <= int(offer) / 4**count < 32
    with pytest.raises(UserError, match=f"audio of {samples} samples"):
        WaveGANEncoder(4).init(KEY, jnp.zeros((1, samples, 1)), False)
