"""Stacked MNIST: three digits, drawn at random, are the colours of an image, in 1,000 modes.

There are as many images as MNIST has in the split, of 28 x 28 pixels. An image's label is the
number that its digits make, red first.

Reference: Metz et al. 2017 (Unrolled GAN), section 3.3.1; Srivastava et al. 2017 (VEEGAN); Lin et
al. 2018 (PacGAN).
"""

import dataclasses
import zlib

import numpy as np

from genjax.config import DataConfig
from genjax.core.schema import Schema, Source
from genjax.data.bundled import image_source
from genjax.data.progress import Progress
from genjax.data.schema import image_schema
from genjax.data.standard import STANDARD
from genjax.errors import UserError

NAME = "stacked_mnist"
PARTS = "mnist"
"""The data set that it is made of."""
MODES = 1000

_PLACES = np.array([100, 10, 1])


def stacked_schema() -> Schema:
    """Of its images; the fact ``stacked`` says what they are made of."""
    height, width, _ = STANDARD[PARTS].shape
    schema = image_schema((height, width, len(_PLACES)), MODES)
    return schema._replace(facts={"stacked": PARTS})


def stack(digits: Source, config: DataConfig, progress: Progress) -> Source:
    """Makes a split of it.

    Three digits are drawn for each image, with repetition, the same ones every time: the seed is
    the name of the set and of the split.

    Args:
      digits: that split of MNIST.
      config: names the split, and perhaps a resolution.
      progress: shows how far the resizing is.

    Returns:
      The split.

    Raises:
      UserError: the digits are no grey images with labels from 0 to 9.
    """
    shape = digits.schema.fields["image"].shape
    if digits.schema.classes != 10 or len(shape) != 3 or shape[-1] != 1:
        raise UserError(f"{NAME} is made of {PARTS}, but what is there is no set of grey digits")
    generator = np.random.default_rng(zlib.crc32(f"{NAME}/{config.split}".encode()))
    chosen = generator.integers(0, digits.count, (digits.count, len(_PLACES)))
    arrays = digits.read(np.arange(digits.count))
    pixels = np.asarray(arrays["image"])[..., 0]
    images = np.stack([pixels[chosen[:, place]] for place in range(len(_PLACES))], axis=-1)
    labels = (np.asarray(arrays["label"])[chosen] @ _PLACES).astype(np.int32)
    made = image_source(config, images, labels, stacked_schema(), progress)
    return dataclasses.replace(made, schema=made.schema._replace(facts=stacked_schema().facts))
