"""Networks that tell a clean image from a noisy one, for diffusion and flow matching."""

import dataclasses
from typing import Literal

from genjax.config.fields import check_numbers, require
from genjax.config.networks import Convolutions, Remat
from genjax.config.tags import Tagged, register

UNetVariant = Literal["ddpmpp", "adm", "edm2"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoiser(Tagged, what="denoiser"):
    """A network of noisy images and their levels of noise."""

    name: str
    """Architecture."""
    dropout: float = 0.0
    """Probability that a unit is zeroed in training."""
    remat: Remat = "none"
    """What the backward pass computes again instead of keeping it in memory (jax.checkpoint):
    nothing, all but the outputs of convolutions and matrix products, or all."""

    def __post_init__(self) -> None:
        check_numbers(self, width=2**16, depth=1000)
        require(0 <= self.dropout < 1, self, "dropout", "in [0, 1)")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class UNet(Denoiser):
    """Residual blocks that halve the image and double it again (Karras et al. 2022 and 2024)."""

    name: Literal["unet"] = "unet"
    variant: UNetVariant = "ddpmpp"
    """Of the blocks: ddpmpp adds the level of noise to their channels and has one head of attention
    (Song et al. 2021), adm scales and shifts channels by it (Dhariwal & Nichol 2021), edm2 scales
    them, and all its layers keep magnitudes (Karras et al. 2024)."""
    width: int = 64
    """Channels that `widths` multiplies; even."""
    widths: tuple[int, ...] = (1, 2, 2)
    """Channels of each stage, as multiples of `width`, from the image on; each further stage has a
    map of half the side."""
    blocks: int = 2
    """Residual blocks of each stage on the way down; one more on the way up."""
    attention: tuple[int, ...] = ()
    """Sides of the maps with self-attention, beside the smallest, which has it in any case."""
    head: int = 64
    """Channels of each head of attention in adm and edm2; fewer channels than that are one head."""
    convolutions: Convolutions = "auto"
    """Form of the convolutions and of their derivatives: auto is the fastest that is known for the
    platform, stock is XLA's own. They are equal up to rounding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, width=2**16, widths=2**10, blocks=1000, head=2**16)
        require(self.width >= 4 and self.width % 2 == 0, self, "width", "even and at least 4")
        require(min(self.widths, default=0) >= 1, self, "widths", "one or more, each at least 1")
        for name in ("blocks", "head"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        for channels in (self.width * multiple for multiple in self.widths):
            fits = channels < self.head or channels % self.head == 0
            wanted = f"a divisor of all channels that are more, such as {channels}"
            require(self.variant == "ddpmpp" or fits, self, "head", wanted)


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoisingMLP(Denoiser):
    """Fully connected layers, for examples of few numbers."""

    name: Literal["mlp"] = "mlp"
    width: int = 128
    """Units of a hidden layer."""
    depth: int = 3
    """Hidden layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "depth"):
            require(getattr(self, name) >= 1, self, name, "at least 1")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class DiT(Denoiser):
    """A transformer of patches whose norms know the level of noise (Peebles & Xie 2023)."""

    name: Literal["dit"] = "dit"
    patch: int = 2
    """Side of a patch; it divides the image's."""
    width: int = 128
    """Units of each patch, a multiple of 4; 384 in the paper's DiT-S."""
    depth: int = 6
    """Blocks; 12 in the paper's DiT-S."""
    heads: int = 4
    """Heads of attention; they divide the width. 6 in the paper's DiT-S."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, patch=2**12)
        wide = self.width >= 4 and self.width % 4 == 0
        require(wide, self, "width", "a multiple of 4, at least 4")
        for name in ("patch", "depth"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        holds = self.heads >= 1 and self.width % self.heads == 0
        require(holds, self, "heads", f"a divisor of width, {self.width}")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior(Denoiser):
    """A causal transformer of the tokens of a caption and a noisy embedding (Ramesh et al. 2022,
    DALL-E 2)."""

    name: Literal["prior"] = "prior"
    width: int = 256
    """Units of each place; 2048 in the paper."""
    depth: int = 4
    """Layers; 24 in the paper."""
    heads: int = 4
    """Heads of attention; they divide the width."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "depth"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        holds = self.heads >= 1 and self.width % self.heads == 0
        require(holds, self, "heads", f"a divisor of width, {self.width}")
