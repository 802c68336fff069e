"""The flags of an experiment: one for each field of the kinds of parts that it has."""

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import UseAppendAction
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from genjax.config import DataConfig, EvalConfig, Experiment, Model, MonitorConfig
from genjax.config.choose import choose, plugins_of
from genjax.config.fields import choices_of
from genjax.config.tags import Tagged
from genjax.errors import UserError
from genjax.presets import DEFAULT, PRESETS, preset

Chosen = Annotated[Experiment, tyro.conf.arg(name="")]
"""A parameter whose fields are flags of the command itself."""
Plugins = UseAppendAction[tuple[Path, ...]]
"""A parameter for ``--plugin FILE``, perhaps several times."""

_PARTS = (Tagged, Experiment, DataConfig, EvalConfig, MonitorConfig)
# Of a preset, and of a flag of its own.
_HIDDEN = {"family", "plugins"}


class Prepared(typing.NamedTuple):
    """What a command line says before its flags are parsed.

    Attributes:
      experiment: the preset with ``--config``, ``--plugin`` and the kinds of its parts.
      arguments: without the name of the preset.
      preset: that name.
      registry: makes the flags.
    """

    experiment: Experiment
    arguments: Sequence[str]
    preset: str
    registry: ConstructorRegistry


def prepare(arguments: Sequence[str]) -> Prepared:
    """Finds the experiment whose fields the flags of a command line may change.

    Args:
      arguments: perhaps the name of a preset, then flags.

    Returns:
      The experiment, with what is left to parse.

    Raises:
      UserError: an unknown preset or kind, one behind flags, or a file that can't be used.
    """
    plugins = plugins_of(arguments)
    for before, word in itertools.pairwise(arguments):
        # What follows a flag at once is its value: data sets have names of presets, too.
        if word in PRESETS and (not before.startswith("-") or "=" in before):
            raise UserError(
                f"the preset {word} must be the only one, before all flags; write it first"
            )
    named = bool(arguments) and not arguments[0].startswith("-")
    base = preset(arguments[0] if named else DEFAULT)
    experiment = choose(arguments, base)
    every = tuple(dict.fromkeys((*experiment.plugins, *plugins)))
    # As it is not checked yet, it can't be made anew.
    object.__setattr__(experiment, "plugins", every)
    flags = arguments[named:]
    registry = _make_registry(explain=bool({"-h", "--help"} & set(flags)))
    return Prepared(experiment, flags, base.name, registry)


def _make_registry(explain: bool) -> ConstructorRegistry:
    """Tells tyro how to parse the parts of a configuration.

    Args:
      explain: with the words that each field may hold, which imports their registries.

    Returns:
      The registry of tyro.
    """
    registry = ConstructorRegistry()

    @registry.struct_rule
    def part(info: StructTypeInfo) -> StructConstructorSpec | None:
        """Of the type that the default has, not of the base that a field is annotated with."""
        config = info.default
        if not isinstance(config, _PARTS):
            return None
        kind: Any = type(config)
        hidden, fields = {}, []
        kinds = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            value = getattr(config, field.name)
            wanted = type(value) if isinstance(value, _PARTS) else kinds[field.name]
            if field.name in _HIDDEN:
                hidden[field.name] = value
                continue
            if isinstance(config, Tagged) and field.name == config.tag:
                wanted = Literal[tuple(sorted(config.registry))]
            if typing.get_origin(wanted) is dict:
                wanted = _of_any_names(wanted)
            text = _explain(kind, field) if explain else None
            default = tyro.MISSING if value is dataclasses.MISSING else value
            fields.append(StructFieldSpec(field.name, wanted, default, text))

        def make(**values: Any) -> Any:
            return _make(config, **hidden, **values)

        # The help says above the flags of a part what this is.
        make.__doc__ = _plain(inspect.getdoc(kind) or "")
        return StructConstructorSpec(make, tuple(fields))

    return registry


def _make(base: Any, **values: Any) -> Any:
    """A part of the configuration, whose fields off those of `base` are what flags ask for."""
    made = type(base)(**values)
    for name, why in made.unread().items() if isinstance(made, Model) else ():
        value = getattr(made, name)
        if value != getattr(base, name):
            shown = getattr(value, value.tag) if isinstance(value, Tagged) else value
            raise UserError(f"{name} is {shown} {why}")
    return made


def _of_any_names(table: Any) -> Any:
    """A dict that is parsed as pairs, where tyro would make a flag of each that the default has."""
    spec: Any = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(table, set()))

    def parse(words: list[str]) -> Any:
        try:
            return spec.instance_from_str(words)
        except ValueError:
            raise ValueError(f"{' '.join(words)!r} is not {spec.metavar}") from None

    return Annotated[table, dataclasses.replace(spec, instance_from_str=parse)]


def _plain(text: str) -> str:
    """A docstring as a terminal shows it."""
    return text.replace("``", "").replace("`", "")


def _explain(kind: type[Any], field: "dataclasses.Field[Any]") -> str | None:
    """What a field is, and the words that it may hold."""
    text = next((docs[field.name] for docs in map(_docs, kind.__mro__) if field.name in docs), None)
    text = text and _plain(text)
    words = choices_of(field)
    return text if words is None else f"{text} Choices: {', '.join(words)}."


@functools.cache
def _docs(kind: type[Any]) -> dict[str, str]:
    """The strings below the fields of a class, by field."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return {}
    found = {}
    [declared] = tree.body
    assert isinstance(declared, ast.ClassDef)
    for before, after in zip(declared.body, declared.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
            match after:
                case ast.Expr(ast.Constant(str(text))):
                    found[before.target.id] = " ".join(text.split())
    return found
