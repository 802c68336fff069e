"""Parts of splits."""

import dataclasses
import json

import numpy as np
import pytest
from in_process import genjax

from genjax.config import DataConfig
from genjax.data.sources import load, load_held_out
from genjax.errors import UserError
from genjax.evals.records import read_records
from genjax.run.directory import read_manifest

DIGITS = DataConfig("digits")


@pytest.mark.parametrize(
    ("part", "chosen"),
    [
        ("[:100]", slice(100)),
        ("[50:70]", slice(50, 70)),
        ("[:10%]", slice(150)),
        ("[90%:]", slice(1350, None)),
        ("[::10]", slice(None, None, 10)),
        ("[10:20%:7]", slice(10, 300, 7)),
    ],
)
def test_a_part_has_the_examples_of_the_slice(part, chosen):
    whole = load(DIGITS)
    source = load(dataclasses.replace(DIGITS, split=f"train{part}"))
    wanted = whole.arrays["image"][chosen]
    assert source.count == len(wanted)
    assert source.split == f"train{part}"
    np.testing.assert_array_equal(source.arrays["image"], wanted)
    some = np.array([source.count - 1, 0, 3])
    np.testing.assert_array_equal(source.read(some)["image"], wanted[some])
    assert source.digest() != whole.digest()
    assert load_held_out(dataclasses.replace(DIGITS, split=f"train{part}")).split == "test"


def test_what_learns_from_a_part_of_test_holds_nothing_out():
    for split in ("test", "test[:100]"):
        assert load_held_out(dataclasses.replace(DIGITS, split=split)) is None


def test_a_part_that_is_all_has_the_digest_of_the_whole():
    whole, part = (load(dataclasses.replace(DIGITS, split=name)) for name in ("train", "train[:]"))
    assert part.digest() == whole.digest()


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("train[2000:]", "of which 1,500 examples leave none"),
        ("train[::0]", "its step must be at least 1"),
        ("train[-5:]", r"'train\[-5:\]'; a part is NAME\[FIRST:END\] or"),
        ("train[::10%]", "such as train"),
        ("trian[:5]", "unknown split of digits 'trian'"),
    ],
)
def test_parts_that_are_refused(split, said):
    with pytest.raises(UserError, match=said):
        load(dataclasses.replace(DIGITS, split=split))


def test_a_run_on_a_part_is_compared_with_the_whole(tmp_path):
    flags = ("--batch-size", 4, "--steps", 1, "--eval.samples", 4, "--mode", "jit")
    thin = ("--model.generator.width", 4, "--model.discriminator.width", 4)
    part = ("--data.split", "train[:20]")
    assert genjax("train", *flags, *thin, *part, "--out", tmp_path / "run").status == 0
    assert read_manifest(tmp_path / "run")["data"]["count"] == 20
    outcome = genjax("evaluate", tmp_path / "run", "--metrics", "ms_ssim", "--samples", 20)
    assert outcome.status == 0, outcome
    (record,) = read_records(tmp_path / "run" / "scores.jsonl")
    assert (record["reference"]["split"], record["reference"]["count"]) == ("train", 1500)


@pytest.mark.full
def test_scores_while_training_on_a_part_are_those_of_the_whole(tmp_path):
    """Of the classifier, which knows the whole split."""
    flags = ("--batch-size", 4, "--steps", 1, "--eval.samples", 20, "--mode", "jit")
    thin = ("--model.generator.width", 4, "--model.discriminator.width", 4)
    features = ("--eval.features", "classifier")
    scores = []
    for number, split in enumerate(("train", "train[:1500]")):
        folder = tmp_path / str(number)
        flags_ = (*flags, *thin, *features, "--data.split", split, "--out", folder)
        assert genjax("train", *flags_).status == 0
        lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
        scores.append([x for x in lines if any(name.startswith("evaluation/") for name in x)])
    assert scores[0]
    assert [sorted(x) for x in scores[0]] == [sorted(x) for x in scores[1]]
    named = [{k: v for k, v in x.items() if k.startswith("evaluation/")} for x in scores[0]]
    others = [{k: v for k, v in x.items() if k.startswith("evaluation/")} for x in scores[1]]
    assert named == others
