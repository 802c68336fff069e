"""Importing images with captions: their forms, what is held out, and what is refused."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from in_process import contents, genjax, refusal
from PIL import Image

from genjax.config import DataConfig
from genjax.core.schema import Field
from genjax.data import memory
from genjax.data.caption_words import from_keywords, from_path
from genjax.data.captioned import held_out
from genjax.data.digest import content_digest
from genjax.data.importer import import_dataset
from genjax.data.listing import list_datasets
from genjax.data.sources import find_schema, load, load_held_out
from genjax.domains import tokenizers
from genjax.domains.captions import decode_caption
from genjax.errors import UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 6, 6, 4), dtype=np.uint8)
COLOURS = ["red", "green", "blue"]
SHAPES = ["square", "circle", "star", "cross", "ring"]
VOCABULARY = ["[UNK]", "[CLS]", "[SEP]", *COLOURS, *SHAPES, "a", "one", ",", "##s"]


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def on_white(pixels):
    """By Pillow, which rounds its own way."""
    picture = Image.fromarray(pixels)
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def caption_of(number):
    return f"a {COLOURS[number % 3]} {SHAPES[number % 5]}"


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(content)
    return folder


def table(rows):
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def pictures(count=30):
    return {f"{number}.png": png(PIXELS[number]) for number in range(count)}


def as_table(count=30):
    rows = [
        {"file": f"{n}.png", "captions": [caption_of(n), f"one {caption_of(n)[2:]}"]}
        for n in range(count)
    ]
    return {**pictures(count), "captions.jsonl": table(rows)}


def as_pairs(count=30):
    texts = {f"{n}.txt": f"{caption_of(n)}\r\n\none  {caption_of(n)[2:]}\n" for n in range(count)}
    return {**pictures(count), **texts}


def open_set(directory, name="mine", split="train", **options):
    return load(DataConfig(name, split, directory=str(directory), **options))


def by_picture(directory, name="mine", **options):
    """The captions of each picture of all splits, by its bytes, and the split."""
    found = {}
    for split in ("train", "validation", "test"):
        try:
            source = open_set(directory, name, split, **options)
        except UserError:
            continue
        arrays = source.read(np.arange(source.count))
        for image, captions in zip(arrays["image"], arrays["caption"], strict=True):
            texts = [decode_caption(source.schema.facts, row) for row in captions]
            found[image.tobytes()] = (split, [text for text in texts if text])
    return found


def keys():
    return [on_white(pixels).tobytes() for pixels in PIXELS]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The same pictures and captions in two forms, stored."""
    folder = tmp_path_factory.mktemp("captioned")
    write(folder / "table", as_table())
    write(folder / "pairs", as_pairs())
    for name in ("table", "pairs"):
        import_dataset(name, folder / name, folder / "out", tokenizer="byte")
    return folder / "out"


def test_every_picture_has_its_captions_on_white(directory):
    found = by_picture(directory, "table")
    assert len(found) == 30
    for number, pixels in enumerate(PIXELS):
        wanted = on_white(pixels).astype(int)
        close = [
            key
            for key in found
            if np.abs(np.frombuffer(key, np.uint8).reshape(wanted.shape) - wanted).max() <= 1
        ]
        assert len(close) == 1
        assert found[close[0]][1] == [caption_of(number), f"one {caption_of(number)[2:]}"]
    splits = [split for split, _ in found.values()]
    assert splits.count("test") == 3
    assert by_picture(directory, "pairs") == found


def test_an_example_and_its_facts(directory):
    source = open_set(directory, "table")
    longest = max(len(caption_of(number)) + 2 for number in range(30))
    assert source.schema.domain == "image"
    assert source.schema.fields == {
        "image": Field((6, 6, 3), "uint8"),
        "caption": Field((2, longest), "int32", 256),
    }
    assert source.arrays.keys() == {"image", "caption"}
    assert source.arrays["caption"].dtype == np.int32
    tokens = source.arrays["caption"]
    # Nothing but -1 stands behind a caption.
    assert ((tokens[..., 1:] < 0) | (tokens[..., :-1] >= 0)).all()
    held = load_held_out(DataConfig("table", directory=str(directory)))
    first = {decode_caption(held.schema.facts, rows[0]) for rows in held.arrays["caption"]}
    assert set(source.schema.facts["prompts"]) == first
    assert tokenizers.vocabulary_size(source.schema.facts) == 256


