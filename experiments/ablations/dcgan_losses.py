"""Which adversarial loss trains a DCGAN on Fashion-MNIST best, and does spectral norm help it?

Command:   genjax evaluate --train-features fashion_mnist
           genjax ablate experiments/ablations/dcgan_losses.py
Needs:     two CPU cores
Writes:    runs/ablations/dcgan_losses; its results.jsonl, tables and plots are in
           results/dcgan_losses

DCGAN with a width of 32, 2,000 steps of 64 images, Adam 2e-4 with b1 of 0.5, one update of D a
step. Non-saturating, hinge and least-squares losses without a penalty; WGAN-GP with a weight of 10;
the relativistic loss with R1 and R2 of weight 0.1. Each with and without spectral norm in D. D has
no batch norm anywhere, since penalties on gradients and spectral norm do without it. 10,000 samples
against the training split, through the classifier of the data set.

Not finished: seven of the ten variants, 28 of the 40 runs, were made on 2026-11-26 on two cores
of an AMD EPYC, beside other work, by which the seconds of the table are too long (`--seed-mode
single`, commit a33319f). WGAN-GP with spectral norm and the relativistic loss, with and without
it, are missing in results/dcgan_losses. None of the 28 failed. After so few steps FID is 16 to 18
for all of them but WGAN-GP, whose penalty costs G most of what it learns in 1,000 steps (21.0,
one seed 26); none differs from the non-saturating loss measurably (p at least 0.58). Least
squares covers more of the data than the others, most with spectral norm (coverage 0.105 against
0.076, p = 0.027). Spectral norm changes no other loss measurably.
"""

import dataclasses

from genjax.config import Experiment, GANConfig
from genjax.presets import preset

SEEDS = 4
SCORES = {"fid": ("fid",), "prdc": ("precision", "recall", "coverage")}
BASELINE = "non_saturating"

LOSSES: dict[str, tuple[str, dict[str, tuple[float, int]]]] = {
    "non_saturating": ("non_saturating", {}),
    "hinge": ("hinge", {}),
    "least_squares": ("least_squares", {}),
    "wgan-gp": ("wasserstein", {"wgan_gp": (10.0, 1)}),
    "relativistic + r1 + r2": ("relativistic", {"r1": (0.1, 1), "r2": (0.1, 1)}),
}


def _variant(name: str, spectral_norm: bool) -> Experiment:
    base = preset("dcgan-fashion")
    model = base.model
    assert isinstance(model, GANConfig)
    loss, penalties = LOSSES[name]
    discriminator = dataclasses.replace(
        model.discriminator, width=32, norm="none", spectral_norm=spectral_norm
    )
    model = dataclasses.replace(
        model,
        generator=dataclasses.replace(model.generator, width=32),
        discriminator=discriminator,
        loss=loss,
        penalties=penalties,
    )
    return dataclasses.replace(
        base,
        model=model,
        steps=2000,
        batch_size=64,
        sample_every=2000,
        checkpoint_every=500,
        eval=dataclasses.replace(base.eval, features="classifier"),
    )


VARIANTS = {
    name + suffix: _variant(name, spectral_norm)
    for name in LOSSES
    for suffix, spectral_norm in (("", False), (" + sn", True))
}
