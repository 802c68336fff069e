"""Weights for use elsewhere, in files that say what they are."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError

from genjax.config import Experiment
from genjax.config.json import to_dict
from genjax.core.players import players
from genjax.core.schema import Schema
from genjax.core.tensors import save_tensors
from genjax.core.types import State
from genjax.data.schema import schema_to_json
from genjax.distribution import version_of
from genjax.domains import domain_of

_LAYOUT = (
    "Flax: Dense kernels are [in, out]; Conv kernels [height, width, in, out] or [width, in, out]; "
    "ConvTranspose kernels the same, not flipped; channels are the last axis of maps; batch_stats "
    "holds running averages; ema/ holds a moving average of all, from which samples come"
)


def describe_weights(experiment: Experiment, schema: Schema, step: int) -> dict[str, Any]:
    """What someone with nothing but a file of weights must know of them.

    Args:
      experiment: the configuration, which names the architecture.
      schema: of the data.
      step: steps made.

    Returns:
      Plain values: ``version`` of genjax, ``config``, ``data``, ``step``, ``layout`` of the
      tensors, and ``values`` that data are turned into.
    """
    return {
        "version": version_of("genjax"),
        "config": to_dict(experiment),
        "data": schema_to_json(schema),
        "step": step,
        "layout": _LAYOUT,
        "values": domain_of(schema.domain).values,
    }


def export_weights(
    state: State, directory: str | Path, description: Mapping[str, Any]
) -> list[Path]:
    """Writes each player's weights as ``<player>.safetensors``.

    Tensors are named by their path, for example ``params/Dense_0/kernel``; the moving average,
    where there is one, lies under ``ema/``.

    Args:
      state: a training state; every field that is a `NetState` is a player.
      directory: an existing folder.
      description: from `describe_weights`. It becomes the metadata ``genjax`` of each file, as JSON
        that says beside it which player it is of.

    Returns:
      The files written.

    Raises:
      OSError: one can't be written.
    """
    directory = Path(directory)
    files = []
    for name, player in players(state).items():
        tree = {"params": player.params, **player.variables}
        if player.ema is not None:
            tree["ema"] = player.ema
        path = directory / f"{name}.safetensors"
        part = path.with_suffix(".part")
        try:
            # Several entries of metadata would be written in an order that changes.
            metadata = {"genjax": json.dumps({"player": name, **description})}
            save_tensors(dict(named_arrays(tree)), part, metadata)
        except SafetensorError as error:
            raise OSError(f"{part}: {error}") from error
        part.replace(path)
        files.append(path)
    return files


def named_arrays(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of nested dicts, each with the names on its path and slashes between them."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = "/".join(str(key.key) for key in path)
        # safetensors writes the memory as it lies, so it must lie in order.
        yield name, np.ascontiguousarray(jax.device_get(leaf))
