"""The U-Net of EDM2, all of whose layers keep the magnitude of maps (Karras et al. 2024)."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import UNet as Config
from genjax.core.magnitude import unit_magnitude
from genjax.core.types import Images
from genjax.nn.descriptions import Description, with_tokens
from genjax.nn.layers import Dropout, Layers
from genjax.nn.magnitude import MPConv, MPDense, MPFourier, mp_concatenate, mp_silu, mp_sum
from genjax.nn.remat import rematerialized
from genjax.nn.sngan import average_pool, upsample
from genjax.nn.unet import one_hot, stage_sides, through_stages

_BRANCH = 0.3
"""Share of a residual branch, and of attention."""
_LABEL = 0.5
"""Share of the label in the embedding."""
_KEPT = 0.5
"""Share of a map from the way down in what a block on the way up is given."""
_LARGEST = 256.0
"""Of the values that blocks make."""


class _Part(nn.Module):
    """A part of the network.

    Attributes:
      config: of the network.
      layers: what its layers have in common.
    """

    config: Config
    layers: Layers

    def conv(self, features: int, kernel: int, x: Array, name: str, **options: Any) -> Array:
        """A convolution, perhaps with a gain."""
        dtype, form = self.layers.dtype, self.layers.convolutions
        made: Array = MPConv(features, kernel, dtype, form, name=name)(x, **options)
        return made

    def gain(self, name: str) -> Float[Array, ""]:
        """A number that is learned, from 0 on."""
        value: Array = self.param(name, nn.initializers.zeros, ())
        return value


class _Attention(_Part):
    """Attention by the cosines of queries and keys.

    Of each place, queries, keys and values of all heads have a mean square of 1 over their
    ``size`` channels; each head makes ``W sum_j softmax_j(q_i . k_j / sqrt(size)) v_j``. So have
    the keys and values of a description's tokens.
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], description: Description | None = None
    ) -> Float[Array, "batch h w c"]:
        batch, height, width, channels = x.shape
        heads = max(1, channels // self.config.head)
        # The order of channels is that of the authors' code.
        qkv = self.conv(3 * channels, 1, x, "qkv")
        qkv = qkv.reshape(batch, height * width, heads, channels // heads, 3)
        queries, keys, values = jnp.moveaxis(unit_magnitude(qkv, (3,)), -1, 0)
        mask = None
        if description is not None and description.tokens is not None:
            rows = description.tokens.reshape(-1, description.tokens.shape[-1])
            further = MPDense(2 * channels, name="tokens")(rows)
            further = further.reshape(batch, -1, 2, heads, channels // heads)
            assert description.present is not None
            further = unit_magnitude(further, (4,))
            keys, values, mask = with_tokens(keys, values, further, description.present)
        seen = jax.nn.dot_product_attention(queries, keys, values, mask=mask)
        return mp_sum(x, self.conv(channels, 1, seen.reshape(x.shape), "out"), _BRANCH)


class _Block(_Part):
    """A residual block that knows the level of noise.

    ``y = conv(dropout(a(conv(a(x)) (1 + g W e))))`` with a = mp_silu and a learned gain g, then
    ``clip(mp_sum(x, y))``. On the way down each place of x has a mean square of 1 over the
    channels, of which there are `features` by then; on the way up x gets them beside the branch.

    Attributes:
      features: channels of what it makes.
      decodes: it is on the way up.
      resampling: of the map, before all else: none, down or up.
      attends: attention follows.
    """

    features: int
    decodes: bool
    resampling: str = "none"
    attends: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch h w c"],
        embedding: Float[Array, "batch e"],
        train: bool,
        description: Description | None = None,
    ) -> Float[Array, "batch h2 w2 features"]:
        x = {"none": lambda x: x, "down": average_pool, "up": upsample}[self.resampling](x)

        def widened(x: Array) -> Array:
            same = x.shape[-1] == self.features
            return x if same else self.conv(self.features, 1, x, "skip")

        if not self.decodes:
            x = unit_magnitude(widened(x))
        y = self.conv(self.features, 3, mp_silu(x), "conv_0")
        given = MPDense(self.features, name="embedding")(embedding, self.gain("embedding_gain"))
        y = mp_silu(y * (1 + given[:, None, None]).astype(y.dtype))
        y = Dropout(self.config.dropout, self.layers.axis_name)(y, train)
        y = self.conv(self.features, 3, y, "conv_1")
        x = mp_sum(widened(x) if self.decodes else x, y, _BRANCH)
        if self.attends:
            x = _Attention(self.config, self.layers, name="attention")(x, description)
        return jnp.clip(x, -_LARGEST, _LARGEST)


class EDM2UNet(_Part):
    """Halves a noisy image from stage to stage and doubles it again, beside what it was.

    In place of biases, images have one channel of ones more. What it makes begins at 0, for it has
    a learned gain. Of `config` it takes what `genjax.nn.unet.UNet` does.

    Attributes:
      channels: of what it makes; what it is given may have more.
      classes: of labels; 0 if there are none.

    Reference: Karras et al. 2024 (EDM2), configuration G, and the authors' code.
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
        """Judges images; arguments, result and errors as of `genjax.nn.unet.UNet`.

        Args:
          x: noisy images, scaled to a variance near 1, and perhaps maps beside their channels,
            [batch, side, side, seen].
          train: whether to drop units.
          noise: a function of each image's level of noise, of size near 1, such as EDM's
            ``log(sigma) / 4``, or several numbers.
          labels: 0 to ``classes - 1``, or `classes` for an image without one; None for that, too.
          changes: what is told of the augmentation of each image; None, as zeros, for no change.
          description: of each image; its tokens are attended to.

        Returns:
          float32 [batch, side, side, channels] of any range.

        Raises:
          UserError: the side can't be halved as often as the network does.
        """
        config = self.config
        stage_sides(x.shape[1], config)
        embedding = self.embed(noise, labels, changes, description)
        kind: Any = rematerialized(_Block, config.remat, (3,))

        def block(y: Array, features: int, name: str, decodes: bool, **options: Any) -> Array:
            made = kind(config, self.layers, features, decodes, **options, name=name)
            result: Array = made(y, embedding, train, description)
            return result

        x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
        x = self.conv(config.width * config.widths[0], 3, x, "first")
        x = through_stages(x, config, block, lambda x, kept: mp_concatenate(x, kept, _KEPT))
        last = self.conv(self.channels, 3, x, "last", gain=self.gain("last_gain"))
        return last.astype(jnp.float32)

    def embed(
        self,
        noise: Float[Array, "batch *times"],
        labels: Int[Array, "batch"] | None,
        changes: Float[Array, "batch numbers"] | None,
        description: Description | None,
    ) -> Float[Array, "batch e"]:
        """Embeds levels of noise, labels, changes and descriptions, in float32."""
        config = self.config
        size = config.width * max(config.widths)
        x = MPFourier(config.width * config.widths[0], name="fourier")(noise)
        x = MPDense(size, name="embed_noise")(x)
        if self.classes:
            # Of magnitude 1 where there is a label.
            given = one_hot(labels, self.classes, len(noise)) * math.sqrt(self.classes)
            x = mp_sum(x, MPDense(size, name="embed_label")(given), _LABEL)
        if description is not None:
            x = mp_sum(x, MPDense(size, name="embed_description")(description.vector), _LABEL)
        if changes is not None:
            x = x + MPDense(size, name="embed_changes")(changes, self.gain("changes_gain"))
        return mp_silu(x)
