"""GANs of images."""

import dataclasses

from genjax.config import (
    DCGAN,
    R3GAN,
    SNGAN,
    Adam,
    BigGAN,
    Cosine,
    DCGANTutorial,
    Experiment,
    GANConfig,
    Goodfellow,
    Linear,
)
from genjax.presets.base import experiment, on_digits

# Mirza & Osindero's generator against Miyato & Koyama's discriminator; see
# experiments/cgan_mnist.py.
_CONDITIONAL = GANConfig(
    generator_conditioning="concat",
    discriminator=DCGAN(norm="none", spectral_norm=True),
    discriminator_conditioning="projection",
)


def _tutorial(conditioning: str) -> GANConfig:
    optimizer = Adam(learning_rate=1e-4, b1=0.9)
    return GANConfig(
        generator=DCGANTutorial(),
        generator_conditioning=conditioning,
        generator_optimizer=optimizer,
        discriminator=DCGANTutorial(),
        discriminator_conditioning=conditioning,
        discriminator_optimizer=optimizer,
    )


def _sngan(updates: int) -> GANConfig:
    """Miyato et al. 2018, table 2, setting F, with hinge loss and five updates of D."""
    adam = Adam(learning_rate=2e-4, b1=0.0, b2=0.9)
    return GANConfig(
        generator=SNGAN(width=256),
        generator_optimizer=dataclasses.replace(adam, schedule=Linear(length=updates)),
        discriminator=SNGAN(width=128, norm="none", spectral_norm=True),
        discriminator_optimizer=dataclasses.replace(adam, schedule=Linear(length=5 * updates)),
        loss="hinge",
        latent=128,
        discriminator_updates=5,
    )


def _biggan_cifar10() -> GANConfig:
    """Brock et al. 2019, by the authors' PyTorch code (launch_cifar_ema.sh): 500 passes.

    Target: FID 14.73 (Brock et al. 2019, by table 3 of Song et al. 2021); the code comes with no
    score of CIFAR-10. PyTorch-StudioGAN's BigGAN, whose widths and z are others, has 8.13 against
    the test images (logs/CIFAR10/BigGAN-train-2021_01_15_14_48_48.log). Not trained here: it needs
    an accelerator. The moving average forgets the first steps faster, where the code copies the
    weights for 1,000.
    """
    network = BigGAN(width=64, initializer="normal", spectral_norm=True)
    adam = Adam(learning_rate=2e-4, b1=0.0, b2=0.999)
    return GANConfig(
        generator=network,
        generator_conditioning="cbn",
        generator_optimizer=adam,
        discriminator=dataclasses.replace(network, norm="none"),
        discriminator_conditioning="projection",
        discriminator_optimizer=adam,
        discriminator_updates=4,
        loss="hinge",
        latent=128,
        ema_decay=0.9999,
        ema_ramp=0.05,
    )


def _biggan_fashion() -> GANConfig:
    """Thin networks for two cores, with the two updates of D of the paper's runs at 128 pixels.

    After 1,500 steps, 20 minutes of a busy core: FID 2.05 (classifier, 10,000 samples), precision
    0.88, recall 0.36, coverage 0.49; a classifier of samples names 72.5 % of test images (seed 0,
    one of two cores of an AMD EPYC of family 25, 2026-11-29).
    """
    adam = Adam(learning_rate=2e-4, b1=0.0, b2=0.999)
    return GANConfig(
        generator=BigGAN(width=12, spectral_norm=True),
        generator_conditioning="cbn",
        generator_optimizer=adam,
        discriminator=BigGAN(width=8, norm="none", spectral_norm=True),
        discriminator_conditioning="projection",
        discriminator_optimizer=adam,
        discriminator_updates=2,
        loss="hinge",
        ema_decay=0.999,
        ema_ramp=0.05,
    )


def _wgan_gp() -> GANConfig:
    """Gulrajani et al. 2017, algorithm 1, on DCGAN's networks without batch norm."""
    adam = Adam(learning_rate=1e-4, b1=0.5, b2=0.9)
    return GANConfig(
        generator=DCGAN(norm="none"),
        generator_optimizer=adam,
        discriminator=DCGAN(norm="none"),
        discriminator_optimizer=adam,
        loss="wasserstein",
        penalties={"wgan_gp": (10.0, 1)},
        latent=128,
        discriminator_updates=5,
    )


