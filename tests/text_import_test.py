"""Importing text, the windows that are read of it, and what is refused."""

import dataclasses

import numpy as np
import pytest
from in_process import genjax, refusal

from genjax.config import DataConfig
from genjax.core.schema import Field
from genjax.data.importer import import_dataset
from genjax.data.sources import known_schema, load, load_held_out
from genjax.domains import tokenizers
from genjax.errors import UserError

TEXT = "".join(f"{number} Flaschen Met im Röckchen,\n" for number in range(200))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A text cut into characters and into byte pairs, stored."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "song.txt").write_bytes(TEXT.encode())
    import_dataset("song", folder / "song.txt", folder / "out")
    import_dataset("pairs", folder / "song.txt", folder / "out", tokenizer="bpe", vocabulary=300)
    import_dataset("bytes", folder / "song.txt", folder / "out", tokenizer="byte")
    return folder / "out"


def open_text(directory, name, split="train", length=None):
    return load(DataConfig(name, split, directory=str(directory), length=length))


@pytest.mark.parametrize("length", [None, 1, 17, 1000])
@pytest.mark.parametrize("name", ["song", "pairs", "bytes"])
def test_windows_against_a_loop(directory, name, length):
    cut = int(len(TEXT) * 0.9)
    size = length or 64
    facts = open_text(directory, name).schema.facts
    for split, part in (("train", TEXT[:cut]), ("test", TEXT[cut:])):
        stream = tokenizers.encode(facts, part)
        if len(stream) < size:
            continue
        source = open_text(directory, name, split, length)
        step = 1 if split == "train" else size
        windows = [stream[i : i + size] for i in range(0, len(stream) - size + 1, step)]
        assert source.count == len(windows)
        assert source.schema.domain == "tokens"
        levels = tokenizers.vocabulary_size(source.schema.facts)
        assert source.schema.fields == {"tokens": Field((size,), "int32", levels)}
        assert dict(source.arrays) == {}
        found = source.read(np.arange(source.count))["tokens"]
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, windows)
        # In any order, again and again.
        some = np.array([source.count - 1, 0, 0])
        np.testing.assert_array_equal(source.read(some)["tokens"], found[some])


