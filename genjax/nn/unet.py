"""U-Nets of DDPM++ and ADM, in EDM's form (Karras et al. 2022)."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import UNet as Config
from genjax.config import UNetVariant
from genjax.core.types import Images
from genjax.errors import UserError
from genjax.nn.descriptions import Description, with_tokens
from genjax.nn.layers import Dropout, Initializer, Layers, symmetric_uniform
from genjax.nn.norms import GroupNorm, Normalize
from genjax.nn.remat import rematerialized
from genjax.nn.sinusoids import sinusoids
from genjax.nn.sngan import average_pool, upsample

_EMBEDDING = 4
"""Dimensions of the embedding, as a multiple of the width."""


def _xavier(gain: float = 1.0) -> Initializer:
    """Glorot's uniform initialiser with its limit multiplied by `gain`."""
    return nn.initializers.variance_scaling(gain**2, "fan_avg", "uniform")


class _Variant(NamedTuple):
    """What the blocks of a variant have in common.

    Attributes:
      init: initialiser of kernels.
      last: of those that end a branch.
      attention: of those that make queries, keys and values.
      biased: biases begin as PyTorch's, uniform within ``1 / sqrt(inputs)``; otherwise at 0.
      scales: the embedding scales channels, too.
      projects: beside resampling there is a 1 x 1 convolution even where the width stays.
      all_attend: on the way up, attention follows every block, not the stage's last one alone.
      widens: the first convolution has the first stage's channels; otherwise `width`.
      skip: factor of the sum of a branch and what is beside it.
      epsilon: of the norms.
    """

    init: Initializer
    last: Initializer
    attention: Initializer
    biased: bool
    scales: bool
    projects: bool
    all_attend: bool
    widens: bool
    skip: float
    epsilon: float


_TORCH = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
_VARIANTS: dict[UNetVariant, _Variant] = {
    "ddpmpp": _Variant(
        init=_xavier(),
        last=_xavier(1e-5),
        attention=_xavier(math.sqrt(0.2)),
        biased=False,
        scales=False,
        projects=True,
        all_attend=False,
        widens=False,
        skip=math.sqrt(0.5),
        epsilon=1e-6,
    ),
    "adm": _Variant(
        init=_TORCH,
        last=nn.initializers.zeros,
        attention=_TORCH,
        biased=True,
        scales=True,
        projects=False,
        all_attend=True,
        widens=True,
        skip=1.0,
        epsilon=1e-5,
    ),
}


