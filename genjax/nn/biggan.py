"""The networks of BigGAN (Brock et al. 2019), at 8 to 256 pixels.

Below 48 pixels all blocks have four times the width, as in the authors' networks of 32 pixels;
those of 64, 128 and 256 widen towards the vector.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import BigGAN
from genjax.core.types import Images
from genjax.errors import UserError
from genjax.nn.attention import SelfAttention
from genjax.nn.dcgan import halvings
from genjax.nn.layers import Dense, Initializer, Layers
from genjax.nn.sngan import average_pool, upsample

_SMALL = 48
"""Side from which on maps differ in width."""
_FLAT = 4
"""Channels of smaller networks, as a multiple of the width."""
_WIDTHS = {64: (2, 4, 8, 16, 16), 128: (1, 2, 4, 8, 16, 16), 256: (1, 2, 4, 8, 8, 16, 16)}
"""Channels of the generator's maps, from the image to the vector, as multiples of the width."""
_ENCODER_WIDTHS = {64: (1, 2, 4, 8, 16), 128: (1, 2, 4, 8, 16, 16), 256: (1, 2, 4, 8, 8, 16, 16)}
"""Channels after each of the discriminator's blocks, of which all but the last one halve."""

INITIALIZERS: dict[str, Initializer] = {
    "normal": nn.initializers.normal(0.02),
    "orthogonal": nn.initializers.orthogonal(),
}
"""Of kernels: of the authors' networks for CIFAR-10, and of those for ImageNet."""


def _check_side(side: int) -> None:
    """Raises UserError where no networks were published."""
    if side >= _SMALL and side not in _WIDTHS:
        below = max((known for known in _WIDTHS if known < side), default=_SMALL - 16)
        raise UserError(
            f"biggan has no networks for images of {side} pixels a side; set --data.resolution "
            f"{below}, or another of {', '.join(map(str, _WIDTHS))} or less than {_SMALL}"
        )


def _check_attention(attention: Sequence[int], sides: Sequence[int]) -> None:
    """Raises UserError where attention is asked for on a map that there is not."""
    for side in attention:
        if side not in sides:
            raise UserError(
                f"attention is {side}, but this network has no such map; choices: "
                f"{', '.join(map(str, sides))}"
            )


