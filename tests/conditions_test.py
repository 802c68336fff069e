"""What samples are made from: labels in turn, and in the shares of a reference."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from specs import image_spec, stand_in

from genjax.config import DataConfig, EvalConfig
from genjax.core.schema import Field, Schema, Spec
from genjax.data.memory import in_memory
from genjax.data.schema import captioned_schema, image_schema
from genjax.data.sources import known_schema, load
from genjax.domains.captions import decode_caption
from genjax.errors import UserError
from genjax.families.registry import make_algorithm
from genjax.presets import preset
from genjax.run.conditions import (
    conditions_as_in,
    conditions_in_turn,
    conditions_of_rows,
    in_proportion,
    known_to_data,
)
from genjax.run.sampling import condition_of, make_previewer
from genjax.run.scoring import make_evaluation

COUNTS = [[150, 150, *[12] * 8], [1, 1000], [0, 3, 0, 5], [7] * 10, [1, 2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_every_beginning_has_the_shares(counts):
    counts = np.array(counts)
    total = counts.sum()
    labels = in_proportion(counts, 2 * total + 5)
    dealt = np.cumsum(labels[:, None] == np.arange(len(counts)), axis=0)
    wanted = np.arange(1, len(labels) + 1)[:, None] * counts / total
    assert np.abs(dealt - wanted).max() < 1
    np.testing.assert_array_equal(dealt[total - 1], counts)
    for size in (0, 1, 10, int(total)):
        np.testing.assert_array_equal(in_proportion(counts, size), labels[:size])


def test_equal_classes_come_in_turn():
    np.testing.assert_array_equal(in_proportion(np.full(4, 25), 10), np.arange(10) % 4)


def source_of(**arrays):
    fields = {name: Field((), "int32", int(rows.max()) + 1) for name, rows in arrays.items()}
    schema = Schema("image", {"image": Field((2, 2, 1), "uint8"), **fields})
    pixels = np.zeros((len(next(iter(arrays.values()))), 2, 2, 1), np.uint8)
    return in_memory("x", "train", schema, {"image": pixels, **arrays})


def test_two_fields_are_drawn_together():
    hat, coat = np.int32([0, 0, 1, 1, 1, 1]), np.int32([2, 2, 0, 0, 0, 1])
    source = source_of(hat=hat, coat=coat)
    spec = Spec(4, source.schema.fields, "image", ("hat", "coat"))
    found = conditions_as_in(spec, source, 600)
    pairs, counts = np.unique(np.stack([found["hat"], found["coat"]]), axis=1, return_counts=True)
    assert dict(zip(map(tuple, pairs.T.tolist()), counts.tolist(), strict=True)) == {
        (0, 2): 200,
        (1, 0): 300,
        (1, 1): 100,
    }
    assert found["hat"].dtype == np.int32
    # Labels of a set that is larger than memory may be read like anything else.
    unloaded = dataclasses.replace(source, arrays={})
    np.testing.assert_array_equal(conditions_as_in(spec, unloaded, 600)["coat"], found["coat"])


def test_what_has_no_levels_must_be_given():
    source = source_of(hat=np.int32([0, 1]))
    spec = Spec(4, source.schema.fields, "hat", ("image",))
    for conditions in (
        lambda: conditions_in_turn(spec, 3),
        lambda: conditions_as_in(spec, source, 3),
    ):
        with pytest.raises(UserError, match="samples are made from 'image', which must be given"):
            conditions()
    assert conditions_as_in(spec._replace(given=()), source, 3) == {}


def test_categories_that_a_model_finds_by_itself_are_none_of_the_data():
    source = source_of(label=np.int32([0, 0, 0, 1]))
    spec = make_algorithm(preset("infogan-mnist"), known_schema("mnist")).spec
    assert spec.categories
    found = conditions_as_in(spec, source, 20)
    np.testing.assert_array_equal(found["label"], np.arange(20) % 10)
    assert known_to_data(spec, found) == {}
    conditional = make_algorithm(preset("cgan-mnist"), known_schema("mnist")).spec
    assert list(known_to_data(conditional, found)) == ["label"]


def test_a_perfect_generator_of_unequal_classes_is_near_its_data():
    """With as many labels of each class it would even run out of images of the rare ones."""
    digits = load(DataConfig("digits"))
    own = [np.flatnonzero(digits.arrays["label"] == label) for label in range(10)]
    chosen = np.concatenate([own[label][: 140 if label < 2 else 12] for label in range(10)])
    source = in_memory(
        "uneven",
        "train",
        image_schema((8, 8, 1), 10),
        {name: array[chosen] for name, array in digits.arrays.items()},
    )
    asked = []

    def sampler(state, key, count, condition):
        """Of each class its images, one after the other."""
        asked.append(condition["label"])
        places = {
            label: iter(np.flatnonzero(source.arrays["label"] == label)) for label in range(10)
        }
        return source.arrays["image"][
            [next(places[label]) for label in condition["label"].tolist()]
        ]

    config = EvalConfig(features="pixels", samples=source.count)
    experiment = dataclasses.replace(preset("cgan-digits"), eval=config)
    algorithm = stand_in(None)._replace(spec=image_spec(16, (8, 8, 1), 10))
    evaluate = make_evaluation(experiment, algorithm, source, None, sampler, jax.random.key(0))
    score, _ = evaluate(None)
    np.testing.assert_array_equal(np.bincount(asked[0]), np.bincount(source.arrays["label"]))
    assert score < 1e-9


TEXTS = ["red", "green", "a blue one"]
LONGEST = max(map(len, TEXTS))


def captioned_source(count=10, candidates=3):
    """Labels and captions from which the row of each can be told."""
    captions = np.full((count, candidates, LONGEST), -1, np.int32)
    captions[:, :2, 0] = np.arange(count)[:, None] + [0, 100]
    labels = np.arange(count, dtype=np.int32) % 3
    schema = captioned_schema(
        image_schema((2, 2, 1), 3),
        candidates,
        LONGEST,
        256,
        {"tokenizer": "byte", "prompts": TEXTS, "prompt_labels": [2, 0, 0]},
    )
    pixels = np.zeros((count, 2, 2, 1), np.uint8)
    arrays = {"image": pixels, "label": labels, "caption": captions}
    return in_memory("x", "train", schema, arrays)


def captioned_spec(source, *given):
    return Spec(4, source.schema.fields, "image", given, source.schema.facts)


def test_prompts_come_in_turn_with_their_classes():
    source = captioned_source()
    for given in (("caption",), ("label", "caption"), ("caption", "label")):
        spec = captioned_spec(source, *given)
        found = conditions_in_turn(spec, 7)
        assert tuple(found) == given
        assert found["caption"].shape == (7, 1, LONGEST)
        assert found["caption"].dtype == np.int32
        read = [decode_caption(spec.facts, rows[0]) for rows in found["caption"]]
        assert read == [TEXTS[place % 3] for place in range(7)]
        if "label" in given:
            assert found["label"].tolist() == [2, 0, 0, 2, 0, 0, 2]
    # Of another's set, whose prompts have no classes, or odd ones, classes come in turn.
    for odd in ({}, {"prompt_labels": [0, 1]}, {"prompt_labels": [0, 1, 3]}, {"prompt_labels": 1}):
        facts = {"tokenizer": "byte", "prompts": TEXTS, **odd}
        found = conditions_in_turn(spec._replace(facts=facts), 4)
        assert found["label"].tolist() == [0, 1, 2, 0]


def test_a_preview_of_labels_and_captions_has_both():
    source = captioned_source()
    algorithm = stand_in(None)._replace(spec=captioned_spec(source, "label", "caption"))
    asked = []

    def sampler(state, key, count, condition):
        asked.append(condition)
        return source.arrays["image"][np.arange(count) % source.count]

    (picture,) = make_previewer(algorithm, sampler, source)(None, jax.random.key(0))
    assert asked[0].keys() == {"label", "caption"}
    # Captions stand under the pictures.
    assert picture.pixels.shape[0] > picture.pixels.shape[1]


@pytest.mark.parametrize("prompts", [None, [], "red", [3]])
def test_captions_without_prompts_must_be_given(prompts):
    source = captioned_source()
    facts = {"tokenizer": "byte", "prompts": prompts}
    spec = captioned_spec(source, "caption")._replace(facts=facts)
    with pytest.raises(UserError, match="made from captions, of which the data name none"):
        conditions_in_turn(spec, 3)


def test_chosen_examples_have_their_first_captions():
    source = captioned_source()
    found = conditions_of_rows(captioned_spec(source, "caption"), source, np.array([3, 1, 3]))
    assert found["caption"][:, 0, 0].tolist() == [3, 1, 3]


def opened(spec):
    """What `condition_of` reads of a run."""
    experiment = SimpleNamespace(name="x")
    return SimpleNamespace(experiment=experiment, algorithm=stand_in(None)._replace(spec=spec))


def test_a_model_of_captions_has_no_classes():
    spec = captioned_spec(captioned_source(), "caption")
    with pytest.raises(UserError, match="'x' is given caption, but no labels: its samples have"):
        condition_of(opened(spec), 4, 1, ["red"])


@pytest.mark.parametrize("facts", [{}, {"prompts": TEXTS, "prompt_labels": [2, 0, 0]}])
def test_given_prompts_have_nothing_of_those_of_the_data(facts):
    spec = captioned_spec(captioned_source(), "label", "caption")
    spec = spec._replace(facts={"tokenizer": "byte", **facts})
    found = condition_of(opened(spec), 4, None, ["red"])
    assert found["label"].tolist() == [0, 1, 2, 0]
    assert {decode_caption(spec.facts, rows[0]) for rows in found["caption"]} == {"red"}


@pytest.mark.parametrize("held", [True, False])
def test_captions_are_those_of_the_reference_with_their_classes(held):
    source = captioned_source()
    source = source if held else dataclasses.replace(source, arrays={})
    spec = captioned_spec(source, "label", "caption")
    found = conditions_as_in(spec, source, 25)
    assert found["caption"].shape == (25, 1, LONGEST)
    candidates, rows = np.divmod(found["caption"][:, 0, 0], 100)
    np.testing.assert_array_equal(found["label"], rows % 3)
    # All of them in a fixed order, which a beginning does not depend on.
    assert sorted(rows[:10]) == list(range(10)) != rows[:10].tolist()
    np.testing.assert_array_equal(rows[10:20], rows[:10])
    # Each of both captions is taken in its turn; the third is none.
    np.testing.assert_array_equal(candidates[:10] + candidates[10:20], 1)
    assert set(candidates[:10]) == {0, 1}
    for count in (1, 4):
        few = conditions_as_in(spec, source, count)
        np.testing.assert_array_equal(few["caption"], found["caption"][:count])
    alone = conditions_as_in(captioned_spec(source, "caption"), source, 25)
    np.testing.assert_array_equal(alone["caption"], found["caption"])
    assert known_to_data(spec, found).keys() == {"label", "caption"}