def _infogan() -> GANConfig:
    """Chen et al. 2016, appendix C.1: one code of ten categories and two continuous ones."""
    return GANConfig(
        generator_conditioning="concat",
        generator_optimizer=Adam(learning_rate=1e-3, b1=0.5),
        discriminator_conditioning="infogan",
        discriminator_optimizer=Adam(learning_rate=2e-4, b1=0.5),
        latent=62,
    )


def _r3gan(network: R3GAN, gamma: float, learning_rate: float = 2e-3) -> GANConfig:
    """Huang et al. 2024 for two cores, without schedules.

    The weights of networks this narrow are larger than those of the paper's, so that they need
    larger steps to move by the same share: five to ten times its step size, b2 as its runs end
    with.
    """
    adam = Adam(learning_rate=learning_rate, b1=0.0, b2=0.99)
    return GANConfig(
        generator=network,
        generator_optimizer=adam,
        discriminator=network,
        discriminator_optimizer=adam,
        loss="relativistic",
        penalties={"r1": (gamma, 1), "r2": (gamma, 1)},
        latent=64,
        ema_decay=0.999,
        ema_ramp=0.05,
    )


def _r3gan_published(
    network: R3GAN,
    gamma: float,
    images: int,
    half_life: float,
    batch_size: int,
    augmentation: float,
    conditional: bool,
) -> GANConfig:
    """Huang et al. 2024 by the authors' code (train.py): cosines over the first `images`.

    Targets, of the paper: FID 1.96 on CIFAR-10, 1.95 on FFHQ at 64 pixels, 2.09 on ImageNet at 64
    pixels. Not trained here: they need accelerators. The code trains until it is stopped: with
    CIFAR-10 the paper's runs saw 250 million images, with ImageNet a thousand million (its table 9,
    by issue 18 of brownvc/R3GAN); for the 150 million of FFHQ there is no source here. G is
    compared with the real images of D's update, where the code reads others, and nothing is
    computed at half precision.

    Args:
      network: of both players.
      gamma: weight of R1 and R2 at first; a tenth of it in the end.
      images: over which all values change.
      half_life: of the moving average in the end, in images; 0 at first.
      batch_size: of both players.
      augmentation: its strength p in the end; 0 at first.
      conditional: on classes.

    Returns:
      The model.
    """

    def course(end: float, start: float = 1.0) -> Cosine:
        return Cosine(length=images, start=start, end=end, unit="images")

    adam = Adam(learning_rate=2e-4, b1=0.0, b2=0.9, schedule=course(0.25), b2_schedule=course(1.1))
    conditioning = "embed" if conditional else "none"
    return GANConfig(
        generator=network,
        generator_conditioning=conditioning,
        generator_optimizer=adam,
        discriminator=network,
        discriminator_conditioning=conditioning,
        discriminator_optimizer=adam,
        loss="relativistic",
        penalties={"r1": (gamma, 1), "r2": (gamma, 1)},
        penalty_schedule=course(0.1),
        # The images are mirrored as they are read, too.
        ada={"blit": 1.0, "geom": 1.0, "color": 0.5, "cutout": 1.0},
        ada_p=augmentation,
        ada_schedule=course(1.0, start=0.0),
        latent=64,
        ema_decay=0.5 ** (batch_size / half_life),
        ema_schedule=course(1.0, start=0.0),
    )


def _t2i_emoji() -> Experiment:
    """Text to image at 32 pixels, for two cores; target: none published of these data.

    GAN-CLS (Reed et al. 2016), whose D must tell captions of other images, too, with projection and
    DiffAugment. Captions are read by another run, which is named beside it: ``--model.text-encoder
    runs/clip``, of ``genjax train clip-emoji --out runs/clip``. To compare with is t2i-emoji, by
    the same scores of the same images.
    """
    model = GANConfig(
        generator=DCGAN(),
        generator_conditioning="cbn",
        discriminator=DCGAN(norm="none", spectral_norm=True),
        discriminator_conditioning="projection",
        loss="hinge",
        penalties={"mismatch": (0.5, 1)},
        augmentations=("color", "translation"),
        condition_width=128,
        ema_decay=0.999,
        ema_ramp=0.05,
    )
    made = experiment("t2i-gan-emoji", "emoji", model, batch_size=64)
    described = dataclasses.replace(made.data, resolution=32, given=("caption",))
    return dataclasses.replace(made, data=described)


