"""Diffusion and flow matching: one family, composed of its path, prediction, times and weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax.config import DiffusionConfig, DiffusionSampling, VarianceExploding
from genjax.core.algorithm import Algorithm, LogLikelihood
from genjax.core.from_loss import Context, NetworkState
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.players import sampling_variables
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
from genjax.domains.captions import encode_prompts
from genjax.domains.image import LEVEL, bits_per_dim
from genjax.errors import UserError, lookup
from genjax.families.diffusion import augment, likelihood, solvers
from genjax.families.diffusion.conditions import Conditions, conditions_of
from genjax.families.diffusion.editing import make_editing
from genjax.families.diffusion.estimators import (
    Estimate,
    estimate_by,
    make_parts,
    other_estimate,
)
from genjax.families.diffusion.paths import Time, over, ratio
from genjax.families.diffusion.predictions import PREDICTIONS, determinant
from genjax.families.diffusion.times import draw
from genjax.families.diffusion.told import Taken, taken, without
from genjax.families.diffusion.training import (
    assemble,
    clipper,
    minimise,
    normal,
    own_key,
    says,
    uniform,
)
from genjax.families.diffusion.weightings import WEIGHTINGS, Noise

_LARGEST_NOISE = 100.0
"""Of the noise that samples begin with where the network says the noise alone, from which data
follow by a division by alpha."""
_EVALUATED = 8
"""Times at which the error of a held-out example is measured."""
_FLOW = {"steps": 50, "probes": 1}
_BOUND = {"steps": 1000, "draws": 100}
"""Of the likelihood's integral and of its bound."""


