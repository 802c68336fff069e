"""Architectures by name: decoders make images from vectors, encoders make features from images.

A generator is a decoder with a tanh, a discriminator an encoder with a logit; autoencoders use
both.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from genjax.config import NetworkConfig
from genjax.errors import UserError, lookup
from genjax.nn.channels import LINEAR
from genjax.nn.dcgan import DCGANDecoder, DCGANEncoder, TutorialDecoder, TutorialEncoder
from genjax.nn.layers import Layers
from genjax.nn.mlp import MaxoutEncoder, MLPDecoder, MLPEncoder, goodfellow_decoder
from genjax.nn.sngan import SNGANDecoder, SNGANEncoder

ImageShape = tuple[int, int, int]

DECODERS: dict[str, Callable[[NetworkConfig, ImageShape, Layers], nn.Module]] = {
    "dcgan": lambda config, image, layers: DCGANDecoder(image, config.width, layers),
    "dcgan_tutorial": lambda config, image, layers: TutorialDecoder(image, layers),
    "goodfellow": lambda config, image, layers: goodfellow_decoder(image, config.width, layers),
    "mlp": lambda config, image, layers: MLPDecoder(image, config.width, config.depth, layers),
    "sngan": lambda config, image, layers: SNGANDecoder(image, config.width, layers),
}

ENCODERS: dict[str, Callable[[NetworkConfig, Layers], nn.Module]] = {
    "dcgan": lambda config, layers: DCGANEncoder(config.width, layers),
    "dcgan_tutorial": lambda config, layers: TutorialEncoder(layers),
    "goodfellow": lambda config, layers: MaxoutEncoder(config.width, layers),
    "mlp": lambda config, layers: MLPEncoder(config.width, config.depth, layers),
    "sngan": lambda config, layers: SNGANEncoder(config.width, layers),
}


def make_layers(
    config: NetworkConfig, dtype: Any, axis_name: str | None, reference: int = 0
) -> Layers:
    """What all layers of a network have in common.

    Args:
      config: of the network.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.
      reference: first rows of each input that are virtual batch norm's reference batch.

    Returns:
      The settings, which also make the layers.
    """
    return Layers(
        config.norm, config.spectral_norm, dtype, axis_name, reference, config.convolutions
    )


def _remat(config: NetworkConfig, module: nn.Module) -> nn.Module:
    """The same network, with what the backward pass keeps as configured."""
    if config.remat == "none":
        return module
    keep = None
    if config.remat == "activations":
        keep = jax.checkpoint_policies.save_only_these_names(LINEAR)
    # Arguments are counted from the module itself; the second one says whether it trains.
    kind: Any = nn.remat(type(module), policy=keep, static_argnums=(2,))
    fields = [field.name for field in dataclasses.fields(module)]
    own = {name: getattr(module, name) for name in fields if name not in ("name", "parent")}
    rebuilt: nn.Module = kind(**own)
    return rebuilt


def make_decoder(config: NetworkConfig, image: ImageShape, layers: Layers, what: str) -> Any:
    """Builds a network from vectors to images; ``apply(variables, z, train, condition)``.

    Args:
      config: architecture and size.
      image: (height, width, channels) of what it makes, square.
      layers: from `make_layers`.
      what: what the network is in its model, for errors.

    Returns:
      A module from float32 [batch, latent], bool and perhaps float32 [batch, labels] to
      [batch, height, width, channels] of any range.

    Raises:
      UserError: unknown architecture, or an image that is not square.
    """
    if image[0] != image[1]:
        raise UserError(f"images are {image[0]} x {image[1]}; set --data.resolution to a side")
    return _remat(config, lookup(DECODERS, config.name, what)(config, image, layers))


def make_encoder(config: NetworkConfig, layers: Layers, what: str) -> Any:
    """Builds a network from images to features; ``apply(variables, images, train)``.

    Args:
      config: architecture and size.
      layers: from `make_layers`.
      what: what the network is in its model, for errors.

    Returns:
      A module from float32 [batch, height, width, channels] to [batch, features]. Its `head_init`
      is the initialiser of layers to come after it.

    Raises:
      UserError: unknown architecture.
    """
    return _remat(config, lookup(ENCODERS, config.name, what)(config, layers))
