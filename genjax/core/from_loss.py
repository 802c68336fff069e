"""The first state and the training step of every family that minimises one loss by one network."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax.core.algorithm import global_norm, pmean
from genjax.core.players import make_player, move_average, move_profiles, update_player
from genjax.core.rng import example_index, stream
from genjax.core.types import Batch, Index, Key, Metrics, NetState, Number, Params, State, Variables

Aux = tuple[Metrics, Variables]


@flax.struct.dataclass
class NetworkState:
    """Everything that training changes, of a family that has one network and calls it that.

    Attributes:
      step: int32 scalar, updates made.
      key: the base key of the run; it never changes.
      network: its parameters, optimizer and moving average.
    """

    step: Int[Array, ""]
    key: Key
    network: NetState


class Context(NamedTuple):
    """What a loss may look at beside parameters and examples.

    Attributes:
      variables: the network's other collections.
      place: int32 [batch], of the examples in the whole batch.
      run: the base key of the run.
      key: of the step's draws; an example's own come from its place.
      dropout: key of what a network draws within.
      step: int32 scalar, updates made before.
      frozen: the networks of other runs, by name.
    """

    variables: Variables
    place: Index
    run: Key
    key: Key
    dropout: Key
    step: Int[Array, ""]
    frozen: Mapping[str, Any]


Loss = Callable[[Params, Batch, Context], tuple[Float[Array, ""], Aux]]
"""The mean loss of some examples, its metrics, and those of the network's other collections that
change, afterwards."""


class Minimiser(NamedTuple):
    """The two functions of a family.

    Attributes:
      init: ``(key) -> state``.
      step: ``(state, batch) -> (state, metrics)``.
    """

    init: Callable[[Key], State]
    step: Callable[[State, Batch], tuple[State, Metrics]]


def from_loss(
    state: Callable[..., State],
    player: str,
    make_variables: Callable[[Key], Variables],
    loss: Loss,
    optimizer: optax.GradientTransformation,
    ema_decay: float | Callable[[Int[Array, ""]], Number] | None = None,
    ema_profiles: Sequence[float] = (),
    accumulate: int = 1,
    axis_name: str | None = None,
) -> Minimiser:
    """Makes the first state and the step of a family that minimises one loss.

    A step draws from ``stream(key, "<player> update", step)``, so that what it draws depends on the
    seed, the step and the example alone.

    Args:
      state: class of the state, with the fields ``step``, ``key`` and `player`.
      player: the field of the network; metrics are named after it.
      make_variables: initialises the network from the base key of the run.
      loss: what is minimised; see `Loss`.
      optimizer: of the network.
      ema_decay: of a moving average of the parameters, or its course by the steps made; None keeps
        none.
      ema_profiles: widths of further averages, see `genjax.core.averages`.
      accumulate: parts of the batch whose gradients are averaged.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The functions.
    """

    def init(key: Key) -> State:
        variables = make_variables(key)
        own = make_player(variables, optimizer, ema_decay is not None, len(ema_profiles))
        return state(step=jnp.zeros((), jnp.int32), key=key, **{player: own})

    def step(before: Any, batch: Batch) -> tuple[State, Metrics]:
        own = getattr(before, player)
        key = stream(before.key, f"{player} update", before.step)

        def gradient(examples: tuple[Batch, Index], part: int) -> tuple[Params, Aux]:
            some, index = examples
            dropout = stream(key, "dropout", *([part] if part else []))
            frozen = getattr(before, "frozen", {})
            context = Context(own.variables, index, before.key, key, dropout, before.step, frozen)
            (_, aux), grads = jax.value_and_grad(loss, has_aux=True)(own.params, some, context)
            return grads, aux

        index = example_index(jax.tree.leaves(batch)[0].shape[0], axis_name)
        grads, (metrics, changed) = mean_over_parts(gradient, (batch, index), accumulate)
        grads = pmean(grads, axis_name)
        own = update_player(own, grads, {**own.variables, **changed}, optimizer)
        if ema_decay is not None:
            decay = ema_decay(before.step + 1) if callable(ema_decay) else ema_decay
            own = move_average(own, decay)
        own = move_profiles(own, ema_profiles, before.step + 1)
        metrics = {**pmean(metrics, axis_name), f"{player}/gradient_norm": global_norm(grads)}
        fields: dict[str, Any] = {"step": before.step + 1, player: own}
        return dataclasses.replace(before, **fields), metrics

    return Minimiser(init, step)


def mean_over_parts(function: Callable[[Any, int], Any], examples: Any, parts: int) -> Any:
    """The mean of what a function says of parts of a batch, one after the other.

    Part p has the examples p, p + parts, p + 2 parts, ..., so that a batch that is split over
    devices by its first axis stays where it is. Of numbers that are not floating-point the first
    part's stand.

    Args:
      function: ``(examples, part) -> tree``; `part` counts from 0.
      examples: tree of arrays [batch, ...].
      parts: how many; they divide the batch. 1 calls the function with all.

    Returns:
      The tree of means.
    """
    if parts == 1:
        return function(examples, 0)
    chex.assert_equal_shape_prefix(jax.tree.leaves(examples), 1)
    results: list[Any] = []
    for part in range(parts):
        some = jax.tree.map(lambda x, p=part: x[p::parts], examples)
        if results:
            # Not before the last part is done, or the memory of all would be taken at once.
            some, results[-1] = jax.lax.optimization_barrier((some, results[-1]))
        results.append(function(some, part))
    total = results[0]
    for result in results[1:]:
        total = jax.tree.map(_add, total, result)
    return jax.tree.map(lambda sum_, first: _divide(sum_, first, parts), total, results[0])


def _is_averaged(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _add(total: Any, leaf: Any) -> Any:
    return total + leaf if _is_averaged(leaf) else total


def _divide(total: Any, first: Any, parts: int) -> Any:
    return total / parts if _is_averaged(first) else first
