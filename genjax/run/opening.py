"""Runs that are opened, to sample from them or to use their networks in another."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from genjax.config import Experiment
from genjax.config.fields import default_of, named_runs, since
from genjax.config.json import model_hash
from genjax.core.algorithm import Algorithm
from genjax.core.frozen import Frozen, with_frozen
from genjax.core.players import players, sampling_variables
from genjax.core.schema import Schema
from genjax.core.types import State
from genjax.errors import UserError
from genjax.families.registry import FAMILIES, make_algorithm, make_spec
from genjax.run import checkpoint
from genjax.run import directory as run_directory
from genjax.run.weights import named_arrays

T = TypeVar("T")

_DIGITS = 16
"""Of the digest of the networks of another run."""
_DIGESTS = rf"[0-9a-f]{{8,{_DIGITS}}}(\.[0-9a-f]{{12}})?"


class Run(NamedTuple):
    """A training run, opened to sample from it.

    Attributes:
      experiment: its configuration.
      schema: of the data that it learnt from.
      algorithm: of its model.
      state: at the checkpoint.
      step: of the checkpoint.
      averaged: whether samples come from a moving average of the parameters.
      sampling: how they are drawn beside that, by name; a part of every score's protocol.
    """

    experiment: Experiment
    schema: Schema
    algorithm: Algorithm
    state: State
    step: int
    averaged: bool
    sampling: Mapping[str, Any]


def open_run(
    directory: str | Path, which: checkpoint.Which, average: bool = True, sampling: Any = None
) -> Run:
    """Opens a run at a checkpoint, without the data it was trained on.

    Args:
      directory: of the run.
      which: the checkpoint: last, best, or a step.
      average: sample from the moving average of the parameters where the run keeps one.
      sampling: how samples are drawn, see `genjax.families.registry.make_algorithm`.

    Returns:
      The run.

    Raises:
      UserError: not a run, or no such checkpoint.
    """
    directory = Path(directory)
    experiment = run_directory.read_config(directory)
    schema = run_directory.read_schema(directory)
    sampling = pinned(sampling)
    algorithm = open_algorithm(experiment, schema, sampling=sampling, trains=False)
    folder = directory / "checkpoints"
    if not folder.is_dir():
        raise UserError(f"{directory} holds no checkpoints")
    with checkpoint.open_checkpoints(folder, experiment.keep_checkpoints) as manager:
        step = checkpoint.find_step(manager, which)
        state = checkpoint.restore(manager, step, algorithm.init, jax.random.key(0), None)
    state = with_frozen(state, algorithm.frozen)
    averaged = {name: player for name, player in players(state).items() if player.ema is not None}
    if averaged and not average:
        plain = {name: dataclasses.replace(player, ema=None) for name, player in averaged.items()}
        state = dataclasses.replace(state, **plain)
    options = FAMILIES[type(experiment.model)].sampling
    described = {} if options is None else _describe(sampling or options())
    used = bool(averaged) and average
    return Run(experiment, schema, algorithm, state, step, used, described)


def _describe(sampling: Any) -> dict[str, Any]:
    """Options of sampling by name; those that came later only where they are not the default."""
    return {
        field.name: getattr(sampling, field.name)
        for field in dataclasses.fields(sampling)
        if not since(field) or getattr(sampling, field.name) != default_of(field)
    }


class RunName(NamedTuple):
    """A checkpoint of a run, as it is named in a configuration.

    Attributes:
      folder: of the run.
      which: the checkpoint.
      digest: of its weights, hexadecimal; empty where any will do.
      model: of the configuration of its model, likewise; empty in names of before there was one.
    """

    folder: Path
    which: checkpoint.Which
    digest: str
    model: str = ""


def parse_run(name: str) -> RunName:
    """Reads FOLDER, FOLDER@best or FOLDER@STEP, perhaps with # and a digest or two after it.

    Example:
      >>> parse_run("runs/vae@best")
      RunName(folder=PosixPath('runs/vae'), which='best', digest='', model='')
    """
    # A folder's own name may have these signs in it.
    if Path(name).is_dir():
        return RunName(Path(name), "last", "")
    base, _, digests = name.rpartition("#")
    if not re.fullmatch(_DIGESTS, digests):
        base, digests = name, ""
    digest, _, model = digests.partition(".")
    if Path(base).is_dir():
        return RunName(Path(base), "last", digest, model)
    folder, at, which = base.rpartition("@")
    if at and which in ("last", "best"):
        return RunName(Path(folder), "last" if which == "last" else "best", digest, model)
    if at and which.isdecimal() and len(which) < 20:
        return RunName(Path(folder), int(which), digest, model)
    return RunName(Path(base), "last", digest, model)


def weights_digest(networks: Mapping[str, Any]) -> str:
    """A SHA-256 of arrays by name, and by the names on their paths."""
    digest = hashlib.sha256()
    for player, tree in sorted(networks.items()):
        for name, array in named_arrays({player: tree}):
            digest.update(f"{name} {array.dtype}{list(array.shape)}\n".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def open_algorithm(
    experiment: Experiment,
    schema: Schema,
    axis_name: str | None = None,
    sampling: Any = None,
    trains: bool = True,
) -> Algorithm:
    """Builds the algorithm of an experiment with the networks that it takes from other runs.

    Args:
      experiment: the configuration.
      schema: of the data.
      axis_name: see `genjax.families.registry.make_algorithm`.
      sampling: likewise.
      trains: whether there will be steps, for which there may be more networks than for samples.

    Returns:
      The algorithm.

    Raises:
      UserError: as of `make_algorithm`, one of the runs is not there, or not the same any more, or
        there will be steps of a model that is not trained.
    """
    if trains:
        check_trained(experiment)
    named = {**named_runs(experiment.model, trains), **named_runs(sampling, trains)}
    networks = {
        field: (_read_pinned if parse_run(name).digest else _read)(name, field)
        for field, name in named.items()
    }
    return make_algorithm(experiment, schema, axis_name, sampling, networks)


def check_trained(experiment: Experiment) -> None:
    """Refuses a model that is not trained, before anything is read for it.

    Raises:
      UserError: there is no training it.
    """
    if (why := experiment.model.untrained()) is not None:
        raise UserError(f"{experiment.name} can't be trained: {why}")


def pinned(config: T) -> T:
    """A configuration whose runs are named with their step and the digests of what they are.

    Args:
      config: a dataclass; of an experiment the model is changed.

    Returns:
      The same where it names none.

    Raises:
      UserError: one of the runs is not there, or not the same any more.
    """
    if isinstance(config, Experiment):
        model = pinned(config.model)
        return config if model is config.model else dataclasses.replace(config, model=model)
    names = {
        field: open_named(name, field).name for field, name in named_runs(config, True).items()
    }
    return dataclasses.replace(config, **names) if names else config  # type: ignore[type-var]


class Named(NamedTuple):
    """A run that a configuration names.

    Attributes:
      name: absolute, with the step and the digests of the weights and of the model.
      run: as `open_run` opens it.
      variables: of its networks, by player, what samples come from; on the host.
    """

    name: str
    run: Run
    variables: dict[str, Any]


def open_named(name: str, field: str, sampling: Any = None) -> Named:
    """Opens a run, and refuses another network than the digests in its name are of, if any.

    Args:
      name: see `parse_run`.
      field: that names it, for messages.
      sampling: as of `open_run`.

    Returns:
      The run.

    Raises:
      UserError: it is not there, or not the same any more.
    """
    folder, which, wanted, wanted_model = parse_run(name)
    if wanted and not folder.is_dir():
        raise UserError(
            f"{field} is {name}, and there is no such folder any more; move it back, or link it "
            "there"
        )
    if wanted and isinstance(which, int) and not (folder / "checkpoints" / str(which)).is_dir():
        raise UserError(
            f"{field} is {name}, whose checkpoint of step {which} is gone; bring it back, and give "
            "a run that goes on while others use it more --keep-checkpoints"
        )
    try:
        run = open_run(folder, which, sampling=sampling)
    except UserError as error:
        raise UserError(f"{field} is {name}: {error}") from None
    own = {player: sampling_variables(net) for player, net in players(run.state).items()}
    variables = jax.tree.map(np.asarray, own)
    found = weights_digest(variables)[:_DIGITS]
    if not found.startswith(wanted):
        raise UserError(
            f"{field} is {name}, but the weights there are now those of #{found}; bring those back "
            "that were used"
        )
    model = model_hash(run.experiment.model)
    if wanted_model not in ("", model):
        raise UserError(
            f"{field} is {name}, but the model there is now configured as .{model}, with the same "
            "weights; bring back what was used"
        )
    return Named(f"{folder.absolute()}@{run.step}#{found}.{model}", run, variables)


def _read(name: str, field: str) -> Frozen:
    named = open_named(name, field)
    spec = make_spec(named.run.experiment, named.run.schema)
    return Frozen(named.run.experiment.model, spec, named.variables)


# Whatever is there later, a name with a digest means the same.
_read_pinned = functools.lru_cache(maxsize=4)(_read)
