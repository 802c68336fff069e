"""What the fields of a configuration have in common: their checks, and what is known of them."""

import dataclasses
import importlib
import math
from typing import Any, Literal

from genjax.errors import UserError

LARGEST_BATCH = 2**20
LARGEST_SEED = 2**32 - 1
LARGEST_SIDE = 8192
"""In pixels, of images that are resized."""
MOST_SAMPLES = 10**7
"""Samples that are drawn or scored at once."""

# What a float32 holds; it takes smaller numbers for 0.
_SMALLEST, _LARGEST = 1.2e-38, 3.4e38


def setting(
    default: Any = dataclasses.MISSING,
    *,
    factory: Any = dataclasses.MISSING,
    since: int = 0,
    hashed: bool = True,
    choices: str | None = None,
    run: Literal["training", "always"] | None = None,
) -> Any:
    """Declares a field of a configuration.

    Args:
      default: its value where none is given.
      factory: makes that value, where it is mutable.
      since: the format that the field came with, after its class. Files of earlier ones lack it,
        and the hash leaves it out at its default, so that a new field renames no run. 0 is for what
        its class has had from the beginning.
      hashed: whether it counts for the hash; not if it changes no number of a run.
      choices: registry of the words it may hold, ``module:NAME``, which is imported when it is
        asked for; perhaps with further words, ``module:NAME|word``.
      run: when networks are used as they are of a run that it names: FOLDER, FOLDER@best or
        FOLDER@STEP, and after a # the digest of its weights, which is added where it is missing.

    Returns:
      The field of a dataclass.
    """
    metadata = {"since": since, "hashed": hashed, "choices": choices, "run": run}
    return dataclasses.field(default=default, default_factory=factory, metadata=metadata)


def since(field: "dataclasses.Field[Any]") -> int:
    """The format that a field came with; 0 if its class has had it from the beginning."""
    return int(field.metadata.get("since", 0))


def is_hashed(field: "dataclasses.Field[Any]") -> bool:
    """Whether a field counts for the hash."""
    return bool(field.metadata.get("hashed", True))


def named_runs(config: Any, trains: bool) -> dict[str, str]:
    """The runs whose networks a configuration uses.

    Args:
      config: a dataclass, or None.
      trains: include those that are for training alone.

    Returns:
      What names them, by the name of the field.
    """
    if config is None:
        return {}
    wanted = ("training", "always") if trains else ("always",)
    fields = [
        field.name for field in dataclasses.fields(config) if field.metadata.get("run") in wanted
    ]
    return {name: value for name in fields if (value := getattr(config, name)) is not None}


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """A field's default; `dataclasses.MISSING` where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def choices_of(field: "dataclasses.Field[Any]") -> list[str] | None:
    """The words that a field may hold, which may import JAX; None where nothing is said of them."""
    registry = field.metadata.get("choices")
    if registry is None:
        return None
    where, *more = registry.split("|")
    module, _, name = where.partition(":")
    return sorted({*getattr(importlib.import_module(module), name), *more})


def require(holds: bool, config: Any, name: str, wanted: str) -> None:
    """Refuses a value of a field.

    Args:
      holds: whether it is as it should be.
      config: the dataclass.
      name: of the field.
      wanted: what it should be, in words.

    Raises:
      UserError: it isn't.
    """
    if not holds:
        where = type(config).__name__
        raise UserError(f"{where}.{name} is {getattr(config, name)!r}; it must be {wanted}")


def check_numbers(config: Any, **most: int) -> None:
    """Refuses what no computation takes: numbers that are not finite, or that 32 bits can't hold.

    Args:
      config: a dataclass.
      most: the largest value of an integer field, where it is smaller.

    Raises:
      UserError: a field has such a number.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float):
                require(math.isfinite(number), config, field.name, "finite")
                held = not number or _SMALLEST <= abs(number) <= _LARGEST
                require(held, config, field.name, f"0 or {_SMALLEST:g} to {_LARGEST:g} in size")
            elif isinstance(number, int):
                bound = most.get(field.name, 2**31 - 1)
                require(number <= bound, config, field.name, f"at most {bound:,}")
