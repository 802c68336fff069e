"""A data set between its source and its storage."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from genjax.data import images

ACCEPTED = (
    "accepted: IDX files (train-images-idx3-ubyte[.gz], ...), one .npz (images, labels; x_train, "
    "y_train, x_test, y_test; or train_images, train_labels, val_images, ...), a folder of PNG or "
    "JPEG, with labels.csv or StyleGAN's dataset.json beside them or in folders named by class, "
    "perhaps below train/, validation/ and test/"
)
"""What an import accepts, for errors."""


@dataclasses.dataclass(frozen=True)
class RawSplit:
    """A split before it is stored.

    Attributes:
      count: number of images.
      read: from position to image, uint8 [h, w, c].
      labels: int32 [count], or None.
      array: all images, uint8 [count, h, w, c], where they are in memory.
    """

    count: int
    read: Callable[[int], images.Image]
    labels: npt.NDArray[np.int32] | None
    array: npt.NDArray[np.uint8] | None = None


@dataclasses.dataclass(frozen=True)
class Raw:
    """A data set before it is stored.

    Attributes:
      shape: height, width and channels; height and width are None if they vary.
      splits: from name to split.
      class_names: in the order of the labels, or None where the source doesn't name them.
      warnings: what the user should know, a line each.
    """

    shape: tuple[int | None, int | None, int]
    splits: Mapping[str, RawSplit]
    class_names: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()
