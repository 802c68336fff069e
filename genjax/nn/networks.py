"""Architectures by name."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from genjax.config import NetworkConfig
from genjax.errors import UserError, lookup
from genjax.nn.dcgan import (
    DCGANDiscriminator,
    DCGANGenerator,
    TutorialDiscriminator,
    TutorialGenerator,
)
from genjax.nn.mlp import MaxoutDiscriminator, MLPGenerator

ImageShape = tuple[int, int, int]

GENERATORS: dict[str, Callable[[NetworkConfig, ImageShape, Any, str | None], nn.Module]] = {
    "dcgan": lambda config, image, dtype, axis: DCGANGenerator(
        image, config.width, config.batch_norm, dtype, axis
    ),
    "dcgan_tutorial": lambda config, image, dtype, axis: TutorialGenerator(image, dtype),
    "mlp": lambda config, image, dtype, axis: MLPGenerator(image, config.width, dtype),
}

DISCRIMINATORS: dict[str, Callable[[NetworkConfig, Any, str | None], nn.Module]] = {
    "dcgan": lambda config, dtype, axis: DCGANDiscriminator(
        config.width, config.batch_norm, dtype, axis
    ),
    "dcgan_tutorial": lambda config, dtype, axis: TutorialDiscriminator(dtype),
    "mlp": lambda config, dtype, axis: MaxoutDiscriminator(config.width, dtype, axis),
}


def make_generator(
    config: NetworkConfig, image: ImageShape, dtype: Any, axis_name: str | None
) -> nn.Module:
    """Builds a network from z to images; ``apply(variables, z, train=...)``.

    Args:
      config: architecture and width.
      image: (height, width, channels), square.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A module from float32 [batch, latent] to float32 [batch, height, width, channels].

    Raises:
      UserError: unknown architecture, or an image that is not square.
    """
    if image[0] != image[1]:
        raise UserError(f"images are {image[0]} x {image[1]}; set --data.resolution to a side")
    return lookup(GENERATORS, config.name, "generator")(config, image, dtype, axis_name)


def make_discriminator(config: NetworkConfig, dtype: Any, axis_name: str | None) -> nn.Module:
    """Builds a network from images to logits; ``apply(variables, images, train=...)``.

    Args:
      config: architecture and width.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A module from float32 [batch, height, width, channels] to float32 logits [batch].

    Raises:
      UserError: unknown architecture.
    """
    return lookup(DISCRIMINATORS, config.name, "discriminator")(config, dtype, axis_name)
