"""What all families do with one network: split, run, update and average it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax.algorithm import ema_update
from genjax.nn.spectral import COLLECTION, power_iteration
from genjax.types import Key, NetState, Params, Variables


def make_player(
    variables: Variables, optimizer: optax.GradientTransformation, average: bool
) -> NetState:
    """Splits initialised variables into a player's state, with a moving average or without."""
    others = {name: value for name, value in variables.items() if name != "params"}
    params = variables["params"]
    # A copy: two leaves that share a buffer can't both be donated.
    ema = jax.tree.map(jnp.copy, dict(variables)) if average else None
    return NetState(params=params, variables=others, opt=optimizer.init(params), ema=ema)


def apply_training(
    module: Any,
    params: Params,
    variables: Variables,
    inputs: Array,
    *args: Any,
    rngs: dict[str, Key] | None = None,
) -> tuple[Any, Variables]:
    """Runs a network in training mode; returns its output and its collections afterwards."""
    output, changed = module.apply(
        {"params": params, **variables},
        inputs,
        True,
        *args,
        mutable=list(variables),
        rngs=rngs,
    )
    return output, changed


def update_player(
    player: NetState,
    grads: Params,
    variables: Variables,
    optimizer: optax.GradientTransformation,
) -> NetState:
    """Applies one optimizer update, and one power iteration of spectral normalisation if any."""
    updates, opt = optimizer.update(grads, player.opt, player.params)
    params = optax.apply_updates(player.params, updates)
    if COLLECTION in variables:
        variables = {**variables, COLLECTION: power_iteration(params, variables[COLLECTION])}
    return dataclasses.replace(player, params=params, variables=variables, opt=opt)


def move_average(player: NetState, decay: float | Float[Array, ""]) -> NetState:
    """Moves a player's average: of its parameters and batch statistics, not of singular vectors,
    which follow the averaged parameters by power iteration."""
    assert player.ema is not None
    moving = {name: player.ema[name] for name in ("params", "batch_stats") if name in player.ema}
    current = {"params": player.params, **player.variables}
    averaged = ema_update(moving, {name: current[name] for name in moving}, decay)
    ema = {**player.ema, **averaged}
    if COLLECTION in ema:
        ema[COLLECTION] = power_iteration(ema["params"], ema[COLLECTION])
    return dataclasses.replace(player, ema=ema)


def sampling_variables(player: NetState) -> Variables:
    """What a network is sampled with: its moving average where there is one."""
    return player.ema or {"params": player.params, **player.variables}


def ramped_decay(
    decay: float, ramp: float | None, step: Int[Array, ""]
) -> float | Float[Array, ""]:
    """The average's decay, with its half-life bounded by ``ramp * step``.

    Reference: Karras et al. 2020 (StyleGAN2-ADA), appendix; there the ramp is 0.05.
    """
    if ramp is None or decay == 0:
        return decay
    half_life = jnp.minimum(jnp.log(0.5) / jnp.log(decay), ramp * step)
    return 0.5 ** (1 / jnp.maximum(half_life, 1e-8))
