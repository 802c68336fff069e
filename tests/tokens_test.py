"""Tokenizers, and what the domain of tokens shows and compares."""

import itertools
import json
import sys
from collections import Counter
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from genjax.domains import DOMAINS, tokenizers
from genjax.domains.domain import Layout, Text
from genjax.domains.previews import save_previews
from genjax.domains.tokens import render_tokens, token_frequencies
from genjax.errors import UserError
from genjax.run.events import EventFile

TEXT = (
    "Wo die Zitronen blühn,\nim dunkeln Laub die Gold-Orangen glühn\n\n  - 'n sanfter Wind 🍋\r\n"
)
CHARACTERS = {"tokenizer": "character", "vocabulary": sorted(set(TEXT))}
TOKENS = DOMAINS["tokens"]


@pytest.mark.parametrize("name", ["character", "byte", "bpe"])
def test_what_is_encoded_is_decoded(name):
    facts = tokenizers.fit(name, TEXT)
    assert json.loads(json.dumps(facts)) == facts
    tokens = tokenizers.encode(facts, TEXT)
    assert tokens.dtype == np.int32
    assert 0 <= tokens.min() <= tokens.max() < tokenizers.vocabulary_size(facts)
    assert tokenizers.decode(facts, tokens) == TEXT
    assert tokenizers.encode(facts, "").shape == (0,)
    assert tokenizers.decode(facts, tokens[:0]) == ""


def test_characters_are_numbered_in_their_order():
    facts = tokenizers.fit("character", TEXT)
    assert facts == CHARACTERS
    places = {character: place for place, character in enumerate(sorted(set(TEXT)))}
    assert tokenizers.encode(facts, TEXT).tolist() == [places[character] for character in TEXT]
    # In whatever order a vocabulary is.
    other = {"tokenizer": "character", "vocabulary": ["b", "a", "🍋"]}
    assert tokenizers.encode(other, "ab🍋b").tolist() == [1, 0, 2, 0]


def test_bytes_are_those_of_utf8():
    facts = tokenizers.fit("byte", TEXT)
    assert facts == {"tokenizer": "byte"}
    assert tokenizers.encode(facts, TEXT).tolist() == list(TEXT.encode())
    # A model may write what is no UTF-8.
    assert tokenizers.decode(facts, np.array([104, 255, 105])) == "h\N{REPLACEMENT CHARACTER}i"


def pairs_by_hand(words, merges):
    """Byte pairs merged one after the other, the most frequent first, of words of letters."""
    parts = {tuple(word): count for word, count in Counter(words).items()}
    found = []
    for _ in range(merges):
        pairs = Counter()
        for part, count in parts.items():
            for pair in itertools.pairwise(part):
                pairs[pair] += count
        best = max(pairs, key=pairs.__getitem__)
        found.append("".join(best))
        merged = {}
        for part, count in parts.items():
            joined, rest = [], list(part)
            while rest:
                size = 2 if tuple(rest[:2]) == best else 1
                joined.append("".join(rest[:size]))
                rest = rest[size:]
            merged[tuple(joined)] = merged.get(tuple(joined), 0) + count
        parts = merged
    return found


def test_byte_pairs_are_the_most_frequent():
    # No two pairs are ever equally frequent.
    words = ["abab"] * 9 + ["abc"] * 6 + ["cd"] * 4 + ["cde"] * 3
    # One word a line, so that no pair has a space.
    facts = tokenizers.fit("bpe", "\n".join(words), vocabulary=256 + 5)
    vocabulary = json.loads(facts["definition"])["model"]["vocab"]
    assert tokenizers.vocabulary_size(facts) == 261
    merged = sorted(vocabulary, key=vocabulary.__getitem__)[256:]
    assert merged == pairs_by_hand(words, 5)
    assert len(tokenizers.encode(facts, "ababcd")) == 2


def test_byte_pairs_know_every_text_and_their_number_is_a_bound():
    facts = tokenizers.fit("bpe", "aaaa", vocabulary=1000)
    assert 256 <= tokenizers.vocabulary_size(facts) < 1000
    assert tokenizers.decode(facts, tokenizers.encode(facts, TEXT)) == TEXT


def test_a_long_text_is_cut_where_it_makes_no_difference(monkeypatch):
    random = np.random.default_rng(0)
    pieces = ["wo", " die", "\n", "\n\n", "  ", "\t", "é", "'s", " \n", "\r\n", "1", "-", "🍋"]
    text = "".join(random.choice(pieces, 4000))
    facts = tokenizers.fit("bpe", text, 300)
    whole = tokenizers.encode(facts, text)
    monkeypatch.setattr(tokenizers, "_PIECE", 10)
    assert len(list(tokenizers._pieces(text))) > 50
    np.testing.assert_array_equal(tokenizers.encode(facts, text), whole)
    assert tokenizers.fit("bpe", text, 300) == facts


