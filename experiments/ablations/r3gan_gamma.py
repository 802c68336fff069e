"""Which weight of R1 and R2 does R3GAN need, and what shows it while it trains?

Command:   genjax evaluate --train-features digits
           genjax ablate experiments/ablations/r3gan_gamma.py
Needs:     two CPU cores
Writes:    runs/ablations/r3gan_gamma

The preset r3gan-digits, 1,500 steps of 64 images of 8 x 8 pixels, with weights a factor of about
three apart; and that of the preset with the paper's step size. 2,000 samples against the 1,500
images of the training split, through the classifier of the data set.

Not run to its end yet.
"""

import dataclasses

from genjax.config import Experiment, GANConfig
from genjax.presets import preset

SEEDS = 3
SCORES = {"fid": ("fid",), "prdc": ("precision", "recall", "coverage")}
SAMPLES = 2000
BASELINE = "1"


def _variant(gamma: float, learning_rate: float = 2e-3) -> Experiment:
    base = preset("r3gan-digits")
    model = base.model
    assert isinstance(model, GANConfig)
    adam = dataclasses.replace(model.generator_optimizer, learning_rate=learning_rate)
    return dataclasses.replace(
        base,
        model=dataclasses.replace(
            model,
            generator_optimizer=adam,
            discriminator_optimizer=adam,
            penalties={"r1": (gamma, 1), "r2": (gamma, 1)},
        ),
        steps=1500,
        sample_every=500,
        eval=dataclasses.replace(base.eval, features="classifier"),
    )


VARIANTS = {f"{gamma:g}": _variant(gamma) for gamma in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)}
VARIANTS["1, 2e-4"] = _variant(1.0, learning_rate=2e-4)
