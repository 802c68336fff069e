"""Stores and opens sets of images with captions or embeddings: in memory, or too large for it."""

import contextlib
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genjax.config import DataConfig
from genjax.core.embeddings import EMBEDDING
from genjax.core.schema import Field, Schema, Source
from genjax.data import images, memory, stored
from genjax.data.classes import with_empty
from genjax.data.digest import content_digest
from genjax.data.memory import in_memory
from genjax.data.progress import Progress
from genjax.data.schema import configured
from genjax.data.stored import DESCRIPTION, Stored

# Axes and types of the fields.
_FORMS = {
    "image": (3, "uint8"),
    "label": (0, "int32"),
    "caption": (2, "int32"),
    EMBEDDING: (1, "float32"),
}
# Types that they are stored as.
_STORED = {
    "image": ("uint8",),
    "label": ("int32",),
    "caption": ("int16", "int32"),
    EMBEDDING: ("float32",),
}
_BATCH = 1024


def store_images(
    name: str, directory: Path, schema: Schema, splits: Mapping[str, Source], progress: Progress
) -> Path:
    """Stores a set of images.

    Args:
      name: of it.
      directory: folder of data sets.
      schema: of the examples, with captions or embeddings.
      splits: by name.
      progress: shows how far it is.

    Returns:
      The folder it was stored in.

    Raises:
      UserError: it can't be written, or the set is there already.
    """
    with stored.storing(name, directory) as folder:
        known = {}
        for split, source in splits.items():
            (folder / split).mkdir()
            _write(folder / split, schema, source, progress)
            known[split] = stored.Split(source.count, content_digest(source))
        stored.describe(folder, schema, known)
    return directory / name / stored.VERSION


def _write(folder: Path, schema: Schema, source: Source, progress: Progress) -> None:
    """Writes arrays some rows at a time: of one that is mapped a full disk ends the program."""
    kinds, files = {}, {}
    with contextlib.ExitStack() as stack:
        for name, field in schema.fields.items():
            small = name == "caption" and field.levels <= 2**15
            kinds[name] = np.dtype("<i2" if small else field.dtype)
            files[name] = stack.enter_context((folder / f"{name}.npy").open("wb"))
            described = {
                "descr": np.lib.format.dtype_to_descr(kinds[name]),
                "fortran_order": False,
                "shape": (source.count, *field.shape),
            }
            np.lib.format.write_array_header_1_0(files[name], described)
        starts = range(0, source.count, _BATCH)
        for start in progress(starts, f"storing {folder.name}", len(starts)):
            rows = source.read(np.arange(start, min(start + _BATCH, source.count)))
            for name, file in files.items():
                file.write(np.ascontiguousarray(np.asarray(rows[name]), kinds[name]).data)


def described_images(found: Stored) -> Schema:
    """What the examples of a stored set of images are.

    Raises:
      UserError: its description is of no images with captions or embeddings, or its tokenizer is
        damaged.
    """
    from genjax.domains import tokenizers  # Brings JAX, which a look at the disk does without.

    fields = found.schema.fields
    if not {"image"} < fields.keys() - {"label"} <= _FORMS.keys():
        raise found.damaged(DESCRIPTION, f"it describes {', '.join(fields)}")
    for name, (axes, dtype) in _FORMS.items():
        field = fields.get(name)
        if field is not None and (len(field.shape), field.dtype) != (axes, dtype):
            raise found.damaged(DESCRIPTION, f"{name} is {field.dtype} of shape {field.shape}")
    if fields["image"].shape[-1] not in (1, 3):
        raise found.damaged(DESCRIPTION, f"images have {fields['image'].shape[-1]} channels")
    if "caption" not in fields:
        return found.schema
    vocabulary = tokenizers.vocabulary_size(found.schema.facts)
    if fields["caption"].levels != vocabulary:
        raise found.damaged(
            DESCRIPTION,
            f"captions are of {fields['caption'].levels:,} tokens, and its tokenizer's of "
            f"{vocabulary:,}",
        )
    return found.schema


def open_images(config: DataConfig, found: Stored) -> Source:
    """Opens a split of images with captions or embeddings.

    Args:
      config: which split, and the size of the images.
      found: the set.

    Returns:
      The split; of one whose embeddings are generated what there is but the images. What takes more
      than a quarter of the memory is read from the disk, and images are resized then.

    Raises:
      UserError: a file is damaged.
    """
    known, fields = found.splits[config.split], described_images(found).fields
    types = {name: kinds for name, kinds in _STORED.items() if name in fields}
    shapes = {name: fields[name].shape for name in types}
    arrays = stored.arrays(found, config.split, types, shapes)
    for name, array in arrays.items():
        levels, least = fields[name].levels, -1 if name == "caption" else 0
        inside = name == "image" or least <= array.min() <= array.max() < levels
        if name == EMBEDDING:
            inside = np.isfinite(array).all()
        if len(array) != known.count or not inside:
            raise found.damaged(
                f"{config.split}/{name}.npy",
                f"it holds {len(array):,} from {array.min()} to {array.max()}, not {known.count:,} "
                + ("finite ones" if name == EMBEDDING else f"below {levels or 256:,}"),
            )
    labels = np.array(arrays["label"]) if "label" in arrays else None
    schema = with_empty(configured(found.schema, config), labels)
    own = all(field == fields[name] for name, field in schema.fields.items())
    whole_set = own and schema.fields.keys() == fields.keys()

    def read_images(numbers: np.ndarray) -> np.ndarray:
        pixels = arrays["image"][numbers]
        return pixels if own else np.stack([images.resize(x, config.resolution) for x in pixels])

    def read(numbers: Any) -> dict[str, Any]:
        numbers = np.asarray(numbers, np.int64)
        return {
            name: read_images(numbers)
            if name == "image"
            else arrays[name][numbers].astype(field.dtype)
            for name, field in schema.fields.items()
        }

    name, split, count = config.name, config.split, known.count
    needed = {field: count * _size(schema.fields[field]) for field in schema.fields}
    digested = (lambda: known.digest) if whole_set else None
    if memory.fits(sum(needed.values())):
        return in_memory(name, split, schema, read(np.arange(count)), digested)
    held = {
        field: arrays[field].astype(schema.fields[field].dtype)
        for field in schema.fields
        if field == "label" or (field != "image" and memory.fits(needed[field]))
    }

    @functools.cache
    def digest() -> str:
        return known.digest if whole_set else content_digest(source)

    source = Source(name, split, count, schema, read, held, digest)
    return source


def _size(field: Field) -> int:
    """Bytes of an example."""
    return math.prod(field.shape) * np.dtype(field.dtype).itemsize