def make_diffusion(
    config: DiffusionConfig,
    spec: Spec,
    axis_name: str | None = None,
    accumulate: int = 1,
    sampling: DiffusionSampling | None = None,
    networks: Networks = NO_NETWORKS,
) -> Algorithm:
    """Builds a diffusion model.

    A step minimises ``w(t) |p x + q e - f(c_in x_t, t)|^2 / d``, averaged over the batch: each
    example x of d numbers with a time and noise e of its own, ``x_t = alpha x + sigma e``.

    Args:
      config: the model.
      spec: of the data.
      axis_name: mapped axis over the devices (pmap); None where the program sees the whole batch.
      accumulate: parts of the batch whose gradients are averaged.
      sampling: how samples are drawn.
      networks: of other runs: ``guide``, where `sampling` names one.

    Returns:
      The algorithm. Its latent is the noise that a sample begins with.

    Raises:
      UserError: an unknown name, or settings that do not fit each other or the data.

    Reference: Karras et al. 2022, section 5 and table 1; Kingma & Gao 2023.
    """
    conditions = conditions_of(config, spec, "a diffusion model", networks)
    options = sampling or DiffusionSampling()
    _check(config, spec, options, conditions)
    parts = make_parts(config, spec.shape, conditions, axis_name)
    course, mixed = parts.course, parts.mixed
    weighting = WEIGHTINGS[config.weighting]
    learning, learnt = says(config, parts.network, parts.inputs, conditions)
    is_image = spec.is_image
    negative = None
    if options.negative:
        negative = _read_negative(options, conditions, spec)
    guide = None
    if options.guide is not None:
        guide = other_estimate(
            networks["guide"],
            "guide",
            spec,
            conditions,
            course,
            config,
            networks,
            options.condition_noise,
        )

    def errors(
        say: Callable[[Examples, Time], Examples],
        variables: Variables,
        x: Examples,
        u: Time,
        e: Examples,
    ) -> PerExample:
        """Weighted squared errors of examples at the times of u."""
        t, density = draw(config.times, course, u)
        alpha, sigma, p, q = mixed(t)
        said = say(over(alpha, x) * x + over(sigma, x) * e, t)
        error = jnp.mean((over(p, x) * x + over(q, x) * e - said) ** 2, tuple(range(1, x.ndim)))
        if config.weighting == "learned":
            doubt: Any = parts.network.apply(variables, parts.level(t), method="uncertainty")
            expected: PerExample = error / jnp.exp(doubt) + doubt
            return expected
        if weighting is None:
            return error
        noise = Noise(alpha, sigma, config.data_std, config.snr_bound, density)
        return weighting(noise) * (sigma / determinant(alpha, sigma, p, q)) ** 2 * error

    def loss(
        params: Params, batch: Batch, context: Context
    ) -> tuple[Float[Array, ""], tuple[Metrics, Variables]]:
        x, place = batch[spec.target], context.place
        changed = None
        if config.augment:
            changes = augment.draw(stream(context.key, "augment"), place, config.augment)
            x, changed = augment.change(x, changes), augment.told(changes)
        say, _ = learning(params, batch, context, changed)
        u = uniform(stream(context.key, "time"), place)
        e = normal(stream(context.key, "noise"), place, spec.shape)
        variables = {"params": params, **context.variables}
        total = jnp.mean(errors(say, variables, x, u, e))
        return total, ({"network/loss": total}, {})

    def evaluate(state: NetworkState, batch: Batch, key: Key) -> dict[str, PerExample]:
        x = batch[spec.target]
        index = example_index(x.shape[0], None)
        variables = sampling_variables(state.network)
        say = learnt(state, taken(conditions, batch, key, index))
        shift = uniform(stream(key, "time"), index)

        def add(total: PerExample, number: Int[Array, ""]) -> tuple[PerExample, None]:
            # One of each share of all times.
            e = normal(stream(key, "noise", number), index, spec.shape)
            u = (number + shift) / _EVALUATED
            return total + errors(say, variables, x, u, e), None

        total, _ = jax.lax.scan(add, jnp.zeros(len(index)), jnp.arange(_EVALUATED))
        return {"evaluation/loss": total / _EVALUATED}

    def estimator(state: Any, some: Taken) -> Estimate:
        """``D(x_t, t)`` with guidance."""

        def by(some: Taken) -> Estimate:
            return estimate_by(parts, learnt(state, some))

        plain = by(some)
        if options.guidance == 1:
            return plain
        if guide is not None:
            free = guide(state.frozen, some)
        else:
            free = by(without(conditions, some, negative))
        most = jnp.inf if options.guidance_most is None else options.guidance_most

        def guided(noisy: Examples, t: Time) -> Examples:
            data, without = plain(noisy, t), free(noisy, t)
            return without + options.guidance * (data - without)

        def estimate(noisy: Examples, t: Time) -> Examples:
            s = ratio(course, t)
            inside = (s >= options.guidance_least) & (s <= most)
            found: Examples = jax.lax.cond(inside, guided, plain, noisy, t)
            return found

        return estimate

    def log_likelihood(state: NetworkState, batch: Batch, key: Key) -> dict[str, PerExample]:
        x = batch[spec.target]
        index = example_index(x.shape[0], None)
        estimate = estimator(state, taken(conditions, batch, key, index))
        flow, bound = stream(key, "flow"), stream(key, "bound")
        wide = likelihood.dequantized(x, stream(key, "level"), index) if is_image else x
        reconstruction = likelihood.discretized_gaussian if is_image else likelihood.gaussian
        density = likelihood.flow_log_density(
            course, estimate, wide, flow, index, config.data_std, **_FLOW
        )
        least = likelihood.variational_bound(
            course, estimate, x, bound, index, reconstruction, **_BOUND
        )
        if not is_image:
            return {"log_likelihood": density, "elbo": least}
        return {
            "bits_per_dim": bits_per_dim(density, spec.shape, LEVEL),
            "bits_per_dim_bound": bits_per_dim(least, spec.shape, 1.0),
        }

    start = course.most
    if config.prediction == "noise":
        start = min(start, float(course.time_of(jnp.float32(_LARGEST_NOISE))))

    def problem(
        state: NetworkState, key: Key, index: Index, given: Condition, strength: float
    ) -> solvers.Problem:
        def noise(number: Int[Array, ""]) -> Examples:
            return normal(stream(key, "solver", number), index, spec.shape)

        begin = start
        if strength < 1:
            with jax.ensure_compile_time_eval():
                begin = min(start, float(course.place(jnp.float32(strength))))
        grid = solvers.times(config.path, options, begin)
        some = taken(conditions, given, key, index, options.condition_noise)
        estimate = estimator(state, some)
        return solvers.Problem(course, grid, estimate, noise, options)

    def decode(state: NetworkState, z: Array, key: Key, index: Index, given: Condition) -> Examples:
        solved = problem(state, key, index, given, 1.0)
        x = course.scales(jnp.float32(solved.grid[0]))[1] * z.reshape(-1, *spec.shape)
        return solvers.solve(solved, x)

    def edited(
        state: NetworkState, key: Key, index: Index, given: Condition, strength: float
    ) -> solvers.Problem:
        # What is inverted has on its maps the noise with which it is decoded again.
        return problem(state, own_key(conditions, spec, key), index, given, strength)

    parameters: dict[str, dict[str, Any]] = {"log_likelihood": _FLOW, "elbo": _BOUND}
    if is_image:
        flow = {**_FLOW, "dequantization": "uniform"}
        parameters = {"bits_per_dim": flow, "bits_per_dim_bound": _BOUND}
    changes = augment.TOLD if config.augment else 0
    minimiser = minimise(
        config, spec, parts.network, conditions, (), loss, accumulate, axis_name, changes
    )
    algorithm = assemble(spec, conditions, minimiser, decode, evaluate)
    return algorithm._replace(
        log_likelihood=LogLikelihood(log_likelihood, parameters, slow=True),
        editing=make_editing(edited, clipper(spec)),
    )


