"""The small GPT against PyTorch in float64, and sampling against plain loops."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.errors import UserError
from genjax.nn.transformer import GPT, generate

KEY = jax.random.key(3)
SMALL = GPT(vocabulary=7, context=8, width=12, depth=2, heads=3)


def draw_params(module, seed=0):
    """Parameters of which none is at a special value, and attention that looks at some tokens."""
    rng = np.random.default_rng(seed)
    tokens = jnp.zeros((1, 2), jnp.int32)
    shapes = jax.eval_shape(lambda: module.init(KEY, tokens, False))
    return jax.tree.map(lambda p: jnp.float32(0.5 * rng.normal(size=p.shape)), shapes)


def draw_tokens(module, batch, time, seed=1):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.integers(0, module.vocabulary, (batch, time)), jnp.int32)


def predict(module, variables, tokens):
    return jax.jit(lambda v, t: module.apply(v, t, False))(variables, tokens)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("time", [8, 5])
def test_causality(time, dropout):
    """A token changes the logits at no place up to its own, bit for bit, and all those after."""
    module = SMALL.clone(dropout=dropout)
    variables, tokens = draw_params(module), draw_tokens(module, 2, time)
    apply = jax.jit(lambda t: module.apply(variables, t, dropout > 0, rngs={"dropout": KEY}))
    logits = np.asarray(apply(tokens))
    assert logits.shape == (2, time, 7)
    for place in range(time):
        changed = np.asarray(apply(tokens.at[:, place].add(1) % 7))
        np.testing.assert_array_equal(changed[:, : place + 1], logits[:, : place + 1])
        if not dropout:
            assert (np.abs(changed - logits)[:, place + 1 :].max(-1) > 1e-5).all()


def theirs(torch, params, tokens, heads):
    """The same network in PyTorch."""
    functional = torch.nn.functional
    batch, time = tokens.shape
    table, places = params["tokens"], params["positions"]
    width = table.shape[1]

    def norm(x, layer):
        return functional.layer_norm(x, (width,), layer["scale"], eps=1e-5)

    def split(x):
        return x.unflatten(-1, (heads, width // heads)).transpose(1, 2)

    before = functional.pad(tokens, (1, 0), value=len(table) - 1)[:, :-1]
    x = table[before] + places[:time]
    for number in range(sum(name.startswith("block") for name in params)):
        block = params[f"block_{number}"]
        qkv = norm(x, block["attention_norm"]) @ block["attention_qkv"]["kernel"]
        attended = functional.scaled_dot_product_attention(
            *map(split, qkv.chunk(3, -1)), is_causal=True
        )
        joined = attended.transpose(1, 2).reshape(batch, time, width)
        x = x + joined @ block["attention_out"]["kernel"]
        hidden = functional.gelu(norm(x, block["mlp_norm"]) @ block["mlp_in"]["kernel"])
        x = x + hidden @ block["mlp_out"]["kernel"]
    return norm(x, params["norm"]) @ table[:-1].T


@pytest.mark.parametrize("time", [8, 3])
def test_equals_pytorch(time):
    """Logits, loss and the gradients of all parameters."""
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    variables, tokens = draw_params(SMALL), draw_tokens(SMALL, 3, time)

    def loss(variables):
        logits = SMALL.apply(variables, tokens, True)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], -1)
        return -jnp.mean(chosen), logits

    (value, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables)
    params = jax.tree.map(
        lambda p: torch.tensor(np.float64(p), requires_grad=True), variables["params"]
    )
    labels = torch.tensor(np.asarray(tokens)).long()
    expected = theirs(torch, params, labels, SMALL.heads)
    error = torch.nn.functional.cross_entropy(expected.flatten(0, 1), labels.flatten())
    error.backward()
    np.testing.assert_allclose(logits, expected.detach(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(value, error.item(), rtol=1e-5)
    jax.tree.map(
        lambda ours, p: np.testing.assert_allclose(ours, p.grad, rtol=1e-3, atol=1e-5),
        gradients["params"],
        params,
    )


def test_size_and_start():
    """nanoGPT's model for Shakespeare on CPUs: 0.80 million parameters, and a loss of ln 65."""
    module = GPT(65, 64)
    tokens = draw_tokens(module, 16, 64)
    variables = jax.jit(lambda: module.init(KEY, tokens, False))()
    assert sum(p.size for p in jax.tree.leaves(variables)) == 804_224
    block = variables["params"]["block_3"]
    for name, std in [
        ("attention_qkv", 0.02),
        ("attention_out", 0.02 / 8**0.5),
        ("mlp_in", 0.02),
        ("mlp_out", 0.02 / 8**0.5),
    ]:
        np.testing.assert_allclose(np.std(block[name]["kernel"]), std, rtol=0.03)
    np.testing.assert_allclose(np.std(variables["params"]["tokens"]), 0.02, rtol=0.03)
    logs = jax.nn.log_softmax(predict(module, variables, tokens))
    loss = -np.mean(np.take_along_axis(np.asarray(logs), np.asarray(tokens)[..., None], -1))
    assert abs(loss - np.log(65)) < 0.1


