"""StyleGAN2's generator (Karras et al. 2020): mapping and synthesis of styles.

Its maps have sides that are powers of two, from 4 pixels on. An image of another side is cut out of
the middle of the next power of two: 28 pixels are the middle of 32.
"""

import math
from collections.abc import Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float
from jaxtyping import Key as Keys

from genjax.config import NoiseMode, StyleGAN2
from genjax.core.algorithm import ema_update, pmean
from genjax.core.rng import stream
from genjax.core.types import Embedding, Images
from genjax.errors import UserError
from genjax.nn.channels import LINEAR, like
from genjax.nn.equalized import EqualConv, EqualDense, Resampling, activate, bound, resampled
from genjax.nn.layers import Layers
from genjax.nn.remat import rematerialized
from genjax.nn.resampling import upsample

SMALLEST = 4
"""The side of the first map of the generator, and of the last of the discriminator."""
_MAPPING_RATE = 0.01
_MEAN_DECAY = 0.995
_HALF = math.sqrt(0.5)

Styles = Float[Array, "batch layers style"]
NoiseKeys = Keys[Array, "batch"]


def map_sides(side: int) -> list[int]:
    """The sides of the maps, from 4 to the first power of two that holds the image.

    Raises:
      UserError: the image is smaller than 8 pixels.

    Example:
      >>> map_sides(32), map_sides(28)
      ([4, 8, 16, 32], [4, 8, 16, 32])
    """
    if side < 2 * SMALLEST:
        raise UserError(f"stylegan2 makes no images of {side} pixels; set --data.resolution 8")
    return [2**k for k in range(2, (side - 1).bit_length() + 1)]


def channels_of(config: StyleGAN2, side: int) -> int:
    """Channels of the maps of a side."""
    return max(1, min(config.channel_base // side, config.channel_max))


def _unit(x: Float[Array, "batch size"]) -> Float[Array, "batch size"]:
    """Scales each vector to a second moment of 1."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-8)


class Mapping(nn.Module):
    """Layers from z, from an embedding of labels, or from both to w.

    ``x = [z / rms(z), E c / rms(E c)]``, then dense layers that learn at a hundredth of the rate.

    Attributes:
      depth: of the layers.
      style: dimensions of w.

    Reference: Karras et al. 2019, section 2; Karras et al. 2020 (StyleGAN2-ADA), appendix D.
    """

    depth: int
    style: int

    @nn.compact
    def __call__(
        self, z: Float[Array, "batch latent"] | None, condition: Embedding | None
    ) -> Float[Array, "batch style"]:
        parts = [] if z is None else [_unit(z.astype(jnp.float32))]
        if condition is not None:
            parts.append(_unit(EqualDense(self.style, name="embed")(condition)))
        x = jnp.concatenate(parts, -1)
        for number in range(self.depth):
            dense = EqualDense(self.style, rate=_MAPPING_RATE, name=f"fc{number}")
            x = activate(dense(x))
        return x


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style, an affine function of w.

    ``W'_jk = s_j W_jk``, demodulated to ``W''_jk = W'_jk / sqrt(sum_j,taps W'_jk^2 + 1e-8)``. The
    map is scaled before and after a convolution that all examples share, which is the same.

    Attributes:
      features: output channels.
      kernel: side k of the kernel, 1 or 3.
      resampling: none, or up to double the map.
      demodulate: whether outputs are scaled back; otherwise styles are divided by
        ``sqrt(inputs k^2)``.
      layers: what its layers have in common.

    Reference: Karras et al. 2020, section 2.2, equations 1 and 3.
    """

    features: int
    kernel: int
    resampling: Resampling
    demodulate: bool
    layers: Layers

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], w: Float[Array, "batch style"]
    ) -> Float[Array, "batch h2 w2 features"]:
        dtype = self.layers.dtype
        shape = self.kernel, self.kernel, x.shape[-1], self.features
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape)
        style = EqualDense(x.shape[-1], bias=1.0, name="affine")(w)
        if self.demodulate:
            squares = jnp.sum(jnp.square(kernel), axis=(0, 1))
            factor = jax.lax.rsqrt(jnp.square(style) @ squares + 1e-8)
        else:
            style = style / math.sqrt(math.prod(shape[:3]))
        x = x.astype(dtype) * style[:, None, None].astype(dtype)
        form = self.layers.convolutions
        y = checkpoint_name(resampled(x, kernel.astype(dtype), self.resampling, form), LINEAR)
        return y * factor[:, None, None].astype(dtype) if self.demodulate else y


