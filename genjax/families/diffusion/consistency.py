"""Consistency models (Song et al. 2023): from any time of a diffusion to its data at once."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import (
    ConsistencyConfig,
    ConsistencySampling,
    Denoising,
    DiffusionConfig,
    LogNormal,
    Uniform,
    VarianceExploding,
)
from genjax.core.algorithm import Algorithm
from genjax.core.captions import CAPTION
from genjax.core.from_loss import Context
from genjax.core.frozen import NO_NETWORKS, Frozen, Networks
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
from genjax.errors import UserError
from genjax.families.diffusion.conditions import conditions_of, make_network
from genjax.families.diffusion.estimators import Estimate, other_estimate
from genjax.families.diffusion.paths import PATHS, Time, over
from genjax.families.diffusion.times import draw
from genjax.families.diffusion.told import Taken, taken
from genjax.families.diffusion.training import (
    assemble,
    minimise,
    normal,
    says,
    uniform,
)


def make_consistency(
    config: ConsistencyConfig,
    spec: Spec,
    axis_name: str | None = None,
    accumulate: int = 1,
    sampling: ConsistencySampling | None = None,
    networks: Networks = NO_NETWORKS,
) -> Algorithm:
    """Builds a consistency model ``f(x_t, t)``, which says the same all along a path to noise.

    On the path ``x_t = x + t e``, ``f = c_skip x_t + c_out F(c_in x_t, ln(t) / 4)`` is x_t itself
    at the least time. For neighbouring times t' < t a step minimises
    ``(sqrt(|f(x_t, t) - f(x', t')|^2 + c^2) - c) / (t - t')`` with a second f that is constant;
    x' is where one step of Heun's method takes x_t by the teacher, and ``x + t' e`` without one.

    Args:
      config: the model.
      spec: of the data.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.
      accumulate: parts of the batch whose gradients are averaged.
      sampling: how samples are drawn.
      networks: of other runs: ``text_encoder`` and ``teacher``, where the configuration names
        them; without its teacher, such a model only makes samples.

    Returns:
      The algorithm. Its latent is the noise that a sample begins with.

    Raises:
      UserError: settings that do not fit the data, or a teacher that doesn't.

    Reference: Song et al. 2023, equation 5 and appendix C, algorithms 1 to 3; Song & Dhariwal
    2024, table 1 (the distance, the weights, the times, and no average of the second f).
    """
    conditions = conditions_of(config, spec, "a consistency model", networks)
    options = sampling or ConsistencySampling()
    least, most, std = config.least, config.most, config.data_std
    course = PATHS[VarianceExploding](VarianceExploding(least=least, most=most))
    network = make_network(config, spec.shape, conditions, axis_name)
    bound = config.huber * math.sqrt(math.prod(spec.shape))
    teacher = None
    if "teacher" in networks:
        teacher = other_estimate(
            networks["teacher"],
            "teacher",
            spec,
            conditions,
            course,
            config,
            networks,
            config.condition_noise,
        )
        _check_left_out(config, networks["teacher"])

    ends = least ** (1 / config.rho), most ** (1 / config.rho)
    low, high = 0.0, 1.0
    if isinstance(config.times, LogNormal):
        # Of the distribution, what lies between the least and the most.
        low, high = (
            0.5 * math.erfc((config.times.mean - math.log(end)) / (config.times.std * 2**0.5))
            for end in (least, most)
        )

    def between(share: Time) -> Time:
        """From 0, the least time, to 1, the most."""
        found: Time = (ends[0] + share * (ends[1] - ends[0])) ** config.rho
        return found

    def share_of(t: Time) -> Time:
        found: Time = (t ** (1 / config.rho) - ends[0]) / (ends[1] - ends[0])
        return found

    def intervals(step: Int[Array, ""]) -> Float[Array, ""]:
        """Between the least time and the most."""
        doubled = 0 if config.doubled_every is None else step // config.doubled_every
        return jnp.minimum(
            config.intervals * 2.0 ** jnp.minimum(doubled, 20), config.most_intervals
        )

    def pair(u: Time, count: Float[Array, ""]) -> tuple[Time, Time]:
        """The later and the earlier of two neighbouring times, by u of U(0, 1)."""
        share = u
        if not isinstance(config.times, Uniform):
            share = share_of(draw(config.times, course, low + u * (high - low))[0])
        number = jnp.clip(jnp.floor(share * count), 0, count - 1)
        return between((number + 1) / count), between(number / count)

    def inputs(x: Examples, t: Time) -> tuple[Examples, Time]:
        return over(1 / jnp.sqrt(t**2 + std**2), x) * x, jnp.log(t) / 4

    learning, learnt = says(config, network, inputs, conditions)

    def consistent(say: Callable[[Examples, Time], Examples]) -> Estimate:
        def f(noisy: Examples, t: Time) -> Examples:
            t = jnp.broadcast_to(t, noisy.shape[:1])
            kept = std**2 / ((t - least) ** 2 + std**2)
            changed = std * (t - least) / jnp.sqrt(t**2 + std**2)
            return over(kept, noisy) * noisy + over(changed, noisy) * say(noisy, t)

        return f

    def back(guide: Estimate, noisy: Examples, t: Time, to: Time) -> Examples:
        """One step of Heun's method by the teacher."""
        slope = (noisy - guide(noisy, t)) / over(t, noisy)
        guess = noisy + over(to - t, noisy) * slope
        after = (guess - guide(guess, to)) / over(to, noisy)
        return noisy + over(to - t, noisy) * (slope + after) / 2

    def errors(
        say: Callable[[Examples, Time], Examples],
        guide: Estimate | None,
        x: Examples,
        u: Time,
        e: Examples,
        step: Int[Array, ""],
    ) -> PerExample:
        t, to = pair(u, intervals(step))
        noisy = x + over(t, x) * e
        earlier = x + over(to, x) * e if guide is None else back(guide, noisy, t, to)
        f = consistent(say)
        apart = f(noisy, t) - jax.lax.stop_gradient(f(earlier, to))
        squares = jnp.sum(apart**2, tuple(range(1, x.ndim)))
        return (jnp.sqrt(squares + bound**2) - bound) / (t - to)

    def guided(frozen: Mapping[str, Any], some: Taken) -> Estimate | None:
        if config.teacher is None:
            return None
        assert teacher is not None
        return teacher(frozen, some)

    def loss(
        params: Params, batch: Batch, context: Context
    ) -> tuple[Float[Array, ""], tuple[Metrics, Variables]]:
        x, place = batch[spec.target], context.place
        # Both times drop the same units.
        say, some = learning(params, batch, context)
        u = uniform(stream(context.key, "time"), place)
        e = normal(stream(context.key, "noise"), place, spec.shape)
        guide = guided(context.frozen, some)
        total = jnp.mean(errors(say, guide, x, u, e, context.step))
        metrics = {"network/loss": total, "network/intervals": intervals(context.step)}
        return total, (metrics, {})

    def evaluate(state: Any, batch: Batch, key: Key) -> dict[str, PerExample]:
        x = batch[spec.target]
        index = example_index(x.shape[0], None)
        some = taken(conditions, batch, key, index)
        say = learnt(state, some)
        u = uniform(stream(key, "time"), index)
        e = normal(stream(key, "noise"), index, spec.shape)
        guide = guided(getattr(state, "frozen", {}), some)
        return {"evaluation/loss": errors(say, guide, x, u, e, state.step)}

    def decode(state: Any, z: Array, key: Key, index: Index, given: Condition) -> Examples:
        f = consistent(learnt(state, taken(conditions, given, key, index)))
        data = f(most * z.reshape(-1, *spec.shape), jnp.float32(most))

        def renew(data: Examples, number: Int[Array, ""]) -> tuple[Examples, None]:
            t = between(1 - number / options.steps)
            e = normal(stream(key, "solver", number), index, spec.shape)
            return f(data + jnp.sqrt(t**2 - least**2) * e, t), None

        data, _ = jax.lax.scan(renew, data, jnp.arange(1, options.steps))
        return data

    minimiser = minimise(config, spec, network, conditions, (), loss, accumulate, axis_name)
    known = config.teacher is None or teacher is not None
    return assemble(spec, conditions, minimiser, decode, evaluate if known else None)


def _check_left_out(config: ConsistencyConfig, teacher: Frozen) -> None:
    """Refuses a teacher that was always given what is left out at times here."""
    model = teacher.model
    assert isinstance(model, DiffusionConfig)
    for name in teacher.spec.given if model.conditional else ():
        field, share = _left_out(config, name)
        if share and not _left_out(model, name)[1]:
            raise UserError(
                f"{field} is {share:g}, but the teacher was always given the {name}; set it to 0"
            )


def _left_out(model: Denoising, name: str) -> tuple[str, float]:
    """What says how often a given field is left out in training, and how often that is."""
    if name == CAPTION and model.caption_dropout is not None:
        return "caption_dropout", model.caption_dropout
    return "label_dropout", model.label_dropout
