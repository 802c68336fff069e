"""Sources whose arrays lie in memory whole, and what fits there."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from genjax.core.schema import Schema, Source
from genjax.data.digest import content_digest

_SHARE = 0.25


def fits(size: int) -> bool:
    """Whether so many bytes take at most a quarter of this machine's memory."""
    return size <= _SHARE * physical_memory()


def physical_memory() -> float:
    """Bytes of memory that this machine has; infinite where the system doesn't say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # Not every system has the function, or these names.
    except (AttributeError, ValueError, OSError):
        return float("inf")


def in_memory(
    name: str,
    split: str,
    schema: Schema,
    arrays: Mapping[str, Any],
    digest: Callable[[], str] | None = None,
) -> Source:
    """Makes a source of arrays.

    Args:
      name: of the data set.
      split: of it.
      schema: of the examples.
      arrays: [count, ...] for each field of the schema.
      digest: of the examples, where it is known; None computes it when it is asked for.

    Returns:
      The source.
    """
    count = len(next(iter(arrays.values())))

    @functools.cache
    def compute() -> str:
        return content_digest(source)

    def read(numbers: Any) -> dict[str, Any]:
        return {field: array[numbers] for field, array in arrays.items()}

    source = Source(name, split, count, schema, read, arrays, digest or compute)
    return source
