"""How long work on data reports its progress, without depending on a terminal."""

from collections.abc import Iterable
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Progress(Protocol):
    """Passes items through while showing how far the work is."""

    def __call__(self, items: Iterable[T], description: str, total: int) -> Iterable[T]:
        """Wraps an iterable.

        Args:
          items: what is worked through.
          description: a few words for the reader.
          total: how many items there will be.

        Returns:
          The same items.
        """
        ...


def no_progress(items: Iterable[T], description: str, total: int) -> Iterable[T]:
    """Shows nothing.

    Args:
      items: what is worked through.
      description: ignored.
      total: ignored.

    Returns:
      The items themselves.
    """
    del description, total
    return items
