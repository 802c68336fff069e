"""What data sets there are, for ``genjax data list``; looks only at the disk."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from genjax.data import idx, prepared, sources, stored
from genjax.data.bundled import SOURCES
from genjax.data.composed import COMPOSED, parts_of
from genjax.data.corpora import RECORDINGS, TEXTS, remote_files
from genjax.data.standard import STANDARD

Status = Literal["embedded", "prepared", "found", "unreadable", "missing"]


@dataclasses.dataclass(frozen=True)
class Listing:
    """A row of the list.

    Attributes:
      name: the data set.
      status: ``embedded`` in a package, ``prepared`` in the folder, ``found`` as plain files,
        ``unreadable`` because it isn't stored as array_record, or ``missing``.
      where: the package or folder; for a missing set the command that gets it.
      splits: number of examples of each split, tokens of a text; empty if it is missing.
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
    folder = prepared.data_directory(directory)
    found = {row.name: _prepared(row) for row in prepared.scan(folder)}
    found |= {row.name: _stored(row) for row in stored.scan(folder)}
    for name, composed in COMPOSED.items():
        if all(part in found for part in composed.parts):
            found[name] = dataclasses.replace(found[composed.parts[0]], name=name)
    known = (*SOURCES, *STANDARD, *COMPOSED, *TEXTS, *RECORDINGS, "celeb_a")
    rows = [*known, *sorted(found.keys() - {*known})]
    return [_embedded(name) or found.get(name) or _elsewhere(name, found) for name in rows]


def _embedded(name: str) -> Listing | None:
    if name not in SOURCES:
        return None
    return Listing(name, "embedded", SOURCES[name].where, SOURCES[name].splits)


def _prepared(found: prepared.Prepared) -> Listing:
    status: Status = "prepared" if found.readable else "unreadable"
    return Listing(found.name, status, str(found.path), found.splits)


def _stored(found: stored.Stored) -> Listing:
    counts = {name: split.count for name, split in found.splits.items()}
    return Listing(found.name, "prepared", str(found.path), counts)


def _elsewhere(name: str, found: Mapping[str, Listing]) -> Listing:
    folder = sources.DEBIAN_FASHION_MNIST
    if name == "fashion_mnist" and (pairs := idx.find(folder)):
        counts = {key: idx.count(images) for key, (images, _) in pairs.items()}
        return Listing(name, "found", str(folder), counts)
    missing = [part for part in parts_of(name) if part not in found]
    files = remote_files(STANDARD)
    by_hand = {True: "import {} --from DIR", False: "prepare {}"}
    commands = [by_hand[files.get(part) == ()].format(part) for part in missing]
    return Listing(name, "missing", ", ".join(f"genjax data {each}" for each in commands), {})