def stage_sides(side: int, config: Config) -> list[int]:
    """The sides of the maps, each half of the one before, from the image on.

    Args:
      side: of the image, in pixels.
      config: of the network.

    Returns:
      One a stage.

    Raises:
      UserError: the side can't be halved that often, or attention is asked for on another map.

    Example:
      >>> stage_sides(28, Config(widths=(1, 2, 2)))
      [28, 14, 7]
    """
    stages = len(config.widths)
    block = 2 ** (stages - 1)
    if side % block:
        below, above = side // block * block, -(-side // block) * block
        choices = f"{below} or {above}" if below else f"{above}"
        possible = (side & -side).bit_length()
        raise UserError(
            f"a unet of {stages} widths can't halve images of {side} pixels {stages - 1} times; "
            f"set --data.resolution {choices}, or at most {possible} widths"
        )
    sides = [side // 2**stage for stage in range(stages)]
    for wanted in config.attention:
        if wanted not in sides:
            raise UserError(
                f"attention is {wanted}, but this unet has no such map; choices: "
                f"{', '.join(map(str, sides))}"
            )
    return sides


def through_stages(
    x: Float[Array, "batch h w c"],
    config: Config,
    block: Callable[..., Array],
    join: Callable[[Array, Array], Array],
    all_attend: bool = True,
) -> Float[Array, "batch h w features"]:
    """Goes down from stage to stage and up again, beside what was on the way down.

    Args:
      x: of the first stage, what the first convolution makes.
      config: of the network; its stages must fit.
      block: ``(x, features, name, decodes, resampling, attends) -> x``, where it decodes on the way
        up and the last two may be left out.
      join: from a map and the one that was kept of the way down to what a block is given.
      all_attend: on the way up, attention follows every block, not the stage's last one alone.

    Returns:
      The first stage's last map.
    """
    stages = list(enumerate(config.width * multiple for multiple in config.widths))
    side = x.shape[1]
    kept = [x]
    for stage, width in stages:
        if stage:
            x = block(x, x.shape[-1], f"down_{stage}", False, resampling="down")
            kept.append(x)
        attends = side // 2**stage in config.attention
        for number in range(config.blocks):
            x = block(x, width, f"encoder_{stage}_{number}", False, attends=attends)
            kept.append(x)
    x = block(x, x.shape[-1], "middle_0", True, attends=True)
    x = block(x, x.shape[-1], "middle_1", True)
    for stage, width in reversed(stages):
        if stage + 1 < len(stages):
            x = block(x, x.shape[-1], f"up_{stage}", True, resampling="up")
        for number in range(config.blocks + 1):
            chosen = all_attend or number == config.blocks
            attends = chosen and side // 2**stage in config.attention
            joint = join(x, kept.pop())
            x = block(joint, width, f"decoder_{stage}_{number}", True, attends=attends)
    return x


def one_hot(
    labels: Int[Array, "batch"] | None, classes: int, batch: int
) -> Float[Array, "batch classes"]:
    """Labels as vectors, all zeros of the label `classes` and where there are no labels."""
    if labels is None:
        labels = jnp.full(batch, classes)
    return jax.nn.one_hot(labels, classes)


class _Part(nn.Module):
    """A part of the network.

    Attributes:
      config: of the network.
      layers: what its layers have in common.
    """

    config: Config
    layers: Layers

    @property
    def variant(self) -> _Variant:
        return _VARIANTS[self.config.variant]

    def bias(self, inputs: int) -> Initializer:
        """The initialiser of the biases of a layer with so many inputs."""
        return symmetric_uniform(inputs**-0.5) if self.variant.biased else nn.initializers.zeros

    def conv(self, features: int, kernel: int, x: Array, name: str) -> Array:
        """A convolution in the middle of a branch."""
        bias = self.bias(kernel**2 * x.shape[-1])
        init = self.variant.init
        return self.layers.conv(features, kernel, 1, init, bias_init=bias, name=name)(x)

    def last(self, features: int, kernel: int, x: Array, name: str) -> Array:
        """A convolution that ends a branch."""
        return self.layers.conv(features, kernel, 1, self.variant.last, name=name)(x)

    def dense(self, features: int, x: Array, name: str) -> Array:
        """An affine layer of embeddings, in float32."""
        layers = self.layers._replace(dtype=jnp.float32)
        bias = self.bias(x.shape[-1])
        return layers.dense(features, self.variant.init, bias_init=bias, name=name)(x)

    def norm(self, x: Array, name: str) -> Array:
        """Group norm."""
        norm = GroupNorm(epsilon=self.variant.epsilon)
        return Normalize(norm, self.layers.dtype, name=name)(x)


class _Attention(_Part):
    """Adds to each place of a map what it attends to in the whole map.

    With queries, keys and values of group norm's outcome, each head of ``size`` channels adds
    ``W sum_j softmax_j(q_i . k_j / sqrt(size)) v_j``; ddpmpp has one head. Tokens of a description
    have keys and values of their own.
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], description: Description | None = None
    ) -> Float[Array, "batch h w c"]:
        batch, height, width, channels = x.shape
        heads = 1 if self.config.variant == "ddpmpp" else max(1, channels // self.config.head)
        y = self.norm(x, "norm")
        bias = self.bias(channels)
        init = self.variant.attention
        qkv = self.layers.conv(3 * channels, 1, 1, init, bias_init=bias, name="qkv")(y)
        qkv = qkv.reshape(batch, height * width, 3, heads, channels // heads)
        queries, keys, values = jnp.moveaxis(qkv, 2, 0)
        mask = None
        if description is not None and description.tokens is not None:
            rows = description.tokens.reshape(-1, description.tokens.shape[-1])
            further = self.dense(2 * channels, rows, "tokens")
            further = further.reshape(batch, -1, 2, heads, channels // heads)
            assert description.present is not None
            keys, values, mask = with_tokens(keys, values, further, description.present)
        seen = jax.nn.dot_product_attention(queries, keys, values, mask=mask)
        y = self.last(channels, 1, seen.reshape(x.shape), "out")
        return (x + y) * self.variant.skip


class _Block(_Part):
    """A residual block that knows the level of noise.

    ``y = conv(a(norm(x)))``, in ddpmpp ``y = norm(y + W e)``, in adm
    ``y = norm(y) (1 + V e) + W e``, then ``s (x + conv(dropout(a(y))))`` with SiLU a. Where the map
    is halved or doubled, that comes before the first convolution and on the way of x.

    Attributes:
      features: channels of what it makes.
      resampling: of the map: none, down or up.
      attends: attention follows.
    """

    features: int
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
        variant = self.variant
        resample = {"none": lambda x: x, "down": average_pool, "up": upsample}[self.resampling]
        y = resample(nn.silu(self.norm(x, "norm_0")))
        y = self.conv(self.features, 3, y, "conv_0")
        parts = 2 if variant.scales else 1
        given = self.dense(parts * self.features, embedding, "affine")[:, None, None]
        given = given.astype(y.dtype)
        if variant.scales:
            scale, shift = jnp.split(given, 2, axis=-1)
            y = self.norm(y, "norm_1") * (scale + 1) + shift
        else:
            y = self.norm(y + given, "norm_1")
        y = Dropout(self.config.dropout, self.layers.axis_name)(nn.silu(y), train)
        y = self.last(self.features, 3, y, "conv_1")
        resampled = self.resampling != "none"
        widens = x.shape[-1] != self.features
        x = resample(x).astype(y.dtype)
        if widens or (variant.projects and resampled):
            x = self.conv(self.features, 1, x, "skip")
        x = (x + y) * variant.skip
        if self.attends:
            x = _Attention(self.config, self.layers, name="attention")(x, description)
        return x


class UNet(_Part):
    """Halves a noisy image from stage to stage and doubles it again, beside what it was.

    Each block on the way up is also given the map that its counterpart on the way down made. All
    blocks know an embedding of the level of noise and of the label.

    Attributes:
      channels: of what it makes; what it is given may have more.
      classes: of labels; 0 if there are none.

    Reference: Karras et al. 2022, appendix F.1, and the authors' code; Song et al. 2021 (DDPM++);
    Dhariwal & Nichol 2021 (ADM).
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
          noise: a function of each image's level of noise, such as EDM's ``log(sigma) / 4``, or
            several numbers.
          labels: 0 to ``classes - 1``, or `classes` for an image without one; None for that, too.
          changes: what is told of the augmentation of each image; None, as zeros, for no change.
          description: of each image; its tokens are attended to.

        Returns:
          float32 [batch, side, side, channels] of any range.

        Raises:
          UserError: the side can't be halved as often as the network does.
        """
        config, variant = self.config, self.variant
        stage_sides(x.shape[1], config)
        embedding = self.embed(noise, labels, changes, description)
        kind: Any = rematerialized(_Block, config.remat, (3,))

        def block(y: Array, features: int, name: str, decodes: bool, **options: Any) -> Array:
            made = kind(config, self.layers, features, **options, name=name)
            result: Array = made(y, embedding, train, description)
            return result

        def join(x: Array, kept: Array) -> Array:
            return jnp.concatenate([x, kept], axis=-1)

        first = config.width * (config.widths[0] if variant.widens else 1)
        x = self.conv(first, 3, x, "first")
        x = through_stages(x, config, block, join, variant.all_attend)
        x = nn.silu(self.norm(x, "last_norm"))
        return self.last(self.channels, 3, x, "last").astype(jnp.float32)

    def embed(
        self,
        noise: Float[Array, "batch *times"],
        labels: Int[Array, "batch"] | None,
        changes: Float[Array, "batch numbers"] | None,
        description: Description | None,
    ) -> Float[Array, "batch e"]:
        """Embeds levels of noise, labels, changes and descriptions, in float32."""
        config = self.config
        size = _EMBEDDING * config.width
        given = one_hot(labels, self.classes, len(noise)) if self.classes else None
        bare = partial(self.layers._replace(dtype=jnp.float32).dense, use_bias=False)
        if config.variant == "ddpmpp":
            cosines, sines = sinusoids(noise, config.width // 2, endpoint=True)
            x = jnp.concatenate([sines, cosines], axis=-1).reshape(len(noise), -1)
            if given is not None:
                # So that its units have variance 1, as the noise's.
                given = given * math.sqrt(self.classes)
                x = x + self.dense(x.shape[-1], given, "embed_label")
            if changes is not None:
                x = x + bare(x.shape[-1], self.variant.init, name="embed_changes")(changes)
            if description is not None:
                x = x + self.dense(x.shape[-1], description.vector, "embed_description")
            x = nn.silu(self.dense(size, x, "embed_0"))
            return nn.silu(self.dense(size, x, "embed_1"))
        x = jnp.concatenate(sinusoids(noise, config.width // 2), axis=-1).reshape(len(noise), -1)
        if changes is not None:
            x = x + bare(x.shape[-1], self.variant.last, name="embed_changes")(changes)
        x = nn.silu(self.dense(size, x, "embed_0"))
        x = self.dense(size, x, "embed_1")
        if given is not None:
            x = x + bare(size, nn.initializers.normal(1.0), name="embed_label")(given)
        if description is not None:
            x = x + self.dense(size, description.vector, "embed_description")
        return nn.silu(x)