def _read_negative(
    options: DiffusionSampling, conditions: Conditions, spec: Spec
) -> Int[Array, "tokens"]:
    """The tokens of the prompt that guidance leads away from."""
    if conditions.caption is None:
        raise UserError(
            f"negative is {options.negative!r}, but the model is given no captions; leave it out"
        )
    if options.guidance == 1 or options.guide is not None:
        why = "at which nothing guides" if options.guidance == 1 else "but a guide is named"
        raise UserError(
            f"negative is {options.negative!r} and guidance is {options.guidance:g}, {why}; set "
            "guidance to 4, and no guide"
        )
    return jnp.asarray(encode_prompts(spec.facts, conditions.caption, [options.negative])[0][0, 0])


def _check(
    config: DiffusionConfig, spec: Spec, options: DiffusionSampling, conditions: Conditions
) -> None:
    """Refuses what does not fit together."""
    if config.augment and conditions.maps:
        raise UserError(
            f"augment is {config.augment:g}, but it does not change the map "
            f"{min(conditions.maps)!r} with its image; leave it out"
        )
    if options.condition_noise > config.condition_noise:
        most = f"at most {config.condition_noise:g}; set it to that"
        raise UserError(
            f"condition_noise of samples is {options.condition_noise:g}, but the model learnt with "
            + (most if config.condition_noise else "none; leave it out")
        )
    if config.augment and not spec.is_image:
        what = "latents" if spec.coded else "examples"
        raise UserError(
            f"augment is {config.augment:g}, but it is for images, and this model's {what} have "
            f"shape {spec.shape}; leave it out"
        )
    lookup(PREDICTIONS, config.prediction, "prediction")
    lookup(WEIGHTINGS, config.weighting, "weighting")
    lookup(solvers.SOLVERS, options.solver, "solver")
    usual = DiffusionSampling()
    for name, fitting in solvers.OPTIONS.items():
        if getattr(options, name) != getattr(usual, name) and options.solver not in fitting:
            raise UserError(
                f"{name} is {getattr(options, name):g}, but the solver {options.solver!r} has "
                f"none; leave it out, or choose {' or '.join(fitting)}"
            )
    exploding = isinstance(config.path, VarianceExploding)
    other = "shift" if exploding else "rho"
    if getattr(options, other) != getattr(usual, other):
        raise UserError(
            f"{other} is {getattr(options, other)!r}, but the times of the path "
            f"{config.path.name!r} have none; leave it out"
        )
    if options.guide is not None:
        if options.guidance == 1:
            raise UserError(
                "guide is given, but guidance is 1, at which nothing guides; set it to 2"
            )
    elif options.guidance != 1 and not conditions.leave_all_out:
        raise UserError(
            f"guidance is {options.guidance:g}, but the model was never without what it is given; "
            "leave it out, train one with conditional and label_dropout, or name a guide"
        )
