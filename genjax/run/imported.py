"""Runs that begin with the weights of official networks."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax.config import DataConfig, Experiment
from genjax.config.json import as_written
from genjax.core.algorithm import Algorithm
from genjax.core.compiler import jit
from genjax.core.players import players
from genjax.core.schema import Schema
from genjax.core.types import NetState, State
from genjax.data.schema import image_schema, schema_to_json
from genjax.data.sources import find_schema, whole_count
from genjax.errors import RunFailed, UserError, lookup, reason
from genjax.official.architectures import (
    ARCHITECTURES,
    Adversaries,
    Architecture,
    Autoencoding,
    Denoising,
    TextEncoding,
)
from genjax.official.files import Official
from genjax.official.models import Unsaid, check_unsaid, denoised, model_of
from genjax.official.roles import Files, check_roles, player_of, tables_of
from genjax.official.shapes import Image, Inferred
from genjax.official.tensors import Place, Tree, flatten, left_over
from genjax.presets import preset
from genjax.run import checkpoint
from genjax.run import directory as run_directory
from genjax.run.opening import open_algorithm, parse_run, pinned
from genjax.run.scoring import NO_SCORE
from genjax.run.seals import file_digest

NOTHING = Unsaid()


class Imported(NamedTuple):
    """What an import has made.

    Attributes:
      image: height, width and channels.
      classes: of a conditional model, or 0.
      latent: dimensions of z.
      data: name of the data set that a training goes on with.
      tensors: how many were read of each file, by the name of its role.
      notes: what is not as it was, in words.
    """

    image: Image
    classes: int
    latent: int
    data: str
    tensors: Mapping[str, int]
    notes: Sequence[str]


def import_weights(
    name: str,
    files: Files,
    directory: Path,
    preset_name: str | None = None,
    data: str | None = None,
    step: int = 0,
    unsaid: Unsaid = NOTHING,
) -> Imported:
    """Makes a run whose networks are official ones.

    The optimizers of the run are new, and so is its discriminator where there is no file of one.

    Args:
      name: entry of `ARCHITECTURES`, none of texts.
      files: of the networks.
      directory: of the run, new.
      preset_name: whose losses, optimizers and data a training goes on with; None for the usual
        one.
      data: name of the data set to go on with; None for the preset's, or the autoencoder's.
      step: which its checkpoint is of.
      unsaid: what tensors do not say.

    Returns:
      What was made.

    Raises:
      UserError: unknown names, files that are not of these networks, or data that do not fit; no
        file was written.
      OSError: the run's folder can't be made.
      RunFailed: the run can't be written.
    """
    architecture = lookup(ARCHITECTURES, name, "architecture")
    assert not isinstance(architecture, TextEncoding)
    check_roles(name, architecture, files)
    check_unsaid(name, architecture, unsaid)
    check_empty(directory)
    opened = {
        role: Official(path, architecture.prefix)
        for role, path in files._asdict().items()
        if path is not None
    }
    chosen = preset(preset_name or architecture.preset)
    config, image = chosen.data, None
    if unsaid.autoencoder is not None:
        config, image = _coded(unsaid.autoencoder)
    config = config if data is None else DataConfig(name=data)
    config = dataclasses.replace(config, flip=chosen.data.flip)
    shapes = opened["average"].shapes
    if isinstance(architecture, Autoencoding):
        inferred = architecture.infer(shapes, _side(config, unsaid.resolution))
    else:
        inferred = architecture.infer(shapes)
    model = model_of(name, architecture, chosen, inferred, opened, unsaid)
    seen = inferred if image is None else inferred._replace(image=image)
    config, schema = _data(config, seen, str(files.average))
    called = f"{name}-{config.name.replace('/', '-')}"
    experiment = dataclasses.replace(chosen, name=called, data=config, model=model)
    experiment = pinned(as_written(experiment))
    algorithm = open_algorithm(experiment, schema)
    size = denoised(algorithm.frozen, seen.image)
    if size != inferred.image:
        raise UserError(
            f"{files.average} is of maps of shape {inferred.image}, but latents of "
            f"{unsaid.autoencoder} have {size}"
        )
    what = f"of {name} for {inferred.image[0]} pixels"
    networks, notes = read_networks(architecture, algorithm, experiment, opened, what, inferred)
    if isinstance(architecture, Adversaries) and "discriminator" not in opened:
        notes.append("discriminator: new, with random weights, since there is no --discriminator")
    if getattr(chosen.model, "augment", 0) and not getattr(model, "augment", 0):
        notes.append(f"augment: off, unlike --preset {chosen.name}, for there is no layer for it")
    if isinstance(architecture, Denoising) and architecture.heads and unsaid.heads is None:
        notes.append("heads: those of the published one of this width, since there is no --heads")
    state = first_state(algorithm, experiment, networks, step)
    described = {
        "official": name,
        "step": step,
        **{
            role: {"file": file.path.name, "sha256": file_digest(file.path)}
            for role, file in opened.items()
        },
    }
    write_run(directory, experiment, schema, state, step, described)
    counts = {role: len(file.shapes.shapes) for role, file in opened.items()}
    sizes = inferred.image, inferred.classes, inferred.latent
    return Imported(*sizes, experiment.data.name, counts, notes)


def check_empty(directory: Path) -> None:
    """Refuses a folder that holds anything."""
    run_directory.check_new(directory)
    # What a run that was killed has left can't be replaced.
    if directory.exists() and any(directory.iterdir()):
        raise UserError(f"{directory} is not empty; choose another --out")


def _coded(autoencoder: str) -> tuple[DataConfig, Image]:
    """The data of a VAE's run, and what its images are."""
    folder = parse_run(autoencoder).folder
    data, schema = run_directory.read_config(folder).data, run_directory.read_schema(folder)
    if schema.domain != "image":
        raise UserError(f"{autoencoder} makes {schema.domain}, not images; name another run")
    height, width, channels = schema.fields["image"].shape
    return data, (height, width, channels)


