"""Real sets, as their sources give them, in the folder that GENJAX_TEST_DATA names."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from genjax.config import DataConfig
from genjax.data import archives, folders, image_folders
from genjax.data.importer import import_dataset
from genjax.data.sources import known_schema, load
from genjax.domains import tokenizers


def given(name: str) -> Path:
    """A file of the folder, or a skip that says why."""
    folder = os.environ.get("GENJAX_TEST_DATA")
    if not folder:
        pytest.skip("GENJAX_TEST_DATA names no folder of data")
    path = Path(folder) / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def test_shakespeare(tmp_path: Path) -> None:
    """As nanoGPT's data/shakespeare_char cuts it: 65 characters, 1,003,854 and 111,540."""
    archive = given("text.tar.xz")
    result = import_dataset("tinyshakespeare", archive, tmp_path)
    assert result.splits == {"train": 1_003_854, "test": 111_540}
    assert result.warnings == ()
    with tarfile.open(archive) as tar:
        text = tar.extractfile("tinyshakespeare.txt").read().decode()
    source = load(DataConfig("tinyshakespeare", directory=str(tmp_path), length=256))
    assert source.schema == known_schema("tinyshakespeare", 256)
    assert source.schema.facts["vocabulary"] == sorted(set(text))
    assert source.count == 1_003_854 - 255
    numbers = np.array([0, 500_000, source.count - 1])
    for number, window in zip(numbers, source.read(numbers)["tokens"], strict=True):
        written = tokenizers.decode(source.schema.facts, window)
        assert written == text[number : number + 256]
    held_out = load(DataConfig("tinyshakespeare", "test", directory=str(tmp_path), length=256))
    last = tokenizers.decode(held_out.schema.facts, held_out.read(np.array([434]))["tokens"][0])
    assert last == text[1_003_854 + 434 * 256 :][:256]


def test_spoken_digits(tmp_path: Path) -> None:
    archive = given("fsdd.tar.xz")
    result = import_dataset("spoken_digits", archive, tmp_path)
    assert result.splits == {"train": 2_700, "test": 300}
    assert result.warnings == ()
    expected = {"train": set(), "test": set()}
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.name.endswith(".wav"):
                continue
            rate, wave = wavfile.read(io.BytesIO(tar.extractfile(member).read()))
            assert rate == 8000
            digit, _, number = Path(member.name).stem.split("_")
            beginning = np.zeros(8192, np.int16)
            beginning[: len(wave)] = wave[:8192]
            split = "test" if int(number) < 5 else "train"
            expected[split].add((int(digit), beginning.tobytes()))
    for split, recordings in expected.items():
        source = load(DataConfig("spoken_digits", split, directory=str(tmp_path)))
        assert source.schema == known_schema("spoken_digits")
        pairs = zip(source.arrays["label"], source.arrays["audio"], strict=True)
        assert {(int(label), wave.tobytes()) for label, wave in pairs} == recordings


def test_pneumonia(tmp_path: Path) -> None:
    result = import_dataset("pneumonia_mnist", given("pneumoniamnist.npz"), tmp_path)
    assert result.splits == {"train": 4_708, "validation": 524, "test": 624}
    source = load(DataConfig("pneumonia_mnist", "validation", directory=str(tmp_path)))
    assert source.schema == known_schema("pneumonia_mnist")


def test_clothing(tmp_path: Path) -> None:
    result = import_dataset("clothing", given("clothing128.tar"), tmp_path, resolution=16)
    assert result.splits == {"train": 3_068, "validation": 341, "test": 372}
    assert (result.shape, result.classes) == ((16, 16, 3), 10)


def test_cifar10_in_folders(tmp_path: Path) -> None:
    with archives.unpacked(given("cifar10-jpeg.tar.xz"), tmp_path) as folder:
        found = folders.find(folder, image_folders.KIND)
        for split, count in (("train", 5_000), ("test", 1_000)):
            assert np.bincount(found.labels[split]).tolist() == [count] * 10
            assert len(found.files[split]) == 10 * count
    assert not list(tmp_path.iterdir())
