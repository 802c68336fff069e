"""Does an augmentation that adapts help StyleGAN2 on little data?

Command:   genjax data import clothing --from clothing-dataset-small --resolution 128
           genjax evaluate --train-features clothing --resolution 32
           genjax ablate experiments/ablations/stylegan2_ada.py
Needs:     two CPU cores
Writes:    runs/ablations/stylegan2_ada

The preset stylegan2-clothing, 3,000 steps of 32 photographs of clothes at 32 pixels, with its
augmentation (+ ada: bgc, target 0.6) and without, on all 3,068 training images and on every tenth.
2,000 samples against all training images, through the classifier of the data set.

Not run to its end yet.
"""

import dataclasses

from genjax.config import Experiment, GANConfig
from genjax.presets import preset

SEEDS = 2
SCORES = {"fid": ("fid",), "kid": ("kid",), "prdc": ("precision", "recall", "coverage")}
SAMPLES = 2000
BASELINE = "all"


def _variant(split: str, adapts: bool) -> Experiment:
    base = preset("stylegan2-clothing")
    model = base.model
    assert isinstance(model, GANConfig)
    if not adapts:
        model = dataclasses.replace(model, ada={}, ada_target=None)
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, split=split),
        model=model,
        steps=3000,
        sample_every=1000,
        checkpoint_every=1000,
        eval=dataclasses.replace(base.eval, features="classifier"),
    )


VARIANTS = {
    "all": _variant("train", adapts=False),
    "all + ada": _variant("train", adapts=True),
    "a tenth": _variant("train[::10]", adapts=False),
    "a tenth + ada": _variant("train[::10]", adapts=True),
}
