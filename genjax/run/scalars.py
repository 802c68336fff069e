"""Numbers of a configuration that may differ between runs of one compiled program."""

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genjax.config import Experiment
from genjax.config.json import to_dict

SCALARS = (
    ("generator_optimizer", "learning_rate"),
    ("discriminator_optimizer", "learning_rate"),
    ("encoder_optimizer", "learning_rate"),
    ("optimizer", "learning_rate"),
    ("penalties", "*", 0),
    ("generator_penalties", "*", 0),
    ("label_smoothing",),
    ("beta",),
)
"""Where they are in a model's configuration; ``*`` is any name."""

Path = tuple[str | int, ...]


def structure(experiment: Experiment) -> str:
    """What two experiments must share to run as one program: all but `SCALARS`, name and seed."""
    plain = to_dict(experiment)
    del plain["name"], plain["seed"]
    for path in _paths(plain["model"]):
        parent = plain["model"]
        for part in path[:-1]:
            parent = parent[part]
        if isinstance(parent, tuple):
            # Of a penalty, whose weight comes first.
            plain["model"][path[0]][path[1]] = (None, *parent[1:])
        else:
            parent[path[-1]] = None
    return json.dumps(plain, sort_keys=True)


def varying(experiments: Sequence[Experiment]) -> dict[Path, Any]:
    """The scalars in which experiments of one structure differ.

    Args:
      experiments: of one `structure`.

    Returns:
      From path to its values, float32 [experiments].
    """
    models = [to_dict(experiment.model) for experiment in experiments]
    found = {}
    for path in _paths(models[0]):
        values = [_get(model, path) for model in models]
        if len(set(values)) > 1:
            found[path] = np.asarray(values, np.float32)
    return found


def with_scalars(experiment: Experiment, values: Mapping[Path, Any]) -> Experiment:
    """Replaces scalars by values that may be traced, so they are not checked.

    Args:
      experiment: has the structure.
      values: from path to scalar.

    Returns:
      The experiment with them.
    """
    model = experiment.model
    for path, value in values.items():
        model = _set(model, path, value)
    return dataclasses.replace(experiment, model=model)


def _paths(model: Mapping[str, Any]) -> list[Path]:
    """Where a model's configuration has scalars."""
    found: list[Path] = []
    for path in SCALARS:
        if path[0] not in model:
            continue
        names = list(model[path[0]]) if "*" in path else [None]
        found += [tuple(name if part == "*" else part for part in path) for name in names]  # type: ignore[misc]
    return found


def _get(config: Any, path: Path) -> Any:
    for part in path:
        config = config[part]
    return config


def _set(config: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    first, *rest = path
    if isinstance(config, tuple):
        return tuple(
            _set(item, tuple(rest), value) if place == first else item
            for place, item in enumerate(config)
        )
    if isinstance(config, dict):
        return {**config, first: _set(config[first], tuple(rest), value)}
    # A frozen dataclass, whose checks would compare a traced value.
    changed = copy.copy(config)
    object.__setattr__(changed, str(first), _set(getattr(config, str(first)), tuple(rest), value))
    return changed
