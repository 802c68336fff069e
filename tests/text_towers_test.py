"""The networks of texts and sequences against PyTorch in float64, where each is computed alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import BERT, CLIPText, SequenceTransformer, TextTransformer
from genjax.errors import UserError
from genjax.nn.sequences import make_sequence_encoder
from genjax.nn.text import TOWERS, make_text_tower, text_width

KEY = jax.random.key(3)
VOCABULARY, LENGTH = 11, 6
SIZE = {"width": 12, "depth": 2, "heads": 3}
TOWER = {
    "transformer": TextTransformer(**SIZE),
    "bert": BERT(**SIZE, mlp=20, positions=9),
    "clip": CLIPText(**SIZE, mlp=20, positions=9, projection=5),
    "clip without a projection": CLIPText(
        **SIZE, mlp=20, positions=9, activation="gelu", projection=None
    ),
}
TEXTS = [[1, 4, 4, 2, 10, 7], [3], [5, 6, 0], [0, 0]]


def padded(texts, length=LENGTH):
    return jnp.asarray([text + [-1] * (length - len(text)) for text in texts], jnp.int32)


def make(config):
    return make_text_tower(config, VOCABULARY, LENGTH)


def draw_params(module, seed=0):
    """Parameters of which none is at a special value."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: module.init(KEY, padded(TEXTS), False))
    return jax.tree.map(lambda p: jnp.float32(0.5 * rng.normal(size=p.shape)), shapes)


def linear(torch, x, layer):
    return torch.nn.functional.linear(x, layer["kernel"].T, layer.get("bias"))


def norm(torch, x, layer, epsilon=1e-5):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], layer["scale"], layer["bias"], epsilon)