def test_bfloat16():
    """Logits are float32, and near those of float32."""
    variables, tokens = draw_params(SMALL), draw_tokens(SMALL, 2, 8)
    logits = predict(SMALL.clone(dtype=jnp.bfloat16), variables, tokens)
    assert logits.dtype == jnp.float32
    exact = np.asarray(predict(SMALL, variables, tokens))
    assert np.abs(logits - exact).max() < 0.05 * np.abs(exact).max()


def test_attention_that_can_drop_equals_jax():
    """Dropout has an attention of its own; where it drops nothing, it is the same function."""
    variables, tokens = draw_params(SMALL), draw_tokens(SMALL, 2, 8)
    module = SMALL.clone(dropout=1e-12)
    logits = module.apply(variables, tokens, True, rngs={"dropout": KEY})
    np.testing.assert_allclose(logits, predict(SMALL, variables, tokens), rtol=1e-4, atol=1e-5)
    assert (module.apply(variables, tokens, False) == SMALL.apply(variables, tokens, False)).all()


@pytest.mark.full
def test_dropout_does_not_depend_on_devices():
    module = SMALL.clone(dropout=0.5)
    variables, tokens = draw_params(module), draw_tokens(module, 6, 8)
    rngs = {"dropout": KEY}
    whole = module.apply(variables, tokens, True, rngs=rngs)
    assert not np.allclose(whole, module.apply(variables, tokens, False))
    parts = jax.vmap(
        lambda t: module.clone(axis_name="data").apply(variables, t, True, rngs=rngs),
        axis_name="data",
    )(tokens.reshape(3, 2, 8))
    np.testing.assert_allclose(parts.reshape(whole.shape), whole, rtol=1e-4, atol=1e-5)


def test_dropout_is_where_nanogpt_has_it():
    """On embeddings; in each block on attention weights and on both branches."""
    module = SMALL.clone(dropout=0.5)
    variables, tokens = draw_params(module), draw_tokens(module, 2, 8)
    shapes = []

    def record(run, args, kwargs, context):
        if type(context.module).__name__ == "Dropout":
            shapes.append(args[0].shape)
        return run(*args, **kwargs)

    with nn.intercept_methods(record):
        module.apply(variables, tokens, True, rngs={"dropout": KEY})
    stream, weights = (2, 8, 12), (2, 3, 8, 8)
    assert shapes == [stream] + [weights, stream, stream] * 2


def test_refusals():
    with pytest.raises(UserError, match="9 tokens are more than the context of 8"):
        SMALL.init(KEY, jnp.zeros((1, 9), jnp.int32), False)
    with pytest.raises(UserError, match="width 12 is no multiple of 5 heads"):
        SMALL.clone(heads=5).init(KEY, jnp.zeros((1, 8), jnp.int32), False)
    logits_of = partial(SMALL.apply, {}, train=False)
    sample = partial(generate, logits_of, jnp.zeros((1, 1), jnp.int32), 1, 8, KEY[None])
    with pytest.raises(UserError, match="temperature -1"):
        sample(temperature=-1.0)
    with pytest.raises(UserError, match="top_k 0"):
        sample(top_k=0)


def split_keys(count):
    return jax.random.split(KEY, count)


def sample_small(prompt, length, keys, *settings):
    variables = draw_params(SMALL)
    logits_of = partial(SMALL.apply, variables, train=False)
    run = jax.jit(lambda prompt, keys: generate(logits_of, prompt, length, 8, keys, *settings))
    return np.asarray(run(prompt, keys))


