"""A small GPT (Radford et al. 2019) as nanoGPT has it, and sampling from such a model."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from jaxtyping import Key as Keys

from genjax.errors import UserError
from genjax.nn.layers import Dense, Dropout

_STD = 0.02
_INIT = nn.initializers.normal(_STD)


class _Block(nn.Module):
    """One layer of the decoder: causal self-attention, then an MLP, each on a residual branch.

    ``x = x + attention(norm(x))``, then ``x = x + mlp(norm(x))``.

    Attributes:
      heads: of the attention; they divide the width.
      dropout: rate, on attention weights and at the end of each branch.
      residual_init: initialiser of the kernels that end a branch.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.
    """

    heads: int
    dropout: float
    residual_init: Any
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch time width"], train: bool
    ) -> Float[Array, "batch time width"]:
        batch, time, width = x.shape

        def dense(y: Array, features: int, init: Any, name: str) -> Array:
            # As one batch of rows: over two axes, XLA's gradients of products are slow on CPUs.
            rows = y.reshape(batch * time, -1)
            rows = Dense(features, False, self.dtype, init, name=name)(rows)
            return rows.reshape(batch, time, features)

        y = norm(self.dtype, "attention_norm")(x)
        qkv = dense(y, 3 * width, _INIT, "attention_qkv")
        q, k, v = jnp.moveaxis(qkv.reshape(batch, time, 3, self.heads, width // self.heads), 2, 0)
        y = self.attend(q, k, v, train)
        y = dense(y, width, self.residual_init, "attention_out")
        x = x + self.drop(y, train)
        y = norm(self.dtype, "mlp_norm")(x)
        y = nn.gelu(dense(y, 4 * width, _INIT, "mlp_in"), approximate=False)
        y = dense(y, width, self.residual_init, "mlp_out")
        return x + self.drop(y, train)

    def attend(
        self,
        q: Float[Array, "batch time heads size"],
        k: Float[Array, "batch time heads size"],
        v: Float[Array, "batch time heads size"],
        train: bool,
    ) -> Float[Array, "batch time heads size"]:
        """Means of values over no later positions, weighted by ``softmax(q k^T / sqrt(size))``."""
        if not train or self.dropout == 0:
            return jax.nn.dot_product_attention(q, k, v, is_causal=True)
        causal = jnp.tril(jnp.ones((q.shape[1], k.shape[1]), bool))
        return attend(q, k, v, causal, lambda weights: self.drop(weights, train))

    def drop(self, x: Float[Array, "batch *units"], train: bool) -> Float[Array, "batch *units"]:
        """Dropout of this network's rate."""
        return Dropout(self.dropout, self.axis_name)(x, train)


def attend(
    q: Float[Array, "batch time heads size"],
    k: Float[Array, "batch other heads size"],
    v: Float[Array, "batch other heads size"],
    mask: Bool[Array, "..."] | None,
    drop: Callable[[Array], Array] | None = None,
) -> Float[Array, "batch time heads size"]:
    """Means of the values that are seen, weighted by ``softmax(q k^T / sqrt(size))``.

    Args:
      q: queries.
      k: keys.
      v: values.
      mask: whether a query sees a key, broadcasts to [batch, heads, time, other]; None if it always
        does. A query that sees none has any finite values.
      drop: makes weights 0 at random, ``(weights) -> weights``; None where it does not.

    Returns:
      The means.
    """
    if drop is None:
        return jax.nn.dot_product_attention(q, k, v, mask=mask)
    # JAX's attention can't drop weights.
    scores = jnp.einsum("bqhs,bkhs->bhqk", q, k, preferred_element_type=jnp.float32)
    scores = scores / q.shape[-1] ** 0.5
    if mask is not None:
        scores = jnp.where(mask, scores, np.finfo(np.float32).min)
    weights = drop(jax.nn.softmax(scores).astype(v.dtype))
    return jnp.einsum("bhqk,bkhs->bqhs", weights, v)


def norm(dtype: Any, name: str) -> nn.LayerNorm:
    """Layer norm with a gain and without a bias (Ba et al. 2016, equation 4)."""
    return nn.LayerNorm(1e-5, dtype, use_bias=False, name=name)


