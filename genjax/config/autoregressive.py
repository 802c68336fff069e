"""Models that generate one token after the other."""

import dataclasses
from typing import Literal

from genjax.config.fields import check_numbers, require, setting
from genjax.config.model import Model, check_average
from genjax.config.optimizers import Adam, Constant, Optimizer
from genjax.config.tags import Tagged, register


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder(Tagged, what="decoder"):
    """A network that predicts each token from those before it."""

    name: str
    """Architecture."""
    width: int = 128
    """Units of each position."""
    depth: int = 4
    """Layers."""
    dropout: float = 0.0
    """Probability that a unit is zeroed in training."""

    def __post_init__(self) -> None:
        check_numbers(self, width=2**16, depth=1000)
        require(self.width >= 1, self, "width", "at least 1")
        require(self.depth >= 1, self, "depth", "at least 1")
        require(0 <= self.dropout < 1, self, "dropout", "in [0, 1)")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class GPT(Decoder):
    """A transformer with causal attention (Radford et al. 2019)."""

    name: Literal["gpt"] = "gpt"
    heads: int = 4
    """Attention heads; they divide the width."""

    def __post_init__(self) -> None:
        super().__post_init__()
        holds = self.heads >= 1 and self.width % self.heads == 0
        require(holds, self, "heads", f"a divisor of width, {self.width}")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoregressiveConfig(Model):
    """A model that generates one token after the other."""

    family: Literal["autoregressive"] = "autoregressive"
    network: Decoder = GPT()
    optimizer: Optimizer = Adam(learning_rate=1e-3, b1=0.9, schedule=Constant())
    ema_decay: float | None = None
    """Decay a step of the parameters' moving average, which then makes the samples."""
    ema_profiles: tuple[float, ...] = setting((), since=6)
    """Relative widths of further averages, kept with every checkpoint, of which genjax average
    makes one of any width (Karras et al. 2024, EDM2; there 0.05 and 0.1)."""

    def __post_init__(self) -> None:
        check_average(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoregressiveSampling:
    """How tokens are drawn; outside of a run's hash, inside of every score's protocol."""

    temperature: float = 1.0
    """That logits are divided by; 0 takes the likeliest token."""
    top_k: int | None = None
    """How many of the likeliest tokens are drawn from; None for all."""
    length: int | None = None
    """Tokens to draw, beside those of the prompt; None for as many as an example has."""
    prompt: str = ""
    """Text to begin with."""

    def __post_init__(self) -> None:
        check_numbers(self, length=10**6)
        # Logits that are divided by less leave float32.
        fits = self.temperature == 0 or self.temperature >= 1e-6
        require(fits, self, "temperature", "0 or at least 1e-6")
        require(self.top_k is None or self.top_k >= 1, self, "top_k", "at least 1")
        require(self.length is None or self.length >= 1, self, "length", "at least 1")
