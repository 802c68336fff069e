"""Scores of images against images, without a run."""

import re

import numpy as np
import pytest

from genjax.config import DataConfig
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.evals import class_scores
from genjax.evals.classification import AccuracyScore
from genjax.evals.classifier import load_classifier
from genjax.evals.features import from_function
from genjax.evals.records import rank
from genjax.run.evaluation import Protocol, evaluate_images

pytestmark = pytest.mark.usefixtures("digits_classifier")

PROTOCOL_OF_TESTS = Protocol(load_classifier, samples=320)


def values(evaluation):
    return {record["metric"]: record["value"] for record in evaluation.records}


def test_identical_and_held_out_images():
    names = ("fid", "prdc", "class_fid", "modes", "memorization")
    protocol = PROTOCOL_OF_TESTS._replace(metrics=names)
    same = values(evaluate_images("digits", "digits", protocol))
    assert same["fid"] == pytest.approx(0, abs=1e-6)
    assert same["class_fid"] == pytest.approx(0, abs=1e-6)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    assert (same["modes"], same["mode_kl"], same["memorization"]) == (10, 0, 1)
    test = values(evaluate_images("digits", "digits:test", protocol))
    assert test["fid"] > 0
    assert 0 < test["recall"] < 1
    assert test["memorization"] == 0.5


def few_digits(path, count, labels=None):
    """Some digits in a file."""
    digits = load(DataConfig("digits"))
    labels = digits.arrays["label"][:count] if labels is None else labels
    np.savez(path, images=digits.arrays["image"][: len(labels)], labels=labels)
    return str(path)


@pytest.mark.parametrize(
    ("count", "labels", "lacking", "possible"),
    [
        (
            3,
            None,
            {
                "is": "20 samples, and there are 3",
                "prdc": "6 examples of each set, and the samples have 3",
                "class_fid": "and the samples have too few of '0' (1), '1' (1), '2' (1) and 7 more",
                "ms_ssim": "two samples of a class",
            },
            {"fid", "kid", "modes", "mode_kl", "memorization"},
        ),
        (
            None,
            [*range(9)] * 3 + [9],
            {"class_fid": "and the samples have too few of '9' (1)"},
            {"fid", "is", "ms_ssim", "coverage"},
        ),
    ],
    ids=["three images", "one image of a class"],
)
def test_what_is_impossible_leaves_the_others(tmp_path, count, labels, lacking, possible):
    """In a usual evaluation it is left out with the reason; by name it is refused at once."""
    fake = few_digits(tmp_path / "few.npz", count, labels)
    found = evaluate_images("digits", fake, PROTOCOL_OF_TESTS)
    assert found.left_out.keys() == lacking.keys()
    for name, words in lacking.items():
        assert words in found.left_out[name]
    assert possible <= values(found).keys()
    untouchable = from_function(
        lambda images: pytest.fail("features were computed"), "classifier-x"
    )
    protocol = PROTOCOL_OF_TESTS._replace(features=lambda _: untouchable)
    for name, words in lacking.items():
        with pytest.raises(UserError, match=re.escape(words)):
            evaluate_images("digits", fake, protocol._replace(metrics=("fid", name)))


def test_other_labels_of_the_same_images_are_another_reference(tmp_path):
    labels = np.repeat([0, 1], 10)
    sets = [few_digits(tmp_path / f"{n}.npz", None, np.roll(labels, n)) for n in (0, 3)]
    network = from_function(lambda images: images.reshape(len(images), -1) / 255.0, "pixels", True)
    protocol = Protocol(lambda _: network, ("class_fid",))
    records = [evaluate_images(real, sets[0], protocol).records[0] for real in sets]
    assert records[0]["reference"]["contents"] == records[1]["reference"]["contents"]
    with pytest.raises(UserError, match="; parameters is"):
        rank(records, ["class_fid"])


def test_samples_are_named_as_the_reference_names_its_classes(tmp_path, monkeypatch):
    """Digits 2 and 7 that are numbered 0 and 1 in their own file."""
    digits = load(DataConfig("digits"))
    labels = digits.arrays["label"]
    chosen = np.flatnonzero((labels == 2) | (labels == 7))[:60]
    own = (labels[chosen] == 7).astype(int)
    file = tmp_path / "two.npz"
    np.savez(file, images=digits.arrays["image"][chosen], labels=own, class_names=["2", "7"])
    given = []
    monkeypatch.setattr(
        class_scores,
        "classification_accuracy_score",
        lambda *arguments: given.append(arguments[1]) or AccuracyScore(0.5, 0.9),
    )
    found = evaluate_images(
        "digits", str(file), PROTOCOL_OF_TESTS._replace(metrics=("cas", "gan_test"))
    )
    assert values(found)["gan_test"] > 0.9
    np.testing.assert_array_equal(given[0], labels[chosen])


def test_spreads_that_would_say_nothing_are_none(tmp_path):
    """Subsets that are all the same set, and pairs that are always the same two images."""
    fake = few_digits(tmp_path / "few.npz", None, [0, 0, 1, 1])
    protocol = PROTOCOL_OF_TESTS._replace(metrics=("kid", "ms_ssim"))
    found = evaluate_images("digits", fake, protocol)
    assert [record["spread"] for record in found.records] == [None, None]
    assert found.warnings == [
        "kid: each subset holds all of 4 images, so it has no spread",
        "ms_ssim: there are only 2 pairs, so it has no spread",
    ]
