"""Networks of texts: a small transformer, BERT's encoder and CLIP's."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genjax.config import BERT as BERTConfig
from genjax.config import CLIPText as CLIPConfig
from genjax.config import TextTower, TextTransformer
from genjax.errors import UserError
from genjax.nn.encoder import STD, Stack, causal
from genjax.nn.layers import Layers

_INIT = nn.initializers.normal(STD)
_TYPES = 2
"""Of tokens in BERT, whose second sentence of a pair has the other."""
_MLP = 4


class Encoded(NamedTuple):
    """What is known of texts.

    Attributes:
      tokens: of each token, float32 [batch, L, width]; 0 where there is none.
      pooled: of the whole, float32 [batch, width']; 0 of a text without any token.
    """

    tokens: Float[Array, "batch length width"]
    pooled: Float[Array, "batch pooled"]


def unit(x: Float[Array, "batch units"]) -> Float[Array, "batch units"]:
    """``x / |x|``, in float32; 0 where x is 0."""
    x = x.astype(jnp.float32)
    # The square is bounded, not its root, whose derivative is infinite at 0.
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2, axis=-1, keepdims=True), 1e-24))


class _Tower(nn.Module):
    """What all networks of texts do first and last.

    Attributes:
      config: of the network.
      vocabulary: number of tokens.
      positions: most tokens of a text.
      stack: of its layers.
    """

    config: Any
    vocabulary: int
    positions: int
    stack: Stack

    def embed(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch length width"]:
        """Rows of the tables of tokens and of places; those of token 0 where there is none."""
        length = tokens.shape[1]
        if length > self.positions:
            raise UserError(
                f"texts have {length} tokens, but a {self.config.name} of at most {self.positions}"
            )
        width, dtype = self.config.width, self.stack.layers.dtype
        table = self.param("tokens", _INIT, (self.vocabulary, width))
        places = self.param("positions", _INIT, (self.positions, width))
        x: Array = table[jnp.maximum(tokens, 0)] + places[:length]
        return x.astype(dtype)


def _there(tokens: Int[Array, "batch length"]) -> Bool[Array, "batch length"]:
    return tokens >= 0


def _only(
    x: Float[Array, "batch length width"], tokens: Int[Array, "batch length"]
) -> Float[Array, "batch length width"]:
    """What is known of tokens, with 0 where there is none, in float32."""
    return jnp.where(_there(tokens)[..., None], x.astype(jnp.float32), 0)


def _mean(
    x: Float[Array, "batch length width"], tokens: Int[Array, "batch length"]
) -> Float[Array, "batch width"]:
    """Over the tokens that are there, of what `_only` gives."""
    count = jnp.maximum(jnp.sum(_there(tokens), axis=1), 1)
    return jnp.sum(x, axis=1) / count[:, None]


class Transformer(_Tower):
    """Norms before each branch, attention to all tokens, and their mean after a last norm."""

    @nn.compact
    def __call__(self, tokens: Int[Array, "batch length"], train: bool) -> Encoded:
        x = self.stack.drop(self.embed(tokens), train)
        x = self.stack.run(x, _there(tokens)[:, None, None], train)
        known = _only(self.stack.norm("norm")(x), tokens)
        return Encoded(known, _mean(known, tokens))


class BERT(_Tower):
    """Norms after each sum, attention to all tokens, and their mean, of length 1.

    Every token is of the first of the two types, as in a single sentence.

    Reference: Devlin et al. 2019, section 3; Vaswani et al. 2017 (layers); Reimers & Gurevych 2019,
    section 3 (the mean).
    """

    @nn.compact
    def __call__(self, tokens: Int[Array, "batch length"], train: bool) -> Encoded:
        types = self.param("types", _INIT, (_TYPES, self.config.width))
        x = self.embed(tokens) + types[0].astype(self.stack.layers.dtype)
        x = self.stack.drop(self.stack.norm("norm")(x), train)
        x = self.stack.run(x, _there(tokens)[:, None, None], train)
        known = _only(x, tokens)
        return Encoded(known, unit(_mean(known, tokens)))


class CLIPText(_Tower):
    """Norms before each branch, causal attention, and the last token after a last norm.

    Reference: Radford et al. 2021, section 2.4.
    """

    @nn.compact
    def __call__(self, tokens: Int[Array, "batch length"], train: bool) -> Encoded:
        x = self.stack.drop(self.embed(tokens), train)
        # What is not there stands last, where nothing that is there sees it.
        x = self.stack.run(x, causal(tokens.shape[1]), train)
        known = _only(self.stack.norm("norm")(x), tokens)
        last = jnp.maximum(jnp.sum(_there(tokens), axis=1) - 1, 0)
        pooled = jnp.take_along_axis(known, last[:, None, None], axis=1)[:, 0]
        if self.config.projection is not None:
            layers = self.stack.layers
            init = nn.initializers.normal(self.config.width**-0.5)
            dense = layers.dense(self.config.projection, init, use_bias=False, name="projection")
            pooled = dense(pooled.astype(layers.dtype)).astype(jnp.float32)
        return Encoded(known, pooled)


TOWERS: dict[type[TextTower], Callable[[Any, int, int, Layers], nn.Module]] = {
    TextTransformer: lambda config, vocabulary, length, layers: Transformer(
        config,
        vocabulary,
        length,
        Stack(config.depth, config.heads, _MLP * config.width, layers, config.dropout),
    ),
    BERTConfig: lambda config, vocabulary, length, layers: BERT(
        config,
        vocabulary,
        config.positions,
        Stack(
            config.depth,
            config.heads,
            config.mlp,
            layers,
            config.dropout,
            after=True,
            epsilon=1e-12,
        ),
    ),
    CLIPConfig: lambda config, vocabulary, length, layers: CLIPText(
        config,
        vocabulary,
        config.positions,
        Stack(config.depth, config.heads, config.mlp, layers, config.dropout, config.activation),
    ),
}
"""From a configuration, the vocabulary, the longest text and what layers are made of to a network
``(tokens, train) -> Encoded``."""


def make_text_tower(
    config: TextTower,
    vocabulary: int,
    length: int,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> Any:
    """Builds a network of texts; ``apply(variables, tokens, train) -> Encoded``.

    Args:
      config: architecture and size.
      vocabulary: number of tokens.
      length: most tokens of a text.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A module from int32 [batch, L], -1 for no token at the end of a text, and bool. Nothing of a
      text depends on how many such places there are.

    Raises:
      UserError: texts are longer than the architecture takes.
    """
    most = getattr(config, "positions", length)
    if length > most:
        raise UserError(f"texts have up to {length} tokens, but a {config.name} at most {most}")
    layers = Layers(dtype=dtype, axis_name=axis_name)
    return TOWERS[type(config)](config, vocabulary, length, layers)


def text_width(config: TextTower) -> tuple[int, int]:
    """What is known of each token, and of the whole, in dimensions.

    Example:
      >>> text_width(TextTransformer(width=128))
      (128, 128)
    """
    projection = getattr(config, "projection", None)
    return config.width, config.width if projection is None else projection
