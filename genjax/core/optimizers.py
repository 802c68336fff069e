"""Update rules, and the courses of values, by the type of their configuration."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax.config import (
    SGD,
    Adam,
    Constant,
    Cosine,
    Linear,
    Optimizer,
    Piecewise,
    RMSProp,
    Schedule,
)
from genjax.core.types import Number, Params

Rule = Callable[[Any, optax.ScalarOrSchedule, int], optax.GradientTransformation]
Scalar = Float[Array, ""]


def _moments(config: Adam, batch_size: int) -> optax.GradientTransformation:
    """Adam's step of size 1; its bias is corrected as if b2 had always been what it is now."""
    constant = optax.scale_by_adam(config.b1, config.b2)
    if config.b2_schedule == Constant():
        return constant

    def update(
        grads: Params, state: optax.OptState, params: Params | None = None
    ) -> tuple[Params, optax.OptState]:
        assert isinstance(state, optax.ScaleByAdamState)
        b2 = config.b2 * factor(config.b2_schedule, state.count, batch_size)
        moved: tuple[Params, optax.OptState] = optax.scale_by_adam(config.b1, b2).update(
            grads, state, params
        )
        return moved

    return optax.GradientTransformation(constant.init, update)


def _adam(
    config: Adam, rate: optax.ScalarOrSchedule, batch_size: int
) -> optax.GradientTransformation:
    moments, step = _moments(config, batch_size), optax.scale_by_learning_rate(rate)
    if not config.weight_decay:
        return optax.chain(moments, step)
    return optax.chain(moments, optax.add_decayed_weights(config.weight_decay), step)


RULES: dict[type[Optimizer], Rule] = {
    Adam: _adam,
    # With epsilon beside the root, as in the recipes that were published: inside, it would shorten
    # steps by 29 % at gradients of 1e-4, and to nothing below.
    RMSProp: lambda config, rate, batch_size: optax.rmsprop(
        rate, decay=config.decay, momentum=config.momentum or None, eps_in_sqrt=False
    ),
    SGD: lambda config, rate, batch_size: optax.sgd(rate, momentum=config.momentum or None),
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
    Linear: _linear,
    Piecewise: _piecewise,
}
"""From the units (updates, or images) before an update to the factor."""


def factor(config: Schedule, updates: Int[Array, ""], batch_size: int) -> Scalar:
    """The factor of a scheduled value in one update.

    During the warm-up the factor is multiplied by ``min(1, (n + u) / warmup)``, with n units before
    the update and u in it, so that the first update moves.

    Args:
      config: the schedule.
      updates: int32 scalar, updates before this one.
      batch_size: examples in an update.

    Returns:
      float32 scalar.
    """
    unit = batch_size if config.unit == "images" else 1
    count = updates.astype(jnp.float32) * unit
    value = SCHEDULES[type(config)](config, count)
    if not config.warmup:
        return value
    return value * jnp.minimum(1, (count + unit) / config.warmup)


def scheduled(value: Number, config: Schedule, updates: Int[Array, ""], batch_size: int) -> Number:
    """A value in one update: times its `factor`, or as it is where that stays 1."""
    return value if config == Constant() else value * factor(config, updates, batch_size)


def _rate(config: Optimizer, batch_size: int) -> optax.ScalarOrSchedule:
    # A constant leaves no count of updates in the state.
    if config.schedule == Constant():
        return config.learning_rate
    return lambda count: config.learning_rate * factor(config.schedule, count, batch_size)


_SMALL = 4096


def _size(params: Params) -> Any:
    """Which arrays are small, as a tree of names."""
    return jax.tree.map(lambda x: "small" if x.size < _SMALL else "large", params)


def make_optimizer(config: Optimizer, batch_size: int) -> optax.GradientTransformation:
    """Builds the optax transformation that a configuration describes.

    Args:
      config: rule, hyperparameters and schedule.
      batch_size: examples in each of the player's updates.

    Returns:
      A gradient transformation; its state is float32 because the parameters are.
    """
    rule = RULES[type(config)](config, _rate(config, batch_size), batch_size)
    if config.fuse:
        rule = optax.partition({"small": optax.flatten(rule), "large": rule}, _size)
    if config.clip is None:
        return rule
    return optax.chain(optax.clip_by_global_norm(config.clip), rule)
