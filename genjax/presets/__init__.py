"""Named experiments. Nothing here imports JAX."""

import dataclasses
from typing import Any

from genjax.config import (
    DataConfig,
    EvalConfig,
    Experiment,
    GANConfig,
    Model,
    NetworkConfig,
    OptimizerConfig,
    VAEConfig,
    VAEGANConfig,
)
from genjax.errors import lookup

DEFAULT = "dcgan-digits"

_TUTORIAL_OPTIMIZER = OptimizerConfig("adam", learning_rate=1e-4, b1=0.9)
_TUTORIAL = NetworkConfig("dcgan_tutorial", norm="none")
# Mirza & Osindero's generator against Miyato & Koyama's discriminator; see
# experiments/cgan_mnist.py.
_CONDITIONAL = GANConfig(
    generator=NetworkConfig(conditioning="concat"),
    discriminator=NetworkConfig(norm="none", spectral_norm=True, conditioning="projection"),
)


def _experiment(
    name: str, data: str, model: Model, flip: bool = False, **fields: Any
) -> Experiment:
    defaults: dict[str, Any] = {"steps": 10_000, "batch_size": 128, "checkpoint_every": 1000}
    return Experiment(name, DataConfig(data, flip=flip), model, **{**defaults, **fields})


def _on_digits(experiment: Experiment) -> Experiment:
    """A run of a minute on two cores."""
    return dataclasses.replace(experiment, steps=2000, batch_size=64, checkpoint_every=500)


def _on_points(experiment: Experiment) -> Experiment:
    """A run of a minute on two cores; points are cheap enough to score many."""
    samples = EvalConfig(samples=10_000)
    return dataclasses.replace(experiment, steps=8000, batch_size=256, eval=samples)


def _tutorial(conditioning: str) -> GANConfig:
    network = dataclasses.replace(_TUTORIAL, conditioning=conditioning)
    return GANConfig(
        generator=network,
        discriminator=network,
        generator_optimizer=_TUTORIAL_OPTIMIZER,
        discriminator_optimizer=_TUTORIAL_OPTIMIZER,
    )


def _sngan(updates: int) -> GANConfig:
    """Miyato et al. 2018, table 2, setting F, with hinge loss and five updates of D."""
    adam = OptimizerConfig("adam", learning_rate=2e-4, b1=0.0, b2=0.9)
    return GANConfig(
        generator=NetworkConfig("sngan", width=256),
        discriminator=NetworkConfig("sngan", width=128, norm="none", spectral_norm=True),
        generator_optimizer=dataclasses.replace(adam, decay_updates=updates),
        discriminator_optimizer=dataclasses.replace(adam, decay_updates=5 * updates),
        loss="hinge",
        latent=128,
        discriminator_updates=5,
    )


def _mixture() -> GANConfig:
    """R3GAN's loss and penalties (Huang et al. 2024) on fully connected networks."""
    network = NetworkConfig("mlp", width=128, depth=3, norm="none")
    adam = OptimizerConfig("adam", learning_rate=1e-3, b1=0.0, b2=0.99, decay_updates=8000)
    return GANConfig(
        generator=network,
        discriminator=network,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss="relativistic",
        penalties={"r1": (1e-3, 1), "r2": (1e-3, 1)},
        latent=2,
        ema_decay=0.999,
    )


_ALL = (
    _on_digits(_experiment("dcgan-digits", "digits", GANConfig())),
    _experiment("dcgan-mnist", "mnist", GANConfig()),
    _experiment("dcgan-fashion", "fashion_mnist", GANConfig()),
    _experiment("dcgan-cifar10", "cifar10", GANConfig(), flip=True, steps=50_000),
    _experiment(
        "gan-mnist",
        "mnist",
        GANConfig(
            generator=NetworkConfig("goodfellow", width=1200, norm="none"),
            discriminator=NetworkConfig("goodfellow", width=240, norm="none"),
            # The published SGD of 0.1 diverges within a few hundred steps without its maximum
            # norm on the weights; these keep Adam.
        ),
        steps=50_000,
        batch_size=100,
    ),
    _experiment("dcgan-tutorial", "mnist", _tutorial("none"), seed=42),
    _on_digits(_experiment("cgan-digits", "digits", _CONDITIONAL)),
    _experiment("cgan-mnist", "mnist", _CONDITIONAL),
    _experiment("cgan-fashion", "fashion_mnist", _CONDITIONAL),
    _experiment("cgan-cifar10", "cifar10", _CONDITIONAL, flip=True, steps=50_000),
    _experiment("cgan-tutorial", "mnist", _tutorial("concat"), seed=42),
    _experiment(
        "wgan-gp-mnist",
        "mnist",
        # Gulrajani et al. 2017, algorithm 1, on DCGAN's networks without batch norm.
        GANConfig(
            generator=NetworkConfig(norm="none"),
            discriminator=NetworkConfig(norm="none"),
            generator_optimizer=OptimizerConfig("adam", learning_rate=1e-4, b1=0.5, b2=0.9),
            discriminator_optimizer=OptimizerConfig("adam", learning_rate=1e-4, b1=0.5, b2=0.9),
            loss="wasserstein",
            penalties={"wgan_gp": (10.0, 1)},
            latent=128,
            discriminator_updates=5,
        ),
        steps=20_000,
        batch_size=50,
    ),
    _experiment(
        "infogan-mnist",
        "mnist",
        # Chen et al. 2016, appendix C.1: one code of ten categories and two continuous ones.
        GANConfig(
            generator=NetworkConfig(conditioning="concat"),
            discriminator=NetworkConfig(conditioning="infogan"),
            generator_optimizer=OptimizerConfig("adam", learning_rate=1e-3, b1=0.5),
            discriminator_optimizer=OptimizerConfig("adam", learning_rate=2e-4, b1=0.5),
            latent=62,
        ),
    ),
    _experiment("sngan-fashion", "fashion_mnist", _sngan(20_000), steps=20_000, batch_size=64),
    _experiment("sngan-cifar10", "cifar10", _sngan(50_000), flip=True, steps=50_000, batch_size=64),
    _on_points(_experiment("gaussians-8", "gaussians-8", _mixture())),
    _on_points(_experiment("gaussians-25", "gaussians-25", _mixture())),
    _on_digits(
        _experiment(
            "vae-digits",
            "digits",
            VAEConfig(
                encoder=NetworkConfig("mlp", width=128, depth=1, norm="none"),
                decoder=NetworkConfig("mlp", width=128, depth=1, norm="none"),
                likelihood="gaussian",
                latent=2,
            ),
        )
    ),
    _experiment("vae-mnist", "mnist", VAEConfig()),
    _experiment("cvae-mnist", "mnist", VAEConfig(conditional=True)),
    _experiment(
        "conv-vae-fashion",
        "fashion_mnist",
        VAEConfig(
            encoder=NetworkConfig("dcgan", width=32),
            decoder=NetworkConfig("dcgan", width=32),
            likelihood="discretized_logistic",
            latent=32,
        ),
    ),
    _experiment("vae-gan-mnist", "mnist", VAEGANConfig(latent=64)),
)

PRESETS: dict[str, Experiment] = {experiment.name: experiment for experiment in _ALL}


def preset(name: str) -> Experiment:
    """The experiment of that name; raises UserError with the choices for an unknown one."""
    return lookup(PRESETS, name, "preset")
