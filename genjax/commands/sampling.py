"""The flags that a family has for its samples."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """Of a family whose samples depend on nothing but the model."""

    def __bool__(self) -> bool:
        return False


def sampling_options(arguments: Sequence[str]) -> type[Any]:
    """Finds the options of the run that a command line names.

    Args:
      arguments: of the command, in any order.

    Returns:
      The family's dataclass, or `NoOptions` where no run is named or its family has none.

    Raises:
      UserError: what is named is a damaged run.
    """
    named = [Path(argument) for argument in arguments if not argument.startswith("-")]
    runs = [path for path in named if _is_run(path)]
    if not runs:
        return NoOptions
    from genjax.families.registry import FAMILIES
    from genjax.run.directory import read_config

    return FAMILIES[type(read_config(runs[0]).model)].sampling or NoOptions


def _is_run(path: Path) -> bool:
    try:
        return (path / "config.json").is_file()
    # It may be no path at all, but a prompt of any length.
    except OSError:
        return False