class SynthesisLayer(nn.Module):
    """A modulated convolution, noise, and the activation.

    Attributes:
      features: output channels.
      resampling: none, or up to double the map.
      config: of the network.
      layers: what its layers have in common.
      noise: kind of the noise.
      gain: of all.
    """

    features: int
    resampling: Resampling
    config: StyleGAN2
    layers: Layers
    noise: NoiseMode
    gain: float = 1.0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch h w c"],
        w: Float[Array, "batch style"],
        keys: NoiseKeys | None,
    ) -> Float[Array, "batch h2 w2 features"]:
        conv = ModulatedConv(self.features, 3, self.resampling, True, self.layers, name="conv")
        y = conv(x, w)
        if self.config.noise:
            y = y + self._noise(y, keys)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = y + like(bias.astype(y.dtype), y)
        return activate(y, self.gain, self.config.clamp)

    def _noise(self, y: Array, keys: NoiseKeys | None) -> Array:
        places = y.shape[1:3]
        fixed = self.variable(
            "noise", "const", lambda: jax.random.normal(self.make_rng("params"), places)
        )
        strength = self.param("strength", nn.initializers.zeros, ())
        if self.noise == "none":
            return jnp.zeros((), y.dtype)
        noise = fixed.value[None]
        if self.noise == "random" and keys is not None:
            noise = jax.vmap(lambda key: jax.random.normal(key, places))(keys)
        return (strength * noise)[..., None].astype(y.dtype)


class ToImage(nn.Module):
    """A modulated 1 x 1 convolution without demodulation, to the channels of the image.

    Attributes:
      channels: of the image.
      clamp: bound on the result.
      layers: what its layers have in common.
    """

    channels: int
    clamp: float | None
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], w: Float[Array, "batch style"]) -> Images:
        y = ModulatedConv(self.channels, 1, "none", False, self.layers, name="conv")(x, w)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        y = bound(y + like(bias.astype(y.dtype), y), self.clamp)
        return y.astype(jnp.float32)


