"""Named experiments. Nothing here imports JAX."""

import dataclasses

from genjax.config import DataConfig, Experiment, GANConfig, NetworkConfig, OptimizerConfig
from genjax.errors import lookup

DEFAULT = "dcgan-digits"

_TUTORIAL_OPTIMIZER = OptimizerConfig("adam", learning_rate=1e-4, b1=0.9)

_DCGAN = Experiment(
    name="dcgan-mnist",
    data=DataConfig("mnist"),
    model=GANConfig(),
    steps=10_000,
    batch_size=128,
    log_every=50,
    sample_every=500,
    checkpoint_every=1000,
)

PRESETS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        dataclasses.replace(
            _DCGAN,
            name="dcgan-digits",
            data=DataConfig("digits"),
            steps=2000,
            checkpoint_every=500,
            batch_size=64,
        ),
        _DCGAN,
        dataclasses.replace(_DCGAN, name="dcgan-fashion", data=DataConfig("fashion_mnist")),
        dataclasses.replace(
            _DCGAN,
            name="dcgan-cifar10",
            data=DataConfig("cifar10", flip=True),
            steps=50_000,
        ),
        dataclasses.replace(
            _DCGAN,
            name="gan-mnist",
            model=GANConfig(
                generator=NetworkConfig("mlp", width=1200),
                discriminator=NetworkConfig("mlp", width=240),
                # The published SGD of 0.1 diverges within a few hundred steps without its maximum
                # norm on the weights; these keep Adam.
            ),
            steps=50_000,
            batch_size=100,
        ),
        dataclasses.replace(
            _DCGAN,
            name="dcgan-tutorial",
            model=GANConfig(
                generator=NetworkConfig("dcgan_tutorial"),
                discriminator=NetworkConfig("dcgan_tutorial"),
                generator_optimizer=_TUTORIAL_OPTIMIZER,
                discriminator_optimizer=_TUTORIAL_OPTIMIZER,
            ),
            seed=42,
        ),
    )
}


def preset(name: str) -> Experiment:
    """The experiment of that name; raises UserError with the choices for an unknown one."""
    return lookup(PRESETS, name, "preset")
