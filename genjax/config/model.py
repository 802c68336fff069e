"""What all models have in common."""

import dataclasses
from typing import Any, Literal

from genjax.config.fields import require
from genjax.config.tags import Tagged

ComputeDtype = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(Tagged, what="family", tag="family"):
    """A model of some family."""

    family: str
    """Family of the model."""
    dtype: ComputeDtype = "float32"
    """Type of the computation; parameters, statistics and losses stay float32."""

    def unread(self) -> dict[str, str]:
        """Fields that change nothing as the others are, each with why and what to do.

        A preset may have them for those who fill in the rest, so they are no mistake in themselves.
        """
        return {}

    def untrained(self) -> str | None:
        """Why there is no training it, in words; None where there is."""
        return None


def without(what: str) -> str:
    """Why a field is not read, for `Model.unread`, where something else would let it count."""
    return f"without {what}; set that, or leave it out"


WIDEST = 0.288
"""Relative width of an average of all of training, 12^(-1/2), rounded down."""


def check_average(config: Any) -> None:
    """Refuses an `ema_decay` or `ema_profiles` out of range."""
    decay = config.ema_decay
    require(decay is None or 0 <= decay < 1, config, "ema_decay", "in [0, 1)")
    widths = config.ema_profiles
    rising = widths == tuple(sorted(set(widths)))
    inside = all(0 < width <= WIDEST for width in widths)
    require(rising and inside, config, "ema_profiles", f"rising, above 0 and at most {WIDEST}")
