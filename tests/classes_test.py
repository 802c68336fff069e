"""Classes by their names: found, matched between sets, kept beside labels from the import on."""

import json

import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image

from genjax.config import DataConfig
from genjax.data.classes import find_class, list_names, match_classes, names_of, with_empty
from genjax.data.importer import import_dataset
from genjax.data.schema import image_schema
from genjax.data.sources import load
from genjax.evals.comparison import Comparison
from genjax.evals.inputs import open_images
from genjax.run.conditions import conditions_in_turn
from genjax.run.opening import open_run

RNG = np.random.default_rng(0)
SMALL = ("--batch-size", 4, "--steps", 1, "--eval.samples", 4, "--mode", "jit")
SMALL += ("--model.generator.width", 4, "--model.discriminator.width", 4)


@pytest.mark.parametrize(
    ("names", "wanted", "label"),
    [
        ("012", "2", 2),
        (["1", "2", "3"], "1", 0),
        (["1", "2", "3"], "0", None),
        (["1", "2", "x"], "2", 1),
        (["cat", "dog"], "dog", 1),
        (["cat", "dog"], "1", 1),
        (["cat", "dog"], "2", None),
        (["cat", "dog"], "Cat", 0),
        (["00", "01"], "1", 1),
        (["T-shirt/top", "dress"], "t_shirt_top", 0),
        (["caf\u00e9", "bar"], "cafe\u0301", 0),
        (["a", "A"], "A", 1),
        # Two names that differ in case alone leave a third spelling in doubt.
        (["\u00e4b", "\u00c4B"], "\u00c4b", None),
        (["+", "-"], "-", 1),
        (["0", "1"], "zero", None),
        (["0", "1"], "9" * 5000, None),
    ],
)
def test_a_class_is_found_by_its_name(names, wanted, label):
    assert find_class(list(names), wanted) == label


def test_classes_of_two_sets_are_matched():
    np.testing.assert_array_equal(match_classes(["2", "7"], list("0123456789")), [2, 7])
    np.testing.assert_array_equal(match_classes(["dog", "cow", "cat"], ["cat", "dog"]), [1, -1, 0])
    # A class that is named 1 is none of these, where a label without a name is the second.
    np.testing.assert_array_equal(match_classes(["0", "1"], ["cat", "dog"]), [-1, -1])
    np.testing.assert_array_equal(match_classes(["0", "1"], ["cat", "dog"], True), [0, 1])


def test_names_in_words():
    assert list_names([str(n) for n in range(1000)]) == "0 to 999"
    assert list_names([f"n{n}" for n in range(22)]).endswith("n19 and 2 more")
    # A manifest may be damaged.
    for names in (None, "ab", 5, ["a"], {"a": 1, "b": 2}):
        schema = image_schema((8, 8, 1), 2)._replace(facts={"class_names": names})
        assert names_of(schema) == ("0", "1")


def digits_by_class(folder, names, count=6):
    """Some digits in a folder for each class, whose names stand for 0, 1, ..."""
    digits = load(DataConfig("digits"))
    for label, name in names.items():
        (folder / name).mkdir(parents=True)
        own = np.flatnonzero(digits.arrays["label"] == label)[:count]
        for number in own:
            pixels = digits.arrays["image"][number][..., 0]
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def compare(real, fake):
    return Comparison(open_images(str(real))[0], open_images(str(fake))[0], None, None)


def test_folders_of_some_classes_have_the_labels_of_those(tmp_path):
    folder = digits_by_class(tmp_path / "two", {2: "2", 7: "07"})
    compared = compare("digits", folder)
    np.testing.assert_array_equal(compared.matched_labels, np.repeat([7, 2], 6))
    assert compared.foreign_classes == []


def test_other_names_are_refused_by_name(tmp_path):
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    folder = digits_by_class(tmp_path / "words", dict(enumerate(words)), 2)
    assert "zero" in compare("digits", folder).foreign_classes
    line = refusal("evaluate", "--real", folder, "--fake", "digits", "--metrics", "class_fid")
    assert "no classifier" in line or "classes of the same names" in line


def test_an_order_of_its_own_changes_no_class(tmp_path):
    """Class folders are sorted by name: label 0 is `b_one` here, and `TWO` there."""
    one = digits_by_class(tmp_path / "one", {0: "zero", 1: "b_one", 2: "two"})
    two = digits_by_class(tmp_path / "two", {0: "Zero", 1: "b one", 2: "TWO"})
    compared = compare(one, two)
    np.testing.assert_array_equal(compared.fake_labels, np.repeat([0, 1, 2], 6))
    np.testing.assert_array_equal(compared.matched_labels, np.repeat([1, 2, 0], 6))
    names = {"images": open_images(str(one))[0].read(np.arange(18))["image"]}
    labels = np.repeat([2, 0, 1], 6)
    np.savez(tmp_path / "a.npz", **names, labels=labels, class_names=["two", "zero", "b_one"])
    compared = compare(one, tmp_path / "a.npz")
    np.testing.assert_array_equal(compared.matched_labels, compared.real_labels)


def test_classes_that_are_named_by_numbers_are_none_of_a_reference_with_words(tmp_path):
    """Folders 0, 1, 2 against one, two, zero: by their places a perfect set would be all wrong."""
    words = digits_by_class(tmp_path / "words", {0: "zero", 1: "one", 2: "two"})
    compared = compare(words, digits_by_class(tmp_path / "numbers", {0: "0", 1: "1", 2: "2"}))
    assert compared.foreign_classes == ["0", "1", "2"]


