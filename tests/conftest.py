"""All tests run on eight CPU devices, so that sharded modes can be compared with one device."""

import os
from collections.abc import Callable
from pathlib import Path

# The suite compiles far more than it computes. Half of that time is LLVM's optimisation, and many
# programs are compiled by several tests and processes.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "xla"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

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
    return GANConfig(
        generator=network,
        discriminator=network,
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
        latent=8,
        ema_decay=0.9,
    )


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
    """A function from (number, size, image shape, classes) to a batch of uint8 noise."""

    def make(
        number: int, size: int, image: tuple[int, ...] = (8, 8, 1), classes: int = 10
    ) -> dict[str, np.ndarray]:
        generator = np.random.default_rng(number)
        noise = generator.integers(0, 256, (size, *image), dtype=np.uint8)
        return {"image": noise, "label": generator.integers(0, classes, size, dtype=np.int32)}

    return make
