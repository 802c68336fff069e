"""Update rules by name."""

from collections.abc import Callable

import optax

from genjax.config import OptimizerConfig
from genjax.errors import lookup

OPTIMIZERS: dict[str, Callable[[OptimizerConfig], optax.GradientTransformation]] = {
    "adam": lambda config: optax.adam(config.learning_rate, b1=config.b1, b2=config.b2),
    "sgd": lambda config: optax.sgd(config.learning_rate, momentum=config.b1 or None),
}


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Builds the optax transformation that a configuration describes.

    Args:
      config: rule and hyperparameters.

    Returns:
      A gradient transformation; its state is float32 because the parameters are.

    Raises:
      UserError: unknown rule.
    """
    return lookup(OPTIMIZERS, config.name, "optimizer")(config)
