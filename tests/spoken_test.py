"""Digits that are spoken and written: the data, and images that are made of sounds."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image
from scipy.io import wavfile

from genjax.config import DataConfig
from genjax.data import spoken
from genjax.data.bundled import image_source
from genjax.data.composed import COMPOSED
from genjax.data.listing import list_datasets
from genjax.data.memory import in_memory
from genjax.data.progress import no_progress
from genjax.data.sources import known_schema, load, whole_count
from genjax.data.standard import STANDARD
from genjax.domains.audio import log_spectra
from genjax.errors import UserError
from genjax.evals.features import FeatureNetwork
from genjax.evals.spectrograms import spectrogram_maps
from genjax.presets import preset
from genjax.run.conditions import conditions_as_in, labels_of_rows, order_in
from genjax.run.evaluation import Protocol, check_protocol
from genjax.run.feed import is_whole
from genjax.run.stages import spec_of

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
    # Recordings are put beside the images as these are read, so that no device holds them all.
    assert not is_whole(made)
    assert whole_count("speech2mnist", "train") is None
    some = made.read(np.array([7, 3]))
    np.testing.assert_array_equal(some["speech"], rows["speech"][[7, 3]])


def test_scores_of_classes_are_known_to_be_possible_before_training(parts):
    network = FeatureNetwork("classifier-x", "", "none", {}, lambda variables, examples: None)
    protocol = Protocol(lambda source: network, ("class_fid",), COUNT)
    check_protocol(preset("speech2mnist"), speak(parts), None, protocol)


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


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small set of both parts in a folder, and a run that learnt from it."""
    files, directory = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    arrays = {
        f"{kind}_{split}": array
        for split, count in (("train", 40), ("test", 20))
        for kind, array in (
            ("x", rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)),
            ("y", np.arange(count) % 10),
        )
    }
    np.savez(files / "tiny.npz", **arrays)
    for digit in range(10):
        wave = np.int16(9000 * np.sin(np.pi * np.arange(4000) * (digit + 1) / 12))
        for number in (0, 5):
            wavfile.write(files / f"{digit}_ann_{number}.wav", 8000, wave)
    for name, source in (("tiny", files / "tiny.npz"), ("spoken_digits", files)):
        outcome = genjax("data", "import", name, "--from", source, "--directory", directory)
        assert outcome.status == 0, outcome.err
    # Images by the name of mnist must be all of it.
    small = COMPOSED["speech2mnist"]._replace(parts=("tiny", "spoken_digits"))
    patch = pytest.MonkeyPatch()
    patch.setitem(COMPOSED, "speech2mnist", small)
    run = tmp_path_factory.mktemp("runs") / "speech"
    outcome = genjax(
        *("train", "speech2mnist", "--data.directory", directory, "--out", run),
        *("--batch-size", 8, "--steps", 4, "--sample-every", 4, "--checkpoint-every", 4),
        *("--model.optimizer.learning-rate", 0.1, "--model.ema-decay", "None"),
        *("--eval.rank", "none", "--eval.held-out", 4, "--log-every", 1),
        *("--model.network.name", "mlp", "--model.network.width", 16),
        *("--model.sequence.width", 8, "--model.sequence.depth", 1, "--model.sequence.heads", 2),
    )
    assert outcome.status == 0, outcome.err
    yield run, files, DataConfig("speech2mnist", "test", directory=str(directory))
    patch.undo()


def sampled(run, folder, *flags):
    file = folder / "made.npz"
    quick = ("--solver", "euler", "--steps", 1)
    outcome = genjax("sample", run, "--npz", file, "--out", folder / "made.png", *quick, *flags)
    assert outcome.status == 0, outcome.err
    with np.load(file) as arrays:
        return arrays["images"]


@pytest.mark.full
def test_images_of_sounds_by_the_command_line(made, tmp_path):
    run, files, config = made
    # Real images stand above the samples of their recordings.
    preview = Image.open(next((run / "samples").glob("*.png")))
    assert preview.height > preview.width // 16
    two = sampled(run, tmp_path, "--sound", files / "3_ann_0.wav", files / "4_ann_0.wav")
    assert two.shape == (2, 28, 28, 1)
    turned = sampled(run, tmp_path, "--sound", files / "4_ann_0.wav", files / "3_ann_0.wav")
    assert (two[0] != turned[0]).any()
    rows = sampled(run, tmp_path, "--sound", files / "3_ann_0.wav", "--per-class", 3)
    assert len(rows) == 3
    np.testing.assert_array_equal(rows[0], two[0])
    # An example of the test split is the image of its recording, of which there is one a digit.
    digit = int(load(config).arrays["label"][7])
    heard = sampled(run, tmp_path, "--sound", files / f"{digit}_ann_0.wav")
    np.testing.assert_array_equal(sampled(run, tmp_path, "--examples", 7), heard)
    # Of another rate, and longer than what is heard.
    long = tmp_path / "long.wav"
    wavfile.write(long, 8000, np.zeros(20_000, np.int16))
    assert len(sampled(run, tmp_path, "--sound", long)) == 1


@pytest.mark.full
def test_what_is_asked_for_in_sounds(made, tmp_path):
    run, files, _ = made
    assert "give either --sound FILE ... or --examples NUMBER" in refusal("sample", run)
    sound = files / "3_ann_0.wav"
    assert "give either" in refusal("sample", run, "--sound", sound, "--examples", 1)
    assert "cannot read" in refusal("sample", run, "--sound", tmp_path / "none.wav")
    assert "--examples is 20; it must be at least 0" in refusal("sample", run, "--examples", 20)
    assert "unrecognized" in refusal("sample", run, "--given", sound).lower()


@pytest.mark.full
def test_samples_of_recordings_should_be_of_their_digits(made):
    run, _, config = made
    source, spec = load(config), spec_of(run)
    condition = conditions_as_in(spec, source, 30)
    assert list(condition) == ["speech"]
    rows = order_in(source, 30)
    np.testing.assert_array_equal(condition["speech"], source.read(rows)["speech"])
    labels = labels_of_rows(spec, source, rows)["label"]
    np.testing.assert_array_equal(labels, source.arrays["label"][rows])
    assert labels_of_rows(spec._replace(given=("label",)), source, rows) == {}
