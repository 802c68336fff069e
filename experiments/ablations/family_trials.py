"""Which settings of each kind of generative model are best after two minutes on one core?

Command:   genjax ablate experiments/ablations/family_trials.py --seed-mode single
Needs:     one CPU core, for an hour and a quarter
Writes:    runs/ablations/family_trials; its results.jsonl and tables are in results/family_trials

The candidates of families.py, which trains the best of each kind for longer, with a seed that is
not used there. 1,000 samples against all 60,000 training images of Fashion-MNIST.

Run from 2026-11-28 to 2026-11-29 on one of two cores of an AMD EPYC (family 25) whose other core
had other work, jax 0.10.2. None of 40 failed. FID of the best of each kind: dcgan 6.1, vae 6.2,
flow 7.4, sngan 7.6, diffusion 12.3, vae-gan 13.6, r3gan 15.5, meanflow 15.7. In so short a time
small batches and large steps are best wherever there is a choice (sngan 24.5 with five updates of D
on batches of 64, 7.6 with one on 16; vae-gan 32.1 on batches of 128, 13.6 on 32), so that batches
smaller still might be better. With one seed each, differences such as those of the first three
candidates of diffusion (12.3 to 12.9) may be chance.
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