def decoder_widths(side: int, config: BigGAN) -> tuple[int, list[int]]:
    """The maps of a generator.

    Args:
      side: of the image, in pixels.
      config: of the network.

    Returns:
      The side of the smallest map, and the channels of all, from that one to the image.

    Raises:
      UserError: there is no network of this size.
    """
    _check_side(side)
    count = halvings(side)
    multiples = _WIDTHS.get(side, (_FLAT,) * (count + 1))
    _check_attention(config.attention, [side // 2**k for k in range(count)])
    return side // 2**count, [config.width * multiple for multiple in multiples[::-1]]


def encoder_widths(side: int, config: BigGAN) -> tuple[int, list[int]]:
    """The maps of a discriminator.

    Args:
      side: of the image, in pixels.
      config: of the network.

    Returns:
      How many of its blocks (BigGAN-deep: groups of blocks) halve, and channels from the image on.

    Raises:
      UserError: there is no network of this size.
    """
    _check_side(side)
    if side % 4:
        raise UserError(
            f"biggan can't judge images of {side} pixels a side; "
            f"set --data.resolution {-(-side // 4) * 4}"
        )
    multiples = _ENCODER_WIDTHS.get(side, (_FLAT,) * 4)
    halving = len(multiples) - 1 if side in _ENCODER_WIDTHS else 2
    _check_attention(config.attention, [side // 2**k for k in range(1, halving + 1)])
    return halving, [config.width * multiple for multiple in multiples]


def check_embedding(config: BigGAN, labelled: bool) -> None:
    """Raises UserError where an embedding of labels is asked for that the norms are not given."""
    if config.embedding and not labelled:
        raise UserError(
            f"embedding is {config.embedding}, but the generator's norms are given no labels; set "
            "--model.generator-conditioning cbn, or --model.generator.embedding 0"
        )


def conditional(init: Initializer, spectral_norm: bool, features: int, name: str) -> nn.Module:
    """From what a block is given to gains or biases."""
    return Dense(features, False, jnp.float32, init, spectral_norm, name=name)


class BigGANDecoder(nn.Module):
    """Projects a part of a vector to a small map, then doubles it with residual blocks.

    A block is norm, ReLU, doubling, 3x3 convolution, norm, ReLU, 3x3 convolution, beside a doubling
    and a 1x1 convolution. Norm, ReLU and a 3x3 convolution follow. The norms' gains and biases are
    linear in what a block is given: an embedding of the labels that all blocks share, and the
    block's own part of the vector. Without either they are learned alone.

    Attributes:
      image: (side, side, channels) of what it makes.
      config: its width, attention, embedding, whether blocks have parts, and initialiser.
      layers: what its layers have in common.

    Reference: Brock et al. 2019, section 3 and appendix B, with the authors' PyTorch code.
    """

    image: tuple[int, int, int]
    config: BigGAN
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
        count = len(widths) - 1
        check_embedding(config, condition is not None)
        labels = [] if condition is None else [condition]
        if config.embedding:
            # Spectral norm of the embedding cripples G, by the authors' code.
            shared = nn.Dense(config.embedding, False, kernel_init=init, name="embedding")
            labels = [shared(condition)]
        parts: list[Array] = []
        if config.hierarchical:
            z, *parts = jnp.split(z, self._places(z.shape[-1], count), axis=-1)
        given = [
            jnp.concatenate(found, -1) if (found := [*labels, *parts[block : block + 1]]) else None
            for block in range(count)
        ]

        # The authors normalise what follows an embedding, but not what follows labels.
        linear = partial(conditional, init, layers.spectral_norm and bool(config.embedding))

        def activate(x: Array, given: Array | None) -> Array:
            return nn.relu(layers.normalize(x, train, given, linear=linear))

        x = layers.dense((base, base, widths[0]), init)(z)
        for block, width in enumerate(widths[1:]):
            y = layers.conv(width, 3, 1, init)(upsample(activate(x, given[block])))
            y = layers.conv(width, 3, 1, init)(activate(y, given[block]))
            # A 1x1 convolution and a doubling commute; this order does a quarter of the work.
            x = y + upsample(layers.conv(width, 1, 1, init)(x))
            if x.shape[1] in config.attention:
                x = SelfAttention(layers, init)(x)
        return layers.conv(channels, 3, 1, init)(activate(x, None))

    def _places(self, latent: int, blocks: int) -> list[int]:
        """Where a vector is cut into one part for the dense layer and one for each block."""
        size, rest = divmod(latent, blocks + 1)
        if rest or not size:
            raise UserError(
                f"biggan cuts z into {blocks + 1} parts, but it has {latent} values (labels by "
                f"concat are among them); set --model.latent {(size + 1) * (blocks + 1)}, or "
                "--model.generator.hierarchical False"
            )
        return [size * (block + 1) for block in range(blocks)]


class BigGANEncoder(nn.Module):
    """Residual blocks that halve the map at first; then ReLU and a sum over places.

    A block is ReLU, 3x3 convolution, ReLU, 3x3 convolution and perhaps 2x2 averaging, beside a
    1x1 convolution where its shape changes; the first block has no ReLU before it.

    Attributes:
      config: its width, attention and initialiser.
      layers: what its layers have in common.

    Reference: Brock et al. 2019, appendix B, with the authors' PyTorch code.
    """

    config: BigGAN
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
        x = images
        for block, width in enumerate(widths):
            y = nn.relu(layers.normalize(x, train)) if block else x
            y = layers.conv(width, 3, 1, init)(y)
            y = nn.relu(layers.normalize(y, train))
            y = layers.conv(width, 3, 1, init)(y)
            if block < halving:
                y, x = average_pool(y), average_pool(x)
            if block < halving or x.shape[-1] != width:
                # A 1x1 convolution and an average commute; this order does a quarter of the work.
                x = layers.conv(width, 1, 1, init)(x)
            x = x + y
            if x.shape[1] in config.attention and block < halving:
                x = SelfAttention(layers, init)(x)
        return jnp.sum(nn.relu(layers.normalize(x, train)), axis=(1, 2))
