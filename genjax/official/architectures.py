"""The official networks that weights are exchanged with, by name."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from genjax.config import R3GAN, BigGAN, BigGANDeep, Network, StyleGAN2
from genjax.official import biggan, biggan_deep, r3gan, stylegan2
from genjax.official.shapes import Image, Inferred, Shapes
from genjax.official.tensors import Table

Tabulate = Callable[[Any, Image, bool], Table]
"""From a network's configuration, what it makes or judges, and whether it is given labels."""


class Architecture(NamedTuple):
    """A pair of official networks, and their counterparts here.

    Attributes:
      network: the configuration of ours.
      preset: whose losses and optimizers a training goes on with, by default.
      conditional: how labels come into our generator and discriminator.
      infer: what the tensors of a generator say of it.
      infer_discriminator: likewise, given what it judges: fields of its configuration.
      counterpart: fields of the discriminator that usually goes with those of a generator.
      generator: its tensors.
      discriminator: its tensors.
      prefix: of the names in the file that the authors' training leaves, if any.
      zeros: our arrays that the official networks lack, since they never leave 0.
    """

    network: type[Network]
    preset: str
    conditional: tuple[str, str]
    infer: Callable[[Shapes], Inferred]
    infer_discriminator: Callable[[Shapes, Image], Mapping[str, Any]]
    counterpart: Callable[[Mapping[str, Any], Image], Mapping[str, Any]]
    generator: Tabulate
    discriminator: Tabulate
    prefix: str = ""
    zeros: tuple[tuple[str, ...], ...] = ()


ARCHITECTURES: dict[str, Architecture] = {
    "biggan": Architecture(
        BigGAN,
        "biggan-cifar10",
        ("cbn", "projection"),
        biggan.infer_generator,
        biggan.infer_discriminator,
        biggan.counterpart,
        biggan.generator,
        biggan.discriminator,
    ),
    "biggan_deep": Architecture(
        BigGANDeep,
        "biggan-cifar10",
        ("cbn", "projection"),
        biggan_deep.infer_generator,
        biggan_deep.infer_discriminator,
        biggan.counterpart,
        biggan_deep.generator,
        biggan_deep.discriminator,
    ),
    "r3gan": Architecture(
        R3GAN,
        "r3gan-cifar10",
        ("embed", "embed"),
        r3gan.infer_generator,
        r3gan.infer_discriminator,
        r3gan.counterpart,
        r3gan.generator,
        r3gan.discriminator,
        prefix="Model.",
        # A relativistic loss does not change with it.
        zeros=(("params", "logit", "bias"),),
    ),
    "stylegan2": Architecture(
        StyleGAN2,
        "stylegan2-cifar10",
        ("mapping", "mapping"),
        stylegan2.infer_generator,
        stylegan2.infer_discriminator,
        stylegan2.counterpart,
        stylegan2.generator,
        stylegan2.discriminator,
    ),
}
"""By the name of our network."""
