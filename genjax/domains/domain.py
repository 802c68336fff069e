"""What a kind of data needs to be learnt from, shown and compared."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Array, Float, Int16, UInt8

from genjax.core.schema import Field
from genjax.core.types import Index, Key


class Picture(NamedTuple):
    """What is looked at.

    Attributes:
      pixels: uint8 [height, width, channels], 1 channel for grey or 3 for RGB.
    """

    pixels: UInt8[np.ndarray, "height width channels"]


class Sound(NamedTuple):
    """What is listened to.

    Attributes:
      wave: int16 [samples].
      rate: samples a second.
    """

    wave: Int16[np.ndarray, "samples"]
    rate: int


class Text(NamedTuple):
    """What is read.

    Attributes:
      text: of any number of lines.
    """

    text: str


Preview: TypeAlias = Picture | Sound | Text

Samples: TypeAlias = np.ndarray
"""Generated examples as they are stored, [n, ...]."""


class Layout(NamedTuple):
    """How samples are arranged.

    Attributes:
      columns: in a row; None leaves it to the domain.
      above: further samples by name, each set apart above the last.
      captions: one for each sample, to be seen with it where the domain can; or none.
    """

    columns: int | None = None
    above: Mapping[str, Samples] = {}
    captions: Sequence[str] = ()


class Domain(NamedTuple):
    """A kind of data.

    Attributes:
      field: name of the array that an example consists of.
      plural: what several are called in an .npz file.
      axes: of that array, without the one over the examples.
      to_model: from the array as it is stored, [batch, ...], to what a model sees.
      to_stored: the inverse, rounded to what can be stored.
      model_field: from the stored field to the same as a model sees it.
      render: ``(samples, facts, layout) -> previews``, of types that differ; `facts` are those of
        the schema.
      pictured: how many samples a preview shows; 0 where there is none.
      coarse: ``(samples, facts) -> features``, float64 [n, d]: cheap, and enough to rank the
        checkpoints of one run.
      coarse_name: what the log calls the Frechet distance between them.
      augment: changes of examples as the model sees them, by name, ``(arrays, key, index)``, where
        `index` are the examples' places in the whole batch.
      values: what `to_model` does, in words for whoever has the weights alone.
      shown: the types of the previews; none where there is nothing to look at.
      single: ``(sample, facts) -> preview``, one sample as it is, with nothing around it; None
        where one by itself is nothing to look at.
    """

    field: str
    plural: str
    axes: int
    to_model: Callable[[Array], Array]
    to_stored: Callable[[Array], Array]
    model_field: Callable[[Field], Field]
    render: Callable[[Samples, Mapping[str, Any], Layout], Sequence[Preview]]
    pictured: int
    coarse: Callable[[Any, Mapping[str, Any]], Float[np.ndarray, "n d"]]
    coarse_name: str
    augment: Mapping[str, Callable[[Array, Key, Index], Array]] = {}
    values: str = "as they are stored"
    shown: tuple[type[Preview], ...] = (Picture,)
    single: Callable[[np.ndarray, Mapping[str, Any]], Preview] | None = None
