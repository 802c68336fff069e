"""Architectures of networks: one dataclass each, with the fields that it reads."""

import dataclasses
from typing import Any, Literal

from genjax.config.fields import check_numbers, require, setting
from genjax.config.tags import Tagged, register

Convolutions = Literal["auto", "stock"]
Remat = Literal["none", "activations", "all"]
Architecture = Literal["usual", "plain", "skip", "residual"]
NoiseMode = Literal["random", "const", "none"]
"""Of stylegan2's generator: new for each image, the same for all, or left out."""

_NORMS = "genjax.nn.norms:NORMS|none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network(Tagged, what="network"):
    """One network of a model."""

    name: str
    """Architecture."""
    spectral_norm: bool = False
    """Divide every weight matrix by its largest singular value."""
    remat: Remat = "none"
    """What the backward pass computes again instead of keeping it in memory (jax.checkpoint):
    nothing, all but the outputs of convolutions and matrix products, or all."""

    def __post_init__(self) -> None:
        check_numbers(self, width=2**16, depth=1000)
        for name in ("width", "depth"):
            require(getattr(self, name, 1) >= 1, self, name, "at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convolutional(Network):
    """A network of convolutions."""

    convolutions: Convolutions = "auto"
    """Form of the convolutions and of their derivatives: auto is the fastest that is known for the
    platform, stock is XLA's own. They are equal up to rounding."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class DCGAN(Convolutional):
    """Strided convolutions (Radford et al. 2016)."""

    name: Literal["dcgan"] = "dcgan"
    width: int = 64
    """Channels of the layer nearest to the image; each further one has twice as many."""
    norm: str = setting("batch", choices=_NORMS)
    """Normalisation of hidden layers; virtual is for a GAN's generator."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class DCGANTutorial(Convolutional):
    """The networks of the usual MNIST tutorial, of fixed width and without normalisation."""

    name: Literal["dcgan_tutorial"] = "dcgan_tutorial"


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class SNGAN(Convolutional):
    """Residual networks (Miyato et al. 2018), in another shape from 48 pixels on."""

    name: Literal["sngan"] = "sngan"
    width: int = 64
    """Channels: below 48 pixels of all layers, 256 in the paper's generator and 128 in its
    discriminator; from 48 of the block nearest to the image, 64 in the paper."""
    norm: str = setting("batch", choices=_NORMS)
    """Normalisation of hidden layers; virtual is for a GAN's generator."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class BigGAN(Convolutional):
    """Wide residual networks with self-attention (Brock et al. 2019)."""

    name: Literal["biggan"] = "biggan"
    width: int = 64
    """Channels of the block nearest to the image at 128 pixels (96 in the paper); below 48 pixels
    all blocks have four times as many."""
    attention: tuple[int, ...] = ()
    """Sides of the maps after which self-attention follows; 64 in the paper at 128 pixels."""
    embedding: int = 0
    """Dimensions of the labels' embedding that all blocks of a generator share, 128 in the paper; 0
    gives each block the labels themselves."""
    hierarchical: bool = False
    """Each block of a generator is given a part of z of its own."""
    initializer: str = setting("orthogonal", choices="genjax.nn.biggan:INITIALIZERS")
    """Of kernels; normal has a deviation of 0.02."""
    norm: str = setting("batch", choices=_NORMS)
    """Normalisation of hidden layers; the paper's discriminator has none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, embedding=2**16)
        require(self.embedding >= 0, self, "embedding", "at least 0")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class BigGANDeep(BigGAN):
    """BigGAN's networks of bottleneck blocks (Brock et al. 2019, appendix B)."""

    name: Literal["biggan_deep"] = "biggan_deep"  # type: ignore[assignment]
    width: int = 64
    """Channels of the block nearest to the image at 128 pixels, 128 in the paper; below 48 pixels
    all blocks have four times as many."""
    hierarchical: bool = False
    """The norms of a generator see all of z."""
    depth: int = 2
    """Blocks at each size of the map."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class R3GAN(Convolutional):
    """Residual networks without normalisation (Huang et al. 2024)."""

    name: Literal["r3gan"] = "r3gan"
    widths: tuple[int, ...] = (64,)
    """Channels of each stage, from the smallest map (4 to 7 pixels a side) to the image; further
    stages are as wide as the last one given. 768 in the paper's networks for CIFAR-10."""
    blocks: tuple[int, ...] = (2,)
    """Residual blocks of each stage, likewise; 2 in the paper."""
    expansion: int = 2
    """Channels within a block, as a multiple of those between blocks."""
    group: int = 16
    """Channels in each group of the 3x3 convolutions; 32 in the paper's networks for ImageNet."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, widths=2**16, blocks=1000, expansion=64, group=2**16)
        for name in ("widths", "blocks"):
            values = getattr(self, name)
            require(min(values, default=0) >= 1, self, name, "one or more, each at least 1")
        for name in ("expansion", "group"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        fits = all(width * self.expansion % self.group == 0 for width in self.widths)
        multiples = f"of which each, {self.expansion} times, is a multiple of group, {self.group}"
        require(fits, self, "widths", f"numbers {multiples}")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class StyleGAN2(Convolutional):
    """Networks of styles (Karras et al. 2020). The generator maps z to w, which scales the channels
    of its convolutions; its counterpart halves the image."""

    name: Literal["stylegan2"] = "stylegan2"
    channel_base: int = 16384
    """Channels of a map times its side, up to channel_max; 32768 in the paper from 512 pixels."""
    channel_max: int = 512
    """Most channels of a map."""
    architecture: Architecture = "usual"
    """What joins a block and the image: usual is skip in a generator, where each block adds to the
    image, and residual in a discriminator; with plain, only the last block sees it."""
    style: int = 512
    """Dimensions of w."""
    mapping: int = 8
    """Layers from z to w; from labels likewise in a discriminator. 2 in the authors' settings for
    CIFAR-10."""
    noise: bool = True
    """Each convolution of a generator adds noise of a learned strength."""
    stddev: int = 4
    """Images in each group whose standard deviation a discriminator sees; 0 for none."""
    clamp: float | None = None
    """Bound on what the convolutions make, 256 in the authors' networks of 16 bits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(
            self, channel_base=2**26, channel_max=2**16, style=2**16, mapping=100, stddev=2**16
        )
        for name in ("channel_base", "channel_max", "style", "mapping"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(self.stddev >= 0, self, "stddev", "at least 0")
        require(self.clamp is None or self.clamp > 0, self, "clamp", "above 0")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderKL(Convolutional):
    """The halves of latent diffusion's autoencoder, whose z is a map (Rombach et al. 2022)."""

    name: Literal["kl"] = "kl"
    width: int = 128
    """Channels next to the image, and the unit of the others."""
    widths: tuple[int, ...] = (1, 2, 4, 4)
    """Of each stage, as multiples; from stage to stage the map is halved."""
    blocks: int = 2
    """Residual blocks of a stage; a decoder has one more."""
    channels: int = 4
    """Of the map of latents."""
    groups: int = 32
    """Of channels, in each norm; fewer where they do not divide them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, widths=2**16, blocks=1000, channels=2**16, groups=2**16)
        require(min(self.widths, default=0) >= 1, self, "widths", "one or more, each at least 1")
        for name in ("blocks", "channels", "groups"):
            require(getattr(self, name) >= 1, self, name, "at least 1")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class MLP(Network):
    """Fully connected layers."""

    name: Literal["mlp"] = "mlp"
    width: int = 64
    """Units of a hidden layer."""
    depth: int = 2
    """Hidden layers."""
    norm: str = setting("batch", choices=_NORMS)
    """Normalisation of hidden layers; virtual is for a GAN's generator."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Goodfellow(Network):
    """The networks of the first GAN (Goodfellow et al. 2014): two layers, without normalisation."""

    name: Literal["goodfellow"] = "goodfellow"
    width: int = 64
    """Units of a hidden layer; 1200 in the paper's generator, 240 in its discriminator."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class WaveGAN(Convolutional):
    """Strided convolutions of raw audio (Donahue et al. 2019)."""

    name: Literal["wavegan"] = "wavegan"
    width: int = 64
    """Channels of the layer nearest to the audio; each further one has twice as many."""
    norm: str = setting("none", choices=_NORMS)
    """Normalisation of hidden layers; virtual is for a GAN's generator."""
    shuffle: int = 2
    """Most steps by which a discriminator's activations are shifted at random (phase shuffle)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.shuffle <= 8, self, "shuffle", "at least 0, at most 8")


def norm_of(config: Network) -> str:
    """The normalisation of a network's hidden layers; ``none`` where its architecture has none."""
    norm: Any = getattr(config, "norm", "none")
    return str(norm)
