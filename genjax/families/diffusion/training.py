"""What families of denoising networks have in common: their state, draws, labels and steps."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import Constant, DiffusionConfig, MeanFlowConfig
from genjax.core.from_loss import Context, Loss, Minimiser, from_loss
from genjax.core.optimizers import make_optimizer
from genjax.core.players import ramped_decay
from genjax.core.rng import example_keys, stream
from genjax.core.schema import NO_LABELS, Spec, check_continuous
from genjax.core.types import Batch, Examples, Index, Key, Labels, NetState, Variables
from genjax.errors import UserError


@flax.struct.dataclass
class DiffusionState:
    """Everything that training changes.

    Attributes:
      step: int32 scalar, updates made.
      key: the base key of the run; it never changes.
      network: its parameters, optimizer and moving average.
    """

    step: Int[Array, ""]
    key: Key
    network: NetState


def uniform(key: Key, index: Index) -> Float[Array, "batch"]:
    """A number of U(0, 1) for each example."""
    return jax.vmap(jax.random.uniform)(example_keys(key, index))


def normal(key: Key, index: Index, shape: tuple[int, ...]) -> Examples:
    """N(0, I) in the shape of each example."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(example_keys(key, index))


def classes_of(config: DiffusionConfig | MeanFlowConfig, spec: Spec, what: str) -> int:
    """The number of labels that a network is given; 0 for none.

    Args:
      config: the model.
      spec: of the data.
      what: the model, in words.

    Returns:
      The classes.

    Raises:
      UserError: the data are tokens, or there are no labels that are asked for.
    """
    check_continuous(spec, what)
    if config.label_dropout and not config.conditional:
        raise UserError(
            f"label_dropout is {config.label_dropout:g}, but the model is given no labels; leave "
            "it out, or set conditional"
        )
    if config.conditional and not spec.classes:
        raise UserError(f"a conditional model needs class labels, and {NO_LABELS}")
    return spec.classes if config.conditional else 0


def some_labels(batch: Batch, context: Context, classes: int, rate: float) -> Labels | None:
    """The labels of a step, of which the share `rate` is `classes`, which stands for none."""
    if not classes:
        return None
    dropped = uniform(stream(context.key, "label dropout"), context.place) < rate
    return jnp.where(dropped, classes, batch["label"])


def minimise(
    config: DiffusionConfig | MeanFlowConfig,
    spec: Spec,
    network: Any,
    times: tuple[int, ...],
    loss: Loss,
    accumulate: int,
    axis_name: str | None,
) -> Minimiser:
    """Makes the first state and the step.

    Args:
      config: the model.
      spec: of the data, with labels if the network is given some.
      network: that is trained.
      times: shape of the times of one example.
      loss: what is minimised.
      accumulate: parts of the batch whose gradients are averaged.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The functions.
    """

    def variables(key: Key) -> Variables:
        labels = jnp.zeros(1, jnp.int32) if config.conditional else None
        images, noise = jnp.zeros((1, *spec.shape)), jnp.zeros((1, *times))
        found: Variables = network.init(stream(key, "init network"), images, False, noise, labels)
        return found

    def decay(step: Int[Array, ""]) -> Any:
        assert config.ema_decay is not None
        return ramped_decay(config.ema_decay, config.ema_ramp, Constant(), step, spec.size)

    return from_loss(
        DiffusionState,
        "network",
        variables,
        loss,
        make_optimizer(config.optimizer, spec.size),
        None if config.ema_decay is None else decay,
        config.ema_profiles,
        accumulate,
        axis_name,
    )
