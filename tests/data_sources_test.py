"""Loading: embedded, Debian's and prepared sets, and what is said about missing ones."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from genjax.config import DataConfig
from genjax.data import idx, images, prepared, sources
from genjax.data.importer import import_dataset
from genjax.data.listing import list_datasets
from genjax.errors import UserError

T = TypeVar("T")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    asked = []

    def refuse(*args: Any, **kwargs: Any) -> None:
        asked.append(args)
        raise OSError("loading must not use the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    # What asked may have gone on without an answer.
    assert not asked


def make(directory: Path, name: str = "mine", count: int = 20) -> Path:
    raw = np.random.default_rng(0).integers(0, 256, (count, 6, 4, 3), dtype=np.uint8)
    directory.mkdir(exist_ok=True)
    np.savez(directory / "raw.npz", images=raw, labels=np.arange(count) % 2)
    return import_dataset(name, directory / "raw.npz", directory).path


def test_importing_is_light() -> None:
    code = (
        "import sys, genjax.data.sources, genjax.data.listing, genjax.data.prepare; "
        "heavy = {'jax', 'PIL', 'sklearn', 'scipy', 'tensorflow_datasets'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_digits() -> None:
    train = sources.load(DataConfig(name="digits"))
    test = sources.load(DataConfig(name="digits", split="test"))
    assert train.arrays["image"].shape == (1500, 8, 8, 1)
    assert test.arrays["image"].shape == (297, 8, 8, 1)
    assert train.arrays["image"].dtype == np.uint8
    assert train.arrays["image"].min() == 0
    assert train.arrays["image"].max() == 255
    # Sixteenths, rounded: 3 * 255 / 16 = 47.8.
    assert set(np.unique(train.arrays["image"])) <= {round(i * 255 / 16) for i in range(17)}
    assert 48 in train.arrays["image"]
    assert "label" in train.arrays
    assert train.arrays["label"].dtype == np.int32
    assert train.arrays["label"][:10].tolist() == list(range(10))
    assert train.schema.classes == 10


def test_digits_resized_and_progress() -> None:
    seen: list[tuple[str, int]] = []

    def record(items: Iterable[T], description: str, total: int) -> Iterable[T]:
        seen.append((description, total))
        return items

    data = sources.load(DataConfig(name="digits", split="test", resolution=16), record)
    assert data.arrays["image"].shape == (297, 16, 16, 1)
    assert seen == [("resizing digits", 297)]


def test_resize_is_antialiased_and_takes_the_centre() -> None:
    checks = np.indices((64, 64)).sum(0)[..., None] % 2 * np.uint8(255)
    assert np.ptp(images.resize(checks.astype(np.uint8), 8)) < 20
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (images.resize(wide, 5) == 200).all()
    assert images.resize(wide, None) is wide


@pytest.mark.parametrize("resolution", [0, -1])
def test_resolution_must_be_positive(resolution: int) -> None:
    with pytest.raises(UserError, match="at least 1"):
        sources.load(DataConfig(name="digits", resolution=resolution))


def test_prepared_sets_keep_or_change_their_size(tmp_path: Path) -> None:
    make(tmp_path)
    data = sources.load(DataConfig("mine", directory=str(tmp_path)))
    assert data.arrays["image"].shape == (20, 6, 4, 3)
    data = sources.load(DataConfig("mine", resolution=8, directory=str(tmp_path)))
    assert data.arrays["image"].shape == (20, 8, 8, 3)
    assert data.schema.classes == 2


@pytest.mark.parametrize("name", ["digits", "mine"])
def test_an_unknown_split_lists_the_splits(tmp_path: Path, name: str) -> None:
    make(tmp_path)
    with pytest.raises(UserError, match=r"unknown split of .*'tran'.*did you mean 'train'"):
        sources.load(DataConfig(name, split="tran", directory=str(tmp_path)))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("celeb_a", r"isn't prepared in .*genjax data prepare celeb_a.*data import celeb_a --from"),
        ("emnist/letters", "isn't prepared in"),
        ("mnits", "unknown data set 'mnits'; did you mean 'mnist'?"),
        ("../mine", "unknown data set"),
        ("huggingface:mnist", "unknown data set"),
        ("gs://bucket/mnist", "unknown data set"),
    ],
)
def test_missing_sets_are_reported_at_once(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        sources.load(DataConfig(name, directory=str(tmp_path / "nowhere")))
    assert "\n" not in str(caught.value)


def test_the_default_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert prepared.data_directory(None) == tmp_path
    make(tmp_path)
    assert len(sources.load(DataConfig("mine")).arrays["image"]) == 20


def test_the_newest_version_is_used(tmp_path: Path) -> None:
    path = make(tmp_path)
    path.rename(path.with_name("2.0.0"))
    make(tmp_path / "other")
    (tmp_path / "other" / "mine" / "1.0.0").rename(path.with_name("10.0.0"))
    (path.with_name("11.0.0")).mkdir()
    (path.with_name("incomplete.ABC_12.0.0")).mkdir()
    found = prepared.find("mine", tmp_path)
    assert found is not None
    assert found.path.name == "10.0.0"


def test_configurations_must_be_chosen(tmp_path: Path) -> None:
    path = make(tmp_path)
    for config in ("large", "small"):
        target = tmp_path / "sizes" / config / "1.0.0"
        target.mkdir(parents=True)
        for file in path.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="sizes/large, sizes/small"):
        sources.load(DataConfig("sizes", directory=str(tmp_path)))
    assert sources.load(DataConfig("sizes/small", directory=str(tmp_path))).count == 20


def edit(path: Path, **values: Any) -> None:
    info = json.loads((path / "dataset_info.json").read_text())
    (path / "dataset_info.json").write_text(json.dumps(info | values))


def test_damaged_sets_say_what_to_delete(tmp_path: Path) -> None:
    path = make(tmp_path, count=3000)
    config = DataConfig("mine", directory=str(tmp_path))
    (shard,) = path.glob("*array_record*")
    content = shard.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    for broken in (content[: len(content) // 2], b"", bytes(damaged)):
        shard.write_bytes(broken)
        with pytest.raises(UserError, match=f"delete the folder {path}"):
            sources.load(config)
    shard.unlink()
    with pytest.raises(UserError, match=f"delete the folder {path}"):
        sources.load(config)
    (path / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset_info\.json is damaged; delete"):
        sources.load(config)


def test_tfrecord_is_refused_without_tensorflow(tmp_path: Path) -> None:
    edit(make(tmp_path), fileFormat="tfrecord")
    with pytest.raises(UserError, match="isn't stored as array_record"):
        sources.load(DataConfig("mine", directory=str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("uint8", "uint16"), "uint16"),
        (('"image": {\n                "image"', '"photo": {\n                "image"'), "'image'"),
    ],
)
def test_other_kinds_of_sets_are_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = make(tmp_path) / "features.json"
    # A set that genjax did not store has no checksums.
    (path.parent / "sha256.json").unlink()
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(UserError, match=message):
        sources.load(DataConfig("mine", directory=str(tmp_path)))


def test_debian_files_are_found(tmp_path: Path) -> None:
    if not idx.find(sources.DEBIAN_FASHION_MNIST):
        pytest.skip("Debian's package dataset-fashion-mnist isn't installed")
    data = sources.load(DataConfig("fashion_mnist", split="test", directory=str(tmp_path)))
    assert data.arrays["image"].shape == (10_000, 28, 28, 1)
    assert data.schema.classes == 10
    assert "label" in data.arrays
    assert np.bincount(data.arrays["label"]).tolist() == [1000] * 10
    (row,) = [row for row in list_datasets(tmp_path) if row.name == "fashion_mnist"]
    assert row.status == "found"
    assert row.splits == {"train": 60_000, "test": 10_000}


@pytest.mark.usefixtures("no_network")
def test_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DEBIAN_FASHION_MNIST", tmp_path / "nowhere")
    path = make(tmp_path)
    edit(make(tmp_path, "old"), fileFormat="tfrecord")
    (tmp_path / "downloads").mkdir()
    rows = {row.name: row for row in list_datasets(tmp_path)}
    assert list(rows)[:4] == ["digits", "gaussians-8", "gaussians-25", "mnist"]
    assert rows["digits"].splits == {"train": 1500, "test": 297}
    assert rows["mine"].status == "prepared"
    assert rows["mine"].where == str(path)
    assert rows["mine"].splits == {"train": 20}
    assert rows["old"].status == "unreadable"
    assert rows["fashion_mnist"].status == "missing"
    assert rows["celeb_a"].where == "genjax data prepare celeb_a"
    assert "downloads" not in rows
