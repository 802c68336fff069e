"""Which settings of each kind of generative model are best after two minutes on one core?

Command:   genjax ablate experiments/ablations/family_trials.py --seed-mode single
Needs:     one CPU core, for an hour and a quarter
Writes:    runs/ablations/family_trials

The candidates of families.py, which trains the best of each kind for longer, with a seed that is
not used there. 1,000 samples against all 60,000 training images of Fashion-MNIST.

Not run to its end yet: 29 of 40 runs, on one of two cores of an AMD EPYC (family 25) that had other
work, jax 0.10.2, 2026-11-28, are in results/family_trials. So far small batches and large steps are
best wherever there is a choice (FID of dcgan 6.1 at batch 32 and 18.3 at 128, of sngan 7.6 with one
update of D at batch 16 and 24.5 with five at 64), and 1,000 samples of the vae (6.3) are as good as
those of the best GAN.
"""

from pathlib import Path

from genjax.config.plugins import run_file

_families = run_file(Path(__file__).with_name("families.py"), "genjax_families")

SEEDS = (100,)
SCORES = {"fid": ("fid",)}
SAMPLES = 1000
SECONDS = 120
BASELINE = "dcgan: batch 128, 2e-4"

VARIANTS = {
    f"{family}: {title}": candidate.lasting(SECONDS, 0)
    for family, candidates in _families.CANDIDATES.items()
    for title, candidate in candidates.items()
}
