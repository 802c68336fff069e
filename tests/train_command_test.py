"""Flags of `genjax train` that are no fields of the configuration."""

import math

import pytest
from in_process import genjax, refusal

from genjax.presets import preset


@pytest.fixture
def trained(monkeypatch):
    """What the loop is given, in place of a training."""
    calls = []

    def train(experiment, directory, source, console, stop, held_out, profile):
        console.print("said")
        calls.append(experiment)

    monkeypatch.setattr("genjax.run.loop.train", train)
    return calls


@pytest.mark.parametrize(
    ("flags", "updates", "each"),
    [
        (("--epochs", 2), 1, 1),
        (("--epochs", 0.5), 1, 1),
        # D's updates have examples of their own.
        (("--epochs", 2, "--model.discriminator-updates", 3), 3, 1),
        (("--epochs", 2, "--steps-per-call", 5), 1, 5),
    ],
)
def test_epochs(trained, tmp_path, flags, updates, each):
    intervals = ("--sample-every", 50, "--checkpoint-every", 50)
    outcome = genjax("train", "--batch-size", 64, *intervals, *flags, "--out", tmp_path / "run")
    assert outcome.status == 0, outcome
    # There are 1,500 digits to train on.
    exact = flags[1] * 1500 / (64 * updates)
    [experiment] = trained
    assert experiment.steps == math.ceil(exact / each) * each


def test_mistakes(trained, tmp_path):
    out = ("--out", tmp_path / "run")
    for flags, said in (
        (("--epochs", 1, "--steps", 5), "--epochs and --steps both say how long to train"),
        (("--epochs", 1, "--steps=5"), "--epochs and --steps both say how long to train"),
        (("--epochs", 0), "--epochs is 0; it must be above 0"),
        (("--epochs", "nan"), "--epochs is nan; it must be above 0"),
    ):
        assert said in refusal("train", *flags, *out)
    assert not trained


def test_a_quiet_run_says_nothing(trained, tmp_path):
    assert genjax("train", "--out", tmp_path / "a").out == "said\n"
    assert genjax("train", "--quiet", True, "--out", tmp_path / "b").out == ""
    assert genjax("train", "--quiet", "--out", tmp_path / "c").out == ""
    assert [experiment.steps for experiment in trained] == [preset("dcgan-digits").steps] * 3