@pytest.mark.parametrize("before", [0, 3, 7, 8, 20])
def test_greedy_equals_a_plain_loop(before):
    """Within the context and beyond, where the last seven tokens count, also of a long prompt."""
    variables, prompt = draw_params(SMALL), draw_tokens(SMALL, 3, before)
    text = np.asarray(prompt)
    # Tokens at and after the place do not matter; anything may stand there.
    unknown = np.full((3, 1), 5, np.int32)
    apply = jax.jit(lambda tokens: SMALL.apply(variables, tokens, False))
    for _ in range(12):
        seen = np.concatenate([text[:, -7:], unknown], 1)
        choice = np.argmax(apply(seen)[:, -1], -1)
        text = np.concatenate([text, choice[:, None].astype(np.int32)], 1)
    actual = sample_small(prompt, 12, split_keys(3), 0.0)
    assert actual.dtype == np.int32
    np.testing.assert_array_equal(actual, text[:, before:])
    # More than one token is chosen, or this would say little.
    assert len(np.unique(actual)) > 2


def test_the_likeliest_alone_is_greedy():
    prompt = draw_tokens(SMALL, 3, 2)
    greedy = sample_small(prompt, 9, split_keys(3), 0.0)
    for settings in [(1.0, 1), (5.0, 1), (1e-4, None), (0.0, 3)]:
        np.testing.assert_array_equal(sample_small(prompt, 9, split_keys(3), *settings), greedy)
    assert (sample_small(prompt, 9, split_keys(3), 1.0) != greedy).any()


def test_more_than_all_tokens_is_all():
    prompt = draw_tokens(SMALL, 3, 2)
    wanted = sample_small(prompt, 9, split_keys(3), 1.3)
    for top_k in (7, 100):
        np.testing.assert_array_equal(sample_small(prompt, 9, split_keys(3), 1.3, top_k), wanted)


def test_an_example_does_not_depend_on_its_batch():
    prompt, keys = draw_tokens(SMALL, 5, 3), split_keys(5)
    together = sample_small(prompt, 14, keys)
    for number in (0, 3):
        one = slice(number, number + 1)
        np.testing.assert_array_equal(sample_small(prompt[one], 14, keys[one]), together[one])
    order = np.array([4, 2, 0])
    np.testing.assert_array_equal(sample_small(prompt[order], 14, keys[order]), together[order])
    assert len(np.unique(together, axis=0)) == 5


def test_a_text_in_parts_is_the_same():
    """Draws belong to places in the text, so that where a prompt ends does not matter."""
    prompt, keys = draw_tokens(SMALL, 2, 3), split_keys(2)
    whole = sample_small(prompt, 14, keys)
    first = sample_small(prompt, 4, keys)
    rest = sample_small(jnp.concatenate([prompt, first], 1), 10, keys)
    np.testing.assert_array_equal(np.concatenate([first, rest], 1), whole)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3)])
def test_frequencies_are_those_of_the_softmax(temperature, top_k):
    """Of a table of logits by the token before, within 4.5 standard deviations."""
    logits = np.random.default_rng(4).normal(size=(5, 4))
    table = jnp.asarray(logits, jnp.float32)

    def logits_of(tokens):
        begin = jnp.full((len(tokens), 1), 4)
        return table[jnp.concatenate([begin, tokens[:, :-1]], 1)]

    count = 20_000
    run = jax.jit(
        lambda keys: generate(
            logits_of, jnp.zeros((count, 0), jnp.int32), 2, 3, keys, temperature, top_k
        )
    )
    first, second = np.asarray(run(split_keys(count))).T
    wanted = np.exp(logits / temperature)
    if top_k is not None:
        wanted[wanted < np.sort(wanted)[:, -top_k, None]] = 0
    wanted /= wanted.sum(-1, keepdims=True)
    for row, drawn in [(4, first)] + [(token, second[first == token]) for token in range(4)]:
        if not len(drawn):
            assert wanted[4, row] == 0
            continue
        frequencies = np.bincount(drawn, minlength=4) / len(drawn)
        assert not frequencies[wanted[row] == 0].any()
        deviation = np.sqrt(wanted[row] * (1 - wanted[row]) / len(drawn))
        assert (np.abs(frequencies - wanted[row]) <= 4.5 * deviation).all()
