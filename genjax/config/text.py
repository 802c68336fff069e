"""Networks of texts: from tokens to what is known of each of them, and of the whole."""

import dataclasses
from typing import Literal

from genjax.config.fields import check_numbers, require
from genjax.config.tags import Tagged, register

TextActivation = Literal["gelu", "quick_gelu"]
"""``x Phi(x)``, or ``x sigmoid(1.702 x)``, which OpenAI's CLIP has in its place."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTower(Tagged, what="text tower"):
    """A transformer of texts."""

    name: str
    """Architecture."""
    width: int = 128
    """Units of each token."""
    depth: int = 3
    """Layers."""
    heads: int = 4
    """Heads of attention; they divide the width."""
    dropout: float = 0.0
    """Probability that a unit is zeroed in training."""

    def __post_init__(self) -> None:
        check_numbers(self, width=2**16, depth=1000, positions=2**16, mlp=2**20, projection=2**16)
        for name in ("width", "depth", "positions", "mlp"):
            require(getattr(self, name, 1) >= 1, self, name, "at least 1")
        holds = self.heads >= 1 and self.width % self.heads == 0
        require(holds, self, "heads", f"a divisor of width, {self.width}")
        require(0 <= self.dropout < 1, self, "dropout", "in [0, 1)")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTransformer(TextTower):
    """A small one that sees a text as a whole: attention to all tokens, and their mean."""

    name: Literal["transformer"] = "transformer"


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class BERT(TextTower):
    """BERT's encoder (Devlin et al. 2019), whose mean has the length 1 as in sentence-transformers
    (Reimers & Gurevych 2019). It is of MiniLM's size by default."""

    name: Literal["bert"] = "bert"
    width: int = 384
    """Units of each token."""
    depth: int = 6
    """Layers."""
    heads: int = 12
    """Heads of attention; they divide the width."""
    mlp: int = 1536
    """Units within a layer."""
    positions: int = 512
    """Most tokens of a text."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIPText(TextTower):
    """CLIP's transformer of texts (Radford et al. 2021): attention to what came before, and what is
    known at the last token. It is of ViT-B/32's size by default."""

    name: Literal["clip"] = "clip"
    width: int = 512
    """Units of each token."""
    depth: int = 12
    """Layers."""
    heads: int = 8
    """Heads of attention; they divide the width."""
    mlp: int = 2048
    """Units within a layer."""
    positions: int = 77
    """Most tokens of a text."""
    activation: TextActivation = "quick_gelu"
    """Within a layer; quick_gelu in OpenAI's weights, gelu in most of OpenCLIP's."""
    projection: int | None = 512
    """Dimensions that the whole is brought to by a last linear layer; None for no such layer, as in
    the text encoders of Stable Diffusion."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.projection is None or self.projection >= 1
        require(fits, self, "projection", "at least 1")


def read_by_another(text_encoder: str | None) -> dict[str, str]:
    """What `Model.unread` says of ``text`` where another run's network reads captions.

    Args:
      text_encoder: that run; None where ``text`` does.

    Returns:
      Why it is not read, by the field's name; nothing where it is.
    """
    if text_encoder is None:
        return {}
    return {"text": "beside text_encoder, whose network reads captions; leave one of the two out"}
