"""Networks of sequences of vectors, such as the frames of a spectrogram."""

import dataclasses
from typing import Literal

from genjax.config.fields import check_numbers, require
from genjax.config.tags import Tagged, register


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceTower(Tagged, what="network of sequences"):
    """A network that reads a sequence of vectors."""

    name: str
    """Architecture."""
    width: int = 128
    """Units of each place."""
    depth: int = 2
    """Layers."""
    heads: int = 4
    """Heads of attention; they divide the width."""
    dropout: float = 0.0
    """Probability that a unit is zeroed in training."""

    def __post_init__(self) -> None:
        check_numbers(self, width=2**16, depth=1000)
        for name in ("width", "depth"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        holds = self.heads >= 1 and self.width % self.heads == 0
        require(holds, self, "heads", f"a divisor of width, {self.width}")
        require(0 <= self.dropout < 1, self, "dropout", "in [0, 1)")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceTransformer(SequenceTower):
    """A small transformer that sees a sequence as a whole."""

    name: Literal["transformer"] = "transformer"
