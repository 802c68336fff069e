"""Parts of a configuration that are one of several dataclasses, told apart by one of their fields.

A kind of part is a base class, and its alternatives are registered by the value of that field. A
field of the configuration is annotated with the base, so that an alternative can be added anywhere,
also by a user's own file.
"""

import dataclasses
from typing import Any, ClassVar, Self, TypeVar

from genjax.config.fields import default_of
from genjax.errors import UserError, suggest


class Tagged:
    """A kind of part.

    Attributes:
      what: the kind in words, for errors.
      tag: name of the field that tells the alternatives apart.
      registry: the alternatives by the value of that field.
    """

    what: ClassVar[str]
    tag: ClassVar[str]
    registry: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls, what: str | None = None, tag: str = "name", **kwargs: Any) -> None:
        """Makes a base class of what names its kind; others are alternatives of their base.

        Args:
          what: the kind in words.
          tag: name of the field.
          kwargs: of other bases.
        """
        super().__init_subclass__(**kwargs)
        if what is not None:
            cls.what, cls.tag, cls.registry = what, tag, {}

    @classmethod
    def alternative(cls, name: Any, where: str) -> type[Self]:
        """Finds an alternative.

        Args:
          name: value of the tag.
          where: what has that value, for the error.

        Returns:
          The dataclass.

        Raises:
          UserError: there is no such alternative; the message lists the choices.
        """
        if not isinstance(name, str) or name not in cls.registry:
            raise UserError(
                f"unknown {cls.what} {where} {name!r}; {suggest(str(name), cls.registry)}"
            )
        return cls.registry[name]


Kind = TypeVar("Kind", bound=Tagged)


def register(kind: type[Kind]) -> type[Kind]:
    """Adds a dataclass to the alternatives of its base; a decorator.

    Args:
      kind: its tag has a default, which names it.

    Returns:
      The class itself.

    Raises:
      UserError: another class has that name.
    """
    name = kind.__dataclass_fields__[kind.tag].default  # type: ignore[attr-defined]
    if name in kind.registry:
        raise UserError(f"there is a {kind.what} {name!r} already; give the other another name")
    kind.registry[name] = kind
    return kind


def is_base(kind: Any) -> bool:
    """Whether an annotation stands for all alternatives of a kind."""
    return isinstance(kind, type) and issubclass(kind, Tagged) and "registry" in vars(kind)


def other(config: Tagged, name: Any, where: str) -> Any:
    """Another alternative with what both have in common, to be filled in and then made anew.

    Args:
      config: an alternative.
      name: of the other one.
      where: what names it, for the error.

    Returns:
      The other one, unchecked; fields of equal name keep their values, further ones have their
      defaults, or `dataclasses.MISSING` if they have none.

    Raises:
      UserError: there is no such alternative.
    """
    kind: type[Any] = type(config).alternative(name, where)
    if kind is type(config):
        return config
    draft = object.__new__(kind)
    for field in dataclasses.fields(kind):
        value = default_of(field)
        if field.name != kind.tag:
            value = getattr(config, field.name, value)
        object.__setattr__(draft, field.name, value)
    return draft
