"""The names and shapes of a file of tensors, from which an architecture is inferred."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from genjax.errors import UserError

MOST_NAMED = 3

Image = tuple[int, int, int]
"""Height, width and channels."""


class Shapes:
    """What is in a file, and what is missing there.

    Attributes:
      file: what people call it.
      shapes: of its tensors by name.
    """

    def __init__(self, file: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Keeps both."""
        self.file = file
        self.shapes = shapes

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def of(self, name: str, axes: int) -> tuple[int, ...]:
        """The shape of a tensor that decides what the network is.

        Raises:
          UserError: there is none of that name, or it has another number of axes, or no numbers.
        """
        if name not in self.shapes:
            raise UserError(
                f"{self.file} has no tensor {name}; it has {some(list(self.shapes))}: save the "
                "state_dict() of the official network as docs/weights.md shows"
            )
        shape = self.shapes[name]
        if len(shape) != axes or 0 in shape:
            raise UserError(f"{self.file} has {name} of shape {list(shape)}, not of {axes} axes")
        return shape

    def embedding(self, name: str) -> tuple[int, int]:
        """Numbers and classes of a linear embedding of labels; 0 and 0 where there is none.

        Raises:
          UserError: as `of`.
        """
        outputs, classes = self.of(name, 2) if name in self else (0, 0)
        return outputs, classes

    def count(self, pattern: str, *fields: int) -> int:
        """How many names there are of a pattern, whose last field counts from 0 on."""
        return next(n for n in _numbers() if pattern.format(*fields, n) not in self.shapes)


class Inferred(NamedTuple):
    """What the tensors say of a network.

    Attributes:
      network: fields of its configuration.
      image: height, width and channels of what it makes.
      latent: dimensions of z.
      classes: of its labels; 0 for an unconditional one.
    """

    network: Mapping[str, Any]
    image: Image
    latent: int
    classes: int


def some(names: list[str]) -> str:
    """The first few of some names, and how many more there are."""
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED] or ["none"]) + (f" and {rest} more" if rest > 0 else "")


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1
