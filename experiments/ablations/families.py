"""Which kind of generative model is best after ten minutes on one core?

Command:   genjax ablate experiments/ablations/families.py --seed-mode single
Needs:     one CPU core, for five hours
Writes:    runs/ablations/families

On Fashion-MNIST. Each kind of model has five candidates: what is tried first for it (step size,
batch, how often D learns, size of latents, U-Net or transformer). They ran for two minutes
(family_trials.py), and the one with the best FID is trained here for ten. Minutes are steps, by the
steps a second that each candidate made in `genjax train --steps 60 --log-every 20` on one of two
cores of an AMD EPYC (family 25) whose other core was busy, jax 0.10.2, 2026-11-28; scores, samples
and compilation are not counted. SNGAN has networks a quarter as wide as its preset, 64 channels in
G and 32 in D. All but the VAE are sampled from moving averages: the VAE-GAN's has a decay of 0.98,
the others 0.999, with a ramp. 2,000 samples against all 60,000 training images, through the
classifier of the data set; 500 along the way. Diffusion and flow matching are sampled by heun in 35
calls of the network, MeanFlow in one.

Run on 2026-11-29 on one of two cores of an AMD EPYC (family 25) whose other core had other work;
table, plots and records are in results/families, costs and samples by families_costs.py in
../results, and what follows from them in docs/families.md. FID, mean and range of three seeds:
sngan 2.13 (1.79 to 2.34), dcgan 2.34 (2.27 to 2.46), flow 2.86 (2.64 to 3.09), r3gan 4.03 (3.70 to
4.38), vae-gan 5.38 (5.17 to 5.61), diffusion 5.54 (5.14 to 6.17), vae 5.86 (5.52 to 6.25), meanflow
9.29 (8.57 to 10.25). The column s/run of the table has samples and scores along the way in it, too,
and hours that other work shared; it says nothing of speed. With the batches and step sizes of their
presets, dcgan and sngan were at 18.3 and 24.5 after two minutes, and with the chosen ones at 6.1
and 7.6.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from genjax.config import Constant, DiT, Experiment
from genjax.presets import preset

SEEDS = 3
SCORES = {
    "fid": ("fid",),
    "prdc": ("precision", "recall", "coverage"),
    "memorization": ("memorization",),
}
SAMPLES = 2000
BASELINE = "dcgan"
SECONDS = 600


class Candidate(NamedTuple):
    """A setting of a kind of model.

    Attributes:
      experiment: all but its steps.
      rate: steps a second.
    """

    experiment: Experiment
    rate: float

    def lasting(self, seconds: int, evaluations: int) -> Experiment:
        """The experiment with the steps of so many seconds, evaluated so often."""
        every = round(self.rate * seconds / max(evaluations, 1))
        return dataclasses.replace(
            self.experiment,
            steps=every * max(evaluations, 1),
            log_every=max(every // 10, 1),
            sample_every=every,
            checkpoint_every=every,
            eval=dataclasses.replace(
                self.experiment.eval,
                samples=500,
                features="classifier",
                rank=None if evaluations else "none",
            ),
        )


def _candidate(name: str, rate: float, batch: int, **changes: Any) -> Candidate:
    # A function changes what is there, any other value takes its place.
    base = preset(name)
    values = {
        field: value(getattr(base.model, field)) if callable(value) else value
        for field, value in changes.items()
    }
    return Candidate(
        dataclasses.replace(
            base,
            data=dataclasses.replace(base.data, name="fashion_mnist"),
            model=dataclasses.replace(base.model, **values),
            batch_size=batch,
        ),
        rate,
    )


def _with(**changes: Any) -> Callable[[Any], Any]:
    return lambda value: dataclasses.replace(value, **changes)


def _gan(name: str, rate: float, batch: int, g: float, d: float, **changes: Any) -> Candidate:
    return _candidate(
        name,
        rate,
        batch,
        ema_decay=0.999,
        ema_ramp=0.05,
        generator_optimizer=_with(learning_rate=g, schedule=Constant()),
        discriminator_optimizer=_with(learning_rate=d, schedule=Constant()),
        **changes,
    )


def _sngan(rate: float, updates: int, g: float, d: float, batch: int = 64) -> Candidate:
    narrow = {"generator": _with(width=64), "discriminator": _with(width=32)}
    return _gan("sngan-fashion", rate, batch, g, d, discriminator_updates=updates, **narrow)


def _r3gan(rate: float, step: float, gamma: float, batch: int = 64) -> Candidate:
    penalties = {"r1": (gamma, 1), "r2": (gamma, 1)}
    return _gan("r3gan-fashion", rate, batch, step, step, penalties=penalties)


def _vae(rate: float, latent: int, width: int, batch: int = 128) -> Candidate:
    wide = {"encoder": _with(width=width), "decoder": _with(width=width)}
    return _candidate("conv-vae-fashion", rate, batch, latent=latent, **wide)


def _vae_gan(rate: float, step: float, reconstruction: float, batch: int = 128) -> Candidate:
    players = ("encoder", "generator", "discriminator")
    steps: dict[str, Any] = {f"{player}_optimizer": _with(learning_rate=step) for player in players}
    steps |= {"reconstruction": reconstruction, "ema_decay": 0.98}
    return _candidate("vae-gan-mnist", rate, batch, **steps)


def _denoisers(name: str, unet: float, dit: float) -> dict[str, Candidate]:
    def narrow(step: float, batch: int = 32) -> Candidate:
        changes = {"network": _with(width=16), "optimizer": _with(learning_rate=step)}
        return _candidate(name, unet * 32 / batch, batch, **changes)

    transformer = DiT(patch=4, width=128, depth=4, heads=4)
    return {
        "U-Net, 1e-3": narrow(1e-3),
        "U-Net, 3e-3": narrow(3e-3),
        "DiT, 1e-3": _candidate(name, dit, 32, network=transformer),
        "U-Net, 2e-3, batch 16": narrow(2e-3, 16),
        "U-Net, 1e-3, batch 64": narrow(1e-3, 64),
    }


CANDIDATES: dict[str, dict[str, Candidate]] = {
    "dcgan": {
        "batch 128, 2e-4": _gan("dcgan-fashion", 3.0, 128, 2e-4, 2e-4),
        "batch 128, 5e-4": _gan("dcgan-fashion", 3.0, 128, 5e-4, 5e-4),
        "batch 64, 5e-4": _gan("dcgan-fashion", 5.9, 64, 5e-4, 5e-4),
        "batch 64, 1e-3": _gan("dcgan-fashion", 5.9, 64, 1e-3, 1e-3),
        "batch 32, 5e-4": _gan("dcgan-fashion", 11.8, 32, 5e-4, 5e-4),
    },
    "sngan": {
        "5 of D, 2e-4": _sngan(0.58, 5, 2e-4, 2e-4),
        "2 of D, 2e-4": _sngan(1.08, 2, 2e-4, 2e-4),
        "1 of D, 1e-4 and 4e-4": _sngan(1.5, 1, 1e-4, 4e-4),
        "1 of D, 5e-4, batch 32": _sngan(3.0, 1, 5e-4, 5e-4, 32),
        "1 of D, 1e-3, batch 16": _sngan(6.0, 1, 1e-3, 1e-3, 16),
    },
    "r3gan": {
        "2e-3, gamma 1": _r3gan(1.65, 2e-3, 1.0),
        "1e-3, gamma 1": _r3gan(1.65, 1e-3, 1.0),
        "2e-3, gamma 0.3": _r3gan(1.65, 2e-3, 0.3),
        "1e-3, gamma 1, batch 32": _r3gan(3.3, 1e-3, 1.0, 32),
        "1e-3, gamma 1, batch 16": _r3gan(6.6, 1e-3, 1.0, 16),
    },
    "vae": {
        "32 latents": _vae(16.5, 32, 32),
        "16 latents": _vae(16.5, 16, 32),
        "16 latents, width 64": _vae(5.2, 16, 64),
        "16 latents, batch 64": _vae(33.0, 16, 32, 64),
        "8 latents": _vae(16.5, 8, 32),
    },
    "vae-gan": {
        "2e-4, 0.01": _vae_gan(1.45, 2e-4, 0.01),
        "5e-4, 0.01": _vae_gan(1.45, 5e-4, 0.01),
        "2e-4, 0.1": _vae_gan(1.45, 2e-4, 0.1),
        "5e-4, 0.01, batch 64": _vae_gan(2.9, 5e-4, 0.01, 64),
        "5e-4, 0.01, batch 32": _vae_gan(5.8, 5e-4, 0.01, 32),
    },
    "diffusion": _denoisers("diffusion-fashion", 3.6, 7.6),
    "flow": _denoisers("flow-fashion", 3.6, 7.6),
    "meanflow": _denoisers("meanflow-fashion", 2.65, 6.1),
}

CHOSEN = {
    "dcgan": "batch 32, 5e-4",
    "sngan": "1 of D, 1e-3, batch 16",
    "r3gan": "1e-3, gamma 1, batch 16",
    "vae": "8 latents",
    "vae-gan": "5e-4, 0.01, batch 32",
    "diffusion": "U-Net, 3e-3",
    "flow": "U-Net, 2e-3, batch 16",
    "meanflow": "DiT, 1e-3",
}

VARIANTS = {
    family: CANDIDATES[family][title].lasting(SECONDS, 5) for family, title in CHOSEN.items()
}
