"""Data sets that need no preparation: inside a package, or drawn.

A user's own becomes one by an entry in `SOURCES`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from genjax.config import DataConfig
from genjax.core.schema import Schema, Source
from genjax.data import images, mixtures
from genjax.data.memory import in_memory
from genjax.data.progress import Progress
from genjax.data.schema import image_schema, point_schema
from genjax.errors import UserError


class Bundled(NamedTuple):
    """A data set that is there without preparation.

    Attributes:
      where: what it is a part of.
      splits: number of examples of each split.
      schema: of the examples, at the size they are stored in.
      load: ``(config, progress) -> source`` of one of the splits.
    """

    where: str
    splits: Mapping[str, int]
    schema: Schema
    load: Callable[[DataConfig, Progress], Source]


_DIGITS = Bundled(
    "scikit-learn",
    {"train": 1500, "test": 297},
    image_schema((8, 8, 1), 10, "0123456789"),
    lambda config, progress: _load_digits(config, progress),
)


def _load_digits(config: DataConfig, progress: Progress) -> Source:
    """The first 1,500 images, or the last 297, which other people wrote."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise UserError("the data set 'digits' needs scikit-learn: pip install it") from error

    train = _DIGITS.splits["train"]
    part = slice(0, train) if config.split == "train" else slice(train, None)
    bunch = datasets.load_digits()
    pixels = np.rint(bunch.images[part] * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target[part].astype(np.int32)
    return image_source(config, pixels, labels, _DIGITS.schema, progress)


def image_source(
    config: DataConfig,
    pixels: np.ndarray,
    labels: np.ndarray | None,
    schema: Schema,
    progress: Progress,
) -> Source:
    """Makes a source of images in memory, at the size that a configuration asks for.

    Args:
      config: names the set and the split, and perhaps a resolution.
      pixels: uint8 [n, height, width, channels].
      labels: int32 [n], or None.
      schema: whose classes the labels are.
      progress: shows how far the resizing is.

    Returns:
      The source.
    """
    if config.resolution is not None and config.resolution != pixels.shape[1]:
        items = progress(pixels, f"resizing {config.name}", len(pixels))
        pixels = np.stack([images.resize(image, config.resolution) for image in items])
    names = schema.facts.get("class_names")
    arrays = {"image": pixels} if labels is None else {"image": pixels, "label": labels}
    schema = image_schema(pixels.shape[1:], schema.classes, names)
    return in_memory(config.name, config.split, schema, arrays)


def _mixture(name: str) -> Bundled:
    schema = point_schema(name, len(mixtures.MIXTURES[name].centres))

    def load(config: DataConfig, progress: Progress) -> Source:
        points, labels = mixtures.draw_mixture(name, config.split)
        return in_memory(name, config.split, schema, {"point": points, "label": labels})

    return Bundled("genjax", mixtures.SPLITS, schema, load)


SOURCES: dict[str, Bundled] = {
    "digits": _DIGITS,
    **{name: _mixture(name) for name in mixtures.MIXTURES},
}
"""Data sets by name."""
