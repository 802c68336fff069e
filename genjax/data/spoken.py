"""Digits that are spoken and written: images of MNIST, each with a recording of the same digit.

There are as many examples as MNIST has in the split, of 28 x 28 pixels; recordings are those of
spoken_digits in the same split, so that nobody's test recording was learnt from. What a model is
given of a recording is its spectrogram, the field ``speech``.
"""

import hashlib
import zlib
from typing import Any

import numpy as np

from genjax.config import DataConfig
from genjax.core.schema import Field, Schema, Source
from genjax.data.bundled import image_source
from genjax.data.corpora import RECORDINGS, SAMPLES
from genjax.data.progress import Progress
from genjax.data.schema import image_schema
from genjax.data.standard import STANDARD
from genjax.errors import UserError

NAME = "speech2mnist"
PARTS = ("mnist", "spoken_digits")
"""The data sets that it is made of: what is seen, and what is heard."""
SPEECH = "speech"
"""The field of what is heard."""
SHAPE = (63, 64)
"""Of what is heard: times and frequencies, see `genjax.domains.audio.log_spectra`."""


def spoken_schema() -> Schema:
    """Of its images; the fact ``speech`` says what the spectrograms are of."""
    images = STANDARD[PARTS[0]].schema
    schema = image_schema(images.fields["image"].shape, 10, images.facts.get("class_names"))
    heard = {"sample_rate": RECORDINGS[PARTS[1]].rate, "samples": SAMPLES}
    facts = {**schema.facts, SPEECH: heard}
    return schema._replace(fields={**schema.fields, SPEECH: Field(SHAPE, "float32")}, facts=facts)


def speak(images: Source, recordings: Source, config: DataConfig, progress: Progress) -> Source:
    """Makes a split of it.

    Each image has one of the recordings of its digit, drawn with repetition, the same one every
    time: the seed is the name of the set and of the split.

    Args:
      images: that split of MNIST.
      recordings: that split of the spoken digits, at their usual length.
      config: names the split, and perhaps a resolution.
      progress: shows how far the resizing is.

    Returns:
      The split; spectrograms are put beside the images as these are read.

    Raises:
      UserError: either is no set of ten digits, or a digit is never spoken.
    """
    # Brings JAX, which a look at the disk does without.
    from genjax.domains.audio import log_spectra

    schema = spoken_schema()
    usual = known_recordings()
    if images.schema.classes != 10 or recordings.schema.fields != usual.fields:
        raise UserError(
            f"{NAME} is made of {PARTS[0]} and {PARTS[1]}, but what is there by these names is "
            "something else"
        )
    arrays = images.read(np.arange(images.count))
    labels = np.asarray(arrays["label"])
    heard = recordings.read(np.arange(recordings.count))
    spoken = np.asarray(heard["label"])
    table = log_spectra(np.asarray(heard["audio"]))
    generator = np.random.default_rng(zlib.crc32(f"{NAME}/{config.split}".encode()))
    chosen = np.zeros(images.count, np.int64)
    for digit in np.unique(labels):
        own = np.flatnonzero(spoken == digit)
        if not len(own):
            raise UserError(f"{PARTS[1]} {config.split} has no recording of {digit}")
        there = labels == digit
        chosen[there] = generator.choice(own, there.sum())
    made = image_source(config, np.asarray(arrays["image"]), labels, schema, progress)
    field = {SPEECH: schema.fields[SPEECH]}
    schema = schema._replace(fields={**made.schema.fields, **field})

    def read(numbers: Any) -> dict[str, Any]:
        return {**made.read(numbers), SPEECH: table[chosen[numbers]]}

    def digest() -> str:
        parts = f"{images.digest()} {recordings.digest()} {config.resolution}"
        return hashlib.sha256(f"{NAME}/{config.split} {parts}".encode()).hexdigest()

    return Source(NAME, config.split, made.count, schema, read, made.arrays, digest)


def known_recordings() -> Schema:
    """Of the recordings, at the length that they are heard."""
    return RECORDINGS[PARTS[1]].schema(SAMPLES)
