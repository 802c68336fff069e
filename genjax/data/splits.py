"""Finds the split of a data set that a configuration names."""

from collections.abc import Mapping
from typing import TypeVar

from genjax.config import DataConfig
from genjax.errors import UserError, lookup

T = TypeVar("T")


class NoSplit(UserError):
    """A data set has no such split, or one without a single example."""


def choose_split(splits: Mapping[str, T], config: DataConfig) -> T:
    """Reads an entry of a table of splits; raises NoSplit where it has none."""
    try:
        return lookup(splits, config.split, f"split of {config.name}")
    except UserError as error:
        raise NoSplit(str(error)) from None
