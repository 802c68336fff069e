"""Data sets that are made of others when they are opened."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from genjax.config import DataConfig
from genjax.core.schema import Schema, Source
from genjax.data import spoken, stacked
from genjax.data.progress import Progress


class Composed(NamedTuple):
    """A data set that is made of others.

    Attributes:
      parts: their names; the set has the splits of the first.
      schema: of its examples, at the usual size.
      make: ``(parts, config, progress) -> source``, from that split of each part.
    """

    parts: tuple[str, ...]
    schema: Callable[[], Schema]
    make: Callable[[Sequence[Source], DataConfig, Progress], Source]

    def configs(self, config: DataConfig) -> list[DataConfig]:
        """Of each part, as it is stored."""
        return [
            dataclasses.replace(config, name=name, resolution=None, flip=False, length=None)
            for name in self.parts
        ]


COMPOSED: Mapping[str, Composed] = {
    stacked.NAME: Composed(
        (stacked.PARTS,),
        stacked.stacked_schema,
        lambda parts, config, progress: stacked.stack(parts[0], config, progress),
    ),
    spoken.NAME: Composed(
        spoken.PARTS,
        spoken.spoken_schema,
        lambda parts, config, progress: spoken.speak(parts[0], parts[1], config, progress),
    ),
}
"""Data sets by name."""


def parts_of(name: str) -> tuple[str, ...]:
    """The sets that a set is made of; of most it is itself."""
    return COMPOSED[name].parts if name in COMPOSED else (name,)