def test_the_text_can_be_read_again(directory):
    for name in ("song", "pairs", "bytes"):
        facts = open_text(directory, name).schema.facts
        for split, part in (("train", TEXT[: len(TEXT) * 9 // 10]), ("test", None)):
            whole = open_text(directory, name, split, length=1)
            text = tokenizers.decode(facts, whole.read(np.arange(whole.count))["tokens"][:, 0])
            assert text == (part or TEXT[len(TEXT) * 9 // 10 :])
    held_out = load_held_out(DataConfig("song", directory=str(directory)))
    assert held_out.split == "test"


def test_the_digest_tells_texts_and_lengths_apart(directory):
    digests = [
        open_text(directory, name, split, length).digest()
        for name in ("song", "bytes")
        for split in ("train", "test")
        for length in (8, 9)
    ]
    assert len({*digests}) == 8
    assert digests[0] == open_text(directory, "song", length=8).digest()


def test_tokens_take_as_few_bytes_as_they_can(directory):
    kinds = {
        name: np.load(directory / name / "1.0.0" / "train" / "tokens.npy").dtype
        for name in ("song", "pairs", "bytes")
    }
    assert kinds == {"song": np.uint8, "pairs": np.uint16, "bytes": np.uint8}


def test_pairs_are_counted_in_what_is_learnt(tmp_path):
    (tmp_path / "x.txt").write_text("ab " * 300 + "cd " * 30)
    import_dataset("x", tmp_path / "x.txt", tmp_path / "out", tokenizer="bpe", vocabulary=260)
    source = open_text(tmp_path / "out", "x", length=1)
    assert "cd" not in source.schema.facts["definition"]
    assert "ab" in source.schema.facts["definition"]


@pytest.mark.parametrize("below", [False, True])
def test_own_splits_are_kept(tmp_path, below):
    parts = {"train": "a" * 70 + "b" * 30, "validation": "bab", "test": "abcd"}
    for split, part in parts.items():
        path = tmp_path / "raw" / (f"{split}/0.txt" if below else f"{split}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(part)
    result = import_dataset("own", tmp_path / "raw", tmp_path / "out")
    assert result.splits == {split: len(part) for split, part in parts.items()}
    facts = open_text(tmp_path / "out", "own").schema.facts
    # What occurs in one split alone is known, too.
    assert facts["vocabulary"] == list("abcd")
    source = open_text(tmp_path / "out", "own", "test", length=2)
    assert source.read(np.arange(2))["tokens"].tolist() == [[0, 1], [2, 3]]
    assert open_text(tmp_path / "out", "own", "validation", length=2).count == 1


def test_several_files_are_joined_by_name(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "b.txt").write_text("b" * 100 + "\n")
    (tmp_path / "raw" / "c.txt").write_text("c" * 100)
    (tmp_path / "raw" / "a.txt").write_text("a" * 100)
    import_dataset("own", tmp_path / "raw", tmp_path / "out")
    source = open_text(tmp_path / "out", "own", length=270)
    text = tokenizers.decode(source.schema.facts, source.read(np.arange(1))["tokens"][0])
    assert text == ("a" * 100 + "\n" + "b" * 100 + "\n" + "c" * 100)[:270]


def test_a_byte_order_mark_is_no_character(tmp_path):
    """Of each file: some editors begin all with one."""
    (tmp_path / "raw").mkdir()
    for name in ("a", "b"):
        (tmp_path / "raw" / f"{name}.txt").write_text(TEXT, encoding="utf-8-sig")
    import_dataset("own", tmp_path / "raw", tmp_path / "out")
    assert "\ufeff" not in open_text(tmp_path / "out", "own").schema.facts["vocabulary"]


@pytest.mark.parametrize("name", ["song.md", "song", "raw/song.text"])
def test_what_is_of_no_kind_is_told_all_kinds(tmp_path, name):
    (tmp_path / "raw").mkdir()
    (tmp_path / name).write_text(TEXT)
    source = tmp_path / name.partition("/")[0]
    line = refusal("data", "import", "own", "--from", source, "--directory", tmp_path / "out")
    assert f"{tmp_path / name} is nothing that can be imported; accepted: IDX" in line
    assert "a .txt or a folder of .txt; a folder of .wav; or a .tar" in line


def test_held_out_data_are_there_or_not_or_damaged(tmp_path):
    """A fault of theirs must not look as if there were none."""
    (tmp_path / "song.txt").write_text(TEXT)
    path = import_dataset("own", tmp_path / "song.txt", tmp_path / "out").path
    config = DataConfig("own", directory=str(tmp_path / "out"))
    for changes, count in (
        ({}, len(TEXT) // 10 // 64),
        ({"split": "test"}, None),
        # One window of the test split would be longer than all of it.
        ({"length": len(TEXT) // 5}, None),
    ):
        held_out = load_held_out(dataclasses.replace(config, **changes))
        assert (held_out and held_out.count) == count
    tokens = path / "test" / "tokens.npy"
    tokens.write_bytes(tokens.read_bytes()[:-9])
    load(config)
    with pytest.raises(UserError, match=r"test/tokens\.npy"):
        load_held_out(config)


def test_the_command(tmp_path):
    (tmp_path / "song.txt").write_text(TEXT)
    directory = ("--directory", tmp_path / "out")
    command = ("data", "import", "song", "--from", tmp_path / "song.txt", *directory)
    outcome = genjax(*command, "--tokenizer", "bpe", "--vocabulary", "300")
    assert outcome.status == 0, outcome
    assert outcome.out.startswith("song: train ")
    assert "tokens of a vocabulary of 300 (bpe), in" in outcome.out
    listed = genjax("data", "list", *directory).out
    assert "prepared" in next(line for line in listed.splitlines() if line.startswith("song "))
    assert "is already in" in refusal(*command)


def test_another_text_than_the_standard_one_is_noted(tmp_path):
    (tmp_path / "input.txt").write_text(TEXT)
    result = import_dataset("tinyshakespeare", tmp_path, tmp_path / "out")
    assert result.warnings == (
        "input.txt differs from the official tinyshakespeare: scores on it may not compare with "
        "published ones",
    )


def test_the_standard_text_is_known_before_it_is_there():
    schema = known_schema("tinyshakespeare", 256)
    assert schema.fields == {"tokens": Field((256,), "int32", 65)}
    assert len(schema.facts["vocabulary"]) == 65
    assert tokenizers.encode(schema.facts, "\nz").tolist() == [0, 64]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 10_000}, "data.length is 10000, but train of 'song' has 5,"),
        ({"length": 600, "split": "test"}, "data.length is 600, but test of 'song' has 5"),
        ({"split": "tset"}, "unknown split of song 'tset'; did you mean 'test'"),
        ({"resolution": 8}, "data.resolution is 8, but 'song' holds text, not images"),
        ({"flip": True}, "data.flip is True, but 'song' holds text, not images; leave it out"),
    ],
)
def test_what_does_not_suit_a_text_is_refused(directory, options, message):
    with pytest.raises(UserError, match=message):
        load(DataConfig("song", directory=str(directory), **options))


@pytest.mark.parametrize("name", ["digits", "gaussians-8"])
def test_a_length_does_not_suit_images_and_points(name):
    with pytest.raises(UserError, match=r"data\.length is 8, but .* holds .*, not text or sound"):
        load(DataConfig(name, length=8))


ENOUGH = b"x" * 100
FAULTS = {
    "empty": ({"a.txt": b""}, (), "a.txt is empty (0 bytes)"),
    "latin-1": ({"a.txt": ENOUGH + b"\xe9t\xe9"}, (), "a.txt isn't UTF-8: invalid continuation"),
    "its place": ({"a.txt": ENOUGH + b"\xe9t\xe9"}, (), "at byte 100; convert it"),
    "cut": ({"a.txt": ENOUGH + "é".encode()[:1]}, (), "unexpected end of data at byte 100"),
    "utf-16": ({"a.txt": "Röckchen".encode("utf-16")}, (), "a.txt isn't UTF-8"),
    "one of several": ({"a.txt": ENOUGH, "b.txt": b"\xff"}, (), "b.txt isn't UTF-8"),
    "too short": ({"a.txt": b"x" * 71}, (), "gives 63 tokens to train on, less than a window"),
    "other files": ({"a.txt": ENOUGH, "b.md": ENOUGH}, (), "b.md isn't .txt"),
    "classes": ({"a/a.txt": ENOUGH, "b/a.txt": ENOUGH}, (), "'a', but text has no classes"),
    "no train": ({"test/a.txt": ENOUGH}, (), "has no train/"),
    "an empty split": ({"train.txt": ENOUGH, "test.txt": b""}, (), "test.txt is empty"),
    "with images": ({"a.txt": ENOUGH, "b.wav": b"", "b.png": b""}, (), "holds images"),
    "resolution": ({"a.txt": ENOUGH}, ("--resolution", "8"), "resolution is 8, but"),
    "rate": ({"a.txt": ENOUGH}, ("--rate", "8000"), "rate is 8000, but"),
    "vocabulary": ({"a.txt": ENOUGH}, ("--vocabulary", "300"), "which only bpe can choose"),
    "few pairs": (
        {"a.txt": ENOUGH},
        ("--tokenizer", "bpe", "--vocabulary", "9"),
        "vocabulary must be at least 256",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_refused_by_name_and_leave_nothing(tmp_path, name):
    files, options, message = FAULTS[name]
    for file, content in files.items():
        (tmp_path / "raw" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / file).write_bytes(content)
    places = ("--from", tmp_path / "raw", "--directory", tmp_path / "out")
    line = refusal("data", "import", "mine", *places, *options)
    assert message in line
    assert str(tmp_path / "raw") in line or options
    assert not [path for path in tmp_path.rglob("out/**/*") if not path.is_dir()]
    with pytest.raises(UserError, match="unknown data set 'mine'"):
        load(DataConfig("mine", directory=str(tmp_path / "out")))
