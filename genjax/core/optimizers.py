"""Update rules, and the courses of values, by the type of their configuration."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax.config import (
    SGD,
    Adam,
    Constant,
    Cosine,
    InverseSqrt,
    Linear,
    Optimizer,
    Piecewise,
    RMSProp,
    Schedule,
)
from genjax.core.types import Number, Params

Scalar = Float[Array, ""]


class Pace(NamedTuple):
    """How a player's updates go on.

    Attributes:
      batch_size: examples in each.
      share: of its updates that learn from a new batch; the others are of terms of its loss that
        have updates of their own.
    """

    batch_size: int
    share: float = 1.0

    def factor(self, config: Schedule, updates: Int[Array, ""]) -> Scalar:
        """The `factor` after some updates of either kind; batches are what is counted."""
        return factor(config, updates, self.batch_size, self.share)


Rule = Callable[[Any, optax.ScalarOrSchedule, Pace], optax.GradientTransformation]


def _moments(config: Adam, pace: Pace) -> optax.GradientTransformation:
    """Adam's step of size 1; its bias is corrected as if b2 had always been what it is now."""
    b1, b2 = config.b1**pace.share, config.b2**pace.share
    constant = optax.scale_by_adam(b1, b2)
    if config.b2_schedule == Constant():
        return constant

    def update(
        grads: Params, state: optax.OptState, params: Params | None = None
    ) -> tuple[Params, optax.OptState]:
        assert isinstance(state, optax.ScaleByAdamState)
        now = b2 * pace.factor(config.b2_schedule, state.count) ** pace.share
        moved: tuple[Params, optax.OptState] = optax.scale_by_adam(b1, now).update(
            grads, state, params
        )
        return moved

    return optax.GradientTransformation(constant.init, update)


def _adam(config: Adam, rate: optax.ScalarOrSchedule, pace: Pace) -> optax.GradientTransformation:
    moments, step = _moments(config, pace), optax.scale_by_learning_rate(rate)
    if not config.weight_decay:
        return optax.chain(moments, step)
    return optax.chain(moments, optax.add_decayed_weights(config.weight_decay), step)


RULES: dict[type[Optimizer], Rule] = {
    Adam: _adam,
    # With epsilon beside the root, as in the recipes that were published: inside, it would shorten
    # steps by 29 % at gradients of 1e-4, and to nothing below.
    RMSProp: lambda config, rate, pace: optax.rmsprop(
        rate, decay=config.decay, momentum=config.momentum or None, eps_in_sqrt=False
    ),
    SGD: lambda config, rate, pace: optax.sgd(rate, momentum=config.momentum or None),
}


def _left(config: Linear | Cosine, count: Scalar) -> Scalar:
    """The share of the way that is still to come."""
    share = (count - config.warmup) / (config.length - config.warmup)
    return 1 - jnp.clip(share, 0, 1)


def _linear(config: Linear, count: Scalar) -> Scalar:
    return (config.start - config.end) * _left(config, count) + config.end


def _cosine(config: Cosine, count: Scalar) -> Scalar:
    wave = 0.5 * (1 - jnp.cos(jnp.pi * _left(config, count)))
    return (config.start - config.end) * wave + config.end


def _piecewise(config: Piecewise, count: Scalar) -> Scalar:
    factors = jnp.asarray((1.0, *config.factors))
    return factors[jnp.sum(count >= jnp.asarray(config.boundaries, jnp.float32))]


SCHEDULES: dict[type[Schedule], Callable[[Any, Scalar], Scalar]] = {
    Constant: lambda config, count: jnp.ones(()),
    Cosine: _cosine,
    InverseSqrt: lambda config, count: jax.lax.rsqrt(jnp.maximum(1, count / config.reference)),
    Linear: _linear,
    Piecewise: _piecewise,
}
"""From the units (updates, or images) before an update to the factor."""


def factor(
    config: Schedule, updates: Int[Array, ""], batch_size: int, share: float = 1.0
) -> Scalar:
    """The factor of a scheduled value in one update.

    During the warm-up the factor is multiplied by ``min(1, (n + u) / warmup)``, with n units before
    the update and u in it, so that the first update moves.

    Args:
      config: the schedule.
      updates: int32 scalar, updates before this one.
      batch_size: examples in an update.
      share: of the updates that count.

    Returns:
      float32 scalar.
    """
    unit = share * (batch_size if config.unit == "images" else 1)
    count = updates.astype(jnp.float32) * unit
    value = SCHEDULES[type(config)](config, count)
    if not config.warmup:
        return value
    return value * jnp.minimum(1, (count + unit) / config.warmup)


def scheduled(value: Number, config: Schedule, updates: Int[Array, ""], batch_size: int) -> Number:
    """A value in one update: times its `factor`, or as it is where that stays 1."""
    return value if config == Constant() else value * factor(config, updates, batch_size)


def _rate(config: Optimizer, pace: Pace) -> optax.ScalarOrSchedule:
    # A constant leaves no count of updates in the state.
    rate = config.learning_rate * pace.share
    if config.schedule == Constant():
        return rate
    return lambda count: rate * pace.factor(config.schedule, count)


_SMALL = 4096


def _size(params: Params) -> Any:
    """Which arrays are small, as a tree of names."""
    return jax.tree.map(lambda x: "small" if x.size < _SMALL else "large", params)


def make_optimizer(
    config: Optimizer, batch_size: int, share: float = 1.0
) -> optax.GradientTransformation:
    """Builds the optax transformation that a configuration describes.

    With terms that have updates of their own, Adam's step size is multiplied by the share of the
    other updates, and its decays are raised to that power, so that it moves and forgets in a batch
    what it would without them (Karras et al. 2020, StyleGAN2, appendix B).

    Args:
      config: rule, hyperparameters and schedule.
      batch_size: examples in each of the player's updates.
      share: of the updates that learn from a new batch; 1 for all rules but Adam.

    Returns:
      A gradient transformation; its state is float32 because the parameters are.
    """
    assert share == 1 or isinstance(config, Adam)
    pace = Pace(batch_size, share)
    rule = RULES[type(config)](config, _rate(config, pace), pace)
    if config.fuse:
        rule = optax.partition({"small": optax.flatten(rule), "large": rule}, _size)
    if config.clip is None:
        return rule
    return optax.chain(optax.clip_by_global_norm(config.clip), rule)
