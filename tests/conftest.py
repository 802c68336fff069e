"""All tests run on eight CPU devices, so that sharded modes can be compared with one device."""

import os
from collections.abc import Callable

# The suite compiles far more than it computes; half of that time is LLVM's optimisation.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import numpy as np
import pytest

from genjax.config import DataConfig, Experiment, GANConfig, NetworkConfig, OptimizerConfig

jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture
def small_gan() -> GANConfig:
    """A DCGAN for 8 x 8 images that compiles in seconds, with every state there is."""
    network = NetworkConfig("dcgan", width=8)
    sgd = OptimizerConfig("sgd", learning_rate=0.01, b1=0.0)
    return GANConfig(network, network, sgd, sgd, latent=8, ema_decay=0.9)


@pytest.fixture
def small_experiment(small_gan: GANConfig) -> Experiment:
    return Experiment(
        "small",
        DataConfig("digits"),
        small_gan,
        steps=6,
        batch_size=16,
        mode="jit",
        log_every=2,
        sample_every=3,
        checkpoint_every=2,
    )


@pytest.fixture
def raw_batch() -> Callable[..., dict[str, np.ndarray]]:
    """A function from (number, size, image shape) to a batch of uint8 noise."""

    def make(number: int, size: int, image: tuple[int, ...] = (8, 8, 1)) -> dict[str, np.ndarray]:
        noise = np.random.default_rng(number).integers(0, 256, (size, *image), dtype=np.uint8)
        return {"image": noise}

    return make
