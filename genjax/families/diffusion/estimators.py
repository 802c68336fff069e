"""What a trained diffusion model says: from noisy data and their time to the data."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import Denoising, DiffusionConfig
from genjax.core.captions import CAPTION
from genjax.core.frozen import Frozen, Networks
from genjax.core.schema import Spec
from genjax.core.types import Examples
from genjax.errors import UserError
from genjax.families.contrastive.reading import check_texts
from genjax.families.diffusion.conditions import Conditions, conditions_of, make_network
from genjax.families.diffusion.paths import PATHS, Course, Time, over, ratio
from genjax.families.diffusion.predictions import PREDICTIONS, recover
from genjax.families.diffusion.told import Taken, told
from genjax.families.diffusion.training import sayer
from genjax.nn.denoisers import pace
from genjax.nn.uncertainty import WithUncertainty

_LABEL_RANGE = 1e5

Estimate = Callable[[Examples, Float[Array, "..."]], Examples]
"""``(x_t, t) -> D``, with a scalar t for all examples, or [batch]."""


class Parts(NamedTuple):
    """A diffusion model, but for how it is trained.

    Attributes:
      course: its path.
      network: what is trained.
      level: of times, EDM's ``ln(s) / 4``.
      inputs: from noisy data and their times to what the network is given for both.
      mixed: from times to alpha, sigma, p and q, see `genjax.families.diffusion.predictions`.
    """

    course: Course
    network: Any
    level: Callable[[Time], Time]
    inputs: Callable[[Examples, Time], tuple[Examples, Time]]
    mixed: Callable[[Time], tuple[Time, Time, Time, Time]]


def make_parts(
    config: DiffusionConfig,
    shape: tuple[int, ...],
    conditions: Conditions,
    axis_name: str | None = None,
) -> Parts:
    """Builds the parts of a model.

    Args:
      config: the model.
      shape: of what it generates.
      conditions: what the network is given.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The parts.

    Raises:
      UserError: the network does not fit the shape.
    """
    course = PATHS[type(config.path)](config.path)
    mixture = PREDICTIONS[config.prediction]
    doubted = WithUncertainty if config.weighting == "learned" else None
    network = make_network(config, shape, conditions, axis_name, doubted)
    scaled = course.exploding or config.prediction == "edm"

    def level(t: Time) -> Time:
        # Only the path flow has no data left at its end.
        return jnp.log(jnp.clip(ratio(course, t), 1 / _LABEL_RANGE, _LABEL_RANGE)) / 4

    def inputs(x: Examples, t: Time) -> tuple[Examples, Time]:
        if not scaled:
            return x, pace(config.network) * t
        alpha, sigma = course.scales(t)
        scale = 1 / jnp.sqrt(sigma**2 + (alpha * config.data_std) ** 2)
        return over(scale, x) * x, level(t)

    def mixed(t: Time) -> tuple[Time, Time, Time, Time]:
        alpha, sigma = course.scales(t)
        return alpha, sigma, *mixture(alpha, sigma, config.data_std)

    return Parts(course, network, level, inputs, mixed)


def estimate_by(parts: Parts, say: Callable[[Examples, Time], Examples]) -> Estimate:
    """The estimate of the data that a network makes.

    Args:
      parts: of the model.
      say: what the network says, see `genjax.families.diffusion.training.sayer`.

    Returns:
      The estimate.
    """

    def estimate(noisy: Examples, t: Time) -> Examples:
        said = say(noisy, jnp.broadcast_to(t, noisy.shape[:1]))
        return recover(said, noisy, *parts.mixed(t))[0]

    return estimate


def other_estimate(
    network: Frozen,
    field: str,
    spec: Spec,
    conditions: Conditions,
    ours: Course,
    model: Denoising,
    networks: Networks,
    noise: float,
) -> Callable[[Mapping[str, Any], Taken], Estimate]:
    """The estimate of another run's model, asked along a path at the same noise.

    At its own time t' of the same ``sigma / alpha``, or the nearest that it knows, it is asked for
    ``x_t sqrt((alpha'^2 + sigma'^2) / (alpha^2 + sigma^2))``.

    Args:
      network: of the other run.
      field: that names it, for messages.
      spec: of the data.
      conditions: what the model that asks is given.
      ours: the path.
      model: that asks; both denoise data, or the same latents.
      networks: of other runs.
      noise: the most that there is on maps, as a standard deviation.

    Returns:
      A function of the variables of other runs, by field and player, and of what examples are made
      from to the estimate.

    Raises:
      UserError: it is no diffusion model, or of other data.
    """
    config, theirs = network.model, network.spec
    if not isinstance(config, DiffusionConfig):
        raise UserError(
            f"{field} is a run of the family {config.family!r}, which denoises nothing; choices: "
            "runs of diffusion"
        )
    spaces = _space(config), _space(model)
    if spaces[0] != spaces[1]:
        raise UserError(f"{field} denoises {spaces[0]}, but this model {spaces[1]}")
    shape = theirs.shape if model.autoencoder is None else spec.shape
    if shape != spec.shape:
        raise UserError(f"{field} learnt from {shape}, but this model makes {spec.shape}")
    needed = _shared(network, field, spec, conditions, model, networks)
    if needed.maps and noise > config.condition_noise:
        raise UserError(
            f"{field} is shown maps with noise of up to {noise:g}, but learnt with at most "
            f"{config.condition_noise:g}; set condition_noise to that"
        )
    parts = make_parts(config, shape, needed)
    course = parts.course

    def estimate_of(frozen: Mapping[str, Any], some: Taken) -> Estimate:
        own = Taken(
            some.labels if needed.classes else None,
            some.captions if needed.caption is not None else None,
            {name: some.vectors[name] for name in needed.vectors},
            some.sequences if needed.sequences else None,
            {name: some.maps[name] for name in needed.maps},
            _strength(some) if config.condition_noise else None,
        )
        variables = frozen[field]["network"]
        known = told(needed, parts.network, variables, frozen, own)
        estimate = estimate_by(parts, sayer(parts.network, parts.inputs, variables, known))

        def asked(noisy: Examples, t: Time) -> Examples:
            alpha, sigma = ours.scales(t)
            # The path flow has no data left at its end.
            noise = sigma / jnp.maximum(alpha, sigma / _LABEL_RANGE)
            time = jnp.clip(course.time_of(noise), course.place(jnp.float32(0)), course.most)
            size = jnp.hypot(*course.scales(time)) / jnp.hypot(alpha, sigma)
            return estimate(over(size, noisy) * noisy, time)

        return asked

    return estimate_of


def _shared(
    network: Frozen,
    field: str,
    spec: Spec,
    conditions: Conditions,
    model: Denoising,
    networks: Networks,
) -> Conditions:
    """What another model needs to be given, all of which the model that asks is given, too."""
    config, theirs = network.model, network.spec
    assert isinstance(config, DiffusionConfig)
    if not config.conditional:
        return Conditions(config, theirs.shape)
    if theirs.classes and theirs.classes != conditions.classes:
        raise UserError(
            f"{field} needs one of {theirs.classes} labels, but this model is given "
            f"{f'one of {conditions.classes}' if conditions.classes else 'none'}"
        )
    if CAPTION in theirs.given:
        if conditions.caption is None:
            raise UserError(f"{field} needs captions, but this model is given none")
        check_texts(theirs, spec, field)
        if config.text_encoder is not None and _weights(config.text_encoder) != _weights(
            model.text_encoder or ""
        ):
            raise UserError(
                f"{field} reads captions by the text encoder {config.text_encoder}, and this model "
                f"by {model.text_encoder or 'its own'}; both must have the same"
            )
    needed = conditions_of(config, theirs, field, networks)
    ours = {**conditions.vectors, **conditions.sequences, **conditions.maps}
    for name, wanted in {**needed.vectors, **needed.sequences, **needed.maps}.items():
        if ours.get(name) != wanted:
            raise UserError(f"{field} needs {name!r}, which this model isn't given like that")
    return needed


def _strength(some: Taken) -> Float[Array, "batch"]:
    """Of the noise on maps, of which there are some."""
    count = len(next(iter(some.maps.values())))
    return jnp.zeros(count) if some.strength is None else some.strength


def _space(model: Denoising) -> str:
    """What a model denoises; latents are the same where the weights and the scale are."""
    if model.autoencoder is None:
        return "data"
    weights = _weights(model.autoencoder)
    return f"latents of the autoencoder {weights} times {model.latent_scale:g}"


def _weights(run: str) -> str:
    """What a name of a run says of its weights."""
    return run.rpartition("#")[2].partition(".")[0]
