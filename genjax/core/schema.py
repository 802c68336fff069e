"""What data are, and what a model must know of them; nothing here imports JAX."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from genjax.errors import UserError

LABEL = "label"
"""The field of class labels."""
NO_LABELS = "the data have none, or data.given leaves them out"
"""Why a conditional model can't be, for the end of an error message."""


class Field(NamedTuple):
    """One array of an example, without the axis over the batch.

    Attributes:
      shape: of the array.
      dtype: its type, by NumPy's name.
      levels: classes of a label or entries of a vocabulary, which are numbered from 0; 0 for a
        continuous quantity.
    """

    shape: tuple[int, ...]
    dtype: str
    levels: int = 0


class Schema(NamedTuple):
    """What the examples of a data set are, without the examples.

    Attributes:
      domain: entry of `genjax.domains.DOMAINS`.
      fields: the arrays of an example as they are stored, by name; the domain's own comes first.
      facts: what else is known and JSON can hold, such as ``class_names``, ``empty_classes``,
        ``sample_rate``, ``mixture`` or ``vocabulary``.
    """

    domain: str
    fields: Mapping[str, Field]
    facts: Mapping[str, Any] = MappingProxyType({})

    @property
    def classes(self) -> int:
        """Number of class labels; 0 without labels."""
        return self.fields["label"].levels if "label" in self.fields else 0


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set, in memory or on the disk.

    Attributes:
      name: of the data set.
      split: of it.
      count: number of examples.
      schema: what the examples are.
      read: from numbers below `count`, int64 [n], to arrays [n, ...] by field, as they are stored.
      arrays: those fields that lie in memory whole, [count, ...]; where it has all of them, the
        device can hold them.
      digest: says what the examples are, whatever their order; see `genjax.data.digest`.
      part_of: the whole split, of a part; or None.
    """

    name: str
    split: str
    count: int
    schema: Schema
    read: Callable[[Any], Mapping[str, Any]]
    arrays: Mapping[str, Any]
    digest: Callable[[], str]
    part_of: "Source | None" = None

    @property
    def whole(self) -> "Source":
        """The split that it is, or is a part of: what samples are compared with."""
        return self.part_of or self


class Spec(NamedTuple):
    """What a model must know of its data before it sees any.

    Attributes:
      size: examples in one update, over all devices.
      fields: the arrays of an example as the model sees them, by name.
      target: the field that is generated.
      given: the fields that it is generated from.
      facts: of the schema.
      categories: whether what is given are categories that the model finds by itself, which have
        nothing to do with the classes of the data.
      coded: whether the target is what an autoencoder makes of data, and no image whatever its
        shape.
      derive: words of `genjax.domains.derivations`, of the given fields that are no field of the
        data but made of the target.
    """

    size: int
    fields: Mapping[str, Field]
    target: str
    given: tuple[str, ...] = ()
    facts: Mapping[str, Any] = MappingProxyType({})
    categories: bool = False
    coded: bool = False
    derive: tuple[str, ...] = ()

    @property
    def derived(self) -> tuple[str, ...]:
        """The fields that are made of the target."""
        return tuple(word.partition(":")[0] for word in self.derive)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is generated, without the axis over the batch."""
        return self.fields[self.target].shape

    @property
    def is_image(self) -> bool:
        """Whether numbers of the target are pixels, in [-1, 1]."""
        return len(self.shape) == 3 and not self.coded

    @property
    def classes(self) -> int:
        """Number of the class labels that are given; 0 without."""
        return self.fields["label"].levels if "label" in self.given else 0

    @property
    def labels(self) -> tuple[int, ...]:
        """Those of the given labels of which the data have an example."""
        empty = () if self.categories else self.facts.get("empty_classes", ())
        # A manifest may say anything.
        empty = empty if isinstance(empty, list) else ()
        every = range(self.classes)
        return tuple(label for label in every if label not in empty) or tuple(every)


def check_continuous(spec: Spec, what: str) -> None:
    """Refuses tokens, for a model of real values.

    Args:
      spec: of the data.
      what: the model, in words.

    Raises:
      UserError: what is generated are numbers of classes or of a vocabulary.
    """
    target = spec.fields[spec.target]
    if target.levels:
        raise UserError(
            f"{what} generates real values, but {spec.target!r} are numbers below "
            f"{target.levels:,}; choose other data, or an autoregressive model"
        )
