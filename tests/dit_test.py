"""The diffusion transformer against PyTorch in float64, and what its settings do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoiser_inputs import CLASSES, KEY, description, draw, equals, inputs

from genjax.config import DiT
from genjax.errors import UserError
from genjax.nn.denoisers import make_denoiser

TINY = DiT(patch=2, width=12, depth=2, heads=3)


def make(config, side=6, channels=2, classes=CLASSES, dtype=jnp.float32):
    return make_denoiser(config, (side, side, channels), classes, dtype, None)


def theirs(torch, config, params, x, noise, labels, told):
    """The same network in PyTorch; maps are NCHW."""
    functional = torch.nn.functional
    patch, width, count = config.patch, config.width, x.shape[-1] // config.patch

    def dense(layer, x):
        return functional.linear(x, layer["kernel"].T, layer["bias"])

    def modulated(x, shift, scale):
        return functional.layer_norm(x, (width,), eps=1e-6) * (1 + scale) + shift

    def waves(values, frequencies):
        angles = values[:, None] / 10_000 ** (np.arange(frequencies) / frequencies)
        return torch.tensor(np.cos(angles)), torch.tensor(np.sin(angles))

    y = functional.unfold(x, patch, stride=patch).mT
    # PyTorch's patches have the channels before the pixels.
    kernel = params["patches"]["kernel"].unflatten(0, (patch**2, -1)).transpose(0, 1).flatten(0, 1)
    y = y @ kernel + params["patches"]["bias"]
    places = np.arange(count**2)
    for part, numbers in enumerate((places % count, places // count)):
        cosines, sines = waves(np.float64(numbers), width // 4)
        padding = (part * width // 2, (1 - part) * width // 2)
        y = y + functional.pad(torch.cat([sines, cosines], 1), padding)
    given = dense(params["noise_0"], torch.cat(waves(np.float64(noise), 128), 1))
    given = dense(params["noise_1"], functional.silu(given))
    if labels is not None:
        given = given + params["labels"][torch.tensor(np.asarray(labels))]
    if told is not None:
        given = given + dense(params["description"], torch.tensor(np.float64(told.vector)))
    given = functional.silu(given)[:, None]
    for number in range(config.depth):
        block = params[f"block_{number}"]
        a, b, c, d, e, f = dense(block["modulation"], given).chunk(6, -1)
        qkv = dense(block["attention_qkv"], modulated(y, a, b)).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (config.heads, -1)).transpose(1, 2) for part in qkv)
        mask = None
        if told is not None:
            tokens = dense(block["tokens"], torch.tensor(np.float64(told.tokens)))
            more = tokens.unflatten(2, (2, config.heads, -1)).permute(2, 0, 3, 1, 4)
            k, v = torch.cat([k, more[0]], 2), torch.cat([v, more[1]], 2)
            there = torch.tensor(np.asarray(told.present))
            everywhere = torch.ones(len(k), count**2, dtype=bool)
            mask = torch.cat([everywhere, there], 1)[:, None, None]
        seen = functional.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
        y = y + c * dense(block["attention_out"], seen)
        hidden = functional.gelu(dense(block["mlp_in"], modulated(y, d, e)), approximate="tanh")
        y = y + f * dense(block["mlp_out"], hidden)
    y = modulated(y, *dense(params["last_modulation"], given).chunk(2, -1))
    y = dense(params["last"], y).unflatten(-1, (patch**2, -1)).transpose(-1, -2).flatten(2)
    return functional.fold(y.mT, x.shape[-1], patch, stride=patch)


@pytest.mark.parametrize("classes", [0, CLASSES])
def test_equals_pytorch(classes):
    """Output and gradients by the image and by all parameters; one image is without a label.

    With labels there are descriptions, too, one of them without tokens, and a map beside the image.
    """
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    given = inputs(6, 3 if classes else 2, classes)
    told = description() if classes else None
    equals(torch, make(TINY, classes=classes), TINY, theirs, given, told)


def test_size_and_start():
    """DiT-S/2 without learned variances on latents of 32 x 32 x 4; all of it begins at 0."""
    network = make(DiT(width=384, depth=12, heads=6), 32, 4, 1000)
    x, noise, labels = inputs(32, 4, 1000)
    shapes = jax.eval_shape(lambda: network.init(KEY, x, False, noise, labels))
    # As the official code has, without the fixed positions; 33 million in the paper.
    assert sum(p.size for p in jax.tree.leaves(shapes)) == 32_858_896
    network = make(TINY)
    x, noise, labels = inputs(6)
    made, variables = jax.jit(lambda: network.init_with_output(KEY, x, False, noise, labels))()
    assert (made == 0).all()
    block = variables["params"]["block_0"]
    assert (block["modulation"]["kernel"] == 0).all()
    assert 0.3 < np.abs(block["attention_qkv"]["kernel"]).max() <= (6 / 48) ** 0.5


def test_settings():
    """Dropout is for training alone; no label is the table's last; bfloat16 is near float32."""
    network = make(TINY)
    x, noise, labels = inputs(6)
    variables = {"params": draw(network, x, noise, labels)}

    def outcome(labels, train=False, dtype=jnp.float32, **changes):
        other = make(dataclasses.replace(TINY, **changes), dtype=dtype)
        apply = jax.jit(other.apply, static_argnums=2)
        return np.asarray(apply(variables, x, train, noise, labels, rngs={"dropout": KEY}))

    made = outcome(labels)
    np.testing.assert_array_equal(outcome(labels, dropout=0.5), made)
    assert np.abs(outcome(labels, True, dropout=0.5) - made).max() > 0.1
    np.testing.assert_array_equal(outcome(None), outcome(jnp.full(2, CLASSES)))
    rough = outcome(labels, dtype=jnp.bfloat16)
    assert rough.dtype == np.float32
    pairs = jnp.stack([noise, noise], axis=1)
    two = jax.eval_shape(lambda: network.init(KEY, x, False, pairs, labels))["params"]
    assert two["noise_0"]["kernel"].shape == (512, TINY.width)
    assert 0 < np.abs(rough - made).max() < 0.05 * np.abs(made).max()


def test_what_is_refused():
    x, noise, labels = inputs(6)
    with pytest.raises(UserError, match=r"6 pixels into patches of 4; choices: 1, 2, 3, 6"):
        make(dataclasses.replace(TINY, patch=4)).init(KEY, x, False, noise, labels)
    for name, value in {"width": 6, "heads": 5, "patch": 0, "depth": 0}.items():
        with pytest.raises(UserError, match=f"{name} is {value}; it must be"):
            dataclasses.replace(TINY, **{name: value})
