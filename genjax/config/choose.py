"""What a command line says of an experiment before its fields can be parsed: files and kinds.

Which flags there are depends on the kinds of networks, optimizers and schedules that are asked for,
so these are found first, wherever they stand.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genjax.config.experiment import Experiment
from genjax.config.json import from_plain, parse_json, read_text
from genjax.config.plugins import use_plugins
from genjax.config.tags import Tagged, other
from genjax.config.yaml import parse_yaml
from genjax.errors import UserError, suggest

_FORMATS = {".json": parse_json, ".yaml": parse_yaml, ".yml": parse_yaml}


def choose(arguments: Sequence[str], base: Experiment) -> Experiment:
    """Takes what files and flags say of kinds into an experiment.

    Args:
      arguments: of the command line, of which ``--config FILE`` and the flags of tags count.
      base: a preset.

    Returns:
      The preset, with the file's values over its own, and with each part of the kind that is asked
      for. A part of another kind keeps the values of fields that both have; it is not checked, and
      has `dataclasses.MISSING` in fields without default, which the flags have to give.

    Raises:
      UserError: the file can't be read or used, or there is no such kind.
    """
    flags = _flags(arguments)
    if "config" in flags:
        file = Path(flags["config"][-1])
        base = from_plain(read_config_file(file), str(file), base)
    chosen: Experiment = _choose_kinds(base, "", flags)
    return chosen


def plugins_of(arguments: Sequence[str]) -> tuple[str, ...]:
    """Runs the plugins of a command line, ``--plugin FILE``, and returns their absolute paths."""
    return use_plugins([Path(file) for file in _flags(arguments).get("plugin", ())])


def read_config_file(file: str | Path) -> Any:
    """Reads the plain values in a file of YAML or JSON.

    Args:
      file: the file.

    Returns:
      Its values; plugins that it names by relative paths lie beside it.

    Raises:
      UserError: it can't be read.
    """
    file = Path(file)
    if file.suffix not in _FORMATS:
        raise UserError(f"--config {file} is no {', '.join(_FORMATS)} file; name one")
    value = _FORMATS[file.suffix](read_text(file), str(file))
    plugins = value.get("plugins") if isinstance(value, dict) else None
    if isinstance(plugins, list) and all(isinstance(path, str) for path in plugins):
        value["plugins"] = [str(file.absolute().parent / path) for path in plugins]
    return value


def _flags(arguments: Sequence[str]) -> dict[str, list[str]]:
    """The values of flags that have one or more, by name; hyphens and underscores are the same."""
    found: dict[str, list[str]] = {}
    for place, argument in enumerate(arguments):
        name, assigned, value = argument.partition("=")
        if not name.startswith("--"):
            continue
        if not assigned:
            following = arguments[place + 1 : place + 2]
            if not following or following[0].startswith("--"):
                continue
            (value,) = following
        found.setdefault(name[2:].replace("_", "-"), []).append(value)
    return found


def _choose_kinds(config: Any, prefix: str, flags: Mapping[str, Sequence[str]]) -> Any:
    """The configuration with parts of the kinds that flags name."""
    chosen = copy.copy(config)
    for field in dataclasses.fields(config):
        part = getattr(config, field.name, None)
        path = prefix + field.name.replace("_", "-")
        if isinstance(part, Tagged) and part.tag == "name":
            flag = f"{path}.{part.tag}"
            for name in flags.get(flag, ()):
                if name not in part.registry:
                    raise UserError(f"--{flag} is {name!r}; {suggest(name, part.registry)}")
                part = other(part, name, f"--{flag}")
        if dataclasses.is_dataclass(part):
            # A frozen dataclass, whose checks come when all fields are known.
            object.__setattr__(chosen, field.name, _choose_kinds(part, f"{path}.", flags))
    return chosen
