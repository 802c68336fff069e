"""Update rules, and schedules: the courses of step sizes and of other values."""

import dataclasses
from typing import Literal

from genjax.config.fields import check_numbers, require, setting
from genjax.config.tags import Tagged, register

Unit = Literal["updates", "images"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(Tagged, what="schedule"):
    """How a value changes as training goes on: its factors."""

    name: str
    """Course of the value."""
    warmup: int = 0
    """Units over which the value first rises linearly from 0."""
    unit: Unit = "updates"
    """What is counted: updates of this player, or the examples it has learnt from."""

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.warmup >= 0, self, "warmup", "at least 0")

    @property
    def largest(self) -> float:
        """The largest factor."""
        return 1.0


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The value stays."""

    name: Literal["constant"] = "constant"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Course(Schedule):
    length: int
    """Units after which the value has reached its end, the warm-up included."""
    start: float = setting(1.0, since=6)
    """Factor of the value after the warm-up."""
    end: float = 0.0
    """Factor of the value in the end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.length > self.warmup, self, "length", f"above the warmup, {self.warmup}")
        for name in ("start", "end"):
            require(getattr(self, name) >= 0, self, name, "at least 0")

    @property
    def largest(self) -> float:
        """The largest factor."""
        return max(self.start, self.end)


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(_Course):
    """The value falls or rises linearly."""

    name: Literal["linear"] = "linear"


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(_Course):
    """The value falls or rises along half a wave of a cosine (Loshchilov & Hutter 2017)."""

    name: Literal["cosine"] = "cosine"


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Piecewise(Schedule):
    """The value jumps."""

    name: Literal["piecewise"] = "piecewise"
    boundaries: tuple[int, ...] = ()
    """Units from which on another factor holds, in rising order."""
    factors: tuple[float, ...] = ()
    """Those factors; before the first boundary it is 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rising = self.boundaries == tuple(sorted(set(self.boundaries)))
        require(rising and min(self.boundaries, default=1) > 0, self, "boundaries", "rising from 1")
        count = len(self.boundaries)
        require(len(self.factors) == count, self, "factors", f"one for each boundary, {count}")
        require(min(self.factors, default=0) >= 0, self, "factors", "at least 0")

    @property
    def largest(self) -> float:
        """The largest factor."""
        return max((1.0, *self.factors))


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class InverseSqrt(Schedule):
    """The value falls as ``(reference / n)^(1/2)`` after n units (Karras et al. 2024, EDM2)."""

    name: Literal["inverse_sqrt"] = "inverse_sqrt"
    reference: int = 70_000
    """Units up to which the value stays; updates in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.reference >= 1, self, "reference", "at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer(Tagged, what="optimizer"):
    """How one player's parameters are updated."""

    name: str
    """Update rule."""
    learning_rate: float = 2e-4
    """Step size."""
    fuse: bool = False
    """Update all arrays of fewer than 4,096 numbers as one array, with the same result."""
    clip: float | None = setting(None, since=3)
    """Largest norm of the gradient, over all parameters of the player; a longer one is scaled down
    to it."""
    schedule: Schedule = setting(Constant(), since=3)
    """Factors of the step size."""

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.learning_rate > 0, self, "learning_rate", "above 0")
        require(self.clip is None or self.clip > 0, self, "clip", "above 0")
        for name in ("b1", "b2", "momentum", "decay"):
            require(0 <= getattr(self, name, 0) < 1, self, name, "in [0, 1)")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) with a weight decay."""

    name: Literal["adam"] = "adam"
    b1: float = 0.5
    """Decay of the first moment."""
    b2: float = 0.999
    """Decay of the second moment."""
    b2_schedule: Schedule = setting(Constant(), since=6)
    """Factors of b2."""
    weight_decay: float = setting(0.0, since=3)
    """Share of all parameters, times the step size, that each update takes away."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.weight_decay >= 0, self, "weight_decay", "at least 0")
        most = self.b2_schedule.largest
        require(
            self.b2 * most < 1, self, "b2", f"below 1 / {most}, the largest factor of b2_schedule"
        )


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012)."""

    name: Literal["rmsprop"] = "rmsprop"
    decay: float = 0.9
    """Decay of the second moment."""
    momentum: float = 0.0
    """Share of the last update that the next one keeps."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Gradient descent."""

    name: Literal["sgd"] = "sgd"
    momentum: float = 0.0
    """Share of the last update that the next one keeps."""
