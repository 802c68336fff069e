"""What families of denoising networks have in common: their state, draws, labels and steps."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import Constant, Denoising
from genjax.core.algorithm import Algorithm, plain_latent, sample_by
from genjax.core.from_loss import Context, Loss, Minimiser, NetworkState, from_loss
from genjax.core.optimizers import make_optimizer
from genjax.core.players import ramped_decay
from genjax.core.rng import example_keys, latents, stream
from genjax.core.schema import NO_LABELS, Spec, check_continuous
from genjax.core.types import (
    Batch,
    Condition,
    Examples,
    Index,
    Key,
    Labels,
    PerExample,
    Variables,
)
from genjax.errors import UserError


def uniform(key: Key, index: Index) -> Float[Array, "batch"]:
    """A number of U(0, 1) for each example."""
    return jax.vmap(jax.random.uniform)(example_keys(key, index))


def normal(key: Key, index: Index, shape: tuple[int, ...]) -> Examples:
    """N(0, I) in the shape of each example."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(example_keys(key, index))


def classes_of(config: Denoising, spec: Spec, what: str) -> int:
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


def sayer(
    network: Any,
    inputs: Callable[..., tuple[Examples, Array]],
    variables: Variables,
    labels: Labels | None,
    dropout: Key | None = None,
    changes: Array | None = None,
) -> Callable[..., Examples]:
    """What a network says of noisy examples.

    Args:
      network: a denoiser; what it changes beside its parameters in training is left out.
      inputs: from noisy examples and their times to what the network is given for both.
      variables: of the network.
      labels: int32 [batch], or None.
      dropout: key of what it drops; None where it does not train.
      changes: what it is told of their augmentation, [batch, numbers]; None where there is none.

    Returns:
      A function of noisy examples [batch, ...] and their times, [batch] each, to [batch, ...].
    """
    rngs = None if dropout is None else {"dropout": dropout}

    def say(noisy: Examples, *times: Array) -> Examples:
        x, label = inputs(noisy, *times)
        given = (label, labels, changes)
        said: Any = network.apply(variables, x, rngs is not None, *given, rngs=rngs)
        found: Examples = said
        return found

    return say


def minimise(
    config: Denoising,
    spec: Spec,
    network: Any,
    times: tuple[int, ...],
    loss: Loss,
    accumulate: int,
    axis_name: str | None,
    told: int = 0,
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
      told: numbers that the network is told of an example's augmentation.

    Returns:
      The functions.
    """

    def variables(key: Key) -> Variables:
        labels = jnp.zeros(1, jnp.int32) if config.conditional else None
        changes = jnp.zeros((1, told)) if told else None
        given = (jnp.zeros((1, *spec.shape)), False, jnp.zeros((1, *times)), labels, changes)
        found: Variables = network.init(stream(key, "init network"), *given)
        return found

    def decay(step: Int[Array, ""]) -> Any:
        assert config.ema_decay is not None
        return ramped_decay(config.ema_decay, config.ema_ramp, Constant(), step, spec.size)

    return from_loss(
        NetworkState,
        "network",
        variables,
        loss,
        make_optimizer(config.optimizer, spec.size),
        None if config.ema_decay is None else decay,
        config.ema_profiles,
        accumulate,
        axis_name,
    )


def clipper(spec: Spec) -> Callable[[Examples], Examples]:
    """What becomes of samples at last: images are clipped to [-1, 1]."""
    return lambda x: jnp.clip(x, -1, 1) if spec.is_image else x


def assemble(
    spec: Spec,
    classes: int,
    minimiser: Minimiser,
    decode: Callable[[NetworkState, Array, Key, Index, Condition], Examples],
    evaluate: Callable[[Any, Batch, Key], dict[str, PerExample]] | None,
) -> Algorithm:
    """Makes an algorithm whose latent is the noise that a sample begins with.

    Args:
      spec: of the data.
      classes: labels that the network is given; 0 for none.
      minimiser: from `minimise`.
      decode: ``(state, z, key, index, condition) -> samples`` from z of N(0, I), [batch, numbers of
        an example], of any range; images are clipped to [-1, 1].
      evaluate: of held-out examples, where that is possible.

    Returns:
      The algorithm.
    """

    clip = clipper(spec)

    def clipped(
        state: NetworkState, z: Array, key: Key, index: Index, given: Condition
    ) -> Examples:
        return clip(decode(state, z, key, index, given))

    size = math.prod(spec.shape)
    latent = plain_latent(lambda key, index: latents(key, index, size), clipped)
    return Algorithm(
        spec=spec if classes else spec._replace(given=()),
        examples=spec.size,
        init=minimiser.init,
        step=minimiser.step,
        sample=sample_by(latent),
        evaluate=evaluate,
        latent=latent,
    )
