"""Which family of models a configuration describes, and its algorithm."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from genjax.config import Experiment, GANConfig, VAEConfig, VAEGANConfig
from genjax.core.algorithm import Algorithm, with_raw_images
from genjax.core.types import BatchSpec, NetState, State
from genjax.families.gan.algorithm import make_gan
from genjax.families.vae.algorithm import make_vae
from genjax.families.vae_gan import make_vae_gan

FAMILIES: dict[type, Callable[[Any, BatchSpec, str | None], Algorithm]] = {
    GANConfig: make_gan,
    VAEConfig: make_vae,
    VAEGANConfig: make_vae_gan,
}


def make_algorithm(
    experiment: Experiment,
    image: tuple[int, int, int],
    classes: int,
    axis_name: str | None = None,
) -> Algorithm:
    """Builds the algorithm of an experiment.

    Args:
      experiment: the configuration.
      image: (height, width, channels) of the data.
      classes: number of class labels; 0 without labels.
      axis_name: mapped axis over the devices (pmap), if any.

    Returns:
      An algorithm that takes images as the data sets hold them.

    Raises:
      UserError: the configuration names something unknown, or does not fit the data.
    """
    spec = BatchSpec(experiment.batch_size, image, classes)
    algorithm = FAMILIES[type(experiment.model)](experiment.model, spec, axis_name)
    return with_raw_images(algorithm, experiment.data.flip, axis_name)


def count_parameters(
    experiment: Experiment, image: tuple[int, int, int], classes: int
) -> dict[str, int]:
    """Counts the trainable numbers of each player, without making any.

    Args:
      experiment: the configuration.
      image: (height, width, channels) of the data.
      classes: number of class labels; 0 without labels.

    Returns:
      From player to count.
    """
    state = jax.eval_shape(make_algorithm(experiment, image, classes).init, jax.random.key(0))
    return {
        name: sum(leaf.size for leaf in jax.tree.leaves(player.params))
        for name, player in players(state).items()
    }


def players(state: State) -> dict[str, NetState]:
    """The networks of a training state, by name: every field that is a `NetState`."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in fields.items() if isinstance(value, NetState)}
