"""Classes by their names, which are what two data sets have in common; labels are their numbers."""

import dataclasses
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from genjax.core.schema import Schema
from genjax.data.raw import Raw

_MOST_NAMED = 20


def names_of(schema: Schema) -> tuple[str, ...]:
    """Names of the classes, in the order of their labels; the numbers where they have none."""
    names = schema.facts.get("class_names")
    # A manifest may say anything.
    if isinstance(names, Sequence) and not isinstance(names, str) and len(names) == schema.classes:
        return tuple(map(str, names))
    return tuple(map(str, range(schema.classes)))


def list_names(names: Sequence[str]) -> str:
    """Names for a message, at most 20; numbers from 0 on as a range.

    Example:
      >>> list_names(["cat", "dog"]), list_names(["0", "1", "2"])
      ('cat, dog', '0 to 2')
    """
    if len(names) > 1 and list(names) == [str(number) for number in range(len(names))]:
        return f"0 to {len(names) - 1}"
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def find_class(names: Sequence[str], wanted: str) -> int | None:
    """Looks for a class by its name.

    Names agree up to case, Unicode's normal form, punctuation and zeros before a number, as far as
    that leaves no doubt. A number is a label where no name of the set is a number.

    Args:
      names: of the classes, in the order of their labels.
      wanted: the name, or a number.

    Returns:
      The label; None where there is no such class.

    Example:
      >>> find_class(["1", "2"], "1"), find_class(["T-shirt/top", "dress"], "t_shirt_top")
      (0, 0)
      >>> find_class(["cat", "dog"], "1"), find_class(["1", "2"], "0")
      (1, None)
    """
    if (label := _named(names, wanted)) is not None:
        return label
    number = _is_number(wanted) and not any(map(_is_number, names)) and int(wanted) < len(names)
    return int(wanted) if number else None


def match_classes(
    names: Sequence[str], others: Sequence[str], numbers: bool = False
) -> Int[np.ndarray, "k"]:
    """The labels that classes of one set have in another; -1 where it has no such class.

    Args:
      names: of the one set, in the order of its labels.
      others: of the other.
      numbers: whether the one set has labels alone, so that a number may be a label of the other.
    """
    find = find_class if numbers else _named
    found = (find(others, name) for name in names)
    return np.array([-1 if label is None else label for label in found], np.int64)


def _named(names: Sequence[str], wanted: str) -> int | None:
    if wanted in names:
        return list(names).index(wanted)
    keys = [_key(name) for name in names]
    return keys.index(_key(wanted)) if keys.count(_key(wanted)) == 1 else None


def number_classes(raw: Raw) -> tuple[Raw, str | None]:
    """Numbers the classes from 0 without a gap, so that each of them has an example.

    Args:
      raw: its labels are any numbers from 0 on.

    Returns:
      The same images, and what has become of the labels, in words; None where nothing has. Numbers
      that change stay the names of their classes.
    """
    labels = [split.labels for split in raw.splits.values() if split.labels is not None]
    if not labels:
        return raw, None
    found = np.unique(np.concatenate(labels))
    count = len(found) if raw.class_names is None else len(raw.class_names)
    if np.array_equal(found, np.arange(count)):
        return raw, None
    names = tuple(
        str(label) if raw.class_names is None else raw.class_names[label]
        for label in found.tolist()
    )
    splits = {
        key: split
        if split.labels is None
        else dataclasses.replace(
            split, labels=np.searchsorted(found, split.labels).astype(np.int32)
        )
        for key, split in raw.splits.items()
    }
    was = list_names([str(label) for label in found.tolist()])
    words = (
        f"the labels {was} are stored as 0 to {len(found) - 1}, so that each class has an example; "
        f"their classes are named {list_names(names)}"
    )
    return dataclasses.replace(raw, splits=splits, class_names=names), words


def with_empty(schema: Schema, labels: Int[np.ndarray, "n"] | None) -> Schema:
    """Notes classes without an example in a split, as the fact ``empty_classes``."""
    if labels is None:
        return schema
    empty = np.setdiff1d(np.arange(schema.classes), labels)
    if not len(empty):
        return schema
    return schema._replace(facts={**schema.facts, "empty_classes": empty.tolist()})


def _is_number(name: str) -> bool:
    return re.fullmatch("[0-9]{1,18}", name) is not None


def _key(name: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    if _is_number(folded):
        return str(int(folded))
    reduced = re.sub(r"[\W_]+", "_", folded)
    return folded if reduced in ("", "_") else reduced
