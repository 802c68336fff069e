"""The folder of a run: what it holds, how it begins and how it is taken up again.

::

    config.json      the complete configuration; `genjax resume` reads it back
    manifest.json    versions, device, commit, command line, data
    metrics.jsonl    one JSON object a line, each with its "step"
    events.out...    the same for TensorBoard
    samples/         grids of fixed latents
    averages/        with `ema_profiles`, averages at each checkpoint, one file a step
    checkpoints/     Orbax, the whole state
    profile/         an XLA trace, with `genjax train --profile`
    *.safetensors    the weights at the end, one file a player
"""

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout

from genjax.config import Experiment
from genjax.config import json as config_json
from genjax.config.plugins import plugin_digest, trust_plugins
from genjax.core.compiler import xla_options
from genjax.core.schema import Schema, Source
from genjax.data.mixtures import MIXTURES
from genjax.data.schema import image_schema, point_schema, schema_from_json, schema_to_json
from genjax.distribution import version_of
from genjax.errors import UserError

LOCK = ".lock"
"""Claimed by the process that writes into a run."""

FORMAT = 3
"""Of a run's folder; to be raised when runs of before can't be taken up again any more."""

_BEGUN = {LOCK, "manifest.json", "manifest.json.part", "config.json.part", "samples"}

_PACKAGES = ("genjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that the file is whole, old or new, whatever happens."""
    _write(path, json.dumps(value, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def check_new(directory: Path) -> None:
    """Refuses a folder that already holds something.

    A run that was killed before its configuration was written counts as nothing.

    Raises:
      UserError: it does; nothing in it was touched.
    """
    if directory.exists() and (
        not directory.is_dir()
        or any(path.name not in _BEGUN for path in directory.iterdir())
        or any((directory / "samples").glob("*"))
    ):
        hint = (
            f"; `genjax resume {shlex.quote(str(directory))}` continues it"
            if (directory / "config.json").exists()
            else ""
        )
        raise UserError(f"{directory} already exists; choose another --out{hint}")


@contextlib.contextmanager
def claim(directory: Path) -> Iterator[None]:
    """Keeps other processes from writing into a run while this one does.

    The claim ends with the process, however it ends.

    Args:
      directory: of the run; made where there is none.

    Raises:
      UserError: another process has claimed it, or the folder can't be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"another process is at work on {directory}; wait for it, or choose another folder"
        ) from None
    except OSError as error:
        raise UserError(f"cannot write into {directory}: {error.strerror}") from None
    with contextlib.ExitStack() as stack:
        stack.callback(lock.release)
        yield


def create(
    directory: Path,
    experiment: Experiment,
    data: Mapping[str, Any],
    grouping: str | None = None,
    initial: Mapping[str, Any] | None = None,
) -> None:
    """Begins a run: makes its folders and writes its configuration and manifest.

    Args:
      directory: a folder that is empty or not there yet.
      experiment: the configuration.
      data: what it trains on, from `describe_data`.
      grouping: how it is trained together with others, which decides its rounding errors.
      initial: what it begins with, see `genjax.run.initial` and `genjax.run.imported`; None for
        weights of its own.

    Raises:
      UserError: the folder holds something, or can't be made.
    """
    check_new(directory)
    noted = {} if initial is None else {"initial": initial}
    _begin(directory, experiment, data, [_session(experiment, grouping) | noted])


def derive(
    directory: Path, experiment: Experiment, other: Path, step: int, noted: Mapping[str, Any]
) -> None:
    """Begins a run that holds what was made of another one.

    Args:
      directory: a folder that is empty or not there yet.
      experiment: the configuration.
      other: the other run, whose data, sessions and metrics are taken over.
      step: up to which its metrics count.
      noted: what was made, for the manifest.

    Raises:
      UserError: the folder holds something, or can't be made; the other one is damaged.
    """
    check_new(directory)
    manifest = read_manifest(other)
    sessions = [*manifest["sessions"], {**_session(experiment, None), **noted}]
    _begin(directory, experiment, manifest["data"], sessions)
    _write_metrics(directory, read_metrics(other, step))


def _begin(
    directory: Path,
    experiment: Experiment,
    data: Mapping[str, Any],
    sessions: Sequence[Mapping[str, Any]],
) -> None:
    trust_plugins(experiment.plugins)
    try:
        (directory / "samples").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {directory}: {error.strerror}") from None
    write_json(directory / "manifest.json", {"format": FORMAT, "data": data, "sessions": sessions})
    # The last of all: a folder with a configuration is a run.
    _write_config(directory, experiment)


def describe_data(source: Source) -> dict[str, Any]:
    """What a manifest says of the data that a run trains on."""
    return {
        "name": source.name,
        "split": source.split,
        "count": source.count,
        "digest": source.digest(),
        **schema_to_json(source.schema),
    }


def extend(
    directory: Path,
    experiment: Experiment,
    step: int,
    failure: str | None = None,
    grouping: str | None = None,
) -> None:
    """Notes in an existing run that it is taken up again at a step; later metrics are dropped.

    Args:
      directory: of the run.
      experiment: its configuration, perhaps with more steps.
      step: steps made so far.
      failure: why it went back to that step; None for a run that was only interrupted.
      grouping: as of `create`.
    """
    _write_metrics(directory, read_metrics(directory, step))
    manifest = read_manifest(directory)
    session = {**_session(experiment, grouping), "resumed_at": step}
    if failure is not None:
        session["went_back"] = failure
    manifest["sessions"].append(session)
    manifest["format"] = FORMAT
    write_json(directory / "manifest.json", manifest)
    _write_config(directory, experiment)


def count_failures(directory: Path) -> int:
    """How often a run went back to a checkpoint because it could not go on."""
    return sum("went_back" in session for session in read_manifest(directory)["sessions"])


def read_config(directory: str | Path) -> Experiment:
    """Reads a run's configuration.

    Raises:
      UserError: the folder is not a run, or its configuration is damaged, or not what the run was
        started with.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"{directory} is not a folder; give the folder of a run")
    path = directory / "config.json"
    if not path.exists():
        raise UserError(f"{directory} is not a run: it has no config.json")
    _refuse_links(directory)
    manifest = read_manifest(directory)
    text = config_json.read_text(path)
    experiment = config_json.from_json(text, str(path))
    now = config_json.config_hash(experiment)
    # A kill between the two files leaves the configuration of the session before. Before format 3,
    # the hash was that of the file, which may hold what its networks did not read.
    known = {session.get("config_hash") for session in manifest["sessions"]}
    if known.isdisjoint((now, config_json.hash_of_text(text))):
        was = manifest["sessions"][-1].get("config_hash")
        raise UserError(
            f"{path} is not what the run was trained with: its hash is {now}, and manifest.json "
            f"says {was}; undo the change, or start a new run with other settings"
        )
    return experiment


def _refuse_links(directory: Path) -> None:
    """Refuses a run of which a part is elsewhere: what is written into it would go there."""
    inside = os.path.join(os.path.realpath(directory), "")
    for path in directory.rglob("*"):
        # Weights & Biases links its logs to a folder of its own.
        ours = path.is_symlink() and path.relative_to(directory).parts[0] != "wandb"
        if ours and not os.path.realpath(path).startswith(inside):
            raise UserError(
                f"{path} is a link that leads out of the run; put there what it leads to, or link "
                "to the whole run"
            )


def read_manifest(directory: str | Path) -> dict[str, Any]:
    """Reads a run's manifest; raises UserError if it is missing, damaged or of another format."""
    directory = Path(directory)
    path = directory / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if manifest.get("format") != FORMAT and "fields" not in manifest["data"]:
            # Up to format 2 there were images, and points as images of one pixel.
            manifest["data"].update(_old_schema(manifest["data"]))
        schema_from_json(manifest["data"])
        manifest["sessions"] = [dict(session) for session in manifest["sessions"]]
        last = manifest["sessions"][-1]
        if "format" not in manifest:
            # Format 1 named the configuration of its last session alone.
            last.setdefault("config_hash", manifest.pop("config_hash"))
            manifest["format"] = 1
        wrote = f"genjax {last['versions']['genjax']}, commit {last['git_commit']}"
    except FileNotFoundError:
        raise UserError(f"{directory} is not a whole run: it has no manifest.json") from None
    # A RecursionError is of JSON that is nested too deeply, an OverflowError of infinity.
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        RecursionError,
        OverflowError,
        AttributeError,
    ) as error:
        raise UserError(f"{path} is damaged: {error!r}") from None
    if manifest["format"] not in range(1, FORMAT + 1):
        raise UserError(
            f"{path} is of format {manifest['format']}; this genjax reads up to {FORMAT}: use what "
            f"wrote it, {wrote}"
        )
    return manifest


def _old_schema(data: dict[str, Any]) -> dict[str, Any]:
    """The schema that a manifest of format 1 or 2 stands for."""
    name, classes = data["name"], int(data["classes"])
    if name in MIXTURES:
        return schema_to_json(point_schema(name, classes))
    return schema_to_json(image_schema(data["image"], classes))


def check_data(directory: str | Path, source: Source) -> None:
    """Refuses data that a run did not learn from, such as others of the same name.

    Args:
      directory: of the run.
      source: the data of its configuration, as they are now.

    Raises:
      UserError: they have changed. Manifests before format 3, and those of imported weights, do not
        say what they were.
    """
    was, now = read_manifest(directory)["data"].get("digest"), source.digest()
    if was is not None and was != now:
        raise UserError(
            f"{directory} learnt from other data than {source.name}:{source.split} is now: their "
            f"digest was {str(was)[:12]} and is {now[:12]}; import those again, or compare samples "
            "with these by --real and --fake"
        )


def read_schema(directory: str | Path) -> Schema:
    """What the data of a run are; raises UserError as `read_manifest` does."""
    return schema_from_json(read_manifest(directory)["data"])


def read_metrics(directory: str | Path, step: int) -> list[dict[str, float]]:
    """The lines of metrics up to a step; one that was cut off is left out."""
    directory = Path(directory)
    path = directory / "metrics.jsonl"
    kept: list[dict[str, float]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            if row["step"] <= step:
                kept.append(row)
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return kept


def _write_metrics(directory: Path, rows: Sequence[Mapping[str, float]]) -> None:
    _write(directory / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def _write_config(directory: Path, experiment: Experiment) -> None:
    write_json(directory / "config.json", config_json.to_dict(experiment))


def _session(experiment: Experiment, grouping: str | None) -> dict[str, Any]:
    """Where and with what a run runs."""
    devices = jax.devices()
    plugins = {path: plugin_digest(path) for path in experiment.plugins}
    return {
        "config_hash": config_json.config_hash(experiment),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in _PACKAGES},
        "machine": platform.platform(),
        "device": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
        },
        "processes": jax.process_count(),
        "xla_options": xla_options(jax.local_devices()[0]),
        **({} if grouping is None else {"grouping": grouping}),
        **({"plugins": plugins} if plugins else {}),
    }


def git_commit(digits: int = 40) -> str | None:
    """Commit of the source that runs, with ``-dirty`` for changes; None outside a checkout."""
    command = ["git", "describe", "--always", f"--abbrev={digits}", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
