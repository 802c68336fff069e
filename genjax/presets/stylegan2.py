"""StyleGAN2 (Karras et al. 2020), at its authors' settings and at a size for two cores."""

import dataclasses

from genjax.config import Adam, Experiment, GANConfig, StyleGAN2
from genjax.presets.base import experiment


def _stylegan2(
    network: StyleGAN2, batch_size: int, gamma: float, half_life: float, latent: int
) -> GANConfig:
    """What all settings of the authors' code (train.py of stylegan2-ada-pytorch) have in common.

    R1 is an update of its own after every 16th of D.

    Args:
      network: of both players.
      batch_size: of both.
      gamma: weight of R1.
      half_life: of the moving average, in images.
      latent: dimensions of z.

    Returns:
      The model.
    """
    adam = Adam(learning_rate=0.0025, b1=0.0, b2=0.99)
    return GANConfig(
        generator=network,
        generator_optimizer=adam,
        discriminator=network,
        discriminator_optimizer=adam,
        penalties={"r1": (gamma, 16)},
        lazy_updates=True,
        latent=latent,
        ema_decay=0.5 ** (batch_size / half_life),
    )


def _cifar10() -> GANConfig:
    """Karras et al. 2020 (StyleGAN2-ADA), the setting ``cifar``, without labels.

    Not trained here: it needs an accelerator.
    """
    network = StyleGAN2(channel_base=32768, mapping=2, stddev=32)
    model = _stylegan2(network, 64, 0.01, 5e5, 512)
    plain = dataclasses.replace(network, architecture="plain")
    return dataclasses.replace(model, discriminator=plain, ema_ramp=0.05)


def _small(side: int, batch_size: int) -> GANConfig:
    """The setting ``auto`` of the authors' code with thin networks; gamma is by its rule,
    ``0.0002 side^2 / batch``."""
    network = StyleGAN2(channel_base=512, channel_max=64, style=64, mapping=2)
    gamma = 0.0002 * side**2 / batch_size
    model = _stylegan2(network, batch_size, gamma, 1e4 * batch_size / 32, 64)
    return dataclasses.replace(model, ema_ramp=0.05)


EXPERIMENTS: tuple[Experiment, ...] = (
    experiment(
        "stylegan2-cifar10", "cifar10", _cifar10(), flip=True, steps=1_562_500, batch_size=64
    ),
    experiment("stylegan2-fashion", "fashion_mnist", _small(28, 32), batch_size=32),
)
