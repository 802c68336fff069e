"""Which settings of each kind of generative model are best after two minutes on one core?

Command:   genjax ablate experiments/ablations/family_trials.py --seed-mode single
Needs:     one CPU core, for an hour and a quarter
Writes:    runs/ablations/family_trials

The candidates of families.py, which trains the best of each kind for longer, with a seed that is
not used there. 1,000 samples against all 60,000 training images of Fashion-MNIST.

Not run to its end yet.
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
