"""Update rules by name."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from genjax.config import OptimizerConfig
from genjax.core.types import Params
from genjax.errors import lookup


def _rate(config: OptimizerConfig) -> optax.ScalarOrSchedule:
    if not config.decay_updates:
        return config.learning_rate
    return optax.linear_schedule(config.learning_rate, 0.0, config.decay_updates)


OPTIMIZERS: dict[str, Callable[[OptimizerConfig], optax.GradientTransformation]] = {
    "adam": lambda config: optax.adam(_rate(config), b1=config.b1, b2=config.b2),
    "rmsprop": lambda config: optax.rmsprop(
        _rate(config), decay=config.b2, momentum=config.b1 or None
    ),
    "sgd": lambda config: optax.sgd(_rate(config), momentum=config.b1 or None),
}


_SMALL = 4096


def _size(params: Params) -> Any:
    """Which arrays are small, as a tree of names."""
    return jax.tree.map(lambda x: "small" if x.size < _SMALL else "large", params)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Builds the optax transformation that a configuration describes.

    Args:
      config: rule and hyperparameters.

    Returns:
      A gradient transformation; its state is float32 because the parameters are.

    Raises:
      UserError: unknown rule.
    """
    rule = lookup(OPTIMIZERS, config.name, "optimizer")(config)
    if not config.fuse:
        return rule
    return optax.partition({"small": optax.flatten(rule), "large": rule}, _size)