def test_the_same_files_give_the_same_bits(directory, tmp_path):
    """As a folder, as an archive, and in a table of another order."""
    rows = as_table()["captions.jsonl"].splitlines()
    other = {**as_table(), "captions.jsonl": "\n".join(reversed(rows))}
    write(tmp_path / "table", other)
    with tarfile.open(tmp_path / "table.tar", "w") as tar:
        tar.add(tmp_path / "table", "table")
    for form in ("table", "table.tar"):
        out = tmp_path / f"out-{form}"
        import_dataset("table", tmp_path / form, out, tokenizer="byte")
        assert contents(out / "table") == contents(directory / "table")


def test_sizes_and_flips(directory):
    own, small = open_set(directory, "table"), open_set(directory, "table", resolution=3)
    assert small.schema.fields["image"].shape == (3, 3, 3)
    assert small.schema.fields["caption"] == own.schema.fields["caption"]
    assert small.schema.facts == own.schema.facts
    assert small.arrays["image"].shape == (27, 3, 3, 3)
    assert small.digest() != own.digest() == content_digest(own)
    config = DataConfig("table", resolution=3, directory=str(directory))
    assert find_schema(config) == small.schema
    open_set(directory, "table", flip=True)
    with pytest.raises(
        UserError, match=r"data\.length is 8, but 'table' holds images, not text or"
    ):
        open_set(directory, "table", length=8)
    part = open_set(directory, "table", split="train[:5]")
    np.testing.assert_array_equal(part.arrays["caption"], own.arrays["caption"][:5])


@pytest.mark.parametrize("resolution", [None, 3])
def test_what_does_not_fit_into_memory_is_read(directory, monkeypatch, resolution):
    whole = open_set(directory, "table", resolution=resolution)
    for room, held in ((0, set()), (27 * 2 * 17 * 4, {"caption"})):
        monkeypatch.setattr(memory, "fits", lambda size, room=room: size <= room)
        source = open_set(directory, "table", resolution=resolution)
        assert source.arrays.keys() == held
        numbers = np.array([26, 0, 3, 3])
        for name, rows in source.read(numbers).items():
            np.testing.assert_array_equal(rows, whole.arrays[name][numbers])
            assert rows.dtype == whole.arrays[name].dtype
        assert source.digest() == whole.digest()


def test_the_command_and_the_list(tmp_path):
    write(tmp_path / "raw", {**as_table(), "README.md": "x", "1.json": "{}"})
    places = ("--from", tmp_path / "raw", "--directory", tmp_path / "out")
    outcome = genjax("data", "import", "mine", *places, "--vocabulary", "300")
    assert outcome.status == 0, outcome
    assert "warning: not used: 1.json, README.md\n" in outcome.out
    assert "mine: train 27, test 3 images of 6x6x3, 0 classes, each with up to 2 captions of" in (
        outcome.out
    )
    assert "of a vocabulary of 291 (bpe), in" in outcome.out
    row = next(row for row in list_datasets(tmp_path / "out") if row.name == "mine")
    assert (row.status, row.splits) == ("prepared", {"train": 27, "test": 3})
    facts = open_set(tmp_path / "out").schema.facts
    assert "circle" in facts["definition"]
    assert "is already in" in refusal("data", "import", "mine", *places)