def layers(torch, config, params, x):
    """All layers of one text or sequence, [time, width]."""
    functional = torch.nn.functional
    kind = getattr(config, "name", "transformer")
    width, after = config.width, kind == "bert"

    def normed(x, name, block):
        return norm(torch, x, block[name], 1e-12 if after else 1e-5)

    def split(x):
        return x.unflatten(-1, (config.heads, width // config.heads)).transpose(0, 1)

    def act(x):
        if getattr(config, "activation", "gelu") == "gelu":
            return functional.gelu(x)
        return x * torch.sigmoid(1.702 * x)

    for number in range(config.depth):
        block = params[f"layer_{number}"]
        y = x if after else normed(x, "attention_norm", block)
        parts = (split(linear(torch, y, block[name])) for name in ("query", "key", "value"))
        seen = functional.scaled_dot_product_attention(*parts, is_causal=kind == "clip")
        x = x + linear(torch, seen.transpose(0, 1).flatten(1), block["attention_out"])
        x = normed(x, "attention_norm", block) if after else x
        y = x if after else normed(x, "mlp_norm", block)
        x = x + linear(torch, act(linear(torch, y, block["mlp_in"])), block["mlp_out"])
        x = normed(x, "mlp_norm", block) if after else x
    return x


def theirs(torch, config, params, text):
    """Of one text without padding: of each token, and of the whole."""
    x = params["tokens"][torch.tensor(text)] + params["positions"][: len(text)]
    if config.name == "bert":
        x = norm(torch, x + params["types"][0], params["norm"], 1e-12)
        x = layers(torch, config, params, x)
        return x, torch.nn.functional.normalize(x.mean(0), dim=0)
    x = norm(torch, layers(torch, config, params, x), params["norm"])
    if config.name == "transformer":
        return x, x.mean(0)
    pooled = x[-1] if config.projection is None else linear(torch, x[-1], params["projection"])
    return x, pooled


def learnt(torch, module, variables, given, weights):
    """What a network makes, the gradients of its weighted sum, and parameters for PyTorch."""

    def loss(variables):
        encoded = module.apply(variables, given, False)
        error = jnp.sum(encoded.tokens * weights[0]) + jnp.sum(encoded.pooled * weights[1])
        return error, encoded

    (_, ours), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables)
    params = jax.tree.map(
        lambda p: torch.tensor(np.float64(p), requires_grad=True), variables["params"]
    )
    return ours, gradients, params


@pytest.mark.parametrize("name", TOWER)
def test_equals_pytorch(name):
    """All outputs, and the gradients of all parameters, of texts of several lengths at once."""
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    config = TOWER[name]
    module, tokens = make(config), padded(TEXTS)
    variables = draw_params(module)
    rng = np.random.default_rng(1)
    width, pooled_width = text_width(config)
    weights = rng.normal(size=(len(TEXTS), LENGTH, width)), rng.normal(size=pooled_width)

    ours, gradients, params = learnt(torch, module, variables, tokens, weights)
    error = 0
    for row, text in enumerate(TEXTS):
        known, pooled = theirs(torch, config, params, text)
        np.testing.assert_allclose(
            ours.tokens[row, : len(text)], known.detach(), rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(ours.pooled[row], pooled.detach(), rtol=1e-4, atol=1e-4)
        assert not np.asarray(ours.tokens[row, len(text) :]).any()
        error = error + (known * torch.tensor(weights[0][row, : len(text)])).sum()
        error = error + (pooled * torch.tensor(weights[1])).sum()
    error.backward()
    jax.tree.map(
        lambda g, p: np.testing.assert_allclose(
            g, np.zeros(p.shape) if p.grad is None else p.grad, rtol=1e-4, atol=1e-4
        ),
        gradients["params"],
        params,
    )


@pytest.mark.parametrize("name", ["transformer", "bert", "clip"])
def test_padding_and_empty_texts(name):
    """What stands behind a text, and beside it in the batch, changes nothing; nothing gives 0."""
    config = TOWER[name]
    module = make(config)
    variables = draw_params(module)
    apply = jax.jit(lambda tokens: module.apply(variables, tokens, False))
    short = apply(padded(TEXTS[1:], 4))
    long = apply(padded([*TEXTS[1:], []]))
    for few, many in zip(short, long, strict=True):
        rows = many[:-1] if few.ndim == 2 else many[:-1, :4]
        np.testing.assert_allclose(few, rows, rtol=1e-5, atol=1e-6)
        assert not np.asarray(many[-1]).any()

    def loss(variables):
        return jnp.sum(module.apply(variables, padded([[], [1]]), False).pooled ** 3)

    gradients = jax.jit(jax.grad(loss))(variables)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_dropout_and_order():
    """Training draws by the example's place; the places of tokens count."""
    module = make(dataclasses.replace(TOWER["transformer"], dropout=0.3))
    variables = draw_params(module)
    apply = jax.jit(
        lambda tokens, train: module.apply(variables, tokens, train, rngs={"dropout": KEY}).pooled,
        static_argnums=1,
    )
    two = apply(padded([[1, 2, 3], [1, 2, 3]]), True)
    assert np.abs(two[0] - two[1]).max() > 1e-3
    one = apply(padded([[1, 2, 3]]), True)
    np.testing.assert_allclose(one[0], two[0], rtol=1e-5, atol=1e-6)
    turned = apply(padded([[1, 2, 3], [3, 2, 1]]), False)
    assert np.abs(turned[0] - turned[1]).max() > 1e-3


def test_refusals():
    assert {config.name for config in TOWER.values()} == {
        kind.__dataclass_fields__["name"].default for kind in TOWERS
    }
    with pytest.raises(UserError, match="texts have up to 10 tokens, but a bert at most 9"):
        make_text_tower(TOWER["bert"], VOCABULARY, 10)
    module = make(TOWER["transformer"])
    with pytest.raises(UserError, match="texts have 7 tokens, but a transformer of at most 6"):
        jax.eval_shape(lambda: module.init(KEY, padded(TEXTS, 7), False))
    for kind in (TextTransformer, BERT, CLIPText):
        with pytest.raises(UserError, match="heads is 5; it must be a divisor of width"):
            kind(heads=5)


def test_sequences_equal_pytorch():
    """All outputs and gradients; of one that is not there nothing is known, and nothing learnt."""
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    config = SequenceTransformer(**SIZE)
    module, rng = make_sequence_encoder(config), np.random.default_rng(0)
    sequences = rng.normal(size=(3, LENGTH, 5))
    sequences[1] = 0
    x = jnp.float32(sequences)
    shapes = jax.eval_shape(lambda: module.init(KEY, x, False))
    variables = jax.tree.map(lambda p: jnp.float32(0.5 * rng.normal(size=p.shape)), shapes)
    weights = rng.normal(size=(3, LENGTH, config.width)), rng.normal(size=(3, config.width))

    ours, gradients, params = learnt(torch, module, variables, x, weights)
    error = 0
    for row in (0, 2):
        known = linear(torch, torch.tensor(sequences[row]), params["in"]) + params["positions"]
        known = norm(torch, layers(torch, config, params, known), params["norm"])
        np.testing.assert_allclose(ours.tokens[row], known.detach(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(ours.pooled[row], known.mean(0).detach(), rtol=1e-4, atol=1e-4)
        error = error + (known * torch.tensor(weights[0][row])).sum()
        error = error + (known.mean(0) * torch.tensor(weights[1][row])).sum()
    error.backward()
    jax.tree.map(
        lambda g, p: np.testing.assert_allclose(g, p.grad, rtol=1e-4, atol=1e-4),
        gradients["params"],
        params,
    )
    assert not ours.tokens[1].any()
    assert not ours.pooled[1].any()
