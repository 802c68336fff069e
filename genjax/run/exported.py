"""Weights of runs in the form of official networks."""

from pathlib import Path

import jax
import numpy as np

from genjax.config import Experiment, GANConfig
from genjax.core.players import players, sampling_variables
from genjax.core.schema import Schema
from genjax.domains import domain_of
from genjax.errors import UserError, lookup
from genjax.official.architectures import ARCHITECTURES, Architecture
from genjax.official.files import write_official
from genjax.official.roles import Files, player_of, tables_of
from genjax.official.shapes import Image, Shapes
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
    run = open_run(directory, which)
    config, image = _exportable(name, architecture, directory, run.experiment, run.schema)
    found = players(run.state)
    trained = {
        player: {"params": network.params, **network.variables} for player, network in found.items()
    }
    trees = {
        "average": sampling_variables(found["generator"]),
        "generator": trained["generator"],
        "discriminator": trained["discriminator"],
    }
    conditional = config.generator_conditioning != "none"
    tables = tables_of(architecture, config, image, conditional)
    ready, notes = {}, []
    for role, path in files._asdict().items():
        if path is None:
            continue
        table, tree = tables[role], jax.device_get(trees[role])
        arrays = flatten(tree)
        lost = [place for place in left_over(table, arrays) if place not in architecture.zeros]
        lost += [place for place in needed(table) if place not in arrays]
        if lost:
            raise UserError(
                f"the {player_of(role)} of {directory} is none of the official {name}, by "
                f"{'/'.join(lost[0])}; export it as it is: docs/weights.md"
            )
        for place in architecture.zeros:
            if place in arrays and (value := np.abs(arrays[place]).max()) > 0:
                words = f"{'/'.join(place)} of the {player_of(role)} (up to {value:.2g})"
                notes.append(f"left out {words}, which the official one lacks and does not need")
        tensors = write_tensors(table, tree)
        ready[path] = {architecture.prefix + key: tensor for key, tensor in tensors.items()}
        if role == "average":
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


def _exportable(
    name: str,
    architecture: Architecture,
    directory: Path,
    experiment: Experiment,
    schema: Schema,
) -> tuple[GANConfig, Image]:
    """The model and the images of a run that has official counterparts."""
    model = experiment.model
    networks = {
        role: getattr(model, role)
        for role in ("generator", "discriminator")
        if isinstance(model, GANConfig)
    }
    for role, network in networks.items():
        if type(network) is not architecture.network:
            raise UserError(
                f"the {role} of {directory} is a {network.name}, not a {name}; export what it is"
            )
    if not isinstance(model, GANConfig):
        raise UserError(f"{directory} is of family {model.family}, not a GAN, and has no {name}")
    pair = model.generator_conditioning, model.discriminator_conditioning
    if pair not in (architecture.conditional, ("none", "none")):
        raise UserError(
            f"{directory} has labels by {' and '.join(pair)}, and the official {name} by "
            f"{' and '.join(architecture.conditional)}"
        )
    if model.minibatch != "none":
        raise UserError(
            f"the discriminator of {directory} has minibatch {model.minibatch!r}, and the official "
            f"{name} none"
        )
    height, width, channels = schema.fields[domain_of(schema.domain).field].shape
    return model, (height, width, channels)
