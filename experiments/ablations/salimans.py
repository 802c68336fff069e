"""Which of the techniques of Salimans et al. 2016 helps a DCGAN on small digits?

Command:   genjax evaluate --train-features digits
           genjax ablate experiments/ablations/salimans.py
Needs:     two CPU cores
Writes:    runs/ablations/salimans; its results.jsonl, tables and plots are in results/salimans

The preset dcgan-digits, 1,500 steps of 64 images of 8 x 8 pixels. Each technique of section 3 alone
("+"), all five together, and all but one ("all -"): feature matching; minibatch discrimination;
historical averaging, with a weight of 1e-2; one-sided label smoothing of 0.1; and virtual batch
norm in G. 2,000 samples against the 1,500 images of the training split, through the classifier of
the data set.
"""

import dataclasses
from collections.abc import Iterable

from genjax.config import Experiment, GANConfig
from genjax.presets import preset

SEEDS = 4
SCORES = {"fid": ("fid",), "prdc": ("precision", "recall", "coverage")}
SAMPLES = 2000
BASELINE = "dcgan"

TECHNIQUES = (
    "feature matching",
    "minibatch discrimination",
    "historical averaging",
    "label smoothing",
    "virtual batch norm",
)


def _with(techniques: Iterable[str]) -> Experiment:
    base = preset("dcgan-digits")
    model = base.model
    assert isinstance(model, GANConfig)
    for technique in techniques:
        if technique == "feature matching":
            model = dataclasses.replace(model, feature_matching=True)
        elif technique == "minibatch discrimination":
            model = dataclasses.replace(model, minibatch="discrimination")
        elif technique == "historical averaging":
            model = dataclasses.replace(model, historical_averaging=1e-2)
        elif technique == "label smoothing":
            model = dataclasses.replace(model, label_smoothing=0.1)
        else:
            generator = dataclasses.replace(model.generator, norm="virtual")
            model = dataclasses.replace(model, generator=generator)
    return dataclasses.replace(
        base,
        model=model,
        steps=1500,
        sample_every=1500,
        checkpoint_every=500,
        eval=dataclasses.replace(base.eval, features="classifier"),
    )


VARIANTS = {
    "dcgan": _with(()),
    **{f"+ {technique}": _with((technique,)) for technique in TECHNIQUES},
    "all": _with(TECHNIQUES),
    **{
        f"all - {technique}": _with(other for other in TECHNIQUES if other != technique)
        for technique in TECHNIQUES
    },
}
