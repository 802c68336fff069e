"""Runs that begin with the weights of official networks."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax.config import DataConfig, Experiment, GANConfig, Network
from genjax.config.json import as_written
from genjax.core.algorithm import Algorithm
from genjax.core.compiler import jit
from genjax.core.players import players
from genjax.core.schema import Schema
from genjax.core.types import NetState, State
from genjax.data.schema import image_schema, schema_to_json
from genjax.data.sources import find_schema, whole_count
from genjax.errors import RunFailed, UserError, lookup, reason
from genjax.families.registry import make_algorithm
from genjax.official.architectures import ARCHITECTURES, Architecture
from genjax.official.files import Official
from genjax.official.roles import Files, player_of, tables_of
from genjax.official.shapes import Image, Inferred
from genjax.official.tensors import Place, Tree, flatten, left_over
from genjax.presets import preset
from genjax.run import checkpoint
from genjax.run import directory as run_directory
from genjax.run.scoring import NO_SCORE
from genjax.run.seals import file_digest

# What the weights do not say of a network.
_TAKEN_OVER = ("clamp", "convolutions", "initializer", "remat", "stddev")


class Imported(NamedTuple):
    """What an import has made.

    Attributes:
      image: height, width and channels.
      classes: of a conditional model, or 0.
      latent: dimensions of z.
      data: name of the data set that a training goes on with.
      tensors: how many were read of each file, by the name of its role.
    """

    image: Image
    classes: int
    latent: int
    data: str
    tensors: Mapping[str, int]


def import_weights(
    name: str,
    files: Files,
    directory: Path,
    preset_name: str | None = None,
    data: str | None = None,
    step: int = 0,
) -> Imported:
    """Makes a run whose networks are official ones.

    The optimizers of the run are new, and so is its discriminator where there is no file of one.

    Args:
      name: entry of `ARCHITECTURES`.
      files: of the networks.
      directory: of the run, new.
      preset_name: whose losses, optimizers and data a training goes on with; None for the usual
        one.
      data: name of the data set to go on with; None for the preset's.
      step: which its checkpoint is of.

    Returns:
      What was made.

    Raises:
      UserError: unknown names, files that are not of these networks, or data that do not fit; no
        file was written.
      OSError: the run's folder can't be made.
      RunFailed: the run can't be written.
    """
    architecture = lookup(ARCHITECTURES, name, "architecture")
    run_directory.check_new(directory)
    # What a run that was killed has left can't be replaced.
    if directory.exists() and any(directory.iterdir()):
        raise UserError(f"{directory} is not empty; choose another --out")
    opened = {
        role: Official(path, architecture.prefix)
        for role, path in files._asdict().items()
        if path is not None
    }
    inferred = architecture.infer(opened["average"].shapes)
    chosen = preset(preset_name or architecture.preset)
    experiment, schema = _experiment(name, architecture, chosen, inferred, opened, data)
    experiment = as_written(experiment)
    algorithm = make_algorithm(experiment, schema)
    networks = _read(name, architecture, algorithm, experiment, inferred, opened)
    state = _first_state(algorithm, experiment, networks, step)
    described = {
        "official": name,
        "step": step,
        **{
            role: {"file": file.path.name, "sha256": file_digest(file.path)}
            for role, file in opened.items()
        },
    }
    _write(directory, experiment, schema, state, step, described)
    counts = {role: len(file.shapes.shapes) for role, file in opened.items()}
    return Imported(inferred.image, inferred.classes, inferred.latent, experiment.data.name, counts)


def _experiment(
    name: str,
    architecture: Architecture,
    base: Experiment,
    inferred: Inferred,
    opened: Mapping[str, Official],
    data: str | None,
) -> tuple[Experiment, Schema]:
    """The configuration of a run of inferred networks, and what it would learn from."""
    model = base.model
    if not isinstance(model, GANConfig):
        raise UserError(f"--preset {base.name} is of family {model.family}; name a GAN's")
    if "generator" in opened and model.ema_decay is None:
        raise UserError(
            f"--generator is for a moving average beside it, and --preset {base.name} keeps none; "
            "give --from alone, or another preset"
        )
    judge: Mapping[str, Any] = architecture.counterpart(inferred.network, inferred.image)
    if "discriminator" in opened:
        shapes = opened["discriminator"].shapes
        judge = architecture.infer_discriminator(shapes, inferred.image)
    pair = architecture.conditional if inferred.classes else ("none", "none")
    model = dataclasses.replace(
        model,
        generator=_like(architecture.network, model.generator, inferred.network),
        discriminator=_like(architecture.network, model.discriminator, judge),
        generator_conditioning=pair[0],
        discriminator_conditioning=pair[1],
        latent=inferred.latent,
        minibatch="none",
        # They would begin in the middle of nothing.
        ema_profiles=(),
    )
    config = base.data if data is None else DataConfig(name=data, flip=base.data.flip)
    config, schema = _data(config, inferred, str(opened["average"].path))
    called = f"{name}-{config.name.replace('/', '-')}"
    return dataclasses.replace(base, name=called, data=config, model=model), schema


def _like(kind: type[Network], base: Network, fields: Mapping[str, Any]) -> Network:
    """A network by its fields, and by those of another that weights do not say."""
    known = {field.name for field in dataclasses.fields(kind)}
    kept = {
        name: getattr(base, name) for name in _TAKEN_OVER if name in known and hasattr(base, name)
    }
    return kind(**{**kept, **fields})


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


def _read(
    name: str,
    architecture: Architecture,
    algorithm: Algorithm,
    experiment: Experiment,
    inferred: Inferred,
    opened: Mapping[str, Official],
) -> dict[str, NetState]:
    """The networks of a run whose files were opened, without their optimizers."""
    template = players(jax.eval_shape(algorithm.init, jax.random.key(0)))
    config = experiment.model
    assert isinstance(config, GANConfig)
    tables = tables_of(architecture, config, inferred.image, inferred.classes > 0)
    side = inferred.image[0]
    shapes: dict[str, dict[Place, tuple[int, ...]]] = {}
    for role, file in opened.items():
        own = template[player_of(role)]
        leaves = flatten({"params": own.params, **own.variables})
        shapes[role] = {place: tuple(leaf.shape) for place, leaf in leaves.items()}
        words = f"{player_of(role)} of {name} for {side} pixels"
        file.check(tables[role], shapes[role], words)
    trees = {}
    for role, file in opened.items():
        trees[role] = file.read(tables[role])
        for place in left_over(tables[role], shapes[role]):
            assert place in architecture.zeros, place
            _put(trees[role], place, np.zeros(shapes[role][place], np.float32))
    found = {}
    average = trees["average"] if config.ema_decay is not None else None
    found["generator"] = _player_state(trees.get("generator", trees["average"]), average)
    if "discriminator" in trees:
        found["discriminator"] = _player_state(trees["discriminator"], None)
    return found


def _put(tree: Tree, place: Place, value: np.ndarray) -> None:
    for name in place[:-1]:
        tree = tree.setdefault(name, {})
    tree[place[-1]] = value


def _player_state(tree: Tree, average: Tree | None) -> NetState:
    variables = {name: value for name, value in tree.items() if name != "params"}
    return NetState(params=tree["params"], variables=variables, opt=None, ema=average)


def _first_state(
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


def _write(
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
