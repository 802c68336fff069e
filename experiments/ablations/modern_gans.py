"""Is R3GAN better than a DCGAN and an SNGAN in ten minutes on two cores?

Command:   genjax evaluate --train-features fashion_mnist
           genjax ablate experiments/ablations/modern_gans.py
Needs:     two CPU cores
Writes:    runs/ablations/modern_gans

On Fashion-MNIST: the presets dcgan-fashion, r3gan-fashion and sngan-fashion, this one with networks
a quarter as wide (64 channels in G, 32 in D), each for as many steps as it made in ten minutes:
6,300, 3,300 and 1,220, by the images/s of `genjax train PRESET --steps 300 --log-every 100` on an
idle machine (1,346, 355, and 650 with five updates of D; two cores of an AMD EPYC, jax 0.10.2,
2026-11-28). SNGAN's step size falls linearly to 0
over that number. 10,000 samples against all 60,000 training images, through the classifier of the
data set.

Not run to its end yet.
"""

import dataclasses

from genjax.config import Experiment, GANConfig, Linear
from genjax.presets import preset

SEEDS = 3
SCORES = {"fid": ("fid",), "kid": ("kid",), "prdc": ("precision", "recall", "coverage")}
BASELINE = "dcgan"

STEPS = {"dcgan": 6300, "r3gan": 3300, "sngan": 1220}


def _narrow(model: GANConfig, steps: int) -> GANConfig:
    def within(updates: int) -> dict[str, Linear]:
        return {"schedule": Linear(length=updates)}

    return dataclasses.replace(
        model,
        generator=dataclasses.replace(model.generator, width=64),
        generator_optimizer=dataclasses.replace(model.generator_optimizer, **within(steps)),
        discriminator=dataclasses.replace(model.discriminator, width=32),
        discriminator_optimizer=dataclasses.replace(
            model.discriminator_optimizer, **within(steps * model.discriminator_updates)
        ),
    )


def _variant(name: str) -> Experiment:
    base, steps = preset(f"{name}-fashion"), STEPS[name]
    model = base.model
    assert isinstance(model, GANConfig)
    return dataclasses.replace(
        base,
        model=_narrow(model, steps) if name == "sngan" else model,
        steps=steps,
        sample_every=steps,
        checkpoint_every=steps // 3,
        eval=dataclasses.replace(base.eval, features="classifier"),
    )


VARIANTS = {name: _variant(name) for name in STEPS}
