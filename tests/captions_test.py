"""Captions as tokens: WordPiece, what is drawn of several candidates, and prompts."""

import random
import sys
import unicodedata

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers as library

from genjax.core.captions import drawn
from genjax.core.schema import Field
from genjax.data.vocabulary_files import read_vocabulary
from genjax.domains import tokenizers
from genjax.domains.captions import decode_caption, encode_prompts
from genjax.errors import UserError

KEY = jax.random.key(0)
SIGNS = [chr(code) for code in range(33, 127) if not chr(code).isalpha()]
LETTERS = [*map(chr, range(ord("a"), ord("z") + 1)), *"0123456789", *"αβγςσжи中ß"]
WORDS = ["smiling", "face", "with", "un", "##want", "##ed", "##ing", "中", "##zebra", "ß"]
VOCABULARY = list(
    dict.fromkeys(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SIGNS, *LETTERS]
        + [f"##{letter}" for letter in LETTERS]
        + WORDS
    )
)
FACTS = {"tokenizer": "wordpiece", "vocabulary": VOCABULARY}
NUMBERS = {token: number for number, token in enumerate(VOCABULARY)}


@pytest.fixture(scope="module")
def reference():
    """The library's own tokenizer of that vocabulary, whose special tokens are no text."""
    made = library.Tokenizer(library.models.WordPiece(NUMBERS, unk_token="[UNK]"))
    made.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    return lambda text: made.encode(text).ids


def test_wordpiece_by_hand():
    pieces = [VOCABULARY[t] for t in tokenizers.encode(FACTS, "Unwanted  Fácing,\n中文!")]
    facing = ["f", "##a", "##c", "##ing"]
    assert pieces == ["un", "##want", "##ed", *facing, ",", "中", "[UNK]", "!"]
    assert tokenizers.decode(FACTS, tokenizers.encode(FACTS, "Unwanted faces.")) == (
        "unwanted faces ."
    )


NASTY = [
    "",
    " \t\n\r ",
    "🍋",
    "a 🍋 b",
    "👩‍🚀 woman astronaut",
    "Ünwänted",
    "U\u0308nwanted",
    "İstanbul Straße ΣΟΦΟΣ ﬁ",
    "x" * 100,
    "x" * 101,
    "a\0b\ufffdc\x07d\x85e\u2028f\u00a0g",
    "\u0301\u200d",
    "[MASK] [CLS]",
    "$5.00~`^|<>=+",
    "смайлик हिन्दी ไทย العربية 한국어 カタカナ",
    "\U000e0067\U0001f3f4",
    "".join(map(chr, range(1, 0x250))),
]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_wordpiece_against_the_library(reference, text):
    assert tokenizers.encode(FACTS, text).tolist() == reference(text)


def test_wordpiece_of_every_old_character_against_the_library(reference):
    """Of those that Unicode 3.2 has: the library's table is older than Python's."""
    old = unicodedata.ucd_3_2_0
    codes = [*range(1, 0x2100), *range(0x2100, sys.maxunicode + 1, 211)]
    known = [
        chr(code)
        for code in codes
        if old.category(chr(code)) not in ("Cn", "Cs")
        and old.category(chr(code)) == unicodedata.category(chr(code))
    ]
    assert len(known) > 6000
    encode = tokenizers.make_encoder(FACTS)
    text = [f"ab{character}cd" for character in known]
    assert [encode(x).tolist() for x in text] == [reference(x) for x in text]


def test_wordpiece_of_random_texts_against_the_library(reference):
    draw = random.Random(0)
    parts = [
        *LETTERS,
        *SIGNS,
        *" \t\u00a0\u3000",
        *"ÄéÑİΣﬃ中文🍋\u0301\u200d\x00",
        *WORDS,
        "UNWANT",
    ]
    encode = tokenizers.make_encoder(FACTS)
    for _ in range(300):
        text = "".join(draw.choices(parts, k=draw.randrange(40)))
        assert encode(text).tolist() == reference(text), text


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (None, "is no list of tokens"),
        (["[UNK]", "[CLS]", "[SEP]", 3], "is no list of tokens"),
        (["[UNK]", "[CLS]"], "it lacks"),
        (["[UNK]", "[CLS]", "[SEP]", "a", "a"], "token 4, 'a', is there before"),
    ],
)
def test_a_damaged_vocabulary_is_refused(vocabulary, message):
    facts = {"tokenizer": "wordpiece", "vocabulary": vocabulary}
    for use in (
        lambda: tokenizers.encode(facts, "a"),
        lambda: tokenizers.vocabulary_size(facts),
        lambda: tokenizers.decode(facts, np.array([0])),
    ):
        with pytest.raises(UserError, match=f"vocabulary of the data is damaged: .*{message}"):
            use()


