"""The transformer of DALL-E 2's prior, from the text and a noisy embedding to the embedding."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genjax.config import Prior as Config
from genjax.nn.descriptions import Description
from genjax.nn.encoder import STD, Stack, causal
from genjax.nn.layers import Layers
from genjax.nn.sinusoids import sinusoids

_FREQUENCIES = 128
_MLP = 4
"""Units within a layer, as a multiple of those between layers."""
_INIT = nn.initializers.normal(STD)


class Prior(nn.Module):
    """Reads a sequence, of whose last place it says what the noisy vector hides.

    The places are, in order: each token of the description, its vector, the level of noise, the
    noisy vector, and one that is learnt. Each has a learnt vector of its place added, sees what
    comes before, and no token that is not there.

    Attributes:
      config: of the network.
      layers: what its layers have in common.
      classes: of labels, which are added to the level of noise; 0 if there are none.

    Reference: Ramesh et al. 2022, section 2.2; Vaswani et al. 2017 (layers), with norms before each
    branch.
    """

    config: Config
    layers: Layers
    classes: int = 0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch numbers"],
        train: bool,
        noise: Float[Array, "batch *times"],
        labels: Int[Array, "batch"] | None = None,
        changes: None = None,
        description: Description | None = None,
    ) -> Float[Array, "batch numbers"]:
        """Judges vectors.

        Args:
          x: noisy vectors, scaled to a variance near 1, [batch, numbers].
          train: whether to drop units.
          noise: a function of each vector's level of noise; or several numbers.
          labels: 0 to ``classes - 1``, or `classes` for a vector without one; None for that, too.
          changes: of images alone.
          description: of each vector.

        Returns:
          float32 [batch, numbers] of any range.
        """
        config, batch = self.config, len(x)
        stack = Stack(
            config.depth,
            config.heads,
            _MLP * config.width,
            self.layers,
            config.dropout,
            remat=config.remat,
        )
        parts, there = self.described(description, stack)
        parts += [self.level(noise, labels)[:, None], self.affine(x, "noisy")[:, None]]
        query = self.param("query", _INIT, (config.width,))
        parts.append(jnp.broadcast_to(query, (batch, 1, config.width)))
        y = jnp.concatenate([part.astype(self.layers.dtype) for part in parts], axis=1)
        length = y.shape[1]
        y = y + self.param("places", _INIT, (length, config.width)).astype(y.dtype)
        mask = causal(length)
        if there is not None:
            rest = jnp.ones((batch, length - there.shape[1]), bool)
            mask = mask & jnp.concatenate([there, rest], axis=1)[:, None, None]
        y = stack.run(stack.drop(y, train), mask, train)[:, -1]
        y = stack.norm("norm")(y)
        # Of which the first estimate is the mean of nothing, 0.
        y = self.layers.dense(x.shape[1], nn.initializers.zeros, name="last")(y)
        return y.astype(jnp.float32)

    def described(
        self, description: Description | None, stack: Stack
    ) -> tuple[list[Array], Bool[Array, "batch tokens"] | None]:
        """The places of a description, and which of its tokens are there."""
        if description is None:
            return [], None
        vector = self.affine(description.vector, "vector")[:, None]
        if description.tokens is None:
            return [vector], None
        tokens = stack.rows(self.config.width, description.tokens, "tokens", _INIT)
        return [tokens, vector], description.present

    def affine(self, x: Float[Array, "batch units"], name: str) -> Float[Array, "batch width"]:
        """An affine layer to the width."""
        made: Array = self.layers.dense(self.config.width, _INIT, name=name)(x)
        return made

    def level(
        self, noise: Float[Array, "batch *times"], labels: Int[Array, "batch"] | None
    ) -> Float[Array, "batch width"]:
        """Embeds levels of noise, and labels, in float32."""
        width, layers = self.config.width, self.layers._replace(dtype=jnp.float32)
        waves = jnp.concatenate(sinusoids(noise, _FREQUENCIES), axis=-1).reshape(len(noise), -1)
        x = nn.silu(layers.dense(width, _INIT, name="noise_0")(waves))
        embedded: Any = layers.dense(width, _INIT, name="noise_1")(x)
        if not self.classes:
            return embedded
        table = self.param("labels", _INIT, (self.classes + 1, width))
        return embedded + (table[self.classes] if labels is None else table[labels])
