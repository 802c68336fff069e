"""Opens a split of a data set by name.

Nothing here downloads: what isn't on the disk is reported at once, with the command that gets it.
"""

import dataclasses
from pathlib import Path

from genjax.config import DataConfig
from genjax.core.schema import Schema, Source
from genjax.data import idx, prepared, stored
from genjax.data.bundled import SOURCES, image_source
from genjax.data.composed import COMPOSED, parts_of
from genjax.data.corpora import RECORDINGS, TEXTS, remote_files
from genjax.data.prepared_images import open_prepared
from genjax.data.progress import Progress, no_progress
from genjax.data.schema import configured
from genjax.data.splits import NoSplit, choose_split, part_of, whole_split
from genjax.data.standard import CAPTIONED, EMBEDDED, STANDARD
from genjax.data.stored_images import described_images
from genjax.data.windows import open_stored
from genjax.errors import UserError, lookup

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""

# What each kind of data is called, and which fields of a configuration it alone reads.
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "image": ("images", ("resolution", "flip")),
    "points": ("points", ()),
    "tokens": ("text", ("length",)),
    "audio": ("sound", ("length",)),
    "vectors": ("embeddings", ()),
}


def known_schema(name: str, length: int | None = None) -> Schema:
    """What the examples of a bundled or standard set are, without opening it.

    Args:
      name: of the set.
      length: of an example of text or sound; None for the usual one.

    Returns:
      The schema.

    Raises:
      UserError: it is neither.
    """
    known = {key: text.schema(length) for key, text in TEXTS.items()}
    known |= {key: recordings.schema(length) for key, recordings in RECORDINGS.items()}
    known |= {key: standard.schema for key, standard in STANDARD.items()}
    known |= {key: bundled.schema for key, bundled in SOURCES.items()}
    known |= CAPTIONED
    known |= {key: composed.schema() for key, composed in COMPOSED.items()}
    return lookup(known, name, "data set")


def find_schema(config: DataConfig) -> Schema | None:
    """What the examples of a set are, without reading it.

    Args:
      config: which set, and the size of its images.

    Returns:
      The schema; None of a set that is not at hand, or that TensorFlow Datasets has prepared.

    Raises:
      UserError: its description is damaged.
    """
    stock = {key: bundled.schema for key, bundled in SOURCES.items()}
    stock |= {key: standard.schema for key, standard in STANDARD.items()}
    stock |= {key: composed.schema() for key, composed in COMPOSED.items()}
    if config.name in stock:
        return configured(stock[config.name], config)
    found = stored.find(config.name, prepared.data_directory(config.directory))
    if found is None or found.schema.domain != "image":
        return None if found is None else found.schema
    return configured(described_images(found), config)


def expected_schema(config: DataConfig) -> Schema:
    """What the examples of a bundled or standard set are, without reading it.

    Of a set with captions that is at hand, they are those of the import, which has tokens of its
    own.

    Args:
      config: which set, and the size of its images.

    Returns:
      The schema.

    Raises:
      UserError: it is neither, or its description is damaged.
    """
    found = find_schema(config) if config.name in CAPTIONED else None
    return found or configured(known_schema(config.name, config.length), config)


def whole_count(name: str, split: str) -> int | None:
    """Examples in a split of a set that lies in memory as a whole, without opening it.

    Args:
      name: of the set.
      split: of it.

    Returns:
      The number; None of other sets, of text and of sound.
    """
    counts = SOURCES[name].splits if name in SOURCES else {}
    first, *others = parts_of(name)
    # What lies beside the examples of the first is gathered as it is read.
    if others:
        return None
    counts = STANDARD[first].counts if first in STANDARD else counts
    return counts.get(split)


def load(config: DataConfig, progress: Progress = no_progress) -> Source:
    """Opens a split of a data set.

    ``digits`` is embedded in scikit-learn; it has no official split, so ``train`` is its first
    1,500 images and ``test`` the last 297, which other people wrote. ``gaussians-8`` and
    ``gaussians-25`` are drawn here, and ``stacked_mnist`` and ``speech2mnist`` are made of others.
    ``fashion_mnist`` is read from Debian's package if it isn't prepared. Anything else must be
    prepared or imported in the folder.
    With ``resolution``, the central square of each image is resized with Lanczos' filter; `length`
    is that of an example of text or sound, see `genjax.data.windows`.

    A split may be a part of one, such as ``train[::10]``, see `genjax.data.splits.part_of`.

    Args:
      config: which data set, split and size.
      progress: shows how far the reading is.

    Returns:
      The split, in the order in which it is stored.

    Raises:
      UserError: the set is missing or unknown, has no such split, or cannot be used.
    """
    whole = dataclasses.replace(config, split=whole_split(config.split))
    return part_of(_load_whole(whole, progress), config.split)


