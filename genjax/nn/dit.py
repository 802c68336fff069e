"""The diffusion transformer of patches, DiT with adaLN-Zero (Peebles & Xie 2023)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import DiT as Config
from genjax.config import ViT
from genjax.core.types import Images
from genjax.errors import UserError
from genjax.nn.descriptions import Description, with_tokens
from genjax.nn.layers import Dropout, Initializer, Layers
from genjax.nn.remat import rematerialized
from genjax.nn.sinusoids import sinusoids

_FREQUENCIES = 128
_MLP = 4
"""Units within a block, as a multiple of those between blocks."""
_XAVIER = nn.initializers.xavier_uniform()
_NORMAL = nn.initializers.normal(0.02)
_ZEROS = nn.initializers.zeros


def patches_of(side: int, config: Config | ViT) -> int:
    """Patches along each side of an image.

    Args:
      side: of the image, in pixels.
      config: of a network of patches.

    Returns:
      Their number.

    Raises:
      UserError: the patch doesn't divide the side.

    Example:
      >>> patches_of(28, Config(patch=4))
      7
    """
    if side % config.patch:
        choices = [str(size) for size in range(1, side + 1) if side % size == 0]
        raise UserError(
            f"a {config.name} can't cut images of {side} pixels into patches of {config.patch}; "
            f"choices: {', '.join(choices)}"
        )
    return side // config.patch


def positions(count: int, width: int) -> Float[Array, "patches width"]:
    """The fixed embedding of places: sines and cosines of the column, then of the row.

    Args:
      count: patches along each side.
      width: of the embedding, a multiple of 4.

    Returns:
      float32 [count^2, width], row by row.
    """
    cosines, sines = sinusoids(jnp.arange(count, dtype=jnp.float32), width // 4)
    waves = jnp.concatenate([sines, cosines], axis=-1)
    columns, rows = jnp.tile(waves, (count, 1)), jnp.repeat(waves, count, axis=0)
    return jnp.concatenate([columns, rows], axis=-1)


class _Part(nn.Module):
    """A part of the network.

    Attributes:
      config: of the network.
      layers: what its layers have in common.
    """

    config: Config
    layers: Layers

    def rows(self, features: int, x: Array, name: str, init: Initializer = _XAVIER) -> Array:
        """An affine layer of each patch."""
        # As one batch of rows: over two axes, XLA's gradients of products are slow on CPUs.
        y = self.layers.dense(features, init, name=name)(x.reshape(-1, x.shape[-1]))
        return y.reshape(*x.shape[:-1], features)

    def vector(self, features: int, x: Array, name: str, init: Initializer) -> Array:
        """An affine layer of embeddings, in float32."""
        return self.layers._replace(dtype=jnp.float32).dense(features, init, name=name)(x)

    def modulate(self, x: Array, shift: Array, scale: Array) -> Array:
        """Layer norm, scaled and shifted by functions of the embedding."""
        norm = nn.LayerNorm(1e-6, jnp.float32, use_bias=False, use_scale=False)
        return (norm(x) * (1 + scale[:, None]) + shift[:, None]).astype(self.layers.dtype)


class _Block(_Part):
    """Self-attention, then an MLP, each on a residual branch that begins at 0.

    ``x = x + gate * branch(norm(x) (1 + scale) + shift)``, with all three linear in SiLU of the
    embedding. Tokens of a description have keys and values of their own in the attention.
    """

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch patches width"],
        embedding: Float[Array, "batch width"],
        train: bool,
        description: Description | None = None,
    ) -> Float[Array, "batch patches width"]:
        batch, patches, width = x.shape
        heads = self.config.heads
        given = self.vector(6 * width, nn.silu(embedding), "modulation", _ZEROS)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = jnp.split(given, 6, axis=-1)

        def add(x: Array, y: Array, gate: Array) -> Array:
            y = Dropout(self.config.dropout, self.layers.axis_name)(y, train)
            return x + gate[:, None].astype(y.dtype) * y

        qkv = self.rows(3 * width, self.modulate(x, shift, scale), "attention_qkv")
        qkv = qkv.reshape(batch, patches, 3, heads, width // heads)
        queries, keys, values = jnp.moveaxis(qkv, 2, 0)
        mask = None
        if description is not None and description.tokens is not None:
            further = self.rows(2 * width, description.tokens, "tokens")
            further = further.reshape(batch, -1, 2, heads, width // heads)
            assert description.present is not None
            keys, values, mask = with_tokens(keys, values, further, description.present)
        seen = jax.nn.dot_product_attention(queries, keys, values, mask=mask).reshape(x.shape)
        x = add(x, self.rows(width, seen, "attention_out"), gate)
        y = self.rows(_MLP * width, self.modulate(x, mlp_shift, mlp_scale), "mlp_in")
        return add(x, self.rows(width, nn.gelu(y, approximate=True), "mlp_out"), mlp_gate)


class DiT(_Part):
    """Cuts a noisy image into patches, which blocks of a transformer relate to each other.

    Attributes:
      channels: of what it makes; what it is given may have more.
      classes: of labels; 0 if there are none.

    Reference: Peebles & Xie 2023, section 3.2, and the authors' code, without learned variances.
    """

    channels: int
    classes: int = 0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch side side seen"],
        train: bool,
        noise: Float[Array, "batch *times"],
        labels: Int[Array, "batch"] | None = None,
        changes: Float[Array, "batch numbers"] | None = None,
        description: Description | None = None,
    ) -> Images:
        """Judges images.

        Args:
          x: noisy images, scaled to a variance near 1, and perhaps maps beside their channels,
            [batch, side, side, seen].
          train: whether to drop units.
          noise: a function of each image's level of noise, in the paper steps of 0 to 999; or
            several numbers.
          labels: 0 to ``classes - 1``, or `classes` for an image without one; None for that, too.
          changes: what is told of the augmentation of each image; None, as zeros, for no change.
          description: of each image; its tokens are attended to.

        Returns:
          float32 [batch, side, side, channels] of any range.

        Raises:
          UserError: patches don't fit the side.
        """
        config = self.config
        batch, side, _, seen = x.shape
        count, patch, width = patches_of(side, config), config.patch, config.width
        x = x.reshape(batch, count, patch, count, patch, seen).swapaxes(2, 3)
        y = self.rows(width, x.reshape(batch, count**2, patch**2 * seen), "patches")
        y = y + positions(count, width).astype(y.dtype)
        embedding = self.embed(noise, labels, changes, description)
        kind: Any = rematerialized(_Block, config.remat, (3,))
        for number in range(config.depth):
            y = kind(config, self.layers, name=f"block_{number}")(y, embedding, train, description)
        given = self.vector(2 * width, nn.silu(embedding), "last_modulation", _ZEROS)
        y = self.modulate(y, *jnp.split(given, 2, axis=-1))
        y = self.rows(patch**2 * self.channels, y, "last", _ZEROS)
        y = y.reshape(batch, count, count, patch, patch, self.channels).swapaxes(2, 3)
        return y.reshape(batch, side, side, self.channels).astype(jnp.float32)

    def embed(
        self,
        noise: Float[Array, "batch *times"],
        labels: Int[Array, "batch"] | None,
        changes: Float[Array, "batch numbers"] | None,
        description: Description | None,
    ) -> Float[Array, "batch width"]:
        """Embeds levels of noise, labels, changes and descriptions, in float32."""
        width = self.config.width
        x = jnp.concatenate(sinusoids(noise, _FREQUENCIES), axis=-1).reshape(len(noise), -1)
        x = nn.silu(self.vector(width, x, "noise_0", _NORMAL))
        x = self.vector(width, x, "noise_1", _NORMAL)
        if changes is not None:
            layers = self.layers._replace(dtype=jnp.float32)
            x = x + layers.dense(width, _ZEROS, use_bias=False, name="changes")(changes)
        if description is not None:
            x = x + self.vector(width, description.vector, "description", _NORMAL)
        if not self.classes:
            return x
        table = self.param("labels", _NORMAL, (self.classes + 1, width))
        return x + (table[self.classes] if labels is None else table[labels])