class GPT(nn.Module):
    """A decoder that predicts each token from those before it.

    The input is the tokens moved on by one, behind a begin symbol with an embedding of its own, so
    that the first token is predicted as well. Layer norm comes before each branch; linear layers
    and norms have no biases; the logits are products with the tokens' embeddings.

    Attributes:
      vocabulary: number of tokens; the embedding's row of this number is the begin symbol's.
      context: most tokens at once.
      width: of the residual stream.
      depth: layers.
      heads: of each attention; they divide the width.
      dropout: rate, on embeddings, on attention weights and at the end of each residual branch.
      dtype: type of the computation; that of the logits is float32.
      axis_name: mapped axis over the devices, if any.

    Reference: Radford et al. 2019, section 2.3; Vaswani et al. 2017, section 3.2 (attention).
    """

    vocabulary: int
    context: int
    width: int = 128
    depth: int = 4
    heads: int = 4
    dropout: float = 0.0
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time"], train: bool
    ) -> Float[Array, "batch time vocabulary"]:
        batch, time = tokens.shape
        if self.width % self.heads:
            raise UserError(f"width {self.width} is no multiple of {self.heads} heads")
        if time > self.context:
            raise UserError(f"{time} tokens are more than the context of {self.context}")
        table = self.param("tokens", _INIT, (self.vocabulary + 1, self.width)).astype(self.dtype)
        places = self.param("positions", _INIT, (self.context, self.width)).astype(self.dtype)
        begin = jnp.full((batch, 1), self.vocabulary, tokens.dtype)
        x = table[jnp.concatenate([begin, tokens], axis=1)[:, :time]] + places[:time]
        x = Dropout(self.dropout, self.axis_name)(x, train)
        # So that the variance of their sum does not grow with the depth.
        residual_init = nn.initializers.normal(_STD / (2 * self.depth) ** 0.5)
        for layer in range(self.depth):
            x = _Block(
                self.heads,
                self.dropout,
                residual_init,
                self.dtype,
                self.axis_name,
                name=f"block_{layer}",
            )(x, train)
        rows = norm(self.dtype, "norm")(x).reshape(batch * time, self.width)
        logits = jnp.matmul(rows, table[:-1].T, preferred_element_type=jnp.float32)
        return logits.reshape(batch, time, self.vocabulary)


def generate(
    logits_of: Callable[[Int[Array, "batch context"]], Float[Array, "batch context vocabulary"]],
    prompt: Int[Array, "batch prompt"],
    length: int,
    context: int,
    keys: Keys[Array, "batch"],
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Int[Array, "batch length"]:
    """Continues texts token by token.

    A draw is a function of the example's key and of the position in the text: a text doesn't
    depend on the batch around it, and goes on as it would have if it is generated in parts.

    Args:
      logits_of: from int32 [batch, context] to float32 [batch, context, vocabulary], of which
        ``[:, t]`` depends on tokens before t alone.
      prompt: int32 [batch, prompt], of any length, also 0. Of a text that outgrows the window, the
        last ``context - 1`` tokens count.
      length: tokens to add.
      context: tokens in a window of `logits_of`.
      keys: one an example, [batch].
      temperature: that logits are divided by; 0 takes the likeliest token.
      top_k: how many of the likeliest tokens are drawn from; None for all.

    Returns:
      int32 [batch, length], what follows the prompts.

    Raises:
      UserError: a negative temperature, or a top_k below 1.
    """
    if temperature < 0:
        raise UserError(f"temperature {temperature} is negative; use 0 for the likeliest token")
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k {top_k} is below 1")
    batch, before = prompt.shape
    seen = min(before, context - 1)
    room = max(seen + length, context)
    text = jnp.zeros((batch, room), jnp.int32).at[:, :seen].set(prompt[:, before - seen :])

    def add(number: Int[Array, ""], text: Int[Array, "batch room"]) -> Int[Array, "batch room"]:
        place = seen + number
        start = jnp.maximum(place - (context - 1), 0)
        window = jax.lax.dynamic_slice_in_dim(text, start, context, axis=1)
        logits = jax.lax.dynamic_index_in_dim(logits_of(window), place - start, 1, keepdims=False)
        own = jax.vmap(lambda key: jax.random.fold_in(key, before + number))(keys)
        return text.at[:, place].set(draw(logits, own, temperature, top_k))

    text = jax.lax.fori_loop(0, length, add, text)
    return text[:, seen : seen + length]


def draw(
    logits: Float[Array, "batch vocabulary"],
    keys: Keys[Array, "batch"],
    temperature: float,
    top_k: int | None,
) -> Int[Array, "batch"]:
    """Draws one token an example from ``softmax(logits / temperature)`` over the likeliest `top_k`.

    Args:
      logits: float32 [batch, vocabulary].
      keys: one an example.
      temperature: at least 0; 0 takes the likeliest token.
      top_k: at least 1, or None for all tokens.

    Returns:
      int32 [batch].
    """
    vocabulary = logits.shape[-1]
    scores = logits
    if temperature > 0:
        # The largest sum with Gumbel noise is a draw from the softmax.
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (vocabulary,)))(keys)
        scores = logits / temperature + noise
    if top_k is None or temperature == 0:
        return jnp.argmax(scores, axis=-1).astype(jnp.int32)
    _, likeliest = jax.lax.top_k(logits, min(top_k, vocabulary))
    best = jnp.argmax(jnp.take_along_axis(scores, likeliest, axis=-1), axis=-1)
    return jnp.take_along_axis(likeliest, best[:, None], axis=-1)[:, 0].astype(jnp.int32)
