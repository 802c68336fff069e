"""The command line as a person meets it: its output, its files and its exit statuses."""

import subprocess
import sys

import numpy as np
import pytest
from patience import PATIENCE_S
from PIL import Image

from genjax import cli


def genjax(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "genjax", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of four steps, made by the command."""
    directory = tmp_path_factory.mktemp("cli") / "run"
    result = genjax(
        "train",
        "--steps",
        "4",
        "--model.generator.width",
        "8",
        "--log-every",
        "2",
        "--model.discriminator.width",
        "8",
        "--mode",
        "jit",
        "--out",
        str(directory),
    )
    assert result.returncode == 0, result.stderr
    assert "step 4/4" in result.stdout
    return directory


@pytest.mark.smoke
def test_train_resume_and_sample(run, tmp_path):
    resumed = genjax("resume", str(run), "--steps", "6")
    assert resumed.returncode == 0, resumed.stderr
    assert "steps 5 to 6" in resumed.stdout
    grid, array = tmp_path / "grid.png", tmp_path / "images.npz"
    command = [
        "sample",
        str(run),
        "--n",
        "5",
        "--seed",
        "1",
        "--out",
        str(grid),
        "--npz",
        str(array),
    ]
    sampled = genjax(*command)
    assert sampled.returncode == 0, sampled.stderr
    with np.load(array) as file:
        assert file["images"].shape == (5, 8, 8, 1)
    assert Image.open(grid).size == (3 * 58 + 2, 2 * 58 + 2)
    first = array.read_bytes()
    assert genjax(*command).returncode == 0
    assert array.read_bytes() == first


def test_default_folder(tmp_path):
    result = genjax(
        "train",
        "dcgan-digits",
        "--steps",
        "1",
        "--model.generator.width",
        "4",
        "--model.discriminator.width",
        "4",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
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
    assert overview.returncode == 0
    for command in ("train", "resume", "sample", "presets", "config", "data"):
        assert f"  {command} " in overview.stdout
        result = genjax(command, "--help")
        assert result.returncode == 0
        assert "usage: genjax" in result.stdout


def test_presets():
    result = genjax("presets")
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "28x28x1" in lines["dcgan-mnist"]
    # 100*49*128 + 2*128 + 25*128*64 + 2*64 + 25*64 + 1
    assert "833,985" in lines["dcgan-mnist"]


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
    result = genjax("train", "--model.loss", "hnge", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("genjax: error: unknown adversarial loss 'hnge'")


def test_data_import_and_list(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(12) % 3)
    directory = ["--directory", str(tmp_path / "sets")]
    imported = genjax("data", "import", "mine", "--from", str(tmp_path / "mine.npz"), *directory)
    assert imported.returncode == 0, imported.stderr
    assert "mine: train 12 images of 8x8x3, 3 classes" in imported.stdout
    listed = genjax("data", "list", *directory)
    assert listed.returncode == 0, listed.stderr
    assert "mine" in listed.stdout
    assert "genjax data prepare cifar10" in listed.stdout
