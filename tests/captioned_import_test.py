"""Importing images with captions: their forms, what is held out, and what is refused."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from captioned_pictures import (
    COLOURS,
    IDS,
    PIXELS,
    SHAPES,
    VOCABULARY,
    as_pairs,
    as_table,
    by_picture,
    caption_of,
    emoji,
    on_white,
    open_set,
    pictures,
    png,
    table,
    tiles,
    write,
)
from in_process import contents, genjax, refusal

from genjax.config import DataConfig
from genjax.core.schema import Field
from genjax.data import memory
from genjax.data.caption_words import from_keywords, from_path
from genjax.data.captioned import held_out
from genjax.data.digest import content_digest
from genjax.data.importer import import_dataset
from genjax.data.listing import list_datasets
from genjax.data.sources import (
    expected_schema,
    find_schema,
    known_schema,
    load,
    load_held_out,
)
from genjax.domains import tokenizers
from genjax.domains.captions import decode_caption
from genjax.errors import UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"


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


def test_a_set_that_presets_name_is_expected_to_be_its_import(directory, tmp_path):
    shutil.copytree(directory / "table", tmp_path / "emoji")
    here = DataConfig("emoji", directory=str(tmp_path), resolution=4)
    assert expected_schema(here) == load(here).schema
    elsewhere = DataConfig("emoji", directory=str(tmp_path / "none"))
    assert expected_schema(elsewhere) == known_schema("emoji")


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
