"""What a trained diffusion model says: from noisy data and their time to the data."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import DiffusionConfig
from genjax.core.types import Examples, Labels, Variables
from genjax.families.diffusion.paths import PATHS, Course, Time, over, ratio
from genjax.families.diffusion.predictions import PREDICTIONS, recover
from genjax.families.diffusion.training import sayer
from genjax.nn.denoisers import make_denoiser

_LABEL_RANGE = 1e5

Estimate = Callable[[Examples, Float[Array, "..."]], Examples]
"""``(x_t, t) -> D``, with a scalar t for all examples, or [batch]."""


class Parts(NamedTuple):
    """A diffusion model, but for how it is trained.

    Attributes:
      course: its path.
      network: what is trained.
      inputs: from noisy data and their times to what the network is given for both.
      mixed: from times to alpha, sigma, p and q, see `genjax.families.diffusion.predictions`.
    """

    course: Course
    network: Any
    inputs: Callable[[Examples, Time], tuple[Examples, Time]]
    mixed: Callable[[Time], tuple[Time, Time, Time, Time]]


def make_parts(
    config: DiffusionConfig, shape: tuple[int, ...], classes: int, axis_name: str | None = None
) -> Parts:
    """Builds the parts of a model.

    Args:
      config: the model.
      shape: of what it generates.
      classes: labels that the network is given; 0 for none.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The parts.

    Raises:
      UserError: the network does not fit the shape.
    """
    course = PATHS[type(config.path)](config.path)
    mixture = PREDICTIONS[config.prediction]
    network = make_denoiser(config.network, shape, classes, jnp.dtype(config.dtype), axis_name)
    scaled = course.exploding or config.prediction == "edm"

    def inputs(x: Examples, t: Time) -> tuple[Examples, Time]:
        if not scaled:
            return x, 1000 * t
        alpha, sigma = course.scales(t)
        scale = 1 / jnp.sqrt(sigma**2 + (alpha * config.data_std) ** 2)
        # Only the path flow has no data left at its end.
        s = jnp.clip(ratio(course, t), 1 / _LABEL_RANGE, _LABEL_RANGE)
        return over(scale, x) * x, jnp.log(s) / 4

    def mixed(t: Time) -> tuple[Time, Time, Time, Time]:
        alpha, sigma = course.scales(t)
        return alpha, sigma, *mixture(alpha, sigma, config.data_std)

    return Parts(course, network, inputs, mixed)


def estimate_by(parts: Parts, variables: Variables, labels: Labels | None) -> Estimate:
    """The estimate of the data that a network makes.

    Args:
      parts: of the model.
      variables: of its network.
      labels: int32 [batch], or None.

    Returns:
      The estimate.
    """
    say = sayer(parts.network, parts.inputs, variables, labels)

    def estimate(noisy: Examples, t: Time) -> Examples:
        said = say(noisy, jnp.broadcast_to(t, noisy.shape[:1]))
        return recover(said, noisy, *parts.mixed(t))[0]

    return estimate


def moved(estimate: Estimate, theirs: Course, ours: Course) -> Estimate:
    """A model's estimate, asked along another path at the same noise.

    At its own time t' of the same ``sigma / alpha``, or the nearest that it knows, it is asked for
    ``x_t sqrt((alpha'^2 + sigma'^2) / (alpha^2 + sigma^2))``.

    Args:
      estimate: of the model.
      theirs: the path that it was trained on.
      ours: the path that it is asked along.

    Returns:
      The estimate.
    """

    def asked(noisy: Examples, t: Time) -> Examples:
        alpha, sigma = ours.scales(t)
        # The path flow has no data left at its end.
        noise = sigma / jnp.maximum(alpha, sigma / _LABEL_RANGE)
        time = jnp.clip(theirs.time_of(noise), theirs.place(jnp.float32(0)), theirs.most)
        size = jnp.hypot(*theirs.scales(time)) / jnp.hypot(alpha, sigma)
        return estimate(over(size, noisy) * noisy, time)

    return asked
