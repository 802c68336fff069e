"""Variational autoencoders of images, alone and with a discriminator."""

from genjax.config import DCGAN, MLP, Experiment, VAEConfig, VAEGANConfig
from genjax.presets.base import experiment, on_digits

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
    experiment("vae-gan-mnist", "mnist", VAEGANConfig(latent=64)),
)
