"""What imports of images with captions refuse: by its name, and without leaving anything."""

import numpy as np
import pytest
from captioned_pictures import IDS, PIXELS, as_pairs, emoji, pictures, png, table, write
from in_process import refusal

from genjax.data.importer import import_dataset
from genjax.errors import UserError

ONE = {"0.png": png(PIXELS[0])}
ROW = {"file": "0.png", "caption": "a red square"}


def lines(*rows):
    return {**ONE, "captions.jsonl": table(rows)}


FAULTS = {
    "no caption beside an image": ({**as_pairs(2), "x.png": png(PIXELS[3])}, "x.png has no cap"),
    "no image beside a caption": ({**as_pairs(2), "x.txt": "x"}, "x.txt has no image beside it"),
    "two images of one caption": ({**as_pairs(2), "1.jpg": png(PIXELS[3])}, "share one caption"),
    "an empty text": ({**as_pairs(2), "1.txt": "\n \n"}, "1.txt is empty; write a caption"),
    "no byte of text": ({**as_pairs(2), "1.txt": ""}, "1.txt is empty"),
    "a text with NUL": ({**as_pairs(2), "1.txt": "a\n\0b"}, "1.txt, line 2: the caption has"),
    "a text in latin-1": ({**as_pairs(2), "1.txt": b"a\nb\xe9c\n"}, "UTF-8: invalid continuation"),
    "a huge text": ({**as_pairs(2), "1.txt": "x" * 70_000}, "more than 65,536 bytes in line 1"),
    "a long caption": ({**as_pairs(2), "1.txt": "x" * 5000}, "5,000 characters, more than 4,096"),
    "an empty image": ({**as_pairs(2), "1.png": b""}, "1.png is empty (0 bytes)"),
    "no image": ({**as_pairs(2), "1.png": b"GIF89a"}, "1.png: neither PNG nor JPEG"),
    "several sizes": (
        {**as_pairs(2), "1.png": png(PIXELS[0, :4])},
        "has images of several sizes, such as 0.png of (6, 6) and 1.png of (4, 6)",
    ),
    "no row for an image": ({**lines(ROW), "x.png": ONE["0.png"]}, "no caption for x.png; add"),
    "no image for a row": (lines(ROW, {"file": "x.png", "caption": "x"}), "line 2 names 'x.png'"),
    "a row without caption": (lines({"file": "0.png"}), "line 1: '0.png' has no caption"),
    "no captions": (lines({"file": "0.png", "captions": []}), "'0.png' has no caption"),
    "captions of another kind": (lines({"file": "0.png", "captions": "ab"}), "has no caption"),
    "a number for a caption": (lines({"file": "0.png", "captions": [3]}), "caption 3 is no text"),
    "an empty caption": (lines({"file": "0.png", "caption": " \n "}), "the caption is empty"),
    "NUL": (lines({"file": "0.png", "caption": "a\0b"}), "the caption has '\\x00', no"),
    "half a character": (lines({"file": "0.png", "caption": "\ud83c"}), "'\\ud83c', no character"),
    "a number for a file": (lines({"file": 3, "caption": "x"}), "its file is 3, no text"),
    "a file twice": (lines(ROW, {**ROW, "file": "./0.png"}), "line 2 names '0.png' again, as line"),
    "a path above": (lines({**ROW, "file": "a/../../0.png"}), "which is no path in the folder"),
    "an absolute path": (lines({**ROW, "file": "/etc/passwd"}), "which is no path in the folder"),
    "a path of Windows": (lines({**ROW, "file": "..\\0.png"}), "which is no path in the folder"),
    "a path with NUL": (lines({**ROW, "file": "0.png\0"}), "which is no path in the folder"),
    "no JSON": ({**ONE, "captions.jsonl": "{\n"}, "captions.jsonl, line 1 is no JSON"),
    "no object": (lines([1]), "line 1 names no image"),
    "deep JSON": ({**ONE, "captions.jsonl": "[" * 60_000}, "line 1 is no JSON"),
    "a huge line": ({**ONE, "captions.jsonl": "x" * 70_000}, "more than 65,536 bytes in line 1"),
    "not UTF-8": ({**ONE, "captions.jsonl": b'\n{"file": "\xff"}'}, "invalid start byte in line 2"),
    "an empty table": ({**ONE, "captions.jsonl": ""}, "captions.jsonl has no caption for 0.png"),
    "a table alone": ({"captions.jsonl": ""}, "has no image with a caption for train"),
    "an id without name": (lines({"id": "0"}), "line 1: its name is None, no text"),
    "an id with odd keywords": (
        lines({"id": "0", "name": "x", "keywords": "ab"}),
        "its keywords are no list of texts",
    ),
    "an id without image": (emoji(extra=[{"id": "1f0", "name": "x"}]), "line 31 names '1f0'"),
    "an id twice": (emoji(extra=[{"id": IDS[0], "name": "x"}]), "line 31 names '1f44b' again"),
    "a category for some": (
        {
            **pictures(2),
            "captions.jsonl": table([{**ROW, "category": "a"}, {**ROW, "file": "1.png"}]),
        },
        "0.png has a category and 1.png has none",
    ),
    "an odd category": (lines({**ROW, "category": "a "}), "can't name a class 'a '"),
    "one beside splits": (
        {
            **{f"train/{name}": x for name, x in pictures(1).items()},
            "1.png": png(PIXELS[1]),
            "captions.jsonl": table([{**ROW, "file": f} for f in ("train/0.png", "1.png")]),
        },
        "holds '1.png' beside train; move it",
    ),
    "a folder beside splits": (
        {**{f"train/{n}": x for n, x in as_pairs(2).items()}, "x/0.png": ONE["0.png"]},
        "holds 'x' beside train; remove it",
    ),
    "no train": ({f"test/{n}": x for n, x in as_pairs(2).items()}, "a caption for train"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_refused_by_name_and_leave_nothing(tmp_path, name):
    files, message = FAULTS[name]
    write(tmp_path / "raw", files)
    places = ("--from", tmp_path / "raw", "--directory", tmp_path / "out")
    line = refusal("data", "import", "mine", *places)
    assert message in line
    assert str(tmp_path / "raw") in line
    assert len(line) < 600
    assert not [path for path in tmp_path.rglob("out/**/*") if not path.is_dir()]


OPTIONS = {
    "rate": (("--rate", "8"), "rate is 8, but"),
    "a size for words": (("--tokenizer", "byte", "--vocabulary", "300"), "only bpe can choose"),
    "words without a file": (("--tokenizer", "wordpiece"), "vocab.txt as --vocabulary-file"),
    "a file for others": (
        ("--tokenizer", "byte", "--vocabulary-file", "v.txt"),
        "tokenizer is 'byte', but a vocabulary_file is WordPiece's",
    ),
    "a file and a size": (
        ("--vocabulary", "300", "--vocabulary-file", "v.txt"),
        "vocabulary is 300, but a vocabulary_file is WordPiece's",
    ),
    "no such file": (("--vocabulary-file", "nowhere.txt"), "cannot read the vocabulary nowhere"),
    "no size": (("--resolution", "0"), "resolution must be at least 1"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_do_not_suit_are_refused(tmp_path, name):
    options, message = OPTIONS[name]
    write(tmp_path / "raw", as_pairs(2))
    places = ("--from", tmp_path / "raw", "--directory", tmp_path / "out")
    assert message in refusal("data", "import", "mine", *places, *options)


def test_a_vocabulary_file_does_not_suit_a_text(tmp_path):
    write(tmp_path / "raw", {"a.txt": "x" * 100})
    places = ("--from", tmp_path / "raw", "--directory", tmp_path / "out")
    line = refusal("data", "import", "mine", *places, "--vocabulary-file", "v.txt")
    assert "vocabulary_file is 'v.txt', but" in line
    assert "holds text; leave it out" in line


@pytest.mark.parametrize(
    ("array", "names", "message"),
    [
        (PIXELS, ["a"] * 29, "has 29 names and some.npy 30 images"),
        (PIXELS, ["", *"a" * 29], "line 1: the caption is empty"),
        (PIXELS, ["a"] * 29 + ["7"], "line 30: '7' has no word"),
        (PIXELS.astype(np.float32), ["a"] * 30, "some.npy holds float32"),
        (PIXELS[..., :2], ["a"] * 30, "needed: uint8"),
        (PIXELS[:0], [], "needed: uint8"),
        (np.array([None]), ["a"], "cannot read"),
    ],
)
def test_faulty_arrays_are_refused(tmp_path, array, names, message):
    (tmp_path / "raw").mkdir()
    np.save(tmp_path / "raw" / "some.npy", array, allow_pickle=True)
    (tmp_path / "raw" / "names.txt").write_text("\n".join(names))
    places = ("--from", tmp_path / "raw", "--directory", tmp_path / "out")
    assert message in refusal("data", "import", "mine", *places)


def test_links_that_lead_nowhere_are_named(tmp_path):
    write(tmp_path / "raw", as_pairs(2))
    (tmp_path / "raw" / "x.png").symlink_to(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"raw/x\.png is no file; remove it"):
        import_dataset("mine", tmp_path / "raw", tmp_path / "out")
