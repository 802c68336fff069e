"""What all families do with one network: split, run, update and average it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax.config import Constant, Schedule
from genjax.core.algorithm import ema_update
from genjax.core.averages import new_share
from genjax.core.magnitude import bring_back
from genjax.core.optimizers import scheduled
from genjax.core.spectral import COLLECTION, power_iteration
from genjax.core.types import Key, NetState, Number, Params, Profiled, State, Variables


def make_player(
    variables: Variables,
    optimizer: optax.GradientTransformation,
    average: bool,
    profiles: int = 0,
) -> NetState:
    """Splits initialised variables into a player's state.

    Args:
      variables: what a module's `init` returned, with the collection ``params``, float32.
      optimizer: of the player.
      average: start a moving average of all collections.
      profiles: further averages to start; see `genjax.core.averages`.

    Returns:
      The state.
    """
    others = {name: value for name, value in variables.items() if name != "params"}
    params = variables["params"]
    # A copy: two leaves that share a buffer can't both be donated.
    ema = jax.tree.map(jnp.copy, dict(variables)) if average else None
    own = NetState(params=params, variables=others, opt=optimizer.init(params), ema=ema)
    if not profiles:
        return own
    copies = tuple(jax.tree.map(jnp.copy, _averaged(variables)) for _ in range(profiles))
    return Profiled(own.params, own.variables, own.opt, own.ema, copies)


def _averaged(variables: Variables) -> dict[str, Any]:
    """The collections of which averages mean something."""
    return {name: variables[name] for name in ("params", "batch_stats") if name in variables}


def apply_training(
    module: Any,
    params: Params,
    variables: Variables,
    inputs: Array,
    *args: Any,
    rngs: dict[str, Key] | None = None,
    method: str | None = None,
) -> tuple[Any, Variables]:
    """Runs a network in training mode.

    Args:
      module: called as ``(inputs, True, *args)``.
      params: its parameters.
      variables: its other collections.
      inputs: [batch, ...].
      args: further inputs.
      rngs: keys by stream, for example of dropout.
      method: of the module; None for its call.

    Returns:
      The output, and the other collections afterwards.
    """
    output, changed = module.apply(
        {"params": params, **variables},
        inputs,
        True,
        *args,
        mutable=list(variables),
        rngs=rngs,
        method=method,
    )
    return output, changed


def update_player(
    player: NetState,
    grads: Params,
    variables: Variables,
    optimizer: optax.GradientTransformation,
) -> NetState:
    """Applies one optimizer update, and what layers want after one.

    That is one power iteration of spectral normalisation, and directions at their magnitude.

    Args:
      player: its state.
      grads: of its loss by its parameters, averaged over the devices.
      variables: its other collections after the run that the gradient is of.
      optimizer: of the player.

    Returns:
      The new state, with the moving average as it was.
    """
    updates, opt = optimizer.update(grads, player.opt, player.params)
    params = bring_back(optax.apply_updates(player.params, updates))
    if COLLECTION in variables:
        variables = {**variables, COLLECTION: power_iteration(params, variables[COLLECTION])}
    return dataclasses.replace(player, params=params, variables=variables, opt=opt)


def move_average(player: NetState, decay: float | Float[Array, ""]) -> NetState:
    """Moves a player's average of its parameters and batch statistics.

    Singular vectors are not averaged: they follow the averaged parameters by power iteration.

    Args:
      player: its state, with a moving average.
      decay: weight of the old average, in [0, 1).

    Returns:
      The new state.
    """
    assert player.ema is not None
    current = _averaged({"params": player.params, **player.variables})
    averaged = ema_update(_averaged(player.ema), current, decay)
    ema = {**player.ema, **averaged}
    if COLLECTION in ema:
        ema[COLLECTION] = power_iteration(ema["params"], ema[COLLECTION])
    return dataclasses.replace(player, ema=ema)


def move_profiles(player: NetState, widths: Sequence[float], step: Int[Array, ""]) -> NetState:
    """Moves a player's averages by power functions, if it has some; see `genjax.core.averages`.

    Args:
      player: its state.
      widths: of the profiles.
      step: int32 scalar, steps made, this one included.

    Returns:
      The new state.
    """
    if not isinstance(player, Profiled):
        return player
    current = _averaged({"params": player.params, **player.variables})

    def move(average: Variables, width: float) -> Variables:
        share = new_share(width, step)
        moved: Variables = jax.tree.map(lambda a, n: a + share * (n - a), average, current)
        return moved

    return dataclasses.replace(player, profiles=tuple(map(move, player.profiles, widths)))


def sampling_variables(player: NetState) -> Variables:
    """What a network is sampled with: its moving average where there is one."""
    return player.ema or {"params": player.params, **player.variables}


def ramped_decay(
    decay: float, ramp: float | None, schedule: Schedule, step: Int[Array, ""], batch_size: int
) -> Number:
    """The average's decay, whose half-life is scheduled, and bounded by a share of the steps made.

    ``0.5^(1 / min(factor * log 0.5 / log decay, ramp * step))``; 0, by which the average is the
    network itself, where the half-life is 0.

    Args:
      decay: of one step where the factor is 1, in [0, 1).
      ramp: the share, above 0; None leaves the half-life unbounded.
      schedule: factors of the half-life.
      step: int32 scalar, steps made, this one included.
      batch_size: examples in a step.

    Returns:
      The decay of this step, float32 scalar.

    Reference: Karras et al. 2020 (StyleGAN2-ADA), appendix, where the ramp is 0.05; the schedule is
    of Huang et al. 2024 (R3GAN), by the authors' code.
    """
    if decay == 0 or (ramp is None and schedule == Constant()):
        return decay
    half_life = scheduled(jnp.log(0.5) / jnp.log(decay), schedule, step - 1, batch_size)
    if ramp is not None:
        half_life = jnp.minimum(half_life, ramp * step)
    return 0.5 ** (1 / jnp.maximum(half_life, 1e-8))


def players(state: State) -> dict[str, NetState]:
    """The networks of a training state, by name: every field that is a `NetState`."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in fields.items() if isinstance(value, NetState)}
