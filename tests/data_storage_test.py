"""Storing a data set that breaks off, and stored ones that are damaged later."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import genjax, refusal
from patience import PATIENCE_S
from PIL import Image

from genjax.config import DataConfig
from genjax.data import sources
from genjax.data.importer import import_dataset
from genjax.errors import UserError

# Dies while it stores the second half of the images.
KILLED = """
import os, signal, sys
from pathlib import Path
from genjax.data.importer import import_dataset

def progress(items, description, total):
    for count, item in enumerate(items):
        if description.startswith("storing") and count == total // 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

import_dataset("mine", Path(sys.argv[1]), sys.argv[2], progress)
"""
# Writes no file beyond a size, as on a disk that is full.
FULL = """
import resource, sys
from genjax import cli

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.argv = ["genjax", "data", "import", "mine", "--from", sys.argv[1], "--directory", sys.argv[2]]
cli.main()
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source of 50 images that takes more than 20,000 bytes."""
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(50) % 2)
    return tmp_path / "set.npz"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A stored data set whose classes have names: the folder of its version."""
    for label in ("cat", "dog"):
        (tmp_path / "raw" / label).mkdir(parents=True)
        for shade in range(8):
            Image.new("L", (8, 8), shade).save(tmp_path / "raw" / label / f"{shade}.png")
    return import_dataset("mine", tmp_path / "raw", tmp_path / "out").path


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def assert_nothing_is_taken_for_whole(source: Path, directory: Path) -> None:
    """Neither listed nor trained on; and a second import works."""
    listed = genjax("data", "list", "--directory", directory)
    assert listed.status == 0, listed
    assert not re.search(r"^mine\b", listed.out, re.MULTILINE)
    chosen = ("--data.name", "mine", "--data.directory", directory)
    line = refusal("train", *chosen, "--out", directory.parent / "run")
    assert "unknown data set 'mine'" in line
    assert not (directory.parent / "run").exists()
    again = genjax("data", "import", "mine", "--from", source, "--directory", directory)
    assert again.status == 0, again
    data = sources.load(DataConfig("mine", directory=str(directory)))
    with np.load(source) as raw:
        expected = sorted(image.tobytes() for image in raw["images"])
    assert sorted(image.tobytes() for image in data.arrays["image"]) == expected


def test_a_kill_halfway_leaves_nothing_whole(source: Path, tmp_path: Path) -> None:
    killed = python(KILLED, source, tmp_path / "out")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_nothing_is_taken_for_whole(source, tmp_path / "out")


def test_a_full_disk_leaves_nothing(source: Path, tmp_path: Path) -> None:
    full = python(FULL, source, tmp_path / "out")
    assert full.returncode == 2, full.stderr
    assert full.stderr.count("\n") == 1
    assert "cannot store 'mine' in" in full.stderr
    assert "File too large" in full.stderr
    assert not [path for path in tmp_path.rglob("out/**/*") if path.is_file()]
    assert_nothing_is_taken_for_whole(source, tmp_path / "out")


def test_a_set_that_cannot_be_noted_is_not_left(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checksums come last."""

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("genjax.data.prepared._sha256", fail)
        with pytest.raises(UserError, match="No space left"):
            import_dataset("mine", source, tmp_path / "out")
    assert_nothing_is_taken_for_whole(source, tmp_path / "out")


NAMES = (
    "dataset_info.json",
    "features.json",
    "label.labels.txt",
    "mine-train.array_record-00000-of-00001",
    "sha256.json",
)


@pytest.mark.parametrize("name", NAMES)
def test_later_damage_is_refused_by_name(stored: Path, name: str) -> None:
    """A single bit, a file that is cut, and one that is empty."""
    assert sorted(path.name for path in stored.iterdir()) == sorted(NAMES)
    config = DataConfig("mine", directory=str(stored.parents[1]))
    content = (stored / name).read_bytes()
    middle = len(content) // 2
    # A checksum that has changed looks like a file that has.
    culprit = stored if name == "sha256.json" else stored / name
    for broken in (
        content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        content[:middle],
        b"",
    ):
        (stored / name).write_bytes(broken)
        with pytest.raises(UserError) as caught:
            sources.load(config)
        assert str(culprit) in str(caught.value)
        assert f"delete the folder {stored}" in str(caught.value)
    (stored / name).write_bytes(content)
    assert len(sources.load(config).arrays["image"]) == 16


def test_damage_is_refused_by_the_command(stored: Path, tmp_path: Path) -> None:
    shard = stored / NAMES[3]
    content = bytearray(shard.read_bytes())
    # Between the records, where the format has no checksum of its own.
    content[-1] ^= 1
    shard.write_bytes(content)
    chosen = ("--data.name", "mine", "--data.directory", tmp_path / "out")
    line = refusal("train", *chosen, "--out", tmp_path / "run")
    assert f"{shard} is damaged: its checksum is wrong" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", NAMES[2:4])
def test_a_missing_file_is_named(stored: Path, name: str) -> None:
    (stored / name).unlink()
    with pytest.raises(UserError, match=f"cannot read {stored / name}"):
        sources.load(DataConfig("mine", directory=str(stored.parents[1])))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("dataset_info.json", '"name": "train"', '"nome": "train"'),
        ("dataset_info.json", '"16"', '"1e999"'),
        ("dataset_info.json", '"16"', "1e999"),
        ("dataset_info.json", '"16"', '"17"'),
        ("dataset_info.json", '"description"', '"descriptoin"'),
        ("dataset_info.json", "{", '{"splits": ' + "[" * 100_000),
        ("features.json", "{", "[" * 100_000),
        ("features.json", '"featuresDict"', '"featuresDoct"'),
        ("features.json", '"uint8"', '"uint9"'),
    ],
    ids=["field", "text", "infinity", "count", "unknown", "deep", "deep too", "dict", "type"],
)
def test_descriptions_of_others_are_refused_without_a_traceback(
    stored: Path, tmp_path: Path, name: str, old: str, new: str
) -> None:
    """Sets that genjax did not store have no checksums."""
    (stored / "sha256.json").unlink()
    text = (stored / name).read_text()
    assert old in text
    (stored / name).write_text(text.replace(old, new, 1))
    chosen = ("--data.name", "mine", "--data.directory", tmp_path / "out")
    line = refusal("train", *chosen, "--out", tmp_path / "run")
    assert str(stored) in line
    assert not (tmp_path / "run").exists()


def test_labels_beyond_the_classes_are_refused(stored: Path) -> None:
    (stored / "sha256.json").unlink()
    (stored / "label.labels.txt").unlink()
    features = json.loads((stored / "features.json").read_text())
    label = features["featuresDict"]["features"]["label"]["classLabel"]
    assert label["numClasses"] == "2"
    label["numClasses"] = "1"
    (stored / "features.json").write_text(json.dumps(features))
    with pytest.raises(UserError, match="labels from 0 to 1 in train, but has classes 0 to 0"):
        sources.load(DataConfig("mine", directory=str(stored.parents[1])))