def test_pairs_are_counted_in_what_is_learnt(tmp_path):
    held = held_out([str(number) for number in range(30)])
    rows = [
        {"file": f"{n}.png", "caption": "zyxw " * 5 if str(n) in held else "abcd " * 5}
        for n in range(30)
    ]
    write(tmp_path / "raw", {**pictures(), "captions.jsonl": table(rows)})
    import_dataset("mine", tmp_path / "raw", tmp_path / "out", vocabulary=280)
    facts = open_set(tmp_path / "out").schema.facts
    assert "ab" in facts["definition"]
    assert "zy" not in facts["definition"]
    assert facts["prompts"] == ["zyxw zyxw zyxw zyxw zyxw"]


@pytest.mark.parametrize("how", ["flag", "both"])
def test_wordpiece_of_a_models_vocabulary(tmp_path, how):
    rows = {"0.txt": "A RED Square,\nümlaut 🍋", "1.txt": "rings " * 50, "2.txt": "\u200d"}
    write(tmp_path / "raw", {**pictures(3), **rows})
    write(tmp_path, {"vocab.txt": "\n".join(VOCABULARY)})
    options = ("--tokenizer", "wordpiece") if how == "both" else ()
    places = ("--from", tmp_path / "raw", "--directory", tmp_path / "out")
    outcome = genjax(
        "data", "import", "mine", *places, *options, "--vocabulary-file", tmp_path / "vocab.txt"
    )
    assert outcome.status == 0, outcome
    assert "captions that are cut, to 32 tokens: 1\n" in outcome.out + outcome.err
    source = open_set(tmp_path / "out")
    assert source.schema.facts["tokenizer"] == "wordpiece"
    assert source.schema.facts["vocabulary"] == VOCABULARY
    assert source.schema.fields["caption"] == Field((2, 32), "int32", len(VOCABULARY))
    every = list(by_picture(tmp_path / "out").values())
    assert sorted(texts for _, texts in every) == [
        [],
        ["a red square ,", "[UNK] [UNK]"],
        [" ".join(["rings"] * 15)],
    ]


def test_of_many_captions_the_first_are_kept(tmp_path):
    many = "\n".join(f"text {n}" for n in range(12))
    write(tmp_path / "raw", {**pictures(2), "0.txt": many, "1.txt": "a\na\nb"})
    result = import_dataset("mine", tmp_path / "raw", tmp_path / "out", tokenizer="character")
    assert result.warnings == ("images of whose captions the first 8 are kept: 1",)
    found = sorted(texts for _, texts in by_picture(tmp_path / "out").values())
    assert found == [["a", "b"], [f"text {n}" for n in range(8)]]


def test_folders_of_splits_are_kept(tmp_path):
    parts = {"train": as_pairs(4), "validation": as_table(3), "test": as_pairs(2)}
    files = {f"{split}/{name}": x for split, part in parts.items() for name, x in part.items()}
    result = import_dataset("mine", write(tmp_path / "a", files), tmp_path / "out")
    assert result.splits == {"train": 4, "validation": 3, "test": 2}
    names = {"train/deep/0.png": 0, "train/1.png": 1, "test/2.png": 2}
    rows = [{"file": f"./{name}", "caption": caption_of(n)} for name, n in names.items()]
    files = {name: png(PIXELS[n]) for name, n in names.items()}
    write(tmp_path / "b", {**files, "captions.jsonl": table(rows)})
    assert import_dataset("other", tmp_path / "b", tmp_path / "out").splits == {
        "train": 2,
        "test": 1,
    }
    found = by_picture(tmp_path / "out", "other")
    assert sorted(found.values()) == [
        ("test", ["a blue star"]),
        ("train", ["a green circle"]),
        ("train", ["a red square"]),
    ]


IDS = ["1f44b", "1f44b-1f3fb", "1f44b-1f3ff", "1f469", "1f469-200d-1f680", "2764-fe0f-200d-1f525"]


