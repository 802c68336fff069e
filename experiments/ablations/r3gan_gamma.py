"""Which weight of R1 and R2 does R3GAN need, and what shows it while it trains?

Command:   genjax evaluate --train-features digits
           genjax ablate experiments/ablations/r3gan_gamma.py
Needs:     two CPU cores
Writes:    runs/ablations/r3gan_gamma; its results.jsonl, tables and plots are in
           results/r3gan_gamma

The preset r3gan-digits, 1,500 steps of 64 images of 8 x 8 pixels, with weights a factor of about
three apart; and that of the preset with the paper's step size. 2,000 samples against the 1,500
images of the training split, through the classifier of the data set.

Run on 2026-11-28 on one core of an AMD EPYC (24 runs, 35 minutes, beside other work on the other
core). None failed. From 0.1 to 3 no weight can be told from another (FID 2.9 to 3.7, intervals that
overlap, p = 1 after Holm's correction); 0.03 is no worse by its mean (4.0), but D's loss has jumps.
From 10 on all scores fall: FID 6.9 and 11.5, coverage 0.30 and 0.21 against 0.50 (with three seeds,
p = 0.16 and 0.08 after correction). The paper's step size is worst of all at this width: 13.6. What
tells them apart while they train is D's mean loss in the second half of the steps: 0.38, 0.46,
0.55, 0.63, 0.67, 0.68, 0.69 at 0.03, 0.1, 0.3, 1, 3, 10, 30, where ln 2 = 0.693 is that of a D that
knows nothing.
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