MARKS = "[UNK]\n[CLS]\n[SEP]\n"
FILES = {
    "nothing": (b"", "line 1 has 0 characters"),
    "no marks": (b"a\nb\n", "it lacks [UNK]"),
    "an empty line": (f"{MARKS}\na\n".encode(), "line 4 has 0 characters"),
    "twice": (f"{MARKS}a\nb\na\n".encode(), "token 5, 'a', is there before"),
    "latin-1": (MARKS.encode() + b"\xe9\n", "invalid continuation byte"),
    "a huge line": (MARKS.encode() + b"x" * 10_000, "line 4 has 10,000 characters"),
    "a huge file": (MARKS.encode() + b"x" * 2**25, "it has more than 33,554,432 bytes"),
    "many lines": ("\n".join(map(str, range(2**20 + 1))).encode(), "more than 1,048,576"),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_vocabularies_are_refused_in_one_line(tmp_path, name):
    content, message = FILES[name]
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_vocabulary(tmp_path / "vocab.txt")
    assert message in str(caught.value)
    assert f"{tmp_path / 'vocab.txt'} is no vocabulary of WordPiece" in str(caught.value)
    assert len(str(caught.value)) < 500
    with pytest.raises(UserError, match="cannot read the vocabulary"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_a_vocabulary_is_read_in_its_order(tmp_path, mark, end):
    tokens = [*VOCABULARY, "\u2028", "\x85"]
    (tmp_path / "vocab.txt").write_bytes((mark + end.join(tokens) + end).encode())
    assert read_vocabulary(tmp_path / "vocab.txt") == {**FACTS, "vocabulary": tokens}


def test_prompts_are_cut_with_a_warning_and_nothing_is_no_caption():
    field = Field((5, 6), "int32", len(VOCABULARY))
    texts = ["", "smiling face", "smiling face with with with with", " \N{ZERO WIDTH JOINER}"]
    rows, warnings = encode_prompts(FACTS, field, texts)
    assert rows.shape == (4, 1, 6)
    assert rows.dtype == np.int32
    cls, sep, smiling, face, with_ = (
        NUMBERS[token] for token in ("[CLS]", "[SEP]", "smiling", "face", "with")
    )
    assert rows[:, 0].tolist() == [
        [-1] * 6,
        [cls, smiling, face, sep, -1, -1],
        [cls, smiling, face, with_, with_, sep],
        [-1] * 6,
    ]
    assert warnings == [
        "the caption 'smiling face with with with with' has 8 tokens and is cut to 6"
    ]
    read = [decode_caption(FACTS, row) for row in rows[:, 0]]
    assert read == ["", "smiling face", "smiling face with with", ""]


@pytest.mark.parametrize("name", ["byte", "character", "bpe"])
def test_prompts_of_other_tokenizers_have_no_marks(name):
    facts = tokenizers.fit(name, "héllo wörld")
    rows, warnings = encode_prompts(facts, Field((3, 40), "int32", 1), ["héllo", "", "wörld"])
    assert decode_caption(facts, rows[0, 0]) == "héllo"
    assert (rows[1] == -1).all()
    tokens = tokenizers.encode(facts, "wörld")
    np.testing.assert_array_equal(rows[2, 0, : len(tokens)], tokens)
    assert (rows[2, 0, len(tokens) :] == -1).all()
    assert not warnings
    cut, warnings = encode_prompts(facts, Field((3, 1), "int32", 1), ["wörld" * 20])
    assert cut[0, 0, 0] == tokens[0]
    assert len(warnings) == 1
    assert len(warnings[0]) < 120


def test_candidates_are_drawn_with_equal_chances():
    count, there = 4000, 3
    captions = np.full((count, 5, 2), -1, np.int32)
    captions[:, :there, 0] = np.arange(there)
    index = jnp.arange(count)
    found = np.asarray(jax.jit(drawn)(captions, KEY, index))
    shares = np.bincount(found[:, 0], minlength=there) / count
    np.testing.assert_allclose(shares, 1 / there, atol=4 * (2 / 9 / count) ** 0.5)
    # What is drawn is of the place in the whole batch, and not of the room for candidates.
    np.testing.assert_array_equal(drawn(captions[:, :there], KEY, index), found)
    np.testing.assert_array_equal(drawn(captions[7:9], KEY, index[7:9]), found[7:9])
    assert (np.asarray(drawn(captions, jax.random.key(1), index)) != found).any()


def test_one_candidate_is_taken_and_none_is_none():
    captions = np.int32([[[3, 4, -1], [-1] * 3], [[-1] * 3] * 2])
    for given in (captions, captions[:, :1]):
        found = drawn(given, KEY, jnp.arange(2))
        assert found.tolist() == [[3, 4, -1], [-1, -1, -1]]
        assert found.dtype == jnp.int32
