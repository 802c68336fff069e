"""Which axes of a GAN fit together, and the two networks that they describe."""

from typing import Any

import jax.numpy as jnp

from genjax.config import Constant, GANConfig, Goodfellow, StyleGAN2, norm_of
from genjax.core.schema import Spec
from genjax.errors import UserError, lookup
from genjax.families.gan.ada import GROUPS, shares_of
from genjax.families.gan.conditioning import RECOGNITION
from genjax.families.gan.losses import LOSSES
from genjax.families.gan.networks import MINIBATCH, Discriminator, Generator
from genjax.families.gan.penalties import PENALTIES
from genjax.families.gan.styles import GENERATOR_PENALTIES
from genjax.nn.networks import make_decoder, make_encoder, make_layers


def make_networks(config: GANConfig, spec: Spec, axis_name: str | None) -> tuple[Any, Any]:
    """Builds G and D, without parameters.

    Args:
      config: of the GAN.
      spec: of the data.
      axis_name: mapped axis over the devices, if any.

    Returns:
      A `Generator` and a `Discriminator`.

    Raises:
      UserError: an unknown name, or an image size a network can't make.
    """
    dtype = jnp.dtype(config.dtype)
    virtual = norm_of(config.generator) == "virtual"
    g_layers = make_layers(config.generator, dtype, axis_name, spec.size if virtual else 0)
    decoder = make_decoder(config.generator, spec.shape, g_layers, "generator")
    d_layers = make_layers(config.discriminator, dtype, axis_name)
    encoder = make_encoder(config.discriminator, spec.shape, d_layers, "discriminator")
    minibatch = lookup(MINIBATCH, config.minibatch, "minibatch layer")
    recognition = lookup(
        RECOGNITION, config.discriminator_conditioning, "conditioning of the discriminator"
    )
    discriminator = Discriminator(
        encoder,
        d_layers,
        config.discriminator_conditioning,
        None if minibatch is None else minibatch(axis_name),
        () if recognition is None else recognition.sizes(config, spec.classes),
        config.condition_width,
    )
    generator = Generator(
        decoder, config.generator_conditioning, virtual, g_layers, config.condition_width
    )
    return generator, discriminator


def check_axes(config: GANConfig, spec: Spec) -> None:
    """Refuses axes that do not fit each other or the data.

    Args:
      config: of the GAN.
      spec: of the data.

    Raises:
      UserError: they don't; the message says what to change.
    """
    for_images = [name for name in config.penalties if lookup(PENALTIES, name, "penalty").images]
    for_images += [*config.augmentations, *config.ada]
    if for_images and len(spec.shape) != 3:
        raise UserError(
            f"{for_images[0]!r} is for images, but examples have shape {spec.shape}; leave it out"
        )
    _check_mismatch(config)
    differentiating = [
        name for name in config.penalties if lookup(PENALTIES, name, "penalty").differentiates
    ]
    norm = norm_of(config.discriminator)
    if differentiating and norm == "batch":
        raise UserError(
            f"penalty {differentiating[0]!r} takes the gradient of each example's logit alone, and "
            "batch norm makes it depend on the others; set --model.discriminator.norm to layer or "
            "none"
        )
    _check_styles(config)
    _check_ada(config, spec)
    name = config.discriminator.name
    dropout = isinstance(config.discriminator, Goodfellow)
    others = getattr(config.discriminator, "stddev", 0) or config.minibatch != "none"
    if config.joint_pass and (norm == "batch" or others or dropout):
        raise UserError(
            f"joint_pass needs a D that judges each image alone, but it has norm {norm!r}, "
            f"minibatch {config.minibatch!r} and network {name!r}, and goodfellow has dropout, "
            "stylegan2 stddev; turn it off"
        )
    if config.ema_decay is None:
        if config.ema_ramp is not None:
            raise UserError(
                f"ema_ramp is {config.ema_ramp} without a moving average; set ema_decay"
            )
        if config.ema_schedule != Constant():
            raise UserError(
                f"ema_schedule is {config.ema_schedule} without a moving average; set ema_decay"
            )
    if config.penalty_schedule != Constant() and not config.penalties:
        raise UserError(
            f"penalty_schedule is {config.penalty_schedule} without penalties; set penalties, or "
            "leave it out"
        )


def _check_mismatch(config: GANConfig) -> None:
    """Refuses terms about D's condition where it has none, or where its loss compares images."""
    for name in config.penalties:
        if not PENALTIES[name].conditional:
            continue
        conditioning = config.discriminator_conditioning
        if conditioning == "none" or RECOGNITION.get(conditioning) is not None:
            raise UserError(
                f"penalty {name!r} is for a D that is given a condition, but "
                f"discriminator_conditioning is {conditioning!r}; set it to 'projection', 'embed' "
                "or 'concat'"
            )
        if lookup(LOSSES, config.loss, "adversarial loss").generated is None:
            raise UserError(
                f"penalty {name!r} is for a loss that judges each image for itself, but "
                f"{config.loss!r} compares them; choose another loss, or leave it out"
            )


def _check_styles(config: GANConfig) -> None:
    """Refuses what only a network of styles has where another one is used."""
    for player in ("generator", "discriminator"):
        network, conditioning = getattr(config, player), getattr(config, f"{player}_conditioning")
        if conditioning == "mapping" and not isinstance(network, StyleGAN2):
            raise UserError(
                f"{player}_conditioning is 'mapping', which is stylegan2's, but the {player} is "
                f"{network.name!r}; choose another one"
            )
    styled = isinstance(config.generator, StyleGAN2)
    if styled and config.generator_conditioning == "cbn":
        raise UserError(
            "stylegan2 has no norm for 'cbn'; set generator_conditioning to 'mapping', 'embed' or "
            "'concat'"
        )
    for name in config.generator_penalties:
        lookup(GENERATOR_PENALTIES, name, "term of the generator's loss")
    wanted = [*config.generator_penalties, *(["style_mixing"] if config.style_mixing else [])]
    if wanted and not styled:
        raise UserError(
            f"{wanted[0]} is for a generator of styles, but this one is "
            f"{config.generator.name!r}; leave it out, or set --model.generator.name stylegan2"
        )


def _check_ada(config: GANConfig, spec: Spec) -> None:
    """Refuses an augmentation of colours that are none, and a strength of nothing."""
    recolors = [name for name in GROUPS["color"] if name in shares_of(config.ada)]
    if recolors and spec.shape[-1] not in (1, 3):
        raise UserError(
            f"{recolors[0]!r} is for grey images or red, green and blue, but examples have shape "
            f"{spec.shape}; leave it out of ada"
        )
    for field, unset in (("ada_p", 0), ("ada_target", None)):
        value = getattr(config, field)
        if value != unset and not config.ada:
            raise UserError(
                f"{field} is {value} without operations; set ada, for example to "
                "blit 1 geom 1 color 1"
            )
    if config.ada_schedule != Constant() and not config.ada_p:
        raise UserError(
            f"ada_schedule is {config.ada_schedule} without a strength; set ada and ada_p"
        )
    # Theirs stay the same where all logits move.
    compares = (
        lookup(LOSSES, config.loss, "adversarial loss").paired or config.loss == "wasserstein"
    )
    if config.ada_target is not None and compares:
        raise UserError(
            f"ada_target needs logits whose sign says what is real, but loss {config.loss!r} only "
            "compares them; set ada_p and leave ada_target out"
        )
