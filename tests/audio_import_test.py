"""Importing recordings, what is read of them, and what is refused."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from in_process import genjax, refusal
from scipy.io import wavfile

from genjax.config import DataConfig
from genjax.core.schema import Field
from genjax.data import memory
from genjax.data.importer import import_dataset
from genjax.data.sources import known_schema, load
from genjax.errors import UserError

RATE = 8000


def noise(number, samples):
    return np.random.default_rng(number).integers(-(2**15), 2**15, samples).astype(np.int16)


def write(folder, waves, rate=RATE):
    """WAV files of int16 by their path."""
    for name, wave in waves.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(folder / name, rate, wave)
    return folder


def open_audio(directory, name, split="train", length=None):
    return load(DataConfig(name, split, directory=str(directory), length=length))


WAVES = {
    "train/dog/a.wav": noise(0, 300),
    "train/dog/b.wav": noise(1, 700),
    "train/cat/a.wav": noise(2, 500),
    "test/dog/a.wav": noise(3, 9000),
    "test/cat/a.wav": noise(4, 1),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    result = import_dataset("pets", write(folder / "raw", WAVES), folder / "out")
    assert (result.splits, result.classes) == ({"train": 3, "test": 2}, 2)
    return folder / "out"


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("length", [None, 1, 500])
def test_beginnings_with_zeros_behind_them(directory, monkeypatch, length, large):
    size = length or 8192
    if large:
        monkeypatch.setattr(memory, "physical_memory", lambda: 4 * 2 * size - 1)
    for split, order in (("train", "cat/a dog/a dog/b"), ("test", "cat/a dog/a")):
        source = open_audio(directory, "pets", split, length)
        names = [f"{split}/{name}.wav" for name in order.split()]
        assert source.count == len(names)
        assert source.schema.fields == {
            "audio": Field((size, 1), "int16"),
            "label": Field((), "int32", 2),
        }
        assert source.schema.facts == {"sample_rate": RATE, "class_names": ["cat", "dog"]}
        assert source.arrays.keys() == ({"label"} if large else {"audio", "label"})
        numbers = np.array([1, 0, 1])
        found = source.read(numbers)
        assert found["audio"].dtype == np.int16
        assert found["label"].dtype == np.int32
        for row, number in enumerate(numbers):
            expected = np.zeros(size, np.int16)
            part = WAVES[names[number]][:size]
            expected[: len(part)] = part
            np.testing.assert_array_equal(found["audio"][row, :, 0], expected)
            assert found["label"][row] == ("dog" in names[number])


def test_the_digest_is_of_the_recordings_in_any_order(directory, tmp_path):
    before = open_audio(directory, "pets").digest()
    # The same recordings, sorted otherwise.
    renamed = {"cat/z.wav": "train/cat/a.wav", "dog/0.wav": "train/dog/b.wav"}
    renamed["dog/1.wav"] = "train/dog/a.wav"
    write(tmp_path / "raw", {name: WAVES[old] for name, old in renamed.items()})
    import_dataset("pets", tmp_path / "raw", tmp_path / "out")
    assert open_audio(tmp_path / "out", "pets").digest() == before
    assert open_audio(directory, "pets", length=9).digest() != before
    assert open_audio(directory, "pets", "test").digest() != before
    other = {**{name: WAVES[old] for name, old in renamed.items()}, "cat/z.wav": noise(9, 500)}
    import_dataset("others", write(tmp_path / "raw", other), tmp_path / "out")
    assert open_audio(tmp_path / "out", "others").digest() != before


def test_sounds_without_classes_keep_their_rate(tmp_path):
    waves = {"b.wav": noise(0, 50), "a.WAV": noise(1, 60)}
    write(tmp_path / "raw", waves, 11_025)
    import_dataset("plain", tmp_path / "raw", tmp_path / "out")
    source = open_audio(tmp_path / "out", "plain", length=50)
    assert source.schema.fields.keys() == {"audio"}
    assert source.schema.facts == {"sample_rate": 11_025}
    np.testing.assert_array_equal(source.arrays["audio"][1, :, 0], waves["b.wav"])


def test_rates_are_made_equal_when_asked(tmp_path):
    for rate in (8000, 16_000):
        wave = np.rint(9000 * np.sin(2 * np.pi * 500 * np.arange(rate) / rate)).astype(np.int16)
        write(tmp_path / "raw", {f"{rate}.wav": wave}, rate)
    command = ("data", "import", "mixed", "--from", tmp_path / "raw")
    line = refusal(*command, "--directory", tmp_path / "out")
    assert "8000.wav 8,000; choose one rate with --rate" in line
    outcome = genjax(*command, "--directory", tmp_path / "out", "--rate", "16000")
    assert "train 2 recordings at 16,000 Hz, 0 classes" in outcome.out, outcome
    first, second = open_audio(tmp_path / "out", "mixed", length=15_000).arrays["audio"][..., 0]
    np.testing.assert_allclose(first[500:14_500], second[500:14_500], atol=30)


def digits(folder, speakers=("george", "lucas"), numbers=(0, 4, 5, 10, 49), rate=RATE):
    """Named as in the free spoken digit dataset."""
    waves = {
        f"{digit}_{speaker}_{number}.wav": np.full(20, 100 * digit + number, np.int16)
        for digit in range(10)
        for speaker in speakers
        for number in numbers
    }
    return write(folder, waves, rate)


@pytest.mark.parametrize("below", ["", "recordings"])
def test_spoken_digits_are_split_and_labelled_by_their_names(tmp_path, below):
    digits(tmp_path / "raw" / below)
    (tmp_path / "raw" / "README.md").touch()
    result = import_dataset("spoken_digits", tmp_path / "raw", tmp_path / "out")
    assert result.splits == {"train": 60, "test": 40}
    assert len(result.warnings) == 1
    assert "spoken_digits has {'train': 2700, 'test': 300} recordings" in result.warnings[0]
    for split, numbers in (("train", [5, 10, 49]), ("test", [0, 4])):
        source = open_audio(tmp_path / "out", "spoken_digits", split, length=20)
        values = source.arrays["audio"][:, 0, 0].tolist()
        # By digit, speaker and number.
        assert values == [100 * digit + n for digit in range(10) for _ in range(2) for n in numbers]
        assert (np.array(values) // 100 == source.arrays["label"]).all()
    assert open_audio(tmp_path / "out", "spoken_digits").schema == known_schema("spoken_digits")


def header(content, place, value):
    """A file with other bytes at a place of its header, of 44 bytes in all."""
    return content[:place] + value + content[place + len(value) :]


def damaged(fault):
    def make(path: Path) -> None:
        wavfile.write(path, RATE, noise(0, 100))
        path.write_bytes(fault(path.read_bytes()))

    return make


def of(array, rate=RATE):
    return lambda path: wavfile.write(path, rate, array)


FAULTS = {
    "empty": (damaged(lambda x: b""), "it is empty (0 bytes)"),
    "no samples": (of(noise(0, 0)), "it has no samples"),
    "text": (damaged(lambda x: b"hello, hello, hello"), "it is no WAV file"),
    "another RIFF": (damaged(lambda x: header(x, 8, b"AVI ")), "it is no WAV file"),
    "cut in the samples": (damaged(lambda x: x[:-1]), "243 bytes where its header asks for 244"),
    "cut in the header": (damaged(lambda x: x[:30]), "it is truncated"),
    "cut before the samples": (damaged(lambda x: x[:36]), "it is truncated"),
    "a long chunk": (damaged(lambda x: header(x, 16, b"\xff" * 4)), "it is truncated"),
    "half a sample": (damaged(lambda x: header(x, 40, b"\xc7\0\0\0")), "its last sample is cut"),
    "no format": (damaged(lambda x: header(x, 12, b"form")), "come before their format"),
    "a-law": (damaged(lambda x: header(x, 20, b"\6")), "format 6 of 16 bits"),
    "12 bits": (damaged(lambda x: header(x, 34, b"\x0c")), "format 1 of 12 bits"),
    "channels": (of(np.zeros((9, 6), np.int16)), "6 channels; convert it to one or two"),
    "rate 0": (damaged(lambda x: header(x, 24, bytes(4))), "its header is damaged: 0 samples"),
    "frames of 3 bytes": (damaged(lambda x: header(x, 32, b"\3")), "samples a second of 3 bytes"),
    "NaN": (of(np.array([0, np.nan], np.float32)), "samples that are not finite"),
    "another scale": (of(noise(0, 100).astype(np.float32)), "divide them by their full scale"),
    "infinity": (of(np.array([0, np.inf], np.float32)), "samples that are not finite"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_refused_by_name_and_leave_nothing(tmp_path, name):
    make, message = FAULTS[name]
    write(tmp_path / "raw", {"cat/a.wav": noise(0, 20), "dog/a.wav": noise(1, 20)})
    bad = tmp_path / "raw" / "dog" / "bad\nname é.wav"
    make(bad)
    line = refusal(
        "data", "import", "pets", "--from", tmp_path / "raw", "--directory", tmp_path / "out"
    )
    assert message in line
    assert repr(bad.name)[1:-1] in line
    assert not [path for path in tmp_path.rglob("out/**/*") if not path.is_dir()]
    bad.unlink()
    assert import_dataset("pets", tmp_path / "raw", tmp_path / "out").splits == {"train": 2}


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["cat/a.wav", "stray.wav"], {}, "'stray.wav' beside class folders; sort it in"),
        (["cat/a.wav", "cat/b.mp3"], {}, r"b\.mp3 isn't WAV; convert or remove it; accepted"),
        (["cat/deep/a.wav", "dog/a.wav"], {}, "in a class folder; move its sounds up"),
        (["cat/a.wav", "dog/"], {}, "class folder .*dog is empty"),
        (["train/cat/a.wav", "test/dog/a.wav"], {}, "train and test differ in their classes"),
        (["cat/a.wav", "cat/b.png"], {}, r"holds images \(.*b\.png\) and sound \(.*a\.wav\)"),
        (["a.wav"], {"resolution": 8}, "resolution is 8, but .* holds sound; leave it out"),
        (["a.wav"], {"tokenizer": "byte"}, "tokenizer is 'byte', but .* holds sound"),
        (["a.wav"], {"rate": 0}, "rate must be at least 1, at most 1,000,000, got 0"),
    ],
)
def test_folders_laid_out_otherwise(tmp_path, files, options, message):
    for name in files:
        if name.endswith("/"):
            (tmp_path / "raw" / name).mkdir(parents=True)
        else:
            write(tmp_path / "raw", {name: noise(0, 20)})
    with pytest.raises(UserError, match=message):
        import_dataset("pets", tmp_path / "raw", tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("pets", "raw/0_george_0.wav", r"0_george_0\.wav is one file; accepted: a folder of"),
        ("spoken_digits", "empty", "holds nothing of spoken_digits's split train"),
        ("spoken_digits", "odd", r"x\.wav isn't named as in spoken_digits; rename it"),
    ],
)
def test_sources_that_are_no_set(tmp_path, name, source, message):
    digits(tmp_path / "raw")
    digits(tmp_path / "odd")
    (tmp_path / "odd" / "x.wav").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        import_dataset(name, tmp_path / source, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 8}, "data.resolution is 8, but 'pets' holds sound, not images"),
        ({"split": "tset"}, "unknown split of pets 'tset'; did you mean 'test'"),
        ({"length": 2**24 + 1}, "data.length is 16777217; it must be at most 16,777,216"),
    ],
)
def test_what_does_not_suit_sound_is_refused(directory, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load(DataConfig("pets", directory=str(directory), **options))


def test_a_sound_may_lose_all_its_samples(tmp_path):
    write(tmp_path / "raw", {"a.wav": noise(0, 1)}, 900_000)
    with pytest.raises(UserError, match=r"a\.wav has no sample left at 8,000 Hz"):
        import_dataset("short", tmp_path / "raw", tmp_path / "out", rate=8000)


def test_the_file_is_as_numpy_writes_it(directory):
    path = directory / "pets" / "1.0.0" / "train" / "audio.npy"
    expected = np.concatenate([WAVES[f"train/{x}.wav"] for x in ("cat/a", "dog/a", "dog/b")])
    np.testing.assert_array_equal(np.load(path), expected)
    length = struct.unpack("<H", path.read_bytes()[8:10])[0]
    assert path.stat().st_size == 10 + length + expected.nbytes
