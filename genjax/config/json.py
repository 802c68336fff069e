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

from genjax.config.experiment import Experiment
from genjax.config.fields import default_of, named_runs, since
from genjax.config.formats import FORMAT, hashed, hashed_before, upgrade
from genjax.config.model import Model
from genjax.config.plugins import load_plugins
from genjax.config.tags import is_base, other
from genjax.errors import UserError, reason, suggest

# Of indices and shapes; it keeps what JAX computes from them far from overflow.
_LARGEST = 2**32


class _Lacking(UserError):
    """A field that has no default is not there."""


def to_dict(config: Any) -> dict[str, Any]:
    """Turns a configuration into plain JSON values.

    Args:
      config: an `Experiment` or one of its parts.

    Returns:
      Nested dicts of str, int, float, bool and None; of an experiment with its ``format``.
    """
    plain = dataclasses.asdict(config)
    return {"format": FORMAT, **plain} if isinstance(config, Experiment) else plain


def config_hash(experiment: Experiment) -> str:
    """Names a configuration, whatever reads it: 12 hex digits.

    What format 2 could express has the hash it had then; later fields count where they are not at
    their defaults, and those that change no number never do.

    Args:
      experiment: the configuration.

    Returns:
      The first digits of the SHA-256 of what `genjax.config.formats.hashed` gives, as JSON.
    """
    return _digest(hashed(experiment))


def model_hash(model: Model) -> str:
    """Names a model of another run, wherever the runs lie that it names itself: 12 hex digits.

    Args:
      model: the configuration, whose own runs are named with digests.

    Returns:
      As `config_hash`.
    """
    plain = hashed(model)
    named = {field: name.rpartition("#")[2] for field, name in named_runs(model, True).items()}
    return _digest({**plain, **named})


def former_hashes(experiment: Experiment) -> list[str]:
    """What a configuration was called before fields came without a new format, latest first."""
    return [_digest(plain) for plain in hashed_before(experiment)]


def hash_of_text(text: str) -> str:
    """The hash of a configuration as a file has it, which formats before 3 called it by."""
    return _digest(parse_json(text, "the configuration"))


def _digest(plain: Any) -> str:
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def from_json(text: str, where: str = "the configuration") -> Experiment:
    """Reads a configuration of any format, checking every field's name and type.

    Args:
      text: JSON of what `to_dict` returns, or returned when it was written.
      where: name of the file, for errors.

    Returns:
      The experiment.

    Raises:
      UserError: not JSON, or a field is missing, unknown or of a wrong type.
    """
    return from_plain(parse_json(text, where), where)


def parse_json(text: str, where: str) -> Any:
    """Reads plain values; raises UserError where it is not JSON."""
    try:
        value = json.loads(text, object_pairs_hook=_without_repetition)
        # Halves of characters, which JSON can escape, are refused: they can't be printed.
        json.dumps(value, ensure_ascii=False).encode()
    # Numbers of thousands of digits are ValueErrors, deep nesting is a RecursionError.
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON: {reason(error)}") from None
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, of which Python would take the last of equal names."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = value
    return found


def as_written(experiment: Experiment) -> Experiment:
    """The configuration as it will be read back: whole numbers in place of floats become floats.

    Raises:
      UserError: a field has a value of another type, or one that no file can hold; a run that has
        it could never be opened again.
    """
    return from_plain(to_dict(experiment), "the configuration")


