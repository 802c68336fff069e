"""Opens stored sets of images with captions: into memory, or on the disk if they are too large."""

import functools
import math
from typing import Any

import numpy as np

from genjax.config import DataConfig
from genjax.core.schema import Field, Schema, Source
from genjax.data import images, memory, stored
from genjax.data.classes import with_empty
from genjax.data.digest import content_digest
from genjax.data.memory import in_memory
from genjax.data.schema import resized
from genjax.data.stored import DESCRIPTION, Stored

# Axes and types of the fields.
_FORMS = {"image": (3, "uint8"), "label": (0, "int32"), "caption": (2, "int32")}


def described_images(found: Stored) -> Schema:
    """What the examples of a stored set of images are.

    Raises:
      UserError: its description is of no images with captions, or its tokenizer is damaged.
    """
    from genjax.domains import tokenizers  # Brings JAX, which a look at the disk does without.

    fields = found.schema.fields
    if not {"image", "caption"} <= fields.keys() <= {"image", "caption", "label"}:
        raise found.damaged(DESCRIPTION, f"it describes {', '.join(fields)}")
    for name, (axes, dtype) in _FORMS.items():
        field = fields.get(name)
        if field is not None and (len(field.shape), field.dtype) != (axes, dtype):
            raise found.damaged(DESCRIPTION, f"{name} is {field.dtype} of shape {field.shape}")
    if fields["image"].shape[-1] not in (1, 3):
        raise found.damaged(DESCRIPTION, f"images have {fields['image'].shape[-1]} channels")
    vocabulary = tokenizers.vocabulary_size(found.schema.facts)
    if fields["caption"].levels != vocabulary:
        raise found.damaged(
            DESCRIPTION,
            f"captions are of {fields['caption'].levels:,} tokens, and its tokenizer's of "
            f"{vocabulary:,}",
        )
    return found.schema


def open_images(config: DataConfig, found: Stored) -> Source:
    """Opens a split of images with captions.

    Args:
      config: which split, and the size of the images.
      found: the set.

    Returns:
      The split. What takes more than a quarter of the memory is read from the disk, and images are
      resized then.

    Raises:
      UserError: a file is damaged.
    """
    known, fields = found.splits[config.split], described_images(found).fields
    types = {"image": ("uint8",), "caption": ("int16", "int32"), "label": ("int32",)}
    types = {name: kinds for name, kinds in types.items() if name in fields}
    shapes = {name: fields[name].shape for name in types}
    arrays = stored.arrays(found, config.split, types, shapes)
    for name, array in arrays.items():
        levels, least = fields[name].levels, -1 if name == "caption" else 0
        inside = name == "image" or least <= array.min() <= array.max() < levels
        if len(array) != known.count or not inside:
            raise found.damaged(
                f"{config.split}/{name}.npy",
                f"it holds {len(array):,} from {array.min()} to {array.max()}, not {known.count:,} "
                f"below {levels or 256:,}",
            )
    labels = np.array(arrays["label"]) if "label" in arrays else None
    schema = with_empty(resized(found.schema, config.resolution), labels)
    own = schema.fields["image"] == fields["image"]

    def read_images(numbers: np.ndarray) -> np.ndarray:
        pixels = arrays["image"][numbers]
        return pixels if own else np.stack([images.resize(x, config.resolution) for x in pixels])

    def read(numbers: Any) -> dict[str, Any]:
        numbers = np.asarray(numbers, np.int64)
        rest = {} if labels is None else {"label": labels[numbers]}
        captions = arrays["caption"][numbers].astype(np.int32)
        return {"image": read_images(numbers), **rest, "caption": captions}

    name, split, count = config.name, config.split, known.count
    needed = {field: count * _size(schema.fields[field]) for field in ("image", "caption")}
    if memory.fits(sum(needed.values())):
        whole = read(np.arange(count))
        return in_memory(name, split, schema, whole, (lambda: known.digest) if own else None)
    held = {} if labels is None else {"label": labels}
    if memory.fits(needed["caption"]):
        held["caption"] = arrays["caption"].astype(np.int32)

    @functools.cache
    def digest() -> str:
        return known.digest if own else content_digest(source)

    source = Source(name, split, count, schema, read, held, digest)
    return source


def _size(field: Field) -> int:
    """Bytes of an example."""
    return math.prod(field.shape) * np.dtype(field.dtype).itemsize
