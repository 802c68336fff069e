"""MeanFlow (Geng et al. 2025): the mean velocity between two times, and so samples in one step."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import MeanFlowConfig, MeanFlowSampling, Straight
from genjax.core.algorithm import Algorithm
from genjax.core.from_loss import Context, NetworkState
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.rng import example_index, stream
from genjax.core.schema import Spec
from genjax.core.types import (
    Batch,
    Condition,
    Examples,
    Index,
    Key,
    Metrics,
    Params,
    PerExample,
    Variables,
)
from genjax.families.diffusion.conditions import conditions_of, make_network
from genjax.families.diffusion.paths import PATHS, Time, over
from genjax.families.diffusion.times import draw
from genjax.families.diffusion.told import taken
from genjax.families.diffusion.training import (
    assemble,
    minimise,
    normal,
    says,
    uniform,
)
from genjax.nn.denoisers import fastest

_PACE = 4.0
"""Of the network's times: faster ones make its derivatives by them large, and worse samples."""
_SMALL = 1e-3
"""Added to squared errors before they divide a loss, as in the authors' code."""


def make_mean_flow(
    config: MeanFlowConfig,
    spec: Spec,
    axis_name: str | None = None,
    accumulate: int = 1,
    sampling: MeanFlowSampling | None = None,
    networks: Networks = NO_NETWORKS,
) -> Algorithm:
    """Builds a model of the mean velocity ``u(x_t, r, t)`` from a time r to a later t.

    On the path ``x_t = (1 - t) x + t e`` with ``v = e - x``, u is fitted to
    ``v - (t - r) du/dt``, with du/dt along the path, through which no gradient flows. A step
    minimises ``|error|^2 / (|error|^2 + 0.001)^power`` with a denominator that is constant. A
    sample is ``x_r = x_t - (t - r) u(x_t, r, t)``, from t = 1 to r = 0 at once.

    Args:
      config: the model.
      spec: of the data.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.
      accumulate: parts of the batch whose gradients are averaged.
      sampling: how samples are drawn.
      networks: of other runs: ``text_encoder``, where the configuration names one.

    Returns:
      The algorithm. Its latent is the noise that a sample begins with.

    Raises:
      UserError: settings that do not fit the data.

    Reference: Geng et al. 2025, algorithms 1 and 2, equation 22 (the weights).
    """
    conditions = conditions_of(config, spec, "a mean flow", networks)
    options = sampling or MeanFlowSampling()
    course = PATHS[Straight](Straight())
    network = make_network(config, spec.shape, conditions, axis_name)
    size = math.prod(spec.shape)

    def inputs(x: Examples, t: Time, r: Time) -> tuple[Examples, Float[Array, "batch 2"]]:
        return x, _PACE / fastest(config.network) * jnp.stack([t, t - r], axis=-1)

    learning, learnt = says(config, network, inputs, conditions)

    def pair(key: Key, index: Index) -> tuple[Time, Time]:
        """Two times an example, t first and not the earlier; r is t but for the share `apart`."""
        one, other = (
            draw(config.times, course, uniform(stream(key, name), index))[0]
            for name in ("time", "other time")
        )
        apart = uniform(stream(key, "apart"), index) < config.apart
        late, early = jnp.maximum(one, other), jnp.minimum(one, other)
        return jnp.where(apart, late, one), jnp.where(apart, early, one)

    def target(
        say: Callable[[Examples, Time, Time], Examples],
        x: Examples,
        e: Examples,
        t: Time,
        r: Time,
    ) -> tuple[Examples, Examples]:
        """What u says, and what it should say."""
        noisy, velocity = over(1 - t, x) * x + over(t, x) * e, e - x
        said, slope = jvp(lambda x, t: say(x, t, r), (noisy, t), (velocity, jnp.ones_like(t)))
        return said, jax.lax.stop_gradient(velocity - over(t - r, x) * slope)

    def squares(said: Examples, wanted: Examples) -> PerExample:
        return jnp.sum((said - wanted) ** 2, tuple(range(1, said.ndim)))

    def loss(
        params: Params, batch: Batch, context: Context
    ) -> tuple[Float[Array, ""], tuple[Metrics, Variables]]:
        x, place = batch[spec.target], context.place
        say, _ = learning(params, batch, context)
        t, r = pair(context.key, place)
        error = squares(
            *target(say, x, normal(stream(context.key, "noise"), place, spec.shape), t, r)
        )
        weight = jax.lax.stop_gradient((error + _SMALL) ** -config.power)
        total = jnp.mean(weight * error)
        metrics = {"network/loss": total, "network/error": jnp.mean(error) / size}
        return total, (metrics, {})

    def evaluate(state: NetworkState, batch: Batch, key: Key) -> dict[str, PerExample]:
        x = batch[spec.target]
        index = example_index(x.shape[0], None)
        say = learnt(state, taken(conditions, batch, key, index))
        e = normal(stream(key, "noise"), index, spec.shape)
        return {"evaluation/loss": squares(*target(say, x, e, *pair(key, index))) / size}

    def decode(state: NetworkState, z: Array, key: Key, index: Index, given: Condition) -> Examples:
        say = learnt(state, taken(conditions, given, key, index))

        def move(x: Examples, number: Int[Array, ""]) -> tuple[Examples, None]:
            t = jnp.full(x.shape[0], 1 - number / options.steps)
            r = jnp.full(x.shape[0], 1 - (number + 1) / options.steps)
            return x - over(t - r, x) * say(x, t, r), None

        x, _ = jax.lax.scan(move, z.reshape(-1, *spec.shape), jnp.arange(options.steps))
        return x

    minimiser = minimise(config, spec, network, conditions, (2,), loss, accumulate, axis_name)
    return assemble(spec, conditions, minimiser, decode, evaluate)


def jvp(function: Callable[..., Array], point: Any, direction: Any) -> tuple[Array, Array]:
    """A function's value and its derivative along a direction, by two backward passes.

    The second is through the first, in which cotangents are linear: convolutions here have
    derivatives of their own, which forward differentiation does not take.

    Args:
      function: of arrays.
      point: its arguments.
      direction: arrays in the shapes of the arguments.

    Returns:
      Both, in the shape of the value.
    """
    value, pull = jax.vjp(function, *point)
    _, push = jax.vjp(pull, jnp.zeros_like(value))
    (slope,) = push(direction)
    return value, slope