def from_plain(value: Any, where: str, base: Experiment | None = None) -> Experiment:
    """Reads a configuration from plain values; runs its plugins first.

    Args:
      value: what `to_dict` returns, of any format; with a base it may lack fields, and lists may be
        tuples.
      where: what holds it, for errors.
      base: what has the values of fields that are not there.

    Returns:
      The experiment.

    Raises:
      UserError: a field is unknown, missing or of a wrong type.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} is {reprlib.repr(value)}; it must be an object")
    written, hint = FORMAT, ""
    if base is None or "format" in value:
        if base is not None:
            hint = "; a file that says its format has all fields: without it, it may have some"
        value, written = upgrade(value, where)
        base = None
    plugins = value.get("plugins", ())
    if isinstance(plugins, list | tuple):
        load_plugins([file for file in plugins if isinstance(file, str)])
    try:
        experiment = _decode(Experiment, value, where, written, base)
    except _Lacking as error:
        raise UserError(f"{error}{hint}") from None
    assert isinstance(experiment, Experiment)
    return experiment


def load(path: str | Path) -> Experiment:
    """Reads the configuration in a file; raises UserError as `from_json` does."""
    path = Path(path)
    return from_json(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Reads a file, without the mark that some editors put at the beginning of one.

    Raises:
      UserError: it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text in UTF-8: {reason(error)}") from None


def _decode(kind: Any, value: Any, where: str, written: int, base: Any) -> Any:
    """Checks a JSON value against a type of the configuration and converts it."""
    if is_base(kind):
        return _decode_tagged(kind, value, where, written, base)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where, written, base)
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value in options:
            return value
        given = value if isinstance(value, str) else reprlib.repr(value)
        raise UserError(f"{where} is {reprlib.repr(value)}; {suggest(given, map(str, options))}")
    if origin is types.UnionType:
        if value is None and type(None) in options:
            return None
        chosen = next(option for option in options if option is not type(None))
        return _decode(chosen, value, where, written, base)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} is {reprlib.repr(value)}; it must be a list")
        kinds = options[:1] * len(value) if options[-1] is Ellipsis else options
        if len(kinds) != len(value):
            raise UserError(f"{where} is {reprlib.repr(value)}; it must have {len(kinds)} values")
        pairs = zip(kinds, value, strict=True)
        return tuple(_decode(k, item, where, written, None) for k, item in pairs)
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} is {reprlib.repr(value)}; it must be an object")
        return {
            _decode(options[0], name, f"a name in {where}", written, None): _decode(
                options[1], item, f"{where}: {name}", written, None
            )
            for name, item in value.items()
        }
    return _decode_scalar(kind, value, where)


def _decode_scalar(kind: Any, value: Any, where: str) -> Any:
    largest = {int: _LARGEST, float: int(sys.float_info.max)}.get(kind, 0)
    if type(value) is int and abs(value) > largest > 0:
        raise UserError(f"{where} is {reprlib.repr(value)}; it must be at most {largest:g}")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UserError(f"{where} is {reprlib.repr(value)}; it must be of type {kind.__name__}")
    if kind is float and math.isnan(value):
        raise UserError(f"{where} is {value}; it must be a number")
    # Halves of characters, which YAML can escape as well.
    if kind is str and any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError(f"{where} is {value!r}; it must be text that can be written")
    return value


def _decode_tagged(kind: Any, value: Any, where: str, written: int, base: Any) -> Any:
    """Decodes the alternative that the value's tag names; without a tag, that of the base."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {reprlib.repr(value)}; it must be an object")
    if kind.tag not in value and base is not None:
        return _decode_dataclass(type(base), value, where, written, base)
    if kind.tag not in value:
        raise UserError(f"{where} lacks the field {kind.tag!r}; {suggest('', kind.registry)}")
    name = value[kind.tag]
    chosen = kind.alternative(name if isinstance(name, str) else reprlib.repr(name), f"of {where}")
    base = None if base is None else other(base, name, f"of {where}")
    return _decode_dataclass(chosen, value, where, written, base)


def _decode_dataclass(kind: Any, value: Any, where: str, written: int, base: Any) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where} is {reprlib.repr(value)}; it must be an object")
    kinds = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            raise UserError(f"{where} has no field {name!r}; {suggest(str(name), fields)}")
    own = {name: getattr(base, name, dataclasses.MISSING) for name in fields}
    decoded = {}
    for name, field in fields.items():
        if name in value:
            continue
        decoded[name] = default_of(field) if since(field) > written else own[name]
        if decoded[name] is dataclasses.MISSING:
            raise _Lacking(f"{where} lacks the field {name!r}")
    for name in fields:
        if name in value:
            part = own[name] if dataclasses.is_dataclass(own[name]) else None
            decoded[name] = _decode(kinds[name], value[name], f"{where}: {name}", written, part)
    return kind(**decoded)
