"""What data sets there are, for ``genjax data list``; looks only at the disk."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from genjax.data import idx, mixtures, prepared, sources
from genjax.data.standard import STANDARD

KNOWN = ("digits", *mixtures.MIXTURES, *STANDARD, "celeb_a")
"""Data sets listed even where they are missing."""

Status = Literal["embedded", "prepared", "found", "unreadable", "missing"]


@dataclasses.dataclass(frozen=True)
class Listing:
    """A row of the list.

    Attributes:
      name: the data set.
      status: ``embedded`` in a package, ``prepared`` in the folder, ``found`` as plain files,
        ``unreadable`` because it isn't stored as array_record, or ``missing``.
      where: the package or folder; for a missing set the command that gets it.
      splits: number of examples of each split; empty if it is missing.
    """

    name: str
    status: Status
    where: str
    splits: Mapping[str, int]


def list_datasets(directory: str | Path | None = None) -> list[Listing]:
    """Lists the usual data sets and whatever else is prepared.

    Args:
      directory: folder of prepared data sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns:
      A row for each data set.

    Raises:
      UserError: the folder cannot be read, or a data set in it is damaged.
    """
    found = {row.name: row for row in prepared.scan(prepared.data_directory(directory))}
    return [_row(name, found.get(name)) for name in (*KNOWN, *sorted(found.keys() - {*KNOWN}))]


def _row(name: str, found: prepared.Prepared | None) -> Listing:
    if name == "digits":
        splits = {key: len(range(1797)[part]) for key, part in sources.DIGITS_SPLITS.items()}
        return Listing(name, "embedded", "scikit-learn", splits)
    if name in mixtures.MIXTURES:
        return Listing(name, "embedded", "genjax", mixtures.SPLITS)
    if found:
        return Listing(
            name, "prepared" if found.readable else "unreadable", str(found.path), found.splits
        )
    folder = sources.DEBIAN_FASHION_MNIST
    if name == "fashion_mnist" and (pairs := idx.find(folder)):
        counts = {key: idx.count(images) for key, (images, _) in pairs.items()}
        return Listing(name, "found", str(folder), counts)
    return Listing(name, "missing", f"genjax data prepare {name}", {})
