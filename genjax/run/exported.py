"""Weights of runs in the form of official networks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax.core.players import players, sampling_variables
from genjax.domains import domain_of
from genjax.errors import UserError, lookup
from genjax.official.architectures import ARCHITECTURES, Adversaries, TextEncoding
from genjax.official.files import write_official
from genjax.official.models import check_exportable, denoised
from genjax.official.roles import Files, check_roles, player_of, tables_of
from genjax.official.shapes import Shapes
from genjax.official.tensors import flatten, left_over, needed, write_tensors
from genjax.run import checkpoint
from genjax.run.opening import open_run


def export_weights(
    name: str, directory: Path, files: Files, which: checkpoint.Which
) -> tuple[int, list[str]]:
    """Writes networks of a run in the form of official ones.

    Args:
      name: entry of `ARCHITECTURES`.
      directory: of the run.
      files: to write.
      which: checkpoint of the run.

    Returns:
      The step of the checkpoint, and what is not as it was, in words.

    Raises:
      UserError: not a run, no such checkpoint, or networks that the official code does not have.
      OSError: a file can't be written.
    """
    architecture = lookup(ARCHITECTURES, name, "architecture")
    check_roles(name, architecture, files)
    run = open_run(directory, which)
    model, schema = run.experiment.model, run.schema
    if derive := run.experiment.data.derive:
        raise UserError(
            f"{directory} makes images of others ({derive[0]}), and the official {name} does not; "
            "export it as it is: docs/weights.md"
        )
    check_exportable(name, architecture, directory, model)
    shape = schema.fields[domain_of(schema.domain).field].shape
    image = (0, 0, 0) if len(shape) != 3 else (shape[0], shape[1], shape[2])
    found = players(run.state)
    trained = {
        player: {"params": network.params, **network.variables} for player, network in found.items()
    }
    trees: dict[str, Mapping[str, Any]] = {
        role: trained[player]
        for role in Files._fields
        if (player := player_of(architecture, role)) in trained
    }
    trees["average"] = sampling_variables(found[player_of(architecture, "average")])
    height, width, channels = denoised(run.algorithm.frozen, image)
    size, conditional = (height, width, channels), run.algorithm.spec.classes > 0
    tables = tables_of(architecture, model, size, conditional)
    ready, notes = {}, []
    if isinstance(architecture, TextEncoding):
        params = trees["average"]["params"]
        trees["average"] = {"params": {"text": params["text"]}}
        if len(params) > 1:
            notes.append(f"left out what there is beside the network of texts of {directory}")
    for role, path in files._asdict().items():
        if path is None:
            continue
        table, tree = tables[role], jax.device_get(trees[role])
        arrays = flatten(tree)
        lost = [place for place in left_over(table, arrays) if place not in architecture.zeros]
        lost += [place for place in needed(table) if place not in arrays]
        if lost:
            raise UserError(
                f"the {player_of(architecture, role)} of {directory} is none of the official "
                f"{name}, by {'/'.join(lost[0])}; export it as it is: docs/weights.md"
            )
        for place in architecture.zeros:
            if place in arrays and (value := np.abs(arrays[place]).max()) > 0:
                player = player_of(architecture, role)
                words = f"{'/'.join(place)} of the {player} (up to {value:.2g})"
                notes.append(f"left out {words}, which the official one lacks and does not need")
        tensors = write_tensors(table, tree)
        ready[path] = {architecture.prefix + key: tensor for key, tensor in tensors.items()}
        if role == "average" and isinstance(architecture, Adversaries):
            shapes = {key: tensor.shape for key, tensor in tensors.items()}
            made = architecture.infer(Shapes(str(path), shapes)).image
            if made != image:
                notes.append(
                    f"the official {name} makes {made[0]} x {made[1]} pixels, of which images of "
                    f"{directory} are the {image[0]} x {image[1]} in the middle"
                )
    for path, tensors in ready.items():
        write_official(path, tensors)
    return run.step, notes