class Synthesis(nn.Module):
    """From the styles of all layers to an image: a learned map of 4 x 4, doubled block by block.

    A block doubles the map by its first layer, of which the smallest has none, and has a second
    one. With ``skip`` each block adds to the image, which is doubled as well; otherwise only the
    last one makes it. With ``residual``, a 1 x 1 convolution leads around each block, and both are
    divided by ``sqrt(2)``.

    Attributes:
      image: (side, side, channels) of what it makes.
      config: sizes.
      layers: what its layers have in common.
      noise: kind of the noise.

    Reference: Karras et al. 2020, section 4.1 and figure 7.
    """

    image: tuple[int, int, int]
    config: StyleGAN2
    layers: Layers
    noise: NoiseMode

    @nn.compact
    def __call__(self, styles: Styles, keys: NoiseKeys | None) -> Images:
        side, _, channels = self.image
        sides = map_sides(side)
        rows = iter(range(styles.shape[1]))
        x = image = None
        for size in sides:
            x = self._block(x, size, styles, rows, keys)
            # The layer to the image has the style of the next block's first layer.
            row = 2 * sides.index(size) + 1
            if image is not None:
                image = upsample(image, self.layers.convolutions)
            if size == sides[-1] or self._architecture == "skip":
                to_image = ToImage(channels, self.config.clamp, self.layers, name=f"to_image{size}")
                made = to_image(x, styles[:, row])
                image = made if image is None else image + made
        assert image is not None
        edge = (sides[-1] - side) // 2
        return image[:, edge : edge + side, edge : edge + side]

    @property
    def _architecture(self) -> str:
        return "skip" if self.config.architecture == "usual" else self.config.architecture

    def _block(
        self,
        x: Array | None,
        size: int,
        styles: Styles,
        rows: Iterator[int],
        keys: NoiseKeys | None,
    ) -> Array:
        width = channels_of(self.config, size)
        residual = self._architecture == "residual" and x is not None

        def layer(y: Array, name: str, resampling: Resampling, gain: float) -> Array:
            row = next(rows)
            own = None if keys is None else jax.vmap(lambda key: stream(key, "layer", row))(keys)
            made = SynthesisLayer(
                width, resampling, self.config, self.layers, self.noise, gain, name=name
            )
            return made(y, styles[:, row], own)

        if x is None:
            shape = size, size, width
            const = self.param("const", nn.initializers.normal(1.0), shape)
            x = jnp.broadcast_to(const.astype(self.layers.dtype), (styles.shape[0], *shape))
            return layer(x, f"conv{size}", "none", 1.0)
        y = layer(x, f"conv{size}_up", "up", 1.0)
        y = layer(y, f"conv{size}", "none", _HALF if residual else 1.0)
        if not residual:
            return y
        around = EqualConv(
            width,
            1,
            "up",
            activation=False,
            gain=_HALF,
            dtype=self.layers.dtype,
            form=self.layers.convolutions,
            name=f"skip{size}",
        )
        return y + around(x)


class StyleGAN2Decoder(nn.Module):
    """Maps z, and labels if there are any, to w, and makes an image of its styles.

    The mean of w over training, of which ``batch_stats`` keeps a running average, is what truncated
    styles are drawn to. The image has no tanh: samples are clipped.

    Attributes:
      image: (side, side, channels) of what it makes.
      config: sizes.
      layers: what its layers have in common.
      noise: kind of the noise; random wants keys, and is const without.
    """

    image: tuple[int, int, int]
    config: StyleGAN2
    layers: Layers = Layers()
    noise: NoiseMode = "random"
    has_tanh = False
    rematerializes = True

    def setup(self) -> None:
        self.mapping = Mapping(self.config.mapping, self.config.style)
        kind = rematerialized(Synthesis, self.config.remat)
        self.synthesis = kind(self.image, self.config, self.layers, self.noise)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, (self.config.style,))

    @property
    def sides(self) -> list[int]:
        """Of the maps, the smallest first."""
        return map_sides(self.image[0])

    @property
    def count(self) -> int:
        """Styles of an image."""
        return 2 * len(self.sides)

    def map(
        self, z: Float[Array, "batch latent"], train: bool, condition: Embedding | None = None
    ) -> Float[Array, "batch style"]:
        """From z to w, moving the mean of w in training."""
        w: Array = self.mapping(z, condition)
        if train and not self.is_initializing():
            mean = pmean(jnp.mean(jax.lax.stop_gradient(w), axis=0), self.layers.axis_name)
            self.mean.value = ema_update(self.mean.value, mean, _MEAN_DECAY)
        return w

    def synthesize(self, styles: Styles, keys: NoiseKeys | None = None) -> Images:
        """From the styles of all layers to images of any range."""
        images: Array = self.synthesis(styles, keys)
        return images

    def __call__(
        self,
        z: Float[Array, "batch latent"],
        train: bool,
        condition: Embedding | None = None,
        keys: NoiseKeys | None = None,
    ) -> Images:
        w = self.map(z, train, condition)
        return self.synthesize(jnp.repeat(w[:, None], self.count, axis=1), keys)
