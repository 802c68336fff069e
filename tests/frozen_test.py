"""Runs that use the networks of other runs: distilled ones, and those that another guides."""

import json
import shutil

import numpy as np
import pytest
from in_process import contents, genjax, refusal
from safetensors.numpy import load_file

from genjax.config import DiffusionSampling
from genjax.errors import UserError
from genjax.run.opening import open_named, open_run, parse_run, pinned

TINY = ("--model.network.name", "mlp", "--model.network.width", "16", "--batch-size", "16")
EVERY = ("--sample-every", "4", "--checkpoint-every", "2", "--log-every", "2")


def train(preset, out, *flags):
    outcome = genjax("train", preset, *TINY, *EVERY, "--steps", "4", "--out", out, *flags)
    assert outcome.status == 0, outcome.err
    return out


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return train("diffusion-digits", tmp_path_factory.mktemp("others") / "teacher")


@pytest.fixture(scope="module")
def student(teacher):
    return train("consistency-digits", teacher.with_name("student"), "--model.teacher", teacher)


def test_a_teacher_is_named_by_its_weights_and_stays_out_of_checkpoints(teacher, student):
    config = json.loads((student / "config.json").read_text())
    name, digests = config["model"]["teacher"].split("#")
    assert name == f"{teacher}@4"
    assert [len(digest) for digest in digests.split(".")] == [16, 12]
    saved = contents(student / "checkpoints")
    assert any(b"network" in (data or b"") for data in saved.values())
    assert not any(b"frozen" in (data or b"") for data in saved.values())


@pytest.mark.full
def test_a_resumed_student_is_the_same(teacher, student, tmp_path):
    part = tmp_path / "part"
    train("consistency-digits", part, "--model.teacher", f"{teacher}@4", "--steps", "2")
    outcome = genjax("resume", part, "--steps", "4")
    assert outcome.status == 0, outcome.err
    ours, theirs = (load_file(run / "network.safetensors") for run in (part, student))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    alone = load_file(train("consistency-digits", tmp_path / "alone") / "network.safetensors")
    assert any(not np.array_equal(alone[name], theirs[name]) for name in ours)


def test_without_its_teacher_a_student_samples_and_no_more(teacher, student, tmp_path):
    moved = tmp_path / "teacher"
    shutil.copytree(teacher, moved)
    run = train("consistency-digits", tmp_path / "run", "--model.teacher", moved)
    shutil.rmtree(moved)
    assert genjax("sample", run, "--n", "4", "--npz", tmp_path / "a.npz").status == 0
    gone = refusal("resume", run, "--steps", "6")
    assert f"teacher is {moved}@4#" in gone
    assert "no such folder any more; move it back" in gone
    train("diffusion-digits", moved, "--seed", "1")
    assert "are now those of #" in refusal("resume", run, "--steps", "6")


def test_a_named_run_is_the_same_weights_and_the_same_model(teacher, tmp_path):
    """Weights alone do not say what a network computes."""
    copy = tmp_path / "copy"
    shutil.copytree(teacher, copy)
    name = open_named(str(copy), "teacher").name
    before_models = name.partition(".")[0]
    assert open_named(before_models, "teacher").name == name
    train("diffusion-digits", tmp_path / "other", "--model.data-std", "0.25")
    for file in ("config.json", "manifest.json"):
        shutil.copy(tmp_path / "other" / file, copy / file)
    with pytest.raises(
        UserError, match=r"model there is now configured as \.\w{12}, with the same"
    ):
        open_named(name, "teacher")
    assert open_named(before_models, "teacher").name.startswith(before_models)
    shutil.rmtree(copy / "checkpoints" / "4")
    with pytest.raises(UserError, match="whose checkpoint of step 4 is gone; bring it back"):
        open_named(name, "teacher")


@pytest.mark.full
def test_a_student_begins_with_a_teacher_that_had_more(tmp_path):
    """What it was told of augmentation, and its uncertainty, are left out."""
    more = ("--model.augment", "0.1", "--model.weighting", "learned")
    other = train("diffusion-digits", tmp_path / "teacher", *more)
    begun = ("--model.teacher", other, "--init-from", other)
    run = train("consistency-digits", tmp_path / "run", *begun)
    ours, theirs = (load_file(folder / "network.safetensors") for folder in (run, other))
    kernels = [name for name in ours if name.startswith("params/") and name.endswith("kernel")]
    assert kernels
    for name in kernels:
        before = theirs[name.replace("params/", "params/network/")]
        assert 0 < np.abs(ours[name] - before).max() < 0.1


def test_a_hash_may_be_part_of_a_name(teacher, tmp_path):
    folder = tmp_path / "a#1"
    shutil.copytree(teacher, folder)
    assert parse_run(f"{folder}@2") == (folder, 2, "", "")
    assert pinned(DiffusionSampling(guide=f"{folder}@2")).guide.startswith(f"{folder}@2#")
    message = "but the weights there are now those of #"
    assert message in refusal(
        "sample", teacher, "--guidance", "2", "--guide", f"{folder}#{'0' * 16}"
    )


def test_a_model_that_guides_itself_changes_nothing(teacher, tmp_path):
    files = {}
    for name, flags in {
        "plain": (),
        "itself": ("--guide", teacher, "--guidance", "3"),
        "earlier": ("--guide", f"{teacher}@2", "--guidance", "30"),
    }.items():
        files[name] = tmp_path / f"{name}.npz"
        outcome = genjax("sample", teacher, "--n", "4", "--npz", files[name], *flags)
        assert outcome.status == 0, outcome.err
    plain, itself, earlier = (np.load(file)["images"].astype(int) for file in files.values())
    assert np.abs(plain - itself).max() <= 1
    assert np.abs(plain - earlier).max() > 1


def test_scores_name_the_guide_by_its_weights(teacher):
    options = DiffusionSampling(guide=str(teacher), guidance=2.0)
    described = open_run(teacher, "last", sampling=options).sampling
    assert described["guide"] == pinned(options).guide
    assert described["guide"].startswith(f"{teacher}@4#")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--guide", "nowhere", "--guidance", "2"), "guide is nowhere: nowhere"),
        (("--guide", "{teacher}@7", "--guidance", "2"), "no checkpoint of step 7; choices: 2, 4"),
        (("--guide", "{teacher}"), "guide is given, but guidance is 1"),
        (("--guidance", "2"), "or name a guide"),
    ],
)
def test_guides_that_are_not_there_are_refused(flags, message, teacher):
    flags = [flag.format(teacher=teacher) for flag in flags]
    assert message in refusal("sample", teacher, *flags)
