"""All tests run on eight CPU devices, so that sharded modes can be compared with one device."""

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

# The suite compiles far more than it computes. Most of that time is LLVM's optimisation and XLA's
# fusion emitters, and many programs are compiled by several tests and processes.
# tests/repeat_test.py trains as users do.
_QUICK = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")


def _known(flag: str) -> bool:
    """Whether this XLA knows a flag: it ends the process that sets an unknown one."""
    code = "import jax; jax.devices()"
    environment = {**os.environ, "XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


# Workers of pytest-xdist find it set.
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = " ".join(flag for flag in _QUICK if _known(flag))
# What lies at home, such as classifiers of one's own, changes no test.
_HOME = tempfile.TemporaryDirectory(prefix="genjax-")
os.environ["GENJAX_CACHE"] = _HOME.name
_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "xla"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# With a bound, as genjax sets it, JAX reads when each program was last used, which it has not
# written down without one.
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", "-1")
# PyTorch with more threads than free cores is many times slower than with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from in_process import genjax

from genjax.config import DCGAN, MLP, SGD, DataConfig, Experiment, GANConfig
from genjax.evals.classifier import Trained, read_classifier

jax.config.update("jax_num_cpu_devices", 8)
# How long an example takes depends on what else the machine does; which are drawn should not.
settings.register_profile(
    "genjax", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("genjax")

# Declarations of operators live as long as their library does.
_DECLARED: list[object] = []


@pytest.fixture(scope="session")
def small_gan() -> GANConfig:
    """A DCGAN for 8 x 8 images that compiles in seconds, with every state there is."""
    network = DCGAN(width=8)
    sgd = SGD(learning_rate=0.01)
    return GANConfig(
        generator=network,
        discriminator=network,
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
        latent=8,
        ema_decay=0.9,
    )


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def dense_gan(small_gan: GANConfig) -> GANConfig:
    """The same with networks that compile soonest, for what depends on none."""
    network = MLP(width=8, depth=1)
    return dataclasses.replace(small_gan, generator=network, discriminator=network)


@pytest.fixture(scope="session")
def dense_experiment(small_experiment: Experiment, dense_gan: GANConfig) -> Experiment:
    return dataclasses.replace(small_experiment, model=dense_gan)


_OF_TWO_STEPS = ("--batch-size", 8, "--steps", 2, "--eval.samples", 4, "--mode", "jit")
_THIN = ("--model.latent", 6, "--model.discriminator.width", 4)
_STYLES = {"name": "stylegan2", "channel-max": 6, "style": 5, "mapping": 1}


def _trained(folder: Path, *words: object) -> Path:
    outcome = genjax("train", *words, *_OF_TWO_STEPS, *_THIN, "--out", folder)
    assert outcome.status == 0, outcome
    return folder


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a conditional DCGAN on digits, whose z has 6 dimensions."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    return _trained(folder, "cgan-digits", "--model.generator.width", 4)


@pytest.fixture(scope="session")
def styled_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a generator of styles on digits: z of 6 dimensions, w of 5, for 4 layers."""
    flags = [
        word for name, value in _STYLES.items() for word in (f"--model.generator.{name}", value)
    ]
    return _trained(tmp_path_factory.mktemp("styled") / "run", "dcgan-digits", *flags)


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


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision, which pytorch-fid imports; PyPI's wheel does not match a CPU-only torch."""
    torch = pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    try:
        import torchvision
    except RuntimeError:
        # Its compiled operators can't be loaded, and none is used here: declaring the two that it
        # registers while it is imported is enough.
        library = torch.library.Library("torchvision", "DEF")
        _DECLARED.append(library)
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    except ImportError:
        pytest.skip("torchvision is not installed")
    return torchvision


@pytest.fixture(scope="session")
def scoring_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of the tests that score: what is computed of a reference is so once a session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def digits_classifier(monkeypatch: pytest.MonkeyPatch, scoring_cache: Path) -> Trained:
    """The classifier of digits that comes with genjax, which `load_classifier` finds."""
    monkeypatch.setenv("GENJAX_CACHE", str(scoring_cache))
    return read_classifier("digits")
