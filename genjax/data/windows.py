"""Opens what genjax stores itself: windows of a stream of tokens, beginnings of recordings."""

from collections.abc import Callable
from typing import Any

import numpy as np

from genjax.config import DataConfig
from genjax.core.schema import Field, Schema, Source
from genjax.data import memory, stored
from genjax.data.corpora import SAMPLES, WINDOW
from genjax.data.digest import window_digest
from genjax.data.memory import in_memory
from genjax.data.splits import NoSplit, choose_split
from genjax.data.stored import Stored
from genjax.data.stored_images import open_images
from genjax.errors import UserError, lookup

_MOST_SAMPLES = 2**24


def open_stored(config: DataConfig, found: Stored) -> Source:
    """Opens a split of a stored set.

    Args:
      config: which split, and the size of an example.
      found: the set.

    Returns:
      The split. Of a text that is learnt (``train``) each window is an example, from every token
      on; of other splits they don't overlap. Of a recording it is the beginning, with zeros behind
      one that is shorter. Of images with captions see `genjax.data.stored_images`.

    Raises:
      UserError: there is no such split, it is shorter than an example, or damaged.
    """
    choose_split(found.splits, config)
    opener = lookup(_OPENERS, found.schema.domain, f"kind of data in {found.path}")
    return opener(config, found)


def _open_tokens(config: DataConfig, found: Stored) -> Source:
    from genjax.domains import tokenizers  # Brings JAX, which a look at the disk does without.

    known = found.splits[config.split]
    length = config.length or WINDOW
    types = {"tokens": ("uint8", "uint16", "int32")}
    stream = stored.arrays(found, config.split, types)["tokens"]
    vocabulary = tokenizers.vocabulary_size(found.schema.facts)
    if len(stream) != known.count or not 0 <= stream.min() <= stream.max() < vocabulary:
        raise found.damaged(
            f"{config.split}/tokens.npy",
            f"it holds {len(stream):,} tokens from {stream.min()} to {stream.max()}, not "
            f"{known.count:,} below {vocabulary:,}",
        )
    if length > len(stream):
        raise NoSplit(
            f"data.length is {length}, but {config.split} of {config.name!r} has {len(stream):,} "
            "tokens; lower it"
        )
    step = 1 if config.split == "train" else length
    window = np.arange(length)

    def read(numbers: Any) -> dict[str, Any]:
        starts = np.asarray(numbers, np.int64) * step
        return {"tokens": stream[starts[:, None] + window].astype(np.int32)}

    return Source(
        config.name,
        config.split,
        (len(stream) - length) // step + 1,
        _with_shape(found.schema, "tokens", (length,)),
        read,
        {},
        lambda: window_digest(known.digest, length),
    )


def _open_audio(config: DataConfig, found: Stored) -> Source:
    known = found.splits[config.split]
    length = config.length or SAMPLES
    if length > _MOST_SAMPLES:
        raise UserError(f"data.length is {length}; it must be at most {_MOST_SAMPLES:,} samples")
    classes = found.schema.classes
    types = {"audio": ("int16",), "offsets": ("int64",), "label": ("int32",)}
    needed = types if classes else {name: types[name] for name in ("audio", "offsets")}
    arrays = stored.arrays(found, config.split, needed)
    stream, offsets = arrays["audio"], arrays["offsets"]
    whole = len(offsets) == known.count + 1 and offsets[0] == 0 and offsets[-1] == len(stream)
    if not whole or not (np.diff(offsets) > 0).all():
        raise found.damaged(
            f"{config.split}/offsets.npy",
            f"it does not cut {len(stream):,} samples into {known.count:,} recordings",
        )
    labels = {"label": np.array(arrays["label"])} if classes else {}
    for label in labels.values():
        if len(label) != known.count or not 0 <= label.min() <= label.max() < classes:
            raise found.damaged(
                f"{config.split}/label.npy",
                f"it holds {len(label):,} labels from {label.min()} to {label.max()}, not "
                f"{known.count:,} below {classes}",
            )

    def read(numbers: Any) -> dict[str, Any]:
        numbers = np.asarray(numbers, np.int64)
        waves = np.zeros((len(numbers), length, 1), np.int16)
        starts = offsets[numbers]
        lengths = np.minimum(offsets[numbers + 1] - starts, length)
        for wave, start, size in zip(waves, starts, lengths, strict=True):
            wave[:size, 0] = stream[start : start + size]
        return {"audio": waves} | {name: label[numbers] for name, label in labels.items()}

    def digest() -> str:
        return window_digest(known.digest, length)

    name, split = config.name, config.split
    schema = _with_shape(found.schema, "audio", (length, 1))
    if memory.fits(known.count * length * 2):
        return in_memory(name, split, schema, read(np.arange(known.count)), digest)
    return Source(name, split, known.count, schema, read, labels, digest)


def _with_shape(schema: Schema, name: str, shape: tuple[int, ...]) -> Schema:
    """A schema whose examples have another length."""
    field = Field(shape, schema.fields[name].dtype, schema.fields[name].levels)
    return schema._replace(fields={**schema.fields, name: field})


_OPENERS: dict[str, Callable[[DataConfig, Stored], Source]] = {
    "tokens": _open_tokens,
    "audio": _open_audio,
    "image": open_images,
}
