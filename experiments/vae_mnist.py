"""A VAE (Kingma & Welling 2014) on MNIST: its bounds on the log-likelihood of the test images.

Command:   python experiments/vae_mnist.py
Needs:     MNIST (`genjax data prepare mnist`), two CPU cores, 35 minutes (training: 5 of them)
Writes:    runs/experiments/vae_mnist_binary and vae_mnist_grey, the folders of two runs; a second
           call only measures them

Seed 0, 400 hidden units, 20 latent dimensions, Bernoulli pixels, batch 128, Adam 1e-3, 9,400 steps
(20 epochs). One run draws black-and-white pixels from the grey values anew each time; these figures
are bounds on a likelihood. The other takes grey values as soft targets, as many tutorials do, which
makes its figures cross-entropies that compare with those of tutorials alone. Both are means over
the 10,000 test images in nats, each from 1,000 samples of z an image (evaluation key 0). Measured
on 2026-11-24, on two cores of an AMD EPYC that were also running other work, jax 0.10.2:

    run                ELBO     IWAE     KL
    vae_mnist_binary  -101.94   -96.04  26.71
    vae_mnist_grey    -105.50  -100.01  25.56
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from genjax.config import DataConfig, Experiment, VAEConfig
from genjax.core.rng import stream
from genjax.core.schema import Source
from genjax.data.sources import load
from genjax.families.registry import make_algorithm
from genjax.presets import preset
from genjax.run import checkpoint
from genjax.run.loop import train
from genjax.run.startup import prepare_process

DIRECTORY = Path("runs/experiments")
SAMPLES = 1000
BATCH = 1000


def experiment(binarize: bool) -> Experiment:
    """400 hidden units, 20 latent dimensions, Adam 1e-3, 20 epochs of batches of 128."""
    return dataclasses.replace(
        preset("vae-mnist"),
        name="vae_mnist_binary" if binarize else "vae_mnist_grey",
        model=VAEConfig(binarize=binarize, importance_samples=SAMPLES),
        steps=9400,
        log_every=500,
        sample_every=4700,
        checkpoint_every=4700,
    )


def evaluate(config: Experiment, directory: Path, data: Source) -> dict[str, float]:
    """Averages the last checkpoint's bounds over a data set whose size `BATCH` divides."""
    algorithm = make_algorithm(config, data.schema)
    assert algorithm.evaluate is not None
    key = jax.random.key(0)
    with checkpoint.open_checkpoints(directory / "checkpoints", 1) as manager:
        step = checkpoint.find_step(manager, "last")
        state = checkpoint.restore(manager, step, algorithm.init, key, None)
    bounds = jax.jit(algorithm.evaluate)
    parts = []
    for start in range(0, data.count, BATCH):
        batch = {"image": data.read(np.arange(start, start + BATCH))["image"]}
        parts.append(bounds(state, batch, stream(key, "batch", start)))
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def main() -> None:
    """Trains the two models, if their runs aren't there, and measures them."""
    prepare_process()
    console = Console()
    test = load(DataConfig("mnist", split="test"))
    for binarize in (True, False):
        config = experiment(binarize)
        directory = DIRECTORY / config.name
        if not directory.exists():
            train(config, directory, load(config.data), console)
        for name, value in evaluate(config, directory, test).items():
            console.print(f"{config.name} {name}: {value:.3f}")


if __name__ == "__main__":
    main()
