"""The classifiers that come with genjax, so that scores of two machines compare."""

import re
from pathlib import Path

import numpy as np
import pytest
from in_process import genjax

from genjax.config import DataConfig
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.evals.classifier import (
    RECIPES,
    SHIPPED,
    accuracy,
    classifier_path,
    load_classifier,
    read_classifier,
    save_classifier,
)

PAGE = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text()
NAMES = sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


@pytest.fixture(autouse=True)
def nothing_trained(monkeypatch, tmp_path):
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_names_them(name):
    trained = read_classifier(name)
    assert trained.data == name
    assert trained.recipe == RECIPES[name]
    assert set(trained.digests) == {"train", "test"}
    row = f"| {name} | {trained.network.hash} | {trained.accuracy:.2%} |"
    assert row in PAGE
    assert len(re.findall(r"^ +\| \w+ \| [0-9a-f]{12} \|", PAGE, re.MULTILINE)) == len(NAMES)


@pytest.mark.parametrize("name", ["digits", pytest.param("fashion_mnist", marks=pytest.mark.full)])
def test_they_are_as_good_as_they_say(name, tmp_path):
    try:
        source = load(DataConfig(name, "test", directory=str(tmp_path)))
    except UserError:
        pytest.skip(f"{name} is not there: install Debian's dataset-fashion-mnist")
    network = load_classifier(source)
    found = source.read(np.arange(source.count))
    exact = read_classifier(name).accuracy
    # Another processor may round one image the other way.
    wrong = abs(accuracy(network, found["image"], found["label"]) - exact) * source.count
    assert wrong < 1.5


def test_scores_need_no_training():
    outcome = genjax("evaluate", "--real", "digits", "--fake", "digits:test", "--metrics", "fid")
    assert outcome.status == 0, outcome
    assert read_classifier("digits").network.hash in outcome.out


def test_one_of_ones_own_goes_first():
    shipped = read_classifier("digits")
    save_classifier(shipped._replace(seconds=0.5))
    assert read_classifier("digits").seconds == 0.5
    classifier_path("digits").unlink()
    assert read_classifier("digits").seconds == shipped.seconds != 0.5
