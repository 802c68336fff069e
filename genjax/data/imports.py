"""What an import is asked for, and what it did."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from genjax.config import LARGEST_SIDE
from genjax.data.progress import Progress
from genjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Request:
    """What an import is asked for.

    Attributes:
      name: what to call the data set.
      source: a file or a folder; no archive.
      directory: folder of data sets, to store it in.
      progress: shows how far the import is.
      resolution: side in pixels to resize images to; None keeps their sizes.
      tokenizer: of a text; None for ``character``, and of captions for ``bpe``.
      vocabulary: number of tokens, for ``bpe``; None for 1,024.
      rate: samples a second that sounds are resampled to; None keeps theirs, which must be equal.
      vocabulary_file: of captions the vocabulary of WordPiece, or None.
    """

    name: str
    source: Path
    directory: Path
    progress: Progress
    resolution: int | None = None
    tokenizer: str | None = None
    vocabulary: int | None = None
    rate: int | None = None
    vocabulary_file: Path | None = None

    @property
    def checked_resolution(self) -> int | None:
        """The resolution; raises UserError where images can't have it."""
        size = self.resolution
        if size is not None and not 1 <= size <= LARGEST_SIDE:
            raise UserError(f"resolution must be at least 1, at most {LARGEST_SIDE}, got {size}")
        return size


@dataclasses.dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
      name: the data set.
      path: the folder it was stored in.
      splits: number of examples of each split; tokens, of a text.
      unit: what an example is, in words.
      shape: of an image, height, width and channels, the first two None where they vary; of others,
        empty.
      classes: number of classes, 0 without labels.
      class_names: in the order of their labels; empty where they have none but their numbers.
      warnings: what the user should know, a line each.
    """

    name: str
    path: Path
    splits: Mapping[str, int]
    unit: str
    shape: tuple[int | None, ...] = ()
    classes: int = 0
    class_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def in_words(shape: tuple[int | None, ...], classes: int) -> str:
    """What images are, for `Imported.unit`.

    Example:
      >>> in_words((None, None, 3), 10)
      'images of ?x?x3, 10 classes'
    """
    size = "x".join("?" if side is None else str(side) for side in shape)
    return f"images of {size}, {classes} classes"
