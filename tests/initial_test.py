"""Runs that begin with the weights of another run."""

import json
import shutil

import numpy as np
import pytest
from in_process import genjax, refusal
from safetensors.numpy import load_file

WIDTHS = ("--model.generator.width", 4, "--model.discriminator.width", 4)
SMALL = ("--batch-size", 8, "--eval.samples", 4, "--mode", "jit", "--checkpoint-every", 1)
# Adam's steps of this size change no float32 that is not tiny.
STILL = [
    word
    for player in ("generator", "discriminator")
    for word in (f"--model.{player}-optimizer.learning-rate", 1e-30)
]


def train(out, *flags):
    outcome = genjax("train", *SMALL, *flags, "--out", out)
    assert outcome.status == 0, outcome
    return outcome.out


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run without a moving average."""
    out = tmp_path_factory.mktemp("initial") / "first"
    train(out, *WIDTHS, "--steps", 3)
    return out


def params(run, player="generator", average=False):
    prefix = "ema/params/" if average else "params/"
    weights = load_file(run / f"{player}.safetensors")
    found = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
    assert found
    return found


def assert_same(ones, others):
    assert ones.keys() == others.keys()
    for name, one in ones.items():
        np.testing.assert_array_equal(one, others[name], err_msg=name)


def test_a_run_begins_with_the_weights_of_another(first, tmp_path):
    average = ("--model.ema-decay", 0.5)
    said = train(tmp_path / "b", *WIDTHS, *STILL, *average, "--steps", 2, "--init-from", first)
    assert f"begins with the generator and discriminator of {first} at step 3" in said
    for player in ("generator", "discriminator"):
        assert_same(params(tmp_path / "b", player), params(first, player))
    # Its average begins there, too.
    assert_same(params(tmp_path / "b", average=True), params(first))
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    initial = manifest["sessions"][0]["initial"]
    assert initial["run"] == str(first)
    assert initial["step"] == 3
    assert len(initial["digest"]) == 64

    train(tmp_path / "c", *WIDTHS, *STILL, "--steps", 1, "--init-from", f"{first}@2")
    other = json.loads((tmp_path / "c" / "manifest.json").read_text())["sessions"][0]["initial"]
    assert other["step"] == 2
    assert other["digest"] != initial["digest"]
    moved = params(tmp_path / "c")
    assert any(np.any(moved[name] != weight) for name, weight in params(first).items())


@pytest.mark.full
def test_it_is_repeated_and_goes_on(first, tmp_path):
    copy = shutil.copytree(first, tmp_path / "copy")
    train(tmp_path / "b", *WIDTHS, "--steps", 2, "--init-from", copy)
    outcome = genjax("rerun", tmp_path / "b")
    assert outcome.status == 0, outcome
    assert "identical" in outcome.out
    shutil.rmtree(copy)
    assert genjax("resume", tmp_path / "b", "--steps", 3).status == 0
    assert "is not a folder" in refusal("rerun", tmp_path / "b", "--out", tmp_path / "d")
    assert not (tmp_path / "d").exists()


@pytest.mark.full
def test_a_folder_may_have_an_at_in_its_name(first, tmp_path):
    for name in ("at@2", "@best"):
        shutil.copytree(first, tmp_path / name)
        said = train(
            tmp_path / f"from{name}", *WIDTHS, "--init-from", tmp_path / name, "--steps", 1
        )
        assert f"{tmp_path / name} at step 3" in said
    said = train(tmp_path / "b", *WIDTHS, "--init-from", f"{tmp_path / 'at@2'}@2", "--steps", 1)
    assert "at@2@2 at step 2" in said


@pytest.mark.parametrize(
    ("flags", "name", "said"),
    [
        ((), "{first}", "has another generator: float32"),
        (WIDTHS, "{first}@7", "no checkpoint of step 7; choices: 2, 3"),
        (WIDTHS, "{first}x", "is not a folder; give the folder of a run"),
    ],
)
def test_what_does_not_fit_is_refused(first, tmp_path, flags, name, said):
    name = name.format(first=first)
    line = refusal("train", *SMALL, *flags, "--init-from", name, "--out", tmp_path / "b")
    assert said in line
    assert not (tmp_path / "b").exists()


def test_another_family_has_other_networks(first, tmp_path):
    command = ("train", "vae-digits", "--init-from", first, "--out", tmp_path / "b")
    line = refusal(*command)
    assert "has the networks generator, discriminator, but this model has autoencoder" in line
