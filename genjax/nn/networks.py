"""Architectures: decoders make images from vectors, encoders make features from images.

A generator is a decoder with a tanh, a discriminator an encoder with a logit; autoencoders use
both.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import flax.linen as nn

from genjax.config import (
    DCGAN,
    MLP,
    R3GAN,
    SNGAN,
    AutoencoderKL,
    BigGAN,
    BigGANDeep,
    Convolutional,
    DCGANTutorial,
    Goodfellow,
    Network,
    StyleGAN2,
    WaveGAN,
    norm_of,
)
from genjax.errors import UserError, suggest
from genjax.nn.autoencoder_kl import KLDecoder, KLEncoder, latent_map
from genjax.nn.biggan import BigGANDecoder, BigGANEncoder
from genjax.nn.biggan_deep import BigGANDeepDecoder, BigGANDeepEncoder
from genjax.nn.dcgan import DCGANDecoder, DCGANEncoder, TutorialDecoder, TutorialEncoder
from genjax.nn.layers import Layers
from genjax.nn.mlp import MaxoutEncoder, MLPDecoder, MLPEncoder, goodfellow_decoder
from genjax.nn.r3gan import R3GANDecoder, R3GANEncoder
from genjax.nn.remat import rematerialized
from genjax.nn.sngan import SNGANDecoder, SNGANEncoder
from genjax.nn.stylegan2 import StyleGAN2Decoder
from genjax.nn.stylegan2_encoder import StyleGAN2Encoder
from genjax.nn.wavegan import WaveGANDecoder, WaveGANEncoder

Built = TypeVar("Built")

DECODERS: dict[type[Network], Callable[[Any, Any, Layers], nn.Module]] = {
    AutoencoderKL: lambda config, image, layers: KLDecoder(config, layers, image),
    BigGAN: lambda config, image, layers: BigGANDecoder(image, config, layers),
    BigGANDeep: lambda config, image, layers: BigGANDeepDecoder(image, config, layers),
    DCGAN: lambda config, image, layers: DCGANDecoder(image, config.width, layers),
    DCGANTutorial: lambda config, image, layers: TutorialDecoder(image, layers),
    Goodfellow: lambda config, shape, layers: goodfellow_decoder(shape, config.width, layers),
    MLP: lambda config, shape, layers: MLPDecoder(shape, config.width, config.depth, layers),
    R3GAN: lambda config, image, layers: R3GANDecoder(image, config, layers),
    SNGAN: lambda config, image, layers: SNGANDecoder(image, config.width, layers),
    StyleGAN2: lambda config, image, layers: StyleGAN2Decoder(image, config, layers),
    WaveGAN: lambda config, shape, layers: WaveGANDecoder(shape, config.width, layers),
}

ENCODERS: dict[type[Network], Callable[[Any, Layers], nn.Module]] = {
    AutoencoderKL: lambda config, layers: KLEncoder(config, layers),
    BigGAN: lambda config, layers: BigGANEncoder(config, layers),
    BigGANDeep: lambda config, layers: BigGANDeepEncoder(config, layers),
    DCGAN: lambda config, layers: DCGANEncoder(config.width, layers),
    DCGANTutorial: lambda config, layers: TutorialEncoder(layers),
    Goodfellow: lambda config, layers: MaxoutEncoder(config.width, layers),
    MLP: lambda config, layers: MLPEncoder(config.width, config.depth, layers),
    R3GAN: lambda config, layers: R3GANEncoder(config, layers),
    SNGAN: lambda config, layers: SNGANEncoder(config.width, layers),
    StyleGAN2: lambda config, layers: StyleGAN2Encoder(config, layers),
    WaveGAN: lambda config, layers: WaveGANEncoder(config.width, config.shuffle, layers),
}


AXES: dict[type[Network], tuple[int, str]] = {
    AutoencoderKL: (3, "images"),
    BigGAN: (3, "images"),
    BigGANDeep: (3, "images"),
    DCGAN: (3, "images"),
    DCGANTutorial: (3, "images"),
    R3GAN: (3, "images"),
    SNGAN: (3, "images"),
    StyleGAN2: (3, "images"),
    WaveGAN: (2, "audio"),
}
"""Of an example, in number and in words, for architectures that are for one kind of data alone."""


def make_layers(config: Network, dtype: Any, axis_name: str | None, reference: int = 0) -> Layers:
    """What all layers of a network have in common.

    Args:
      config: of the network.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.
      reference: first rows of each input that are virtual batch norm's reference batch.

    Returns:
      The settings, which also make the layers.
    """
    form = config.convolutions if isinstance(config, Convolutional) else "auto"
    return Layers(norm_of(config), config.spectral_norm, dtype, axis_name, reference, form)


def _builder(table: Mapping[type[Network], Built], config: Network, what: str) -> Built:
    """What builds an architecture; raises UserError where it has no network of that kind."""
    if type(config) not in table:
        names = [name for name, kind in Network.registry.items() if kind in table]
        raise UserError(
            f"the {what}'s name is {config.name!r}, which is no network of that kind; "
            f"{suggest(config.name, names)}"
        )
    return table[type(config)]


def _check(config: Network, shape: tuple[int, ...], what: str) -> None:
    """Refuses data that an architecture is not for, and what it does not have."""
    if config.spectral_norm and isinstance(config, StyleGAN2):
        raise UserError(
            f"the {what} is stylegan2, whose weights are scaled already; turn its spectral_norm off"
        )
    axes, kind = AXES.get(type(config), (len(shape), ""))
    if axes != len(shape):
        fitting = [
            name
            for name, other in Network.registry.items()
            if other in ENCODERS and AXES.get(other, (len(shape), ""))[0] == len(shape)
        ]
        raise UserError(
            f"the {what}'s {config.name!r} is for {kind}, but examples have shape {shape}; "
            f"choices: {', '.join(sorted(fitting))}"
        )
    if len(shape) == 3 and shape[0] != shape[1]:
        raise UserError(f"images are {shape[0]} x {shape[1]}; set --data.resolution to a side")


def _remat(config: Network, module: nn.Module) -> nn.Module:
    """The same network, with what the backward pass keeps as configured."""
    if config.remat == "none" or getattr(module, "rematerializes", False):
        return module
    # The second argument says whether it trains.
    kind: Any = rematerialized(type(module), config.remat, (2,))
    fields = [field.name for field in dataclasses.fields(module)]
    own = {name: getattr(module, name) for name in fields if name not in ("name", "parent")}
    rebuilt: nn.Module = kind(**own)
    return rebuilt


def make_decoder(config: Network, shape: tuple[int, ...], layers: Layers, what: str) -> Any:
    """Builds a network from vectors to examples; ``apply(variables, z, train, condition)``.

    Args:
      config: architecture and size.
      shape: of what it makes; images, (height, width, channels), are square.
      layers: from `make_layers`.
      what: what the network is in its model, for errors.

    Returns:
      A module from float32 [batch, latent], bool and perhaps float32 [batch, labels] to
      [batch, *shape] of any range.

    Raises:
      UserError: an architecture without decoder, or one that is not for such examples.
    """
    build = _builder(DECODERS, config, what)
    _check(config, shape, what)
    return _remat(config, build(config, shape, layers))


def make_encoder(config: Network, shape: tuple[int, ...], layers: Layers, what: str) -> Any:
    """Builds a network from examples to features; ``apply(variables, examples, train)``.

    Args:
      config: architecture and size.
      shape: of an example.
      layers: from `make_layers`.
      what: what the network is in its model, for errors.

    Returns:
      A module from float32 [batch, *shape] to features [batch, ...], a vector or a map. Its
      `head_init` is the initialiser of layers to come after it.

    Raises:
      UserError: an architecture without encoder, or one that is not for such examples.
    """
    build = _builder(ENCODERS, config, what)
    _check(config, shape, what)
    return _remat(config, build(config, layers))


def latent_shape(config: Network, shape: tuple[int, ...], latent: int) -> tuple[int, ...]:
    """The shape that latents have by themselves: a map for a decoder that takes one.

    Args:
      config: of the decoder.
      shape: of what it makes.
      latent: numbers in a latent.

    Returns:
      The shape, of so many numbers.
    """
    return latent_map(config, shape[0]) if isinstance(config, AutoencoderKL) else (latent,)
