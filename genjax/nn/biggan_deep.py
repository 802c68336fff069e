"""The networks of BigGAN-deep (Brock et al. 2019, appendix B), at 8 to 256 pixels.

Blocks are bottlenecks of a quarter of the channels, several at each size of the map. What lies
beside a block has no weights in the generator, which drops channels, and few in the discriminator,
which adds some.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import BigGANDeep
from genjax.core.types import Images
from genjax.nn.attention import SelfAttention
from genjax.nn.biggan import (
    INITIALIZERS,
    check_embedding,
    conditional,
    decoder_widths,
    encoder_widths,
)
from genjax.nn.layers import Initializer, Layers
from genjax.nn.sngan import average_pool, upsample

_RATIO = 4


class BigGANDeepDecoder(nn.Module):
    """Projects a vector to a small map, then doubles it with groups of bottleneck blocks.

    A block is norm, ReLU, 1x1 convolution to a quarter of the channels, twice norm, ReLU and a 3x3
    convolution, and norm, ReLU, 1x1 convolution, beside the first of the block's channels. The last
    block of a group narrows, and doubles the map before its first 3x3 convolution. Norm, ReLU and a
    3x3 convolution follow. The norms' gains and biases are linear in the embedding of the labels
    and, if hierarchical, all of z.

    Attributes:
      image: (side, side, channels) of what it makes.
      config: its width, depth, attention, embedding, whether norms see z, and initialiser.
      layers: what its layers have in common.

    Reference: Brock et al. 2019, appendix B, figure 16 and tables 7 to 9, with the authors' PyTorch
    code.
    """

    image: tuple[int, int, int]
    config: BigGANDeep
    layers: Layers = Layers(norm="batch")

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "batch latent"],
        train: bool,
        condition: Float[Array, "batch labels"] | None = None,
    ) -> Images:
        layers, config = self.layers, self.config
        init = INITIALIZERS[config.initializer]
        side, _, channels = self.image
        base, widths = decoder_widths(side, config)
        check_embedding(config, condition is not None)
        given = condition
        if config.embedding:
            given = nn.Dense(config.embedding, False, kernel_init=init, name="embedding")(condition)
        if config.hierarchical:
            z = given = z if given is None else jnp.concatenate([given, z], -1)
        linear = partial(conditional, init, layers.spectral_norm and bool(config.embedding))

        def activate(x: Array, given: Array | None) -> Array:
            return nn.relu(layers.normalize(x, train, given, linear=linear))

        def block(x: Array, width: int, grows: bool) -> Array:
            hidden = x.shape[-1] // _RATIO
            y = layers.conv(hidden, 1, 1, init)(activate(x, given))
            y, x = activate(y, given), x[..., :width]
            if grows:
                y, x = upsample(y), upsample(x)
            y = layers.conv(hidden, 3, 1, init)(y)
            y = layers.conv(hidden, 3, 1, init)(activate(y, given))
            return x + layers.conv(width, 1, 1, init)(activate(y, given))

        x = layers.dense((base, base, widths[0]), init)(z)
        for width in widths[1:]:
            for _ in range(config.depth - 1):
                x = block(x, x.shape[-1], grows=False)
            x = block(x, width, grows=True)
            if x.shape[1] in config.attention:
                x = SelfAttention(layers, init)(x)
        return layers.conv(channels, 3, 1, init)(activate(x, None))


class BigGANDeepEncoder(nn.Module):
    """A 3x3 convolution and groups of bottleneck blocks, most of which halve; ReLU and a sum.

    A block is ReLU, 1x1 convolution to a quarter of the new channels, twice ReLU and a 3x3
    convolution, ReLU, perhaps 2x2 averaging, and a 1x1 convolution, beside the map itself with the
    further channels of a 1x1 convolution. The first block of a group widens and halves.

    Attributes:
      config: its width, depth, attention and initialiser.
      layers: what its layers have in common.

    Reference: Brock et al. 2019, appendix B, figure 16 and tables 7 to 9, with the authors' PyTorch
    code.
    """

    config: BigGANDeep
    layers: Layers = Layers()

    @property
    def head_init(self) -> Initializer:
        """Of layers that come after it."""
        return INITIALIZERS[self.config.initializer]

    @nn.compact
    def __call__(self, images: Images, train: bool) -> Float[Array, "batch features"]:
        layers, config = self.layers, self.config
        init = INITIALIZERS[config.initializer]
        halving, widths = encoder_widths(images.shape[1], config)

        def activate(x: Array) -> Array:
            return nn.relu(layers.normalize(x, train))

        def block(x: Array, width: int, shrinks: bool) -> Array:
            hidden = width // _RATIO
            y = layers.conv(hidden, 1, 1, init)(activate(x))
            y = layers.conv(hidden, 3, 1, init)(activate(y))
            y = layers.conv(hidden, 3, 1, init)(activate(y))
            y = activate(y)
            if shrinks:
                y, x = average_pool(y), average_pool(x)
            y = layers.conv(width, 1, 1, init)(y)
            if (more := width - x.shape[-1]) > 0:
                x = jnp.concatenate([x, layers.conv(more, 1, 1, init)(x)], -1)
            return x + y

        x = layers.conv(widths[0], 3, 1, init)(images)
        for group, width in enumerate(widths[1:]):
            for number in range(config.depth):
                shrinks = number == 0 and group < halving
                x = block(x, width, shrinks)
            if x.shape[1] in config.attention and group < halving:
                x = SelfAttention(layers, init)(x)
        return jnp.sum(activate(x), axis=(1, 2))
