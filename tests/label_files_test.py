"""Labels in a file beside pictures or sounds, as StyleGAN, Kaggle and others lay them out."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image
from scipy.io import wavfile

from genjax.config import DataConfig
from genjax.data import folders, image_folders
from genjax.data.importer import import_dataset
from genjax.data.sources import load
from genjax.errors import UserError

SHADES = {"00000/img00000000.png": 10, "00000/img00000001.png": 20, "00001/img00000002.png": 30}
CLASSES = {10: "6", 20: "2", 30: "6"}


def write(folder: Path, shades: dict[str, int] = SHADES) -> Path:
    for name, shade in shades.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), shade).save(path)
    return folder


def rows(labels=CLASSES):
    return [[name, int(labels[shade])] for name, shade in SHADES.items()]


def read(out: Path, split: str = "train"):
    """From the shade of each picture to the name of its class."""
    source = load(DataConfig("mine", split, directory=str(out)))
    shades = source.arrays["image"][:, 0, 0, 0].tolist()
    names = source.schema.facts.get("class_names")
    labels = source.arrays.get("label")
    classes = [None] * len(shades) if labels is None else [names[label] for label in labels]
    return dict(zip(shades, classes, strict=True))


def test_stylegans_layout_with_labels(tmp_path):
    raw = write(tmp_path / "raw")
    (raw / "dataset.json").write_bytes(f"\ufeff{json.dumps({'labels': rows()})}".encode())
    imported = import_dataset("mine", raw, tmp_path / "out")
    assert (imported.classes, imported.splits, imported.warnings) == (2, {"train": 3}, ())
    assert read(tmp_path / "out") == CLASSES


def test_stylegans_layout_without_labels(tmp_path):
    raw = write(tmp_path / "raw")
    (raw / "dataset.json").write_text(json.dumps({"labels": None}))
    imported = import_dataset("mine", raw, tmp_path / "out")
    assert imported.classes == 0
    assert read(tmp_path / "out") == dict.fromkeys(CLASSES)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "file,label\na b.png,cat\nb.png,dog\nc.png,cat\n"),
        ("labels.csv", "a b.png,cat\r\nb.png,dog\r\nc.png,cat"),
        ("labels.csv", "id,width,class\na b,4,cat\nb,4,dog\nc,4,cat\n"),
        ("labels.csv", '\ufefffilename;category\n"a b.png";cat\nb.png;dog\nc.png;cat\n'),
        ("labels.tsv", "a b.png\tcat\nb.png\tdog\nc.png\tcat\n"),
        ("labels.txt", "a b.png cat\nb.png dog\n\nc.png cat\n"),
        ("labels.txt", ".\\a b.png,cat\n./b.png,dog\nc.png,cat\n"),
    ],
)
def test_tables_of_labels(tmp_path, name, text):
    raw = write(tmp_path / "raw", {"a b.png": 10, "b.png": 20, "c.png": 30})
    (raw / name).write_text(text, encoding="utf-8")
    assert import_dataset("mine", raw, tmp_path / "out").classes == 2
    assert read(tmp_path / "out") == {10: "cat", 20: "dog", 30: "cat"}


@pytest.mark.parametrize("where", [".", "train"])
def test_labels_of_splits_lie_in_them_or_above(tmp_path, where):
    raw = write(tmp_path / "raw", {"train/a.png": 10, "train/b.png": 20, "test/c.png": 30})
    write(raw, {"test/d.png": 40})
    if where == ".":
        text = "train/a.png,x\ntrain/b.png,y\ntest/c.png,x\ntest/d.png,y\n"
        (raw / "labels.csv").write_text(text)
    else:
        (raw / "train" / "labels.csv").write_text("a.png,x\nb.png,y\n")
        (raw / "test" / "labels.csv").write_text("c.png,x\nd.png,y\n")
    assert import_dataset("mine", raw, tmp_path / "out").warnings == ()
    assert read(tmp_path / "out") == {10: "x", 20: "y"}
    assert read(tmp_path / "out", "test") == {30: "x", 40: "y"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.csv", "a.png,1\nb.png,2\ngone.png,1\nlost.png,1\n", "names 'gone.png' and 1 more"),
        ("labels.csv", "a.png,1\n", "has no label for b.png; add it"),
        ("labels.csv", "a.png,1\nb.png,1\na.png,2\n", "gives a.png two labels, 1 and 2"),
        ("labels.csv", "file,label,x\na.png,1,\nb.png\n", "fewer columns"),
        ("labels.csv", "a.png,\nb.png,2\n", "can't name a class"),
        ("labels.csv", "image_id,x,y\na.png,1,0\nb.png,2,0\n", "titles file and label"),
        ("labels.txt", "1\n2\n", "titles file and label"),
        ("dataset.json", '{"labels": [["a.png", [0, 1]], ["b.png", [1, 0]]]}', "the label [0, 1]"),
        ("dataset.json", '{"labels": [["a.png"]]}', "cannot read the labels"),
        ("dataset.json", '{"labels": 3}', "cannot read the labels"),
        ("dataset.json", '{"labels": [', "cannot read the labels"),
    ],
)
def test_faulty_labels_are_refused_in_one_line(tmp_path, name, text, message):
    raw = write(tmp_path / "raw", {"a.png": 10, "b.png": 20})
    (raw / name).write_text(text)
    options = ("--directory", tmp_path / "out")
    assert message in refusal("data", "import", "mine", "--from", raw, *options)
    assert not (tmp_path / "out").exists()


def test_a_list_of_classes_is_no_file_of_labels(tmp_path):
    raw = write(tmp_path / "raw", {"cat/a.png": 10, "dog/b.png": 20})
    (raw / "labels.txt").write_text("cat\ndog\n")
    (raw / "dataset.json").write_text('{"title": "cats"}')
    found = folders.find(raw, image_folders.KIND)
    assert found.class_names == ("cat", "dog")
    assert {path.name for path in found.ignored} == {"labels.txt", "dataset.json"}


def test_what_is_not_used_is_named_in_one_line(tmp_path):
    raw = write(tmp_path / "raw", {"cat/a.png": 10, "dog/b.png": 20})
    names = ["README.md", "a.webp", "b.csv", "c.txt", "d.zip", "e.zip", "f.zip"]
    for name in (*names, ".hidden"):
        (raw / name).write_text("x")
    options = ("--directory", tmp_path / "out")
    outcome = genjax("data", "import", "mine", "--from", raw, *options)
    assert outcome.status == 0, outcome
    [line] = [line for line in outcome.out.splitlines() if "not used" in line]
    assert line.startswith("warning: ")
    assert all(str(raw / name) in line for name in names[:5])
    assert line.endswith(" and 2 more")


def test_sounds_may_have_such_labels_too(tmp_path):
    pytest.importorskip("soundfile", reason="needs the extra genjax-models[audio]")
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in "ab":
        wavfile.write(raw / f"{name}.wav", 8000, np.ones(16, np.int16))
    (raw / "labels.csv").write_text("a,bark\nb,meow\n")
    (raw / "notes.doc").write_text("x")
    imported = import_dataset("mine", raw, tmp_path / "out")
    assert imported.classes == 2
    assert len(imported.warnings) == 1
    assert "notes.doc" in imported.warnings[0]


def test_an_accent_has_one_form(tmp_path):
    """Systems store it as one character or as two."""
    one, two = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    raw = write(tmp_path / "raw", {f"train/{one}/a.png": 10, f"test/{two}/b.png": 20})
    assert folders.find(raw, image_folders.KIND).class_names == (one,)
    write(raw, {f"train/{two}/c.png": 10})
    with pytest.raises(UserError, match="differ only in how their accents are stored; merge them"):
        folders.find(raw, image_folders.KIND)
    listed = write(tmp_path / "listed", {f"{two}.png": 10})
    (listed / "labels.csv").write_text(f"{one}.png,{two}\n", encoding="utf-8")
    assert folders.find(listed, image_folders.KIND).class_names == (one,)
