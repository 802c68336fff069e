"""The images that samples stand for, of models that are given something of each."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from genjax.core.schema import Source
from genjax.domains.image import quantize_images

_CONTROLS = {"bilinear": "linear", "bicubic": "cubic"}
"""Ways to enlarge images, by their names in records and in JAX, whose cubic is Keys' of 1981."""


class Truth(NamedTuple):
    """Of each sample the image that it should be.

    Attributes:
      source: of the images.
      rows: which of them each sample is of, [samples].
      small: the same images with fewer pixels, in [-1, 1], which samples were made from, where that
        is so; or None.
    """

    source: Source
    rows: Int[np.ndarray, "samples"]
    small: Float[np.ndarray, "samples h w c"] | None = None

    def enlarged(
        self, numbers: Int[np.ndarray, "n"]
    ) -> Mapping[str, UInt8[np.ndarray, "n height width channels"]]:
        """Some of the small images as large as samples, by how they were enlarged; or nothing."""
        if self.small is None:
            return {}
        small = jnp.asarray(self.small[numbers])
        field = self.source.schema.fields["image"]
        shape = (len(numbers), *field.shape)
        return {
            name: np.asarray(quantize_images(jax.image.resize(small, shape, method)))
            for name, method in _CONTROLS.items()
        }
