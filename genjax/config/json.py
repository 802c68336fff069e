"""The JSON form of a configuration, and its hash; nothing here imports JAX."""

import dataclasses
import hashlib
import json
import math
import reprlib
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal

from genjax.config import Experiment, Model
from genjax.errors import UserError, lookup, reason, suggest

# Of indices and shapes; it keeps what JAX computes from them far from overflow.
_LARGEST = 2**32


def to_dict(config: Any) -> dict[str, Any]:
    """Turns a configuration into plain JSON values.

    Args:
      config: an `Experiment` or one of its parts.

    Returns:
      Nested dicts of str, int, float, bool and None.
    """
    return dataclasses.asdict(config)


def config_hash(experiment: Experiment) -> str:
    """Names a configuration: the first 12 hex digits of its canonical JSON's SHA-256."""
    canonical = json.dumps(to_dict(experiment), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def from_json(text: str, where: str = "the configuration") -> Experiment:
    """Reads a configuration, checking every field's name and type.

    Args:
      text: JSON of what `to_dict` returns.
      where: name of the file, for errors.

    Returns:
      The experiment.

    Raises:
      UserError: not JSON, or a field is missing, unknown or of a wrong type.
    """
    try:
        value = json.loads(text)
        # Halves of characters, which JSON can escape, are refused: they can't be printed.
        json.dumps(value, ensure_ascii=False).encode()
    # Numbers of thousands of digits are ValueErrors, deep nesting is a RecursionError.
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON: {reason(error)}") from None
    experiment = _decode(Experiment, value, where)
    assert isinstance(experiment, Experiment)
    return experiment


def load(path: Path) -> Experiment:
    """Reads the configuration in a file; raises UserError as `from_json` does."""
    try:
        return from_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid JSON: {reason(error)}") from None


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Checks a JSON value against a type of the configuration and converts it."""
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if kind == Model:
        return _decode_dataclass(_family(value, where), value, where)
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value in options:
            return value
        given = value if isinstance(value, str) else reprlib.repr(value)
        raise UserError(f"{where} is {reprlib.repr(value)}; {suggest(given, map(str, options))}")
    if origin is types.UnionType:
        if value is None and type(None) in options:
            return None
        return _decode(next(o for o in options if o is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{where} is {reprlib.repr(value)}; it must be a list")
        kinds = options[:1] * len(value) if options[-1] is Ellipsis else options
        if len(kinds) != len(value):
            raise UserError(f"{where} is {reprlib.repr(value)}; it must have {len(kinds)} values")
        return tuple(_decode(k, item, where) for k, item in zip(kinds, value, strict=True))
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} is {reprlib.repr(value)}; it must be an object")
        return {name: _decode(options[1], item, f"{where}: {name}") for name, item in value.items()}
    largest = {int: _LARGEST, float: int(sys.float_info.max)}.get(kind, 0)
    if type(value) is int and abs(value) > largest > 0:
        raise UserError(f"{where} is {reprlib.repr(value)}; it must be at most {largest:g}")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UserError(f"{where} is {reprlib.repr(value)}; it must be of type {kind.__name__}")
    if kind is float and math.isnan(value):
        raise UserError(f"{where} is {value}; it must be a number")
    return value


def _family(value: Any, where: str) -> Any:
    """Finds the model's class by its field `family`."""
    families = {option.family: option for option in typing.get_args(Model)}
    name = value.get("family") if isinstance(value, dict) else None
    return lookup(
        families, name if isinstance(name, str) else reprlib.repr(name), f"family of {where}"
    )


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where} is {reprlib.repr(value)}; it must be an object")
    kinds = typing.get_type_hints(kind)
    for name in value:
        if name not in kinds:
            raise UserError(f"{where} has no field {name!r}; {suggest(name, kinds)}")
    for name in kinds:
        if name not in value:
            raise UserError(f"{where} lacks the field {name!r}")
    return kind(**{name: _decode(kinds[name], value[name], f"{where}: {name}") for name in kinds})