@pytest.mark.parametrize(
    ("facts", "text", "message"),
    [
        (CHARACTERS, "Wo ß", "'ß' at 3, which is not among the 3"),
        (CHARACTERS, "\ufffe", r"'\\ufffe' at 0"),
        ({"tokenizer": "byte"}, "a\udc80", r"'\\udc80' at 1, no character"),
        ({"tokenizer": "bytes"}, "", "unknown tokenizer of the data 'bytes'; did you mean 'byte'"),
        ({}, "", "unknown tokenizer of the data 'None'"),
        ({"tokenizer": "character"}, "", "vocabulary of the data is damaged"),
        ({"tokenizer": "character", "vocabulary": "ab"}, "", "vocabulary of the data is damaged"),
        ({"tokenizer": "character", "vocabulary": ["ab"]}, "", "vocabulary of the data is damaged"),
        ({"tokenizer": "character", "vocabulary": ["a"] * 2}, "", "vocabulary of the data"),
        ({"tokenizer": "bpe"}, "", "tokenizer of the data is damaged"),
        ({"tokenizer": "bpe", "definition": '{"a": [}'}, "", "tokenizer of the data is damaged"),
    ],
)
def test_what_cannot_be_encoded_is_named(facts, text, message):
    with pytest.raises(UserError, match=message) as caught:
        tokenizers.encode(facts, text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("words", TEXT), "unknown tokenizer 'words'; choices: bpe, byte, character, wordpiece"),
        (("wordpiece", TEXT), "give its vocab.txt as --vocabulary-file"),
        (("byte", TEXT, 300), "vocabulary is 300, which only bpe can choose, not byte"),
        (("bpe", TEXT, 255), "vocabulary must be at least 256, at most 1,048,576, got 255"),
    ],
)
def test_what_cannot_be_fitted_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        tokenizers.fit(*arguments)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"pip install 'genjax-models\[text\]'"):
        tokenizers.fit("bpe", TEXT)


def test_frequencies_against_counting():
    random = np.random.default_rng(0)
    for vocabulary in (5, 256, 1000):
        tokens = random.integers(0, vocabulary, (7, 40), dtype=np.int32)
        found = token_frequencies(tokens, vocabulary)
        assert found.dtype == np.float64
        assert found.shape == (7, min(vocabulary, 256))
        for row, example in zip(found, tokens.tolist(), strict=True):
            counts = Counter(token % 256 for token in example)
            assert row.tolist() == [counts[place] / 40 for place in range(len(row))]


def test_features_have_one_length_whatever_occurs():
    vocabulary = len(CHARACTERS["vocabulary"])
    assert TOKENS.coarse(np.zeros((3, 8), np.int32), CHARACTERS).shape == (3, vocabulary)
    assert TOKENS.coarse(np.zeros((3, 8), np.int32), {"tokenizer": "byte"}).shape == (3, 256)
    assert TOKENS.coarse(np.zeros((3, 8), np.int32), {}).shape == (3, 256)


def test_samples_are_shown_as_text():
    facts = {"tokenizer": "character", "vocabulary": ["\n", "a", "b"]}
    samples = np.array([[1, 2, 1], [2, 0, 2]], np.int32)
    above = {"prompt": samples[:1, :1], "written": samples[1:]}
    (text,) = render_tokens(samples, facts, Layout(8, above))
    assert text == Text(
        "--- prompt 0 ---\na\n--- written 0 ---\nb\nb\n"
        "--- sample 0 ---\naba\n--- sample 1 ---\nb\nb\n"
    )
    (numbers,) = render_tokens(samples, {}, Layout())
    assert numbers.text == "--- sample 0 ---\n1 2 1\n--- sample 1 ---\n2 0 2\n"


def test_a_model_sees_tokens_as_they_are():
    tokens = jnp.arange(6).reshape(2, 3)
    assert TOKENS.to_model(tokens) is TOKENS.to_stored(tokens) is tokens


def test_text_is_written_and_logged(tmp_path: Path):
    previews = render_tokens(tokenizers.encode(CHARACTERS, TEXT)[None], CHARACTERS, Layout())
    assert save_previews(tmp_path / "step.png", previews) == [tmp_path / "step.txt"]
    assert (tmp_path / "step.txt").read_bytes() == f"--- sample 0 ---\n{TEXT}\n".encode()
    # A point in a name does not begin a suffix.
    assert save_previews(tmp_path / "t0.5", previews) == [tmp_path / "t0.5.txt"]
    events = EventFile(tmp_path, None)
    events.show(3, previews)
    events.close()
    log = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    (event,) = log.Tensors("samples/text_summary")
    assert event.step == 3
    logged = event.tensor_proto.string_val[0].decode()
    assert "    Wo die Zitronen blühn,\n" in logged
