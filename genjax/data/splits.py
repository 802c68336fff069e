"""Finds the split of a data set that a configuration names."""

import re
from collections.abc import Mapping
from typing import TypeVar

from genjax.config import DataConfig
from genjax.core.schema import Source
from genjax.data.digest import content_digest
from genjax.errors import UserError, lookup

T = TypeVar("T")

_PART = re.compile(r"([^\[\]]+)\[(\d{1,18}%?)?:(\d{1,18}%?)?(?::(\d{1,18}))?\]")


class NoSplit(UserError):
    """A data set has no such split, or one without a single example."""


def choose_split(splits: Mapping[str, T], config: DataConfig) -> T:
    """Reads an entry of a table of splits; raises NoSplit where it has none."""
    if "[" in config.split and not _PART.fullmatch(config.split):
        raise NoSplit(
            f"data.split is {config.split!r}; a part is NAME[FIRST:END] or NAME[FIRST:END:STEP], "
            "and FIRST and END are numbers or percentages, none below 0, such as train[:500], "
            "train[:10%] or train[::10]"
        )
    try:
        return lookup(splits, config.split, f"split of {config.name}")
    except UserError as error:
        raise NoSplit(str(error)) from None


def whole_split(split: str) -> str:
    """The split that a part is of, such as ``train`` of ``train[:10%]``; itself if it is whole."""
    found = _PART.fullmatch(split)
    return found[1] if found else split


def part_of(source: Source, split: str) -> Source:
    """Takes some examples of a split.

    Args:
      source: the whole split.
      split: ``NAME[FIRST:END]`` or ``NAME[FIRST:END:STEP]``, as a slice of Python; FIRST and END
        are numbers of examples or percentages. Another name takes all.

    Returns:
      The examples, called by that name.

    Raises:
      NoSplit: the part has no example.
    """
    found = _PART.fullmatch(split)
    if found is None:
        return source

    def place(text: str | None) -> int | None:
        if text is None or not text.endswith("%"):
            return None if text is None else int(text)
        return source.count * int(text[:-1]) // 100

    if found[4] and not int(found[4]):
        raise NoSplit(f"data.split is {split!r}; its step must be at least 1")
    chosen = slice(place(found[2]), place(found[3]), int(found[4] or 1))
    numbers = range(source.count)[chosen]
    if not numbers:
        raise NoSplit(f"data.split is {split!r}, of which {source.count:,} examples leave none")
    part = Source(
        source.name,
        split,
        len(numbers),
        source.schema,
        lambda own: source.read(numbers.start + own * numbers.step),
        {name: array[chosen] for name, array in source.arrays.items()},
        lambda: content_digest(part),
        source,
    )
    return part
