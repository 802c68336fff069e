"""What presets have in common: how long they train."""

import dataclasses
from typing import Any

from genjax.config import DataConfig, Experiment, Model


def experiment(name: str, data: str, model: Model, flip: bool = False, **fields: Any) -> Experiment:
    """An experiment on a data set of some ten thousand small images.

    Args:
      name: of the preset.
      data: name of the data set.
      model: the model.
      flip: mirror images at random.
      fields: of the experiment, that differ from 10,000 steps of 128 images.

    Returns:
      The experiment.
    """
    defaults: dict[str, Any] = {"steps": 10_000, "batch_size": 128, "checkpoint_every": 1000}
    return Experiment(name, DataConfig(data, flip=flip), model, **{**defaults, **fields})


def on_digits(experiment: Experiment) -> Experiment:
    """A run of a minute on two cores."""
    return dataclasses.replace(experiment, steps=2000, batch_size=64, checkpoint_every=500)
