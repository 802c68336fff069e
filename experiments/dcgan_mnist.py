"""DCGAN (Radford et al. 2016) on MNIST for 2,500 steps: the samples in the README.

Command:   python experiments/dcgan_mnist.py
Needs:     MNIST (`genjax data prepare mnist`), two CPU cores, 20 minutes or less
Writes:    runs/experiments/dcgan_mnist, the folder of the run

Seed 0, batch 128, Adam 2e-4 with b1 0.5. The distance is the Frechet distance on coarse pixels by
which checkpoints of one run are ranked (genjax/evals/frechet.py); it is not FID. Measured on
2026-11-24, on two cores of an AMD EPYC that were also running other work, jax 0.10.2, at commit
89824ec; later code draws other initial weights from the same seed:

    step      500    1000   1500   2000   2500
    distance  0.176  0.172  0.132  0.112  0.114
"""

import dataclasses
from pathlib import Path

from rich.console import Console

from genjax.data.sources import load
from genjax.loop import train
from genjax.presets import preset

EXPERIMENT = dataclasses.replace(preset("dcgan-mnist"), steps=2500, checkpoint_every=500)


def main() -> None:
    """Runs the experiment."""
    directory = Path("runs/experiments/dcgan_mnist")
    train(EXPERIMENT, directory, load(EXPERIMENT.data), Console())


if __name__ == "__main__":
    main()