@pytest.mark.parametrize(
    "names", [["a", "a", "b"], ["a", "b"], [b"a", b"b", b"c"], [["a", "b", "c"]], ["a", " b", "c"]]
)
def test_names_in_a_file_that_are_none(tmp_path, names):
    pixels = np.zeros((3, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.arange(3), class_names=names)
    line = refusal("evaluate", "--real", "digits", "--fake", tmp_path / "a.npz")
    assert "needed: one text for each label, no two equal" in line


@pytest.mark.parametrize("found", [range(1, 11), [0, 65535], [3, 1, 7]], ids=str)
def test_labels_with_gaps_become_names(tmp_path, found):
    """Otherwise there would be classes that no example has: 65,534 of them for two numbers."""
    labels = np.repeat(list(found), 3)
    images = RNG.integers(0, 256, (len(labels), 4, 4, 1), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    result = import_dataset("gaps", tmp_path / "a.npz", tmp_path / "out")
    ordered = sorted(found)
    assert result.classes == len(ordered)
    assert result.class_names == tuple(map(str, ordered))
    assert "are stored as 0 to" in result.warnings[0]
    data = load(DataConfig("gaps", directory=str(tmp_path / "out")))
    assert data.schema.classes == len(ordered)
    kept = [int(names_of(data.schema)[label]) for label in data.arrays["label"]]
    assert sorted(kept) == sorted(labels.tolist())
    direct = open_images(str(tmp_path / "a.npz"))[0]
    assert names_of(direct.schema) == names_of(data.schema)
    np.testing.assert_array_equal(direct.arrays["label"], np.searchsorted(ordered, labels))


def test_labels_from_0_on_stay_and_a_test_split_has_the_same(tmp_path):
    images = RNG.integers(0, 256, (6, 4, 4), dtype=np.uint8)
    train, test = np.array([0, 1, 2, 0, 1, 2]), np.array([1, 1, 1, 1, 1, 1])
    np.savez(tmp_path / "a.npz", x_train=images, y_train=train, x_test=images, y_test=test)
    result = import_dataset("whole", tmp_path / "a.npz", tmp_path / "out")
    assert (result.classes, result.class_names, result.warnings) == (3, (), ())
    config = DataConfig("whole", "test", directory=str(tmp_path / "out"))
    np.testing.assert_array_equal(load(config).arrays["label"], test)


def test_no_class_without_examples_is_ever_drawn():
    schema = with_empty(image_schema((8, 8, 1), 4), np.array([1, 3, 3]))
    assert schema.facts["empty_classes"] == [0, 2]
    assert with_empty(schema._replace(facts={}), np.arange(4)).facts == {}
    from genjax.core.schema import Spec

    spec = Spec(4, schema.fields, "image", ("label",), schema.facts)
    assert spec.labels == (1, 3)
    np.testing.assert_array_equal(conditions_in_turn(spec, 5)["label"], [1, 3, 1, 3, 1])
    assert Spec(4, schema.fields, "image", ("label",)).labels == (0, 1, 2, 3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A conditional model of folders that are named 1 to 3."""
    folder = tmp_path_factory.mktemp("named")
    digits_by_class(folder / "raw", {1: "1", 2: "2", 3: "3"})
    data = folder / "data"
    outcome = genjax("data", "import", "some", "--from", folder / "raw", "--directory", data)
    assert "classes, in the order of their labels: 1, 2, 3" in outcome.out, outcome
    flags = ("--data.name", "some", "--data.directory", data)
    outcome = genjax("train", "cgan-digits", *SMALL, *flags, "--out", folder / "run")
    assert outcome.status == 0, outcome
    return folder / "run"


@pytest.mark.full
def test_samples_of_a_class_are_asked_for_by_name(run, tmp_path):
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["data"]["facts"]["class_names"] == ["1", "2", "3"]
    for wanted, label in (("1", 0), ("3", 2)):
        file = tmp_path / f"{wanted}.npz"
        outcome = genjax("sample", run, "--n", 2, "--label", wanted, "--npz", file)
        assert outcome.status == 0, outcome
        with np.load(file) as found:
            np.testing.assert_array_equal(found["labels"], [label] * 2)
            assert found["class_names"].tolist() == ["1", "2", "3"]
    for wanted in ("0", "4", "one", "-1"):
        line = refusal("sample", run, "--label", wanted)
        assert f"--label is {wanted}; classes of this model: 1, 2, 3" in line
    outcome = genjax("sample", run, "--per-class", 2, "--npz", tmp_path / "rows.npz")
    assert "rows, from the top: 1, 2, 3" in outcome.out
    # What was written names its classes: they are matched with those of any other set.
    compared = compare("digits", tmp_path / "rows.npz")
    np.testing.assert_array_equal(compared.matched_labels, np.repeat([1, 2, 3], 2))
    assert open_run(run, "last").algorithm.spec.labels == (0, 1, 2)


def test_a_run_whose_data_have_changed_is_not_gone_on_with(run, tmp_path):
    """Others were imported under the same name, of the same size and the same classes."""
    data = run.parent / "data"
    (data / "some").rename(tmp_path / "before")
    digits_by_class(tmp_path / "raw", {4: "1", 5: "2", 6: "3"})
    outcome = genjax("data", "import", "some", "--from", tmp_path / "raw", "--directory", data)
    assert outcome.status == 0, outcome
    for command in (("evaluate", run, "--metrics", "ms_ssim"), ("resume", run, "--steps", 2)):
        assert "learnt from other data than some:train is now" in refusal(*command)
    # Samples need none.
    assert genjax("sample", run, "--n", 2, "--npz", tmp_path / "a.npz").status == 0
