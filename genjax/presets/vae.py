"""Variational autoencoders of images, alone and with a discriminator."""

import dataclasses

from genjax.config import DCGAN, MLP, AutoencoderKL, Experiment, VAEConfig, VAEGANConfig
from genjax.presets.base import experiment, on_digits

_KL = AutoencoderKL(width=32, widths=(1, 2, 2), blocks=1, groups=8)


def _clothing() -> Experiment:
    """Photographs of clothes as maps of 8 x 8 x 4 latents, for diffusion models to generate.

    The weight of the divergence is far below 1, as Rombach et al. 2022 (section 3.1) choose it, so
    that latents say nearly all of an image and need a model of their own. After 600 steps
    (2026-11-28, five minutes of one core) they have a standard deviation of 1.7, to which
    ``--model.latent-scale 0.3`` of that model fits; reconstructions are blurred then.
    """
    model = VAEConfig(
        encoder=_KL,
        decoder=_KL,
        likelihood="gaussian",
        scale=0.1,
        latent=256,
        beta=0.1,
    )
    made = experiment("kl-clothing", "clothing", model, flip=True, batch_size=32)
    return dataclasses.replace(made, data=dataclasses.replace(made.data, resolution=32))


_SMALL = MLP(width=128, depth=1, norm="none")

EXPERIMENTS: tuple[Experiment, ...] = (
    on_digits(
        experiment(
            "vae-digits",
            "digits",
            VAEConfig(encoder=_SMALL, decoder=_SMALL, likelihood="gaussian", latent=2),
        )
    ),
    experiment("vae-mnist", "mnist", VAEConfig()),
    experiment("cvae-mnist", "mnist", VAEConfig(conditional=True)),
    experiment(
        "conv-vae-fashion",
        "fashion_mnist",
        VAEConfig(
            encoder=DCGAN(width=32),
            decoder=DCGAN(width=32),
            likelihood="discretized_logistic",
            latent=32,
        ),
    ),
    _clothing(),
    experiment("vae-gan-mnist", "mnist", VAEGANConfig(latent=64)),
)
