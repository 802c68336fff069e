"""Joint embeddings of images and texts, and networks of images for them."""

import dataclasses
from typing import Literal

from genjax.config.fields import check_numbers, require, setting
from genjax.config.model import Model, check_average, without
from genjax.config.optimizers import Adam, Optimizer
from genjax.config.tags import Tagged, register
from genjax.config.text import TextTower, TextTransformer, read_by_another

LEAST_TEMPERATURE = 0.01
"""Of a joint embedding, in the paper."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTower(Tagged, what="image tower"):
    """A network from images to vectors."""

    name: str
    """Architecture."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class NoImages(ImageTower):
    """None: of an imported network of texts, which stands by itself."""

    name: Literal["none"] = "none"


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet(ImageTower):
    """A small residual network with layer norm (He et al. 2016)."""

    name: Literal["resnet"] = "resnet"
    widths: tuple[int, ...] = (32, 64, 128)
    """Channels of each block, the first of which has a map of at most 16 pixels a side, and each
    further one a map of half the side."""

    def __post_init__(self) -> None:
        check_numbers(self, widths=2**16)
        require(min(self.widths, default=0) >= 1, self, "widths", "one or more, each at least 1")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class ViT(ImageTower):
    """A transformer of patches (Dosovitskiy et al. 2021)."""

    name: Literal["vit"] = "vit"
    patch: int = 4
    """Side of a patch; it divides the image's."""
    width: int = 128
    """Units of each patch."""
    depth: int = 4
    """Layers."""
    heads: int = 4
    """Heads of attention; they divide the width."""
    dropout: float = 0.0
    """Probability that a unit is zeroed in training."""

    def __post_init__(self) -> None:
        check_numbers(self, patch=2**12, width=2**16, depth=1000)
        for name in ("patch", "width", "depth"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        holds = self.heads >= 1 and self.width % self.heads == 0
        require(holds, self, "heads", f"a divisor of width, {self.width}")
        require(0 <= self.dropout < 1, self, "dropout", "in [0, 1)")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(Model):
    """A joint embedding of images and texts (Radford et al. 2021, CLIP)."""

    family: Literal["contrastive"] = "contrastive"
    text: TextTower = TextTransformer()
    """Network of the captions, which learns with that of the images."""
    text_encoder: str | None = setting(None, since=10, run="always")
    """Run of this family whose text tower reads captions in place of one that learns, as it is
    (Zhai et al. 2022, LiT, with the other side locked): FOLDER, FOLDER@best or FOLDER@STEP."""
    image: ImageTower = ResNet()
    """Network of the images."""
    size: int = 128
    """Dimensions of the embedding; 512 in the paper."""
    temperature: float = 0.07
    """That similarities are divided by at first; it is learnt, and stays at 0.01 or above."""
    shift: int = 0
    """Most pixels by which each image is moved along either axis in a step, anew each time."""
    optimizer: Optimizer = Adam(learning_rate=1e-3, b1=0.9, b2=0.98, weight_decay=0.1)
    ema_decay: float | None = None
    """Decay a step of the parameters' moving average, which is then what embeds."""
    ema_profiles: tuple[float, ...] = ()
    """Relative widths of further averages, kept with every checkpoint, of which genjax average
    makes one of any width (Karras et al. 2024, EDM2; there 0.05 and 0.1)."""

    def __post_init__(self) -> None:
        check_numbers(self, size=2**16, shift=2**12)
        require(self.size >= 1, self, "size", "at least 1")
        require(self.shift >= 0, self, "shift", "at least 0")
        fits = LEAST_TEMPERATURE <= self.temperature <= 100
        require(fits, self, "temperature", f"{LEAST_TEMPERATURE} to 100")
        check_average(self)

    def unread(self) -> dict[str, str]:
        """See `Model.unread`."""
        found = read_by_another(self.text_encoder)
        if isinstance(self.image, NoImages):
            of_images = ("text_encoder", "size", "temperature", "shift")
            found |= dict.fromkeys(of_images, without("an image tower"))
        return found

    def untrained(self) -> str | None:
        """See `Model.untrained`."""
        if not isinstance(self.image, NoImages):
            return None
        return "it has no image tower, and is a network of texts for other runs, as it was imported"
