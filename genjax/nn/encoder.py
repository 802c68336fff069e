"""Layers of transformers that see all of a sequence, or what came before, with a mask."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from genjax.config import Remat
from genjax.nn.layers import Dropout, Initializer, Layers
from genjax.nn.remat import rematerialized
from genjax.nn.transformer import attend

STD = 0.02
"""Of the kernels of a new network."""


def quick_gelu(x: Float[Array, "*units"]) -> Float[Array, "*units"]:
    """``x sigmoid(1.702 x)``, an approximation of GELU (Hendrycks & Gimpel 2016, section 2)."""
    return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "quick_gelu": quick_gelu,
}
"""Non-linearities within a layer, by name."""


class Stack(NamedTuple):
    """What the layers of a transformer have in common.

    Attributes:
      depth: how many there are.
      heads: of each attention; they divide the width.
      mlp: units within a layer.
      layers: of what its linear layers are made.
      dropout: rate, on attention weights and at the end of each branch.
      activation: entry of `ACTIVATIONS`.
      after: whether norms come after each sum (Vaswani et al. 2017), not before each branch (Xiong
        et al. 2020).
      epsilon: added to variances.
      remat: what the backward pass computes again.
    """

    depth: int
    heads: int
    mlp: int
    layers: Layers
    dropout: float = 0.0
    activation: str = "gelu"
    after: bool = False
    epsilon: float = 1e-5
    remat: Remat = "none"

    def norm(self, name: str) -> nn.LayerNorm:
        """Layer norm with a gain and a bias (Ba et al. 2016, equation 4)."""
        return nn.LayerNorm(self.epsilon, self.layers.dtype, name=name)

    def drop(self, x: Float[Array, "batch *units"], train: bool) -> Float[Array, "batch *units"]:
        """Dropout of its rate."""
        return Dropout(self.dropout, self.layers.axis_name)(x, train)

    def rows(
        self, features: int, x: Float[Array, "batch time units"], name: str, init: Initializer
    ) -> Float[Array, "batch time features"]:
        """An affine layer of each place of a sequence."""
        # As one batch of rows: over two axes, XLA's gradients of products are slow on CPUs.
        y = self.layers.dense(features, init, name=name)(x.reshape(-1, x.shape[-1]))
        return y.reshape(*x.shape[:-1], features)

    def run(
        self, x: Float[Array, "batch time width"], mask: Bool[Array, "..."] | None, train: bool
    ) -> Float[Array, "batch time width"]:
        """All layers one after the other, within a compact call.

        Args:
          x: of each place.
          mask: what is seen by each place, [batch or 1, 1, time or 1, time]; None for everything.
          train: whether to drop units.

        Returns:
          What comes after the last layer, before any further norm.
        """
        kind: Any = rematerialized(Layer, self.remat, (3,))
        for number in range(self.depth):
            x = kind(self, name=f"layer_{number}")(x, mask, train)
        return x


class Layer(nn.Module):
    """Self-attention, then an MLP, each on a residual branch.

    ``x = x + branch(norm(x))``, or with norms after each sum ``x = norm(x + branch(x))``.

    Attributes:
      stack: what all layers have in common.
    """

    stack: Stack

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch time width"], mask: Bool[Array, "..."] | None, train: bool
    ) -> Float[Array, "batch time width"]:
        stack = self.stack
        batch, time, width = x.shape
        inner = nn.initializers.normal(STD)
        # So that the variance of their sum does not grow with the depth.
        share = 1.0 if stack.after else (2 * stack.depth) ** -0.5
        last = nn.initializers.normal(STD * share)

        def branch(
            x: Array, function: Callable[[Array], Array], outputs: str, norm: str
        ) -> Float[Array, "batch time width"]:
            y = x if stack.after else stack.norm(norm)(x)
            y = x + stack.drop(stack.rows(width, function(y), outputs, last), train)
            return stack.norm(norm)(y) if stack.after else y

        def attention(x: Array) -> Array:
            def part(name: str) -> Array:
                y = stack.rows(width, x, name, inner)
                return y.reshape(batch, time, stack.heads, width // stack.heads)

            parts = part("query"), part("key"), part("value")
            drop = (lambda w: stack.drop(w, train)) if train and stack.dropout else None
            return attend(*parts, mask, drop).reshape(batch, time, width)

        def mlp(x: Array) -> Array:
            return ACTIVATIONS[stack.activation](stack.rows(stack.mlp, x, "mlp_in", inner))

        x = branch(x, attention, "attention_out", "attention_norm")
        return branch(x, mlp, "mlp_out", "mlp_norm")


def causal(time: int) -> Bool[Array, "1 1 time time"]:
    """The mask by which a place sees itself and what came before."""
    found: Any = jnp.tril(jnp.ones((time, time), bool))[None, None]
    return found
