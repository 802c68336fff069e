"""The same examples give the same batches, whatever files they came in."""

import dataclasses
import struct

import numpy as np
import pytest
from PIL import Image

from genjax.config import DataConfig
from genjax.data import importer, sources, standard
from genjax.data.importer import import_dataset
from genjax.data.memory import in_memory
from genjax.data.order import batch_indices

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
LABELS = np.arange(40, dtype=np.uint8) % 10


def write_idx(folder):
    folder.mkdir()
    for kind, array in (("images", PIXELS), ("labels", LABELS)):
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"train-{kind}-idx{array.ndim}-ubyte").write_bytes(head + array.tobytes())
    return folder


def write_npz(folder, order=slice(None)):
    folder.mkdir()
    np.savez(folder / "set.npz", images=PIXELS[order], labels=LABELS[order])
    return folder


def write_folders(folder):
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        path = folder / str(label) / f"{number * 7919 % 40}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def batch(source, seed=3):
    arrays = source.read(batch_indices(1, 16, source.count, seed))
    return arrays["image"].tobytes(), arrays["label"].tolist()


def test_fashion_mnist_is_the_same_from_debian_and_imported(tmp_path, monkeypatch):
    small = dataclasses.replace(standard.STANDARD["fashion_mnist"], counts={"train": 40})
    for module in (importer, sources):
        monkeypatch.setattr(module, "STANDARD", {"fashion_mnist": small})
    monkeypatch.setattr(sources, "DEBIAN_FASHION_MNIST", write_idx(tmp_path / "debian"))
    config = DataConfig("fashion_mnist", directory=str(tmp_path / "out"))
    debian = sources.load(config)
    import_dataset("fashion_mnist", tmp_path / "debian", tmp_path / "out")
    imported = sources.load(config)
    assert (tmp_path / "out" / "fashion_mnist").is_dir()
    np.testing.assert_array_equal(imported.arrays["image"], PIXELS[..., None])
    np.testing.assert_array_equal(imported.arrays["label"], LABELS)
    assert batch(imported) == batch(debian)
    assert imported.digest() == debian.digest()
    assert imported.schema == debian.schema


def test_a_set_of_ones_own_is_the_same_from_any_files(tmp_path):
    """Also with two examples that are equal, and with two that differ in their labels alone."""
    PIXELS[1], PIXELS[2] = PIXELS[11], PIXELS[3]
    assert LABELS[1] == LABELS[11]
    assert LABELS[2] != LABELS[3]
    shuffled = np.random.default_rng(1).permutation(40)
    forms = {
        "idx": write_idx(tmp_path / "idx"),
        "npz": write_npz(tmp_path / "npz"),
        "shuffled": write_npz(tmp_path / "shuffled", shuffled),
        "folders": write_folders(tmp_path / "folders"),
    }
    found = {}
    for name, folder in forms.items():
        import_dataset("own", folder, tmp_path / f"out-{name}")
        source = sources.load(DataConfig("own", directory=str(tmp_path / f"out-{name}")))
        found[name] = (*batch(source), source.digest())
    assert len(set(map(repr, found.values()))) == 1
    stored = sources.load(DataConfig("own", directory=str(tmp_path / "out-idx")))
    assert stored.arrays["label"].tolist() != sorted(LABELS)
    assert batch(stored, seed=4) != batch(stored)


@pytest.mark.parametrize("field", ["image", "label"])
def test_other_examples_have_another_digest(tmp_path, field):
    write_npz(tmp_path / "npz")
    import_dataset("own", tmp_path / "npz", tmp_path / "out")
    source = sources.load(DataConfig("own", directory=str(tmp_path / "out")))
    before = source.digest()
    changed = {name: array.copy() for name, array in source.arrays.items()}
    changed[field][0] ^= 1
    assert in_memory("own", "train", source.schema, changed).digest() != before
