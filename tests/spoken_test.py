"""Digits that are spoken and written: each image has a recording of its digit."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from genjax.config import DataConfig
from genjax.data import spoken
from genjax.data.bundled import image_source
from genjax.data.listing import list_datasets
from genjax.data.memory import in_memory
from genjax.data.progress import no_progress
from genjax.data.sources import known_schema, load
from genjax.data.standard import STANDARD
from genjax.domains.audio import log_spectra
from genjax.errors import UserError
from genjax.evals.spectrograms import spectrogram_maps

COUNT, RECORDINGS = 200, 30


@pytest.fixture(scope="module")
def parts():
    """Images with their number in a corner, and tones whose pitch is their digit."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, COUNT, dtype=np.int32)
    pixels = np.zeros((COUNT, 28, 28, 1), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(COUNT)
    config = DataConfig("mnist")
    images = image_source(config, pixels, labels, STANDARD["mnist"].schema, no_progress)
    schema = spoken.known_recordings()
    digits = np.int32(np.arange(RECORDINGS) % 10)
    time = np.arange(schema.fields["audio"].shape[0])
    loud = rng.uniform(0.1, 1, RECORDINGS)
    waves = loud[:, None] * np.sin(np.pi * time * (digits[:, None] + 1) / 12)
    waves = np.int16(32_000 * waves[..., None])
    return images, in_memory("x", "train", schema, {"audio": waves, "label": digits})


def speak(parts, split="train", **options):
    return spoken.speak(*parts, DataConfig(spoken.NAME, split, **options), no_progress)


def test_each_image_has_a_recording_of_its_digit(parts):
    made = speak(parts)
    assert (made.count, made.name, made.split) == (COUNT, "speech2mnist", "train")
    assert made.schema == spoken.spoken_schema() == known_schema("speech2mnist")
    rows = made.read(np.arange(COUNT))
    np.testing.assert_array_equal(rows["image"], parts[0].arrays["image"])
    assert rows["speech"].shape == (COUNT, *spoken.SHAPE)
    table = log_spectra(parts[1].arrays["audio"])
    heard = [np.flatnonzero((table == speech).all((1, 2))).tolist() for speech in rows["speech"]]
    assert {len(found) for found in heard} == {1}
    assert [found[0] % 10 for found in heard] == rows["label"].tolist()
    assert len({found[0] for found in heard}) > 20
    some = made.read(np.array([7, 3]))
    np.testing.assert_array_equal(some["speech"], rows["speech"][[7, 3]])


def test_the_same_are_drawn_every_time_and_others_for_each_split(parts):
    number = np.arange(COUNT)
    one, again, test = (
        speak(parts, split).read(number)["speech"] for split in ("train", "train", "test")
    )
    np.testing.assert_array_equal(one, again)
    assert (one != test).any()
    digests = {speak(parts).digest(), speak(parts, "test").digest()}
    digests |= {speak(parts, resolution=8).digest(), speak(parts).digest()}
    assert len(digests) == 3
    assert speak(parts, resolution=8).read(number)["image"].shape == (COUNT, 8, 8, 1)


def test_spectra_equal_those_that_scores_are_of(parts):
    waves = parts[1].arrays["audio"][:5]
    ours = log_spectra(waves)
    np.testing.assert_allclose(ours, spectrogram_maps(jnp.asarray(waves))[..., 0], atol=1e-4)
    assert -1 <= ours.min() < ours.max() <= 1


def test_what_is_refused(parts):
    images, recordings = parts
    other = dataclasses.replace(images, schema=STANDARD["mnist"].schema._replace(fields={}))
    with pytest.raises(UserError, match="made of mnist and spoken_digits, but what is there"):
        speak((other, recordings))
    with pytest.raises(UserError, match="made of mnist and spoken_digits, but what is there"):
        speak((images, images))
    arrays = {name: rows[:9] for name, rows in recordings.arrays.items()}
    few = in_memory("x", "train", recordings.schema, arrays)
    with pytest.raises(UserError, match="spoken_digits train has no recording of 9"):
        speak((images, few))


def test_parts_that_are_not_there(tmp_path):
    config = DataConfig("speech2mnist", directory=str(tmp_path))
    with pytest.raises(UserError, match="data set 'mnist' isn't prepared"):
        load(config)
    [row] = [row for row in list_datasets(tmp_path) if row.name == "speech2mnist"]
    commands = "genjax data prepare mnist, genjax data import spoken_digits --from DIR"
    assert (row.status, row.where) == ("missing", commands)