def emoji(styles=("google", "twitter"), extra=()):
    ids = [*IDS, *(f"{n:x}" for n in range(100, 124))]
    rows = [
        {
            "id": each,
            "name": f"sign {n}",
            "short": ["x"],
            "keywords": ["sign", ":D", "nice_thing", "good", f"k{n}"],
            "category": "Odd & End" if n % 2 else "Faces",
            "subcategory": "none",
        }
        for n, each in enumerate(ids)
    ]
    files = {
        f"{style}/{each}.png": png(PIXELS[n] if place == 0 else PIXELS[n, ::-1])
        for place, style in enumerate(styles)
        for n, each in enumerate(ids)
    }
    return {**files, "captions.jsonl": table([*rows, *extra])}


def test_variants_and_styles_of_a_sign_are_on_one_side(tmp_path):
    result = import_dataset("mine", write(tmp_path / "raw", emoji()), tmp_path / "out")
    assert result.class_names == ("Faces", "Odd & End")
    sides = {}
    for split, captions in by_picture(tmp_path / "out").values():
        sides.setdefault(captions[0], []).append(split)
    assert len(sides) == 30
    assert all(len(splits) == 2 == len({*splits}) + 1 for splits in sides.values())
    ids = [*IDS, *(f"{n:x}" for n in range(100, 124))]
    of_base = {}
    for n, each in enumerate(ids):
        of_base.setdefault(each.partition("-")[0], set()).add(sides[f"sign {n}"][0])
    assert all(len(splits) == 1 for splits in of_base.values())
    assert sum(splits == {"test"} for splits in of_base.values()) == 2
    source = open_set(tmp_path / "out")
    facts = source.schema.facts
    assert list(source.schema.fields) == ["image", "label", "caption"]
    first = [decode_caption(facts, rows[0]) for rows in source.arrays["caption"]]
    odd = [int(text.removeprefix("sign ")) % 2 for text in first]
    np.testing.assert_array_equal(source.arrays["label"], odd)
    odd = [int(text.removeprefix("sign ")) % 2 for text in facts["prompts"]]
    assert facts["prompt_labels"] == odd
    assert all(
        ":D" not in text for _, texts in by_picture(tmp_path / "out").values() for text in texts
    )


def test_what_is_held_out_never_changes():
    assert held_out([f"{n:05}" for n in range(50)]) == {"00005", "00034", "00037", "00038", "00048"}
    assert held_out(["a"]) == set()
    assert len(held_out(["a", "b"])) == 1


def test_captions_of_keywords():
    assert from_keywords("cat", []) == ["cat"]
    assert from_keywords("cat", ["cat", "CAT", ":3", "^^", ";)"]) == ["cat"]
    assert from_keywords("cat", ["big_cat"]) == ["cat", "cat, big cat"]
    many = from_keywords("face with smile", ["smile_face", *"abcdefgh"])
    assert many == [
        "face with smile",
        "face with smile, a",
        "face with smile, b, c",
        "a, b, c",
        "d, e, f",
        "face with smile, a, b, c, d, e, f",
    ]


def test_captions_of_paths():
    assert from_path("monster/undead/skeletal_warrior2")[0] == "monster undead skeletal warrior"
    assert from_path("a/b_c_1_10") == ["a b c", "b c"]
    assert from_path("a/crypt_domino_1a") == ["a crypt domino", "crypt domino"]
    assert from_path("12.png") == []


def tiles(tmp_path, names, pixels=PIXELS, ending="\n"):
    (tmp_path / "raw").mkdir()
    np.save(tmp_path / "raw" / "some.npy", pixels)
    (tmp_path / "raw" / "names.txt").write_text("\n".join(names) + ending)
    return tmp_path / "raw"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_array_with_names(tmp_path, channels):
    names = [f"{COLOURS[n % 3]}/{SHAPES[n % 5]}_{'abcdef'[n // 5]}{n % 2}" for n in range(30)]
    source = tiles(tmp_path, names, PIXELS[..., :channels], "" if channels == 1 else "\n")
    result = import_dataset("mine", source, tmp_path / "out")
    assert result.class_names == ("blue", "green", "red")
    assert result.shape == (6, 6, min(channels, 3))
    found = by_picture(tmp_path / "out")
    assert len(found) == 30
    if channels < 4:
        for name, pixels in zip(names, PIXELS, strict=True):
            words = name[:-1].replace("_", " ").replace("/", " ")
            assert found[pixels[..., :channels].tobytes()][1][0] == words