def _load_whole(config: DataConfig, progress: Progress) -> Source:
    if config.resolution is not None and config.resolution < 1:
        raise UserError(f"data.resolution must be at least 1, got {config.resolution}")
    if config.name in SOURCES:
        bundled = SOURCES[config.name]
        _check_options(config, bundled.schema.domain)
        choose_split(bundled.splits, config)
        return bundled.load(config, progress)
    if config.name in COMPOSED:
        _check_options(config, "image")
        composed = COMPOSED[config.name]
        parts = [_load_whole(part, progress) for part in composed.configs(config)]
        return composed.make(parts, config, progress)
    directory = prepared.data_directory(config.directory)
    own = stored.find(config.name, directory)
    if own is not None:
        _check_options(config, configured(own.schema, config).domain)
        return open_stored(config, own)
    found = prepared.find(config.name, directory)
    if found is not None:
        _check_options(config, "image")
        return open_prepared(config, found, progress)
    if config.name == "fashion_mnist":
        files = idx.find(DEBIAN_FASHION_MNIST)
        if files:
            _check_options(config, "image")
            pair = choose_split(files, config)
            pixels, labels = idx.read_split(pair)
            if labels.max() > 9:
                raise UserError(f"{pair[1]} holds label {labels.max()}; fashion_mnist has 0 to 9")
            schema = STANDARD["fashion_mnist"].schema
            return image_source(config, pixels, labels, schema, progress)
    raise _missing(config.name, directory)


def splits_of(name: str, directory: str | None) -> tuple[str, ...]:
    """Lists the splits of a data set.

    Args:
      name: of it.
      directory: folder of prepared data sets.

    Returns:
      Their names; none where the set is not there.

    Raises:
      UserError: its description is damaged.
    """
    if name in SOURCES:
        return tuple(SOURCES[name].splits)
    name = parts_of(name)[0]
    folder = prepared.data_directory(directory)
    found = stored.find(name, folder) or prepared.find(name, folder)
    if found is not None:
        return tuple(found.splits)
    return tuple(idx.find(DEBIAN_FASHION_MNIST)) if name == "fashion_mnist" else ()


def load_held_out(config: DataConfig, progress: Progress = no_progress) -> Source | None:
    """The test split beside the split of a configuration.

    Args:
      config: which data set and split, and the size of an example.
      progress: shows how far the reading is.

    Returns:
      The split; None where there is no other, or it has no example, or the configuration names a
      part of it.

    Raises:
      UserError: it is damaged.
    """
    if whole_split(config.split) == "test":
        return None
    try:
        return load(dataclasses.replace(config, split="test"), progress)
    except NoSplit:
        return None


def _check_options(config: DataConfig, domain: str) -> None:
    """Refuses what is set for another kind of data; a user's own kind may read any field."""
    if domain not in _KINDS:
        return
    holds, options = _KINDS[domain]
    for name in ("resolution", "flip", "length"):
        value = getattr(config, name)
        if name not in options and value not in (None, False):
            others = " or ".join(words for words, fields in _KINDS.values() if name in fields)
            raise UserError(
                f"data.{name} is {value}, but {config.name!r} holds {holds}, not {others}; leave "
                "it out"
            )


def _missing(name: str, directory: Path) -> UserError:
    by_hand = f"genjax data import {name} --from DIR (files you have)"
    if name in EMBEDDED:
        by_hand = f"genjax data embed {name} --from {EMBEDDED[name]} --by RUN (such as clip-emoji)"
    files = {**remote_files(STANDARD), **dict.fromkeys(CAPTIONED, ())}
    if files.get(name) == ():
        return UserError(f"data set {name!r} isn't prepared in {directory}; run: {by_hand}")
    known = {*files} | prepared.list_builders()
    if name.split("/")[0] not in known:
        own = {row.name for row in prepared.scan(directory)}
        own |= {row.name for row in stored.scan(directory)}
        return prepared.unknown(name, {*SOURCES, *COMPOSED} | known | own)
    return UserError(
        f"data set {name!r} isn't prepared in {directory}; run: genjax data prepare {name} "
        f"(downloads it), or: {by_hand}"
    )