def _side(config: DataConfig, resolution: int | None) -> int:
    """Of the images of an autoencoder, which takes any."""
    if resolution is not None:
        return resolution
    schema = find_schema(config)
    if schema is None or schema.domain != "image":
        raise UserError(
            f"the tensors do not say of which images they are, and of {config.name} it isn't known "
            "here; give --resolution"
        )
    return schema.fields["image"].shape[0]


def _data(config: DataConfig, inferred: Inferred, file: str) -> tuple[DataConfig, Schema]:
    """The data that a run goes on with, at the size of its images; they need not be there."""
    side, _, channels = inferred.image
    other = "name a data set of such images by --data"
    schema = find_schema(dataclasses.replace(config, resolution=None))
    if schema is None:
        schema = image_schema(inferred.image, inferred.classes)
        return dataclasses.replace(config, resolution=side), schema
    if schema.domain != "image":
        raise UserError(f"{file} is of images, but {config.name} holds {schema.domain}; {other}")
    shape = schema.fields["image"].shape
    if shape[-1] != channels:
        raise UserError(
            f"{file} is of images of {channels} channels, but those of {config.name} have "
            f"{shape[-1]}; {other}"
        )
    if inferred.classes not in (0, schema.classes):
        raise UserError(
            f"{file} knows {inferred.classes} classes, but {config.name} has {schema.classes}; "
            f"{other}"
        )
    if shape[:2] != inferred.image[:2]:
        config = dataclasses.replace(config, resolution=side)
        schema = find_schema(config) or schema
    return config, schema


