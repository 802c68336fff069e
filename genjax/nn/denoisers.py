"""Architectures of networks that tell a clean image from a noisy one."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from genjax.config import Denoiser, DenoisingMLP
from genjax.config import DiT as DiTConfig
from genjax.config import Prior as PriorConfig
from genjax.config import UNet as UNetConfig
from genjax.errors import UserError
from genjax.nn.dit import DiT
from genjax.nn.edm2 import EDM2UNet
from genjax.nn.layers import Layers
from genjax.nn.mlp import MLPDenoiser
from genjax.nn.prior import Prior
from genjax.nn.unet import UNet

DENOISERS: dict[type[Denoiser], Callable[[Any, tuple[int, ...], int, Any, str | None], Any]] = {
    DenoisingMLP: lambda config, shape, classes, dtype, axis_name: MLPDenoiser(
        shape[-1],
        config.width,
        config.depth,
        classes,
        config.dropout,
        Layers(dtype=dtype, axis_name=axis_name),
    ),
    DiTConfig: lambda config, shape, classes, dtype, axis_name: DiT(
        config, Layers(dtype=dtype, axis_name=axis_name), shape[-1], classes
    ),
    PriorConfig: lambda config, shape, classes, dtype, axis_name: Prior(
        config, Layers(dtype=dtype, axis_name=axis_name), classes
    ),
    UNetConfig: lambda config, shape, classes, dtype, axis_name: (
        EDM2UNet if config.variant == "edm2" else UNet
    )(
        config,
        Layers(dtype=dtype, axis_name=axis_name, convolutions=config.convolutions),
        shape[-1],
        classes,
    ),
}
"""From a configuration, the shape of images, the number of classes, the type of the computation and
the mapped axis to a network ``(x, train, noise, labels, changes, description)``, which makes
float32 like x, without what x has beside the channels of images."""

OF_IMAGES = (DiTConfig, UNetConfig)
"""Those that are for square images alone."""


def pace(config: Denoiser) -> float:
    """By what times in [0, 1] are multiplied for a network, whose waves of them are as slow."""
    return 1.0 if isinstance(config, UNetConfig) and config.variant == "edm2" else 1000.0


def fastest(config: Denoiser) -> float:
    """Radians that a network's fastest waves turn in a unit of its times; edm2's on average."""
    return 2 * math.pi if isinstance(config, UNetConfig) and config.variant == "edm2" else 1.0


def make_denoiser(
    config: Denoiser, shape: tuple[int, ...], classes: int, dtype: Any, axis_name: str | None
) -> nn.Module:
    """Builds a network from noisy images to what they hide; ``apply(variables, x, train, noise)``.

    Args:
      config: architecture and size.
      shape: of an example; of an image, (side, side, channels).
      classes: of labels; 0 if there are none.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A module from float32 [batch, *shape], perhaps with maps beside the channels, bool, float32
      [batch], perhaps int [batch], labels of which the value `classes` stands for none, perhaps
      float32 [batch, numbers], what is told of the examples' augmentation, and perhaps a
      `Description`, to float32 [batch, *shape] of any range.

    Raises:
      UserError: no square images, or of a side that it can't take, for a network that is for them;
        no vectors for one that is for those.
    """
    if isinstance(config, PriorConfig) and len(shape) != 1:
        raise UserError(
            f"the denoiser 'prior' is for vectors, but examples have shape {shape}; choose "
            "another, or set data.target to embedding"
        )
    images = type(config) in OF_IMAGES
    if images and len(shape) != 3:
        raise UserError(
            f"the denoiser {config.name!r} is for images, but examples have shape {shape}; choose "
            "mlp, or data of the domain image"
        )
    if images and shape[0] != shape[1]:
        raise UserError(f"images are {shape[0]} x {shape[1]}; set --data.resolution to a side")
    return DENOISERS[type(config)](config, shape, classes, dtype, axis_name)
