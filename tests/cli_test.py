"""The command line as a person meets it: its output, its files and its exit statuses."""

import subprocess
import sys

import numpy as np
import pytest
from in_process import genjax
from patience import PATIENCE_S
from PIL import Image

from genjax import cli


def process(*arguments, cwd=None):
    """Runs a command in a process of its own, which takes seconds to begin."""
    return subprocess.run(
        [sys.executable, "-m", "genjax", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=cwd,
    )


SIZES = ("--model.generator.width", "8", "--model.discriminator.width", "8", "--mode", "jit")


@pytest.mark.smoke
def test_train_resume_and_sample(tmp_path):
    run, grid, array = tmp_path / "run", tmp_path / "grid.png", tmp_path / "images.npz"
    trained = process("train", "--steps", "4", "--log-every", "2", *SIZES, "--out", str(run))
    assert trained.returncode == 0, trained.stderr
    assert "step 4/4" in trained.stdout
    resumed = genjax("resume", run, "--steps", 6)
    assert resumed.status == 0, resumed
    assert "steps 5 to 6" in resumed.out
    command = ("sample", run, "--n", 5, "--seed", 1, "--out", grid, "--npz", array)
    sampled = genjax(*command)
    assert sampled.status == 0, sampled
    with np.load(array) as file:
        assert file["images"].shape == (5, 8, 8, 1)
    assert Image.open(grid).size == (3 * 58 + 2, 2 * 58 + 2)
    first = array.read_bytes()
    assert genjax(*command).status == 0
    assert array.read_bytes() == first


def test_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = genjax("train", "dcgan-digits", "--steps", 1, *SIZES)
    assert outcome.status == 0, outcome
    (directory,) = (tmp_path / "runs").iterdir()
    assert directory.name.startswith("dcgan-digits-")


def test_help_imports_nothing_heavy():
    code = (
        "import sys, genjax.cli\n"
        "for arguments in (['--help'], ['config']):\n"
        "    sys.argv = ['genjax', *arguments]\n"
        "    try: genjax.cli.main()\n"
        "    except SystemExit as stop: assert not stop.code\n"
        "heavy = {'jax', 'flax', 'optax', 'orbax', 'numpy', 'tensorflow_datasets', 'sklearn'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "heavy: []" in result.stdout, result.stdout + result.stderr
    assert "learning_rate: 0.0002" in result.stdout


def test_every_command_has_help():
    overview = genjax("--help")
    assert overview.status == 0
    for command in ("train", "resume", "sample", "presets", "config", "data"):
        assert f"  {command} " in overview.out
        outcome = genjax(command, "--help")
        assert outcome.status == 0
        assert "usage: genjax" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "dcgan-digit"], ["'dcgan-digit'", "did you mean 'dcgan-digits'"]),
        (["trian"], ["'trian'", "did you mean 'train'"]),
        (["train", "--model.los", "hinge"], ["--model.los", "did you mean --model.loss?"]),
        (["train", "--model.loss", "hnge"], ["'hnge'", "did you mean 'hinge'", "choices: hinge"]),
        (["train", "--model.generator.name", "dcgen"], ["'dcgen'", "did you mean 'dcgan'"]),
        (["train", "--steps", "many"], ["--steps", "'many'"]),
        (["train", "--steps", "0"], ["steps is 0", "at least 1"]),
        (["train", "--mode", "tpu"], ["'tpu'", "'auto', 'jit', 'mesh', 'pmap'"]),
        (["train", "--data.name", "mnits"], ["'mnits'", "did you mean 'mnist'"]),
        (["train", "--data.split", "trian"], ["'trian'", "did you mean 'train'"]),
        (["train", "--data.resolution", "9"], ["9 pixels", "8 or 12"]),
        (["train", "--batch-size", "5000"], ["5000 examples", "1500"]),
        (["train", "dcgan-mnist", "--data.directory", "nowhere"], ["genjax data prepare mnist"]),
        (["train", "--out", "taken"], ["taken already exists", "--out"]),
        (["train", "--model.penalties", "r3", "1", "1"], ["'r3'", "choices: bcr, cr"]),
        (["train", "--model.penalties", "r1", "0.1", "1"], ["'r1'", "norm to layer or none"]),
        (["train", "--model.generator-conditioning", "cbn"], ["'cbn'", "set both"]),
        (["train", "--model.augmentations", "colour"], ["'colour'", "did you mean 'color'"]),
        (["train", "--model.generator.norm", "bach"], ["'bach'", "did you mean 'batch'"]),
        (["train", "--model.discriminator.norm", "virtual"], ["'virtual'", "generator"]),
        (["resume", "nowhere"], ["nowhere is not a folder"]),
        (["resume", "."], ["is not a run"]),
        (["resume"], ["Folder of the run"]),
        (["sample", "nowhere", "--n", "0"], ["--n is 0"]),
        (["sample", "nowhere", "--per-class", "0"], ["--per-class is 0"]),
        (["sample", "nowhere", "--checkpoint", "first"], ["'first'", "last, best"]),
        (["sample", "nowhere", "--out", "no/such/grid.png"], ["no/such is not a folder"]),
        (["sample", "nowhere", "--psi", "0.5"], ["nowhere is not a folder; give the folder of"]),
        (["sample", "nowhere", "--n", "4294967296"], ["--n is 4294967296", "at most"]),
        (["sample", "nowhere", "--seed", "18446744073709551616"], ["--seed is", "at most"]),
        (["sample", "nowhere", "--checkpoint", "1" * 5000], ["--checkpoint", "last, best"]),
        (["sample", "nowhere", "--out", ""], ["cannot write into .", "name a new folder"]),
        (["sample", "nowhere", "--out", "/dev/null"], ["cannot write /dev/null", "name a file"]),
        (["sample", "nowhere", "--npz", "taken"], ["cannot write taken", "name a file"]),
        (["evaluate", "nowhere", "--out", "taken"], ["cannot write taken", "name a file"]),
        (["evaluate", "nowhere", "--seed", "-1"], ["--seed is -1", "at least 0"]),
        (["evaluate", "nowhere", "--samples", "1"], ["--samples is 1", "at least 2"]),
        (["evaluate", "nowhere", "--resolution", "0"], ["--resolution is 0", "at least 1"]),
        (["rerun", ""], ["is not a run"]),
        (["rerun", "/"], ["is not a run"]),
        (["resume", "a" * 300], ["a" * 300]),
        (["data", "fetch"], ["'data fetch'", "list, prepare"]),
        (["data", "import", "mine"], ["--from"]),
        (["data", "import", "mine", "--from", "nowhere"], ["nowhere"]),
    ],
)
def test_mistakes_get_one_line_and_status_2(arguments, words, tmp_path, monkeypatch, capsys):
    """In this process, because each of many would take seconds to import JAX."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("precious")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["genjax", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    assert stop.value.code == 2, err
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("genjax: error: ")
    for word in words:
        assert word in lines[0]
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "thesis.txt"]


def test_a_mistake_is_the_process_exit_status(tmp_path):
    result = process("train", "--model.loss", "hnge", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("genjax: error: unknown adversarial loss 'hnge'")


def test_data_import_and_list(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(12) % 3)
    directory = ("--directory", tmp_path / "sets")
    imported = genjax("data", "import", "mine", "--from", tmp_path / "mine.npz", *directory)
    assert imported.status == 0, imported
    assert "mine: train 12 images of 8x8x3, 3 classes" in imported.out
    listed = genjax("data", "list", *directory)
    assert listed.status == 0, listed
    assert "mine" in listed.out
    assert "genjax data prepare cifar10" in listed.out
