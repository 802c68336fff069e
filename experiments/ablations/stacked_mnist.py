"""How many of the 1,000 modes of Stacked MNIST does R3GAN reach, and DCGAN in the same time?

Command:   genjax ablate experiments/ablations/stacked_mnist.py
Needs:     MNIST (`genjax data prepare mnist`) and one CPU core, for an hour
Writes:    runs/ablations/stacked_mnist

Each has twelve minutes of one core: R3GAN in batches of 64 and of 16, with steps of 2e-3 and 1e-3
and two weights gamma of its penalties; and DCGAN with what families.py chose for it. Minutes are
steps, by the images a second of `genjax train PRESET --steps 60 --log-every 20` on one of two cores
of an AMD EPYC (family 25) whose other core was busy, jax 0.10.2, 2026-11-29: 112 and 346.

A sample is three digits, one of 1,000 numbers, as the classifier of MNIST reads them; 26,000
samples count, as in papers. Of 26,000 numbers drawn evenly, all 1,000 come and the divergence is
0.02.

Run on 2026-11-29, seed 0 alone; table, records and samples are in results/stacked_mnist. Modes and
divergence: 544 and 1.81 of R3GAN with gamma 1, where D's loss is 0.18 in the second half; 810 and
1.10 with gamma 30, which the rule for this loss asks for (docs/design.md; 0.53); 996 and 0.33 in
batches of 16, as the preset has them since; 999 and 0.12 of DCGAN. So R3GAN loses hardly a mode,
but a DCGAN with batch norm hardly does either, and sees three times as many images in the time.
"""

import dataclasses

from genjax.config import Experiment, GANConfig
from genjax.presets import preset

SEEDS = 1
SCORES = {"stacked": ("modes", "mode_kl")}
SAMPLES = 26_000
BASELINE = "dcgan"
SECONDS = 720


def _variant(name: str, rate: int, batch: int, step: float, gamma: float = 0) -> Experiment:
    base = preset(name)
    model = base.model
    assert isinstance(model, GANConfig)
    every = rate * SECONDS // batch // 4
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, name="stacked_mnist"),
        model=dataclasses.replace(
            model,
            generator_optimizer=dataclasses.replace(model.generator_optimizer, learning_rate=step),
            discriminator_optimizer=dataclasses.replace(
                model.discriminator_optimizer, learning_rate=step
            ),
            penalties={"r1": (gamma, 1), "r2": (gamma, 1)} if gamma else {},
            ema_decay=0.999,
            ema_ramp=0.05,
        ),
        batch_size=batch,
        steps=4 * every,
        log_every=every // 10,
        sample_every=every,
        checkpoint_every=every,
        eval=dataclasses.replace(base.eval, rank="none"),
    )


VARIANTS = {
    "r3gan": _variant("r3gan-stacked-mnist", 112, 64, 2e-3, 1.0),
    "r3gan, gamma 30": _variant("r3gan-stacked-mnist", 112, 64, 2e-3, 30.0),
    "r3gan, gamma 30, batch 16": _variant("r3gan-stacked-mnist", 112, 16, 1e-3, 30.0),
    "dcgan": _variant("dcgan-mnist", 346, 32, 5e-4),
}