def read_networks(
    architecture: Architecture,
    algorithm: Algorithm,
    experiment: Experiment,
    opened: Mapping[str, Official],
    what: str,
    inferred: Inferred | None = None,
) -> tuple[dict[str, NetState], list[str]]:
    """Reads the networks of a run.

    Args:
      architecture: of the networks.
      algorithm: of the run.
      experiment: likewise.
      opened: files by the networks' roles.
      what: whose networks they are, in words.
      inferred: what the tensors say of networks of images; None of one of texts.

    Returns:
      The networks by player, without their optimizers, and what was left out, in words.

    Raises:
      UserError: files of other networks.
    """
    image, classes = ((0, 0, 0), 0) if inferred is None else (inferred.image, inferred.classes)
    tables = tables_of(architecture, experiment.model, image, classes > 0)
    template = players(jax.eval_shape(algorithm.init, jax.random.key(0)))
    shapes: dict[str, dict[Place, tuple[int, ...]]] = {}
    notes: list[str] = []
    for role, file in opened.items():
        player = player_of(architecture, role)
        own = template[player]
        leaves = flatten({"params": own.params, **own.variables})
        shapes[role] = {place: tuple(leaf.shape) for place, leaf in leaves.items()}
        if not isinstance(architecture, Adversaries):
            tables[role], more = architecture.of_file(tables[role], file.shapes)
            notes += more
        file.check(tables[role], shapes[role], f"{player} {what}")
    trees = {}
    for role, file in opened.items():
        trees[role] = file.read(tables[role])
        for place in left_over(tables[role], shapes[role]):
            assert place in architecture.zeros, place
            _put(trees[role], place, np.zeros(shapes[role][place], np.float32))
    found = {}
    kept = getattr(experiment.model, "ema_decay", None) is not None
    average = trees["average"] if kept else None
    trained = trees.get("generator", trees["average"])
    found[player_of(architecture, "average")] = _player_state(trained, average)
    if "discriminator" in trees:
        found["discriminator"] = _player_state(trees["discriminator"], None)
    return found, notes


def _put(tree: Tree, place: Place, value: np.ndarray) -> None:
    for name in place[:-1]:
        tree = tree.setdefault(name, {})
    tree[place[-1]] = value


def _player_state(tree: Tree, average: Tree | None) -> NetState:
    variables = {name: value for name, value in tree.items() if name != "params"}
    return NetState(params=tree["params"], variables=variables, opt=None, ema=average)


def first_state(
    algorithm: Algorithm, experiment: Experiment, networks: Mapping[str, NetState], step: int
) -> State:
    """The state of a run before its first step, at some step, with networks in it."""

    def others(key: Any) -> State:
        state = algorithm.init(key)
        own = players(state)
        # XLA then leaves out what the files have.
        emptied = {
            name: dataclasses.replace(own[name], params={}, variables={}, ema=None)
            for name in networks
        }
        return dataclasses.replace(state, **emptied)

    state = jit(others)(jax.random.key(experiment.seed))
    own = players(state)
    filled = {
        name: dataclasses.replace(jax.tree.map(jnp.array, network), opt=own[name].opt)
        for name, network in networks.items()
    }
    return dataclasses.replace(state, step=jnp.asarray(step, jnp.int32), **filled)


def write_run(
    directory: Path,
    experiment: Experiment,
    schema: Schema,
    state: State,
    step: int,
    described: Mapping[str, Any],
) -> None:
    """Writes a run into a folder of another name, and gives it its own when it is whole."""
    data = {
        "name": experiment.data.name,
        "split": experiment.data.split,
        "count": whole_count(experiment.data.name, experiment.data.split) or 0,
        # Nobody knows what the weights have learnt from.
        "digest": None,
        **schema_to_json(schema),
    }
    target = directory.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent)
    try:
        with beside as made:
            folder = Path(made) / "run"
            run_directory.create(folder, experiment, data, initial=described)
            keep = experiment.keep_checkpoints
            with checkpoint.open_checkpoints(folder / "checkpoints", keep) as manager:
                checkpoint.save(manager, step, state, NO_SCORE)
                checkpoint.wait(manager)
            os.replace(folder, target)
    except RunFailed as error:
        raise RunFailed(error.reason, "nothing of the run is left; make room, and try again") from (
            error
        )
    except OSError as error:
        raise RunFailed(f"cannot write {directory}: {reason(error)}") from error
