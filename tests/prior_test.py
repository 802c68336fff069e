"""The transformer of a prior against PyTorch in float64, and what its settings do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from denoiser_inputs import CLASSES, KEY, RNG, close, description, draw_all, equals

from genjax.config import Prior
from genjax.errors import UserError
from genjax.nn.denoisers import make_denoiser

TINY = Prior(width=12, depth=2, heads=3)
NUMBERS = 7


def make(config=TINY, classes=0, dtype=jnp.float32):
    return make_denoiser(config, (NUMBERS,), classes, dtype, None)


def vectors(classes=0, batch=2):
    x = jnp.float32(RNG.normal(size=(batch, NUMBERS)))
    labels = jnp.arange(batch) + classes - batch + 1 if classes else None
    return x, jnp.float32(RNG.normal(size=batch)), labels


def theirs(torch, config, params, x, noise, labels, told):
    """The same network by PyTorch's own layer of transformers."""
    functional = torch.nn.functional
    batch, width = len(x), config.width

    def dense(layer, x):
        return functional.linear(x, layer["kernel"].T, layer["bias"])

    def normed(layer, x):
        return functional.layer_norm(x, (width,), layer["scale"], layer["bias"])

    angles = np.float64(noise)[:, None] / 10_000 ** (np.arange(128) / 128)
    waves = torch.tensor(np.concatenate([np.cos(angles), np.sin(angles)], 1))
    level = dense(params["noise_1"], functional.silu(dense(params["noise_0"], waves)))
    if labels is not None:
        level = level + params["labels"][torch.tensor(np.asarray(labels))]
    parts = [level, dense(params["noisy"], x), params["query"].expand(batch, width)]
    rows = torch.stack(parts, 1)
    hidden = torch.zeros(batch, rows.shape[1], dtype=bool)
    if told is not None:
        tokens, vector = (torch.tensor(np.float64(part)) for part in (told.tokens, told.vector))
        before = [dense(params["tokens"], tokens), dense(params["vector"], vector)[:, None]]
        rows = torch.cat([*before, rows], 1)
        missing = ~torch.tensor(np.asarray(told.present))
        hidden = torch.cat([missing, torch.zeros(batch, 1, dtype=bool), hidden], 1)
    rows = rows + params["places"]
    length = rows.shape[1]
    later = torch.ones(length, length, dtype=bool).triu(1)
    unseen = (later | hidden[:, None])[:, None]
    for number in range(config.depth):
        layer = params[f"layer_{number}"]
        y = normed(layer["attention_norm"], rows)
        heads = (
            dense(layer[name], y).unflatten(-1, (config.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        q, k, v = heads
        scores = (q @ k.mT) / (width / config.heads) ** 0.5
        seen = torch.softmax(scores.masked_fill(unseen, -1e30), -1) @ v
        rows = rows + dense(layer["attention_out"], seen.transpose(1, 2).flatten(2))
        y = functional.gelu(dense(layer["mlp_in"], normed(layer["mlp_norm"], rows)))
        rows = rows + dense(layer["mlp_out"], y)
    return dense(params["last"], normed(params["norm"], rows[:, -1]))


@pytest.mark.parametrize("classes", [0, CLASSES])
def test_equals_pytorch(classes):
    """Output and gradients by the vector and by all parameters.

    With labels there are descriptions, too, one of them without tokens. The biases of keys have no
    gradient.
    """
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    told = description() if classes else None
    equals(torch, make(classes=classes), TINY, theirs, vectors(classes), told, 0.01)


def test_tokens_that_are_not_there_change_nothing():
    x, noise, _ = vectors()
    told, network = description(), make()
    variables = draw_all(network, x, noise, None, None, told)
    apply = jax.jit(lambda told: network.apply(variables, x, False, noise, None, None, told))
    made = apply(told)
    other = jnp.where(told.present[..., None], told.tokens, 5.0)
    close(apply(told._replace(tokens=other)), made)
    assert np.abs(apply(told._replace(tokens=-told.tokens)) - made)[0].max() > 1e-3
    assert np.abs(apply(told._replace(vector=-told.vector)) - made).min(axis=1).max() > 1e-3


def test_settings():
    """Dropout is for training alone; bfloat16 is near float32."""
    x, noise, _ = vectors()
    variables = draw_all(make(), x, noise, None)

    def outcome(train=False, dtype=jnp.float32, **changes):
        other = make(dataclasses.replace(TINY, **changes), dtype=dtype)
        apply = jax.jit(other.apply, static_argnums=2)
        return np.asarray(apply(variables, x, train, noise, rngs={"dropout": KEY}))

    made = outcome()
    np.testing.assert_array_equal(outcome(dropout=0.5), made)
    assert np.abs(outcome(True, dropout=0.5) - made).max() > 0.1
    rough = outcome(dtype=jnp.bfloat16)
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - made).max() < 0.05 * np.abs(made).max()


@pytest.mark.full
def test_remat_changes_no_number():
    x, noise, _ = vectors()
    variables = draw_all(make(), x, noise, None)

    def slope(**changes):
        network = make(dataclasses.replace(TINY, **changes))
        loss = jax.grad(lambda x: network.apply(variables, x, True, noise).sum())
        return jax.jit(loss)(x)

    close(slope(remat="all"), slope())


def test_what_is_refused():
    with pytest.raises(UserError, match=r"'prior' is for vectors, but examples have shape \(8, 8"):
        make_denoiser(TINY, (8, 8, 1), 0, jnp.float32, None)
    for name, value in {"heads": 5, "width": 0, "depth": 0}.items():
        with pytest.raises(UserError, match=f"{name} is {value}; it must be"):
            dataclasses.replace(TINY, **{name: value})