def test_tiles_that_show_nothing_are_left_out(tmp_path):
    names = [
        *(f"{top}/thing{n}" for top in ("mon", "dngn", "item") for n in range(8)),
        "UNUSED/a",
        "gui/b",
        *(f"player/hand/c{n}" for n in range(4)),
    ]
    result = import_dataset("mine", tiles(tmp_path, names), tmp_path / "out")
    assert sum(result.splits.values()) == 24
    texts = {text for _, texts in by_picture(tmp_path / "out").values() for text in texts}
    assert texts == {"monster thing", "dungeon thing", "item thing", "thing"}
    # Tiles that are called alike are on one side.
    assert result.splits == {"train": 16, "test": 8}


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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({"caption": {"shape": [2, 19], "dtype": "int32", "levels": 255}}, {}, "255 tokens, and"),
        ({"image": {"shape": [6], "dtype": "uint8", "levels": 0}}, {}, "uint8 of shape"),
        ({"image": {"shape": [6, 6, 2], "dtype": "uint8", "levels": 0}}, {}, "2 channels"),
        (
            {"odd": {"shape": [6], "dtype": "uint8", "levels": 0}},
            {},
            "describes image, caption, od",
        ),
        ({}, {"tokenizer": "none"}, "unknown tokenizer of the data 'none'"),
    ],
)
def test_descriptions_of_strangers_are_refused(directory, tmp_path, old, new, message):
    from genjax.data import stored
    from genjax.data.schema import schema_from_json

    path = tmp_path / "table" / "1.0.0"
    write(path, {name: x for name, x in contents(directory / "table" / "1.0.0").items() if x})
    content = json.loads((path / "source.json").read_text())
    content["schema"]["fields"] |= old
    content["schema"]["facts"] |= new
    splits = {key: stored.Split(**value) for key, value in content["splits"].items()}
    (path / "source.json").unlink()
    stored.describe(path, schema_from_json(content["schema"]), splits)
    config = DataConfig("table", directory=str(tmp_path))
    for use in (load, find_schema):
        with pytest.raises(UserError, match=message):
            use(config)


def given(name):
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def test_real_emoji(tmp_path):
    archive = given("emoji64.tar")
    result = import_dataset("emoji", archive, tmp_path)
    assert sum(result.splits.values()) == 3812
    assert 0.05 < result.splits["test"] / 3812 < 0.15
    assert len(result.class_names) == 9
    with tarfile.open(archive) as tar:
        rows = map(json.loads, tar.extractfile("captions.jsonl").read().splitlines())
        names = {row["name"]: row["id"] for row in rows}
    sides = {}
    for split in result.splits:
        source = open_set(tmp_path, "emoji", split)
        assert source.schema.fields["image"].shape == (64, 64, 3)
        for rows in source.arrays["caption"]:
            name = decode_caption(source.schema.facts, rows[0])
            sides.setdefault(split, []).append(names[name].split("-")[0])
    assert not {*sides["train"]} & {*sides["test"]}
    facts = source.schema.facts
    assert len(facts["prompts"]) == 64 == len({*facts["prompts"]})
    assert {*facts["prompts"]} <= names.keys()


@pytest.mark.full
def test_real_tiles(tmp_path):
    result = import_dataset("crawl", given("crawl32.tar.xz"), tmp_path)
    assert sum(result.splits.values()) == 5629
    first = {
        split: {decode_caption(source.schema.facts, rows[0]) for rows in source.arrays["caption"]}
        for split in result.splits
        for source in [open_set(tmp_path, "crawl", split)]
    }
    assert not first["train"] & first["test"]
    both = first["train"] | first["test"]
    assert "monster undead skeletal warrior" in both
    assert not any(text.startswith(("UNUSED", "gui", "player")) for text in both)
