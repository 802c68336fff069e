"""Scores of images and their captions by a joint embedding whose answers are known."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from genjax.core.schema import Field, Schema
from genjax.data.memory import in_memory
from genjax.errors import UserError
from genjax.evals.caption_scores import Embedded, hits_among, score_clip
from genjax.evals.comparison import Comparison, Judge
from genjax.evals.metrics import compute_scores

WORDS = [f"{letter}{number}" for letter in "abcdefghij" for number in range(10)]


def source(name, seen, said):
    """Images that show the word of a number, and captions that say another perhaps."""
    captions = np.array([list(WORDS[number].encode()) for number in said], np.int32)
    images = np.zeros((len(seen), 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = seen
    fields = {"image": Field((2, 2, 1), "uint8"), "caption": Field((1, 2), "int32", 256)}
    schema = Schema("image", fields, {"tokenizer": "byte"})
    return in_memory(name, "train", schema, {"image": images, "caption": captions[:, None]})


ROOM = np.eye(100)
KNOWING = SimpleNamespace(
    embed_images=lambda images: ROOM[images[:, 0, 0, 0]],
    embed_texts=lambda texts: ROOM[[WORDS.index(text) for text in texts]],
)


JUDGE = Judge(KNOWING, "clip abc")


def compared(seen, said, clip=JUDGE):
    real = source("real", np.arange(100), np.arange(100))
    # Every second one is not what its caption says.
    held_out = source("held out", np.arange(100) // 2 * 2, np.arange(100))
    return Comparison(real, source("run", seen, said), held_out, None, clip=clip)


def test_what_shows_its_caption_is_told_from_what_does_not():
    """Three in four samples show what was asked for."""
    said = np.tile(np.random.default_rng(0).permutation(100), 4)
    seen = np.where(np.arange(400) % 4, said, (said + 50) % 100)
    clip, accuracy = score_clip(compared(seen, said))
    assert (clip.name, accuracy.name) == ("clip_score", "caption_accuracy")
    np.testing.assert_allclose(clip.value, 0.75)
    np.testing.assert_allclose(clip.spread, np.std(np.arange(400) % 4 > 0, ddof=1) / 20)
    np.testing.assert_allclose(accuracy.value, 0.75)
    assert accuracy.spread == 0
    for score in (clip, accuracy):
        assert score.details["real images"] == 1
        assert score.details["held-out images"] == 0.5
        assert score.details["captions of others"] < 0.05
        assert score.parameters["clip"] == "clip abc"
    np.testing.assert_allclose(accuracy.parameters["chance"], 0.01)


def test_equal_captions_are_no_wrong_answers_and_ties_are():
    texts = ROOM[[0, 0, 1, 2]]
    assert hits_among(Embedded(texts, texts), 4).tolist() == [1]
    blind = np.ones((4, 100)) / 10
    assert hits_among(Embedded(blind, ROOM[:4]), 4).tolist() == [0]
    assert hits_among(Embedded(ROOM[:7], ROOM[:7]), 4).tolist() == [1]
    assert len(hits_among(Embedded(ROOM[:3], ROOM[:3]), 4)) == 0


def test_what_is_missing_is_said():
    every = np.arange(100)
    with pytest.raises(UserError, match=r"clip_score needs .* joint embedding .*--clip RUN"):
        compute_scores(compared(every, every, None), ("clip_score",))
    plain = source("run", every, every)
    fields = {"image": plain.schema.fields["image"]}
    plain = dataclasses.replace(plain, schema=plain.schema._replace(fields=fields))
    lacking = Comparison(source("real", every, every), plain, None, None)
    with pytest.raises(UserError, match="clip_score needs a run that makes images of captions"):
        compute_scores(lacking, ("clip_score",))