EXPERIMENTS: tuple[Experiment, ...] = (
    on_digits(experiment("dcgan-digits", "digits", GANConfig())),
    experiment("dcgan-mnist", "mnist", GANConfig()),
    experiment("dcgan-fashion", "fashion_mnist", GANConfig()),
    experiment("dcgan-cifar10", "cifar10", GANConfig(), flip=True, steps=50_000),
    experiment(
        "gan-mnist",
        "mnist",
        # The published SGD of 0.1 diverges within a few hundred steps without its maximum norm on
        # the weights; these keep Adam.
        GANConfig(generator=Goodfellow(width=1200), discriminator=Goodfellow(width=240)),
        steps=50_000,
        batch_size=100,
    ),
    experiment("dcgan-tutorial", "mnist", _tutorial("none"), seed=42),
    on_digits(experiment("cgan-digits", "digits", _CONDITIONAL)),
    experiment("cgan-mnist", "mnist", _CONDITIONAL),
    experiment("cgan-fashion", "fashion_mnist", _CONDITIONAL),
    experiment("cgan-cifar10", "cifar10", _CONDITIONAL, flip=True, steps=50_000),
    experiment("cgan-tutorial", "mnist", _tutorial("concat"), seed=42),
    experiment("wgan-gp-mnist", "mnist", _wgan_gp(), steps=20_000, batch_size=50),
    experiment("infogan-mnist", "mnist", _infogan()),
    experiment("sngan-fashion", "fashion_mnist", _sngan(20_000), steps=20_000, batch_size=64),
    experiment("sngan-cifar10", "cifar10", _sngan(50_000), flip=True, steps=50_000, batch_size=64),
    experiment("biggan-cifar10", "cifar10", _biggan_cifar10(), steps=125_000, batch_size=50),
    experiment("biggan-fashion", "fashion_mnist", _biggan_fashion(), batch_size=64),
    on_digits(
        experiment("r3gan-digits", "digits", _r3gan(R3GAN(widths=(64, 32), blocks=(1,)), 1.0))
    ),
    # In ten minutes of a core, with batches of 16 and steps of 1e-3: FID 4.03 (classifier), where
    # DCGAN's was 2.34 and a narrow SNGAN's 2.13 (docs/families.md).
    experiment(
        "r3gan-fashion",
        "fashion_mnist",
        _r3gan(R3GAN(widths=(64, 32, 16), blocks=(1,)), 1.0),
        batch_size=64,
    ),
    # Target, of the paper's far longer training: all 1,000 modes. In twelve minutes of a core: 996;
    # DCGAN has 999 (experiments/ablations/stacked_mnist.py).
    experiment(
        "r3gan-stacked-mnist",
        "stacked_mnist",
        _r3gan(R3GAN(widths=(64, 32, 16), blocks=(1,)), 30.0, learning_rate=1e-3),
        batch_size=16,
    ),
    experiment(
        "r3gan-cifar10",
        "cifar10",
        _r3gan_published(R3GAN(widths=(768,)), 0.05, 20_000_000, 5e6, 512, 0.55, conditional=True),
        flip=True,
        steps=488_000,
        batch_size=512,
    ),
    experiment(
        "r3gan-ffhq64",
        "ffhq64",
        _r3gan_published(
            R3GAN(widths=(768, 768, 768, 768, 384)),
            2.0,
            20_000_000,
            5e5,
            256,
            0.3,
            conditional=False,
        ),
        flip=True,
        steps=586_000,
        batch_size=256,
    ),
    experiment(
        "r3gan-imagenet64",
        "imagenet64",
        _r3gan_published(
            R3GAN(widths=(1536,), group=32), 1.0, 200_000_000, 5e7, 4096, 0.4, conditional=True
        ),
        flip=True,
        steps=244_000,
        batch_size=4096,
    ),
    _t2i_emoji(),
)
