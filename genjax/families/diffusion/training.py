"""What families of denoising networks have in common: their state, draws and steps."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import Constant, Denoising
from genjax.core.algorithm import Algorithm, plain_latent, sample_by
from genjax.core.from_loss import Context, Loss, Minimiser, NetworkState, from_loss
from genjax.core.optimizers import make_optimizer
from genjax.core.players import ramped_decay, sampling_variables
from genjax.core.rng import example_keys, latents, stream
from genjax.core.schema import Spec
from genjax.core.types import (
    Batch,
    Condition,
    Examples,
    Index,
    Key,
    Params,
    PerExample,
    Variables,
)
from genjax.families.diffusion.conditions import Conditions
from genjax.families.diffusion.told import Taken, Told, blank, some_taken, told

Inputs = Callable[..., tuple[Examples, Array]]


def uniform(key: Key, index: Index) -> Float[Array, "batch"]:
    """A number of U(0, 1) for each example."""
    return jax.vmap(jax.random.uniform)(example_keys(key, index))


def normal(key: Key, index: Index, shape: tuple[int, ...]) -> Examples:
    """N(0, I) in the shape of each example."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(example_keys(key, index))


def sayer(
    network: Any,
    inputs: Inputs,
    variables: Variables,
    told: Told,
    dropout: Key | None = None,
) -> Callable[..., Examples]:
    """What a network says of noisy examples.

    Args:
      network: a denoiser; what it changes beside its parameters in training is left out.
      inputs: from noisy examples and their times to what the network is given for both.
      variables: of the network.
      told: what it is told beside them.
      dropout: key of what it drops; None where it does not train.

    Returns:
      A function of noisy examples [batch, ...] and their times, [batch] each, to [batch, ...].
    """
    rngs = None if dropout is None else {"dropout": dropout}

    def say(noisy: Examples, *times: Array) -> Examples:
        x, label = inputs(noisy, *times)
        given = (label, told.labels, told.changes, told.description)
        said: Any = network.apply(variables, told.beside(x), rngs is not None, *given, rngs=rngs)
        found: Examples = said
        return found

    return say


class Says(NamedTuple):
    """What the network of a model says, of what it is given.

    Attributes:
      learning: ``(params, batch, context, changes) -> (say, some)``, within a step, whose dropout
        is the same in all calls of say; and what of each example is given.
      learnt: ``(state, some) -> say``.
    """

    learning: Callable[..., tuple[Callable[..., Examples], Taken]]
    learnt: Callable[[Any, Taken], Callable[..., Examples]]


def says(config: Denoising, network: Any, inputs: Inputs, conditions: Conditions) -> Says:
    """Makes a network's words of its variables.

    Args:
      config: of the model.
      network: from `genjax.families.diffusion.conditions.make_network`.
      inputs: see `sayer`.
      conditions: what it is given.

    Returns:
      The functions.
    """

    def learning(
        params: Params, batch: Batch, context: Context, changes: Array | None = None
    ) -> tuple[Callable[..., Examples], Taken]:
        variables = {"params": params, **context.variables}
        some = some_taken(conditions, batch, context)
        dropout = context.dropout
        known = told(conditions, network, variables, context.frozen, some, dropout, changes)
        return sayer(network, inputs, variables, known, dropout), some

    def learnt(state: Any, some: Taken) -> Callable[..., Examples]:
        variables = sampling_variables(state.network)
        known = told(conditions, network, variables, getattr(state, "frozen", {}), some)
        return sayer(network, inputs, variables, known)

    return Says(learning, learnt)


def minimise(
    config: Denoising,
    spec: Spec,
    network: Any,
    conditions: Conditions,
    times: tuple[int, ...],
    loss: Loss,
    accumulate: int,
    axis_name: str | None,
    changes: int = 0,
) -> Minimiser:
    """Makes the first state and the step.

    Args:
      config: the model.
      spec: of the data.
      network: that is trained.
      conditions: what it is given.
      times: shape of the times of one example.
      loss: what is minimised.
      accumulate: parts of the batch whose gradients are averaged.
      axis_name: mapped axis over the devices, if any.
      changes: numbers that the network is told of an example's augmentation.

    Returns:
      The functions.
    """

    def variables(key: Key) -> Variables:
        none = blank(conditions, changes)
        given = (jnp.zeros((1, *times)), none.labels, none.changes, none.description)
        x = none.beside(jnp.zeros((1, *spec.shape)))
        found: Variables = network.init(stream(key, "init network"), x, False, *given)
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


def own_key(conditions: Conditions, spec: Spec, key: Key) -> Key:
    """The key of a model's samples: of one that is given maps another one than that of the series.

    Of two stages of a cascade with one seed, the second must not begin with the noise of which the
    first made what it is given.
    """
    return stream(key, "beside maps", math.prod(spec.shape)) if conditions.maps else key


def assemble(
    spec: Spec,
    conditions: Conditions,
    minimiser: Minimiser,
    decode: Callable[[NetworkState, Array, Key, Index, Condition], Examples],
    evaluate: Callable[[Any, Batch, Key], dict[str, PerExample]] | None,
) -> Algorithm:
    """Makes an algorithm whose latent is the noise that a sample begins with.

    Args:
      spec: of the data.
      conditions: what the network is given.
      minimiser: from `minimise`.
      decode: ``(state, z, key, index, condition) -> samples`` from z of N(0, I), [batch, numbers of
        an example], of any range; images are clipped to [-1, 1].
      evaluate: of held-out examples, where that is possible.

    Returns:
      The algorithm.
    """

    clip, size = clipper(spec), math.prod(spec.shape)

    def clipped(
        state: NetworkState, z: Array, key: Key, index: Index, given: Condition
    ) -> Examples:
        return clip(decode(state, z, own_key(conditions, spec, key), index, given))

    def drawn(key: Key, index: Index) -> Array:
        return latents(own_key(conditions, spec, key), index, size)

    latent = plain_latent(drawn, clipped)
    return Algorithm(
        spec=spec._replace(given=conditions.given),
        examples=spec.size,
        init=minimiser.init,
        step=minimiser.step,
        sample=sample_by(latent),
        evaluate=evaluate,
        latent=latent,
    )
