"""GANs of points in the plane."""

import dataclasses

from genjax.config import MLP, Adam, EvalConfig, Experiment, GANConfig, Linear
from genjax.presets.base import experiment


def _mixture(name: str) -> Experiment:
    """R3GAN's loss and penalties (Huang et al. 2024) on fully connected networks.

    A run of a minute on two cores; points are cheap enough to score many.
    """
    network = MLP(width=128, depth=3, norm="none")
    adam = Adam(learning_rate=1e-3, b1=0.0, b2=0.99, schedule=Linear(length=8000))
    model = GANConfig(
        generator=network,
        generator_optimizer=adam,
        discriminator=network,
        discriminator_optimizer=adam,
        loss="relativistic",
        penalties={"r1": (1e-3, 1), "r2": (1e-3, 1)},
        latent=2,
        ema_decay=0.999,
    )
    base = experiment(name, name, model)
    return dataclasses.replace(base, steps=8000, batch_size=256, eval=EvalConfig(samples=10_000))


EXPERIMENTS: tuple[Experiment, ...] = (_mixture("gaussians-8"), _mixture("gaussians-25"))
