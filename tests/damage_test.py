"""What is damaged of a run is named, and the newest whole checkpoint is used."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from genjax import cli
from genjax.config import MLP
from genjax.config import json as config_json
from genjax.data.schema import image_schema
from genjax.data.sources import load
from genjax.families.registry import make_algorithm
from genjax.run import checkpoint
from genjax.run import directory as run_directory
from genjax.run.loop import train

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def runs(small_gan, small_experiment, tmp_path_factory):
    """A run of six steps with checkpoints of steps 2, 4 and 6, and the same run of eight steps."""
    folder = tmp_path_factory.mktemp("damage")
    network = MLP(width=8, norm="none")
    model = dataclasses.replace(small_gan, generator=network, discriminator=network)
    experiment = dataclasses.replace(small_experiment, model=model, keep_checkpoints=3)
    for steps in (6, 8):
        experiment = dataclasses.replace(experiment, steps=steps)
        train(experiment, folder / str(steps), load(experiment.data), QUIET)
    return folder


@pytest.fixture
def run(runs, tmp_path):
    """A copy of the run of six steps, to be damaged."""
    return Path(shutil.copytree(runs / "6", tmp_path / "run"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, where: float = 2 / 3) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 4
    path.write_bytes(bytes(content))


FAULTS: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "cut": cut,
    "flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
}


def genjax(monkeypatch, *arguments: str | Path) -> int:
    """Runs a command in this process; returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["genjax", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def weights(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*.safetensors")}


@pytest.mark.parametrize("fault", FAULTS)
def test_any_damaged_file_of_a_checkpoint_is_noticed(runs, tmp_path, fault):
    """Restored is what was saved, from another checkpoint or from this one, or nothing is."""
    whole = runs / "6" / "checkpoints"
    init = make_algorithm(run_directory.read_config(runs / "6"), image_schema((8, 8, 1), 10)).init
    states = {}
    with checkpoint.open_checkpoints(whole, 3) as manager:
        for step in (4, 6):
            states[step] = checkpoint.restore(manager, step, init, jax.random.key(0), None)
    files = [path.relative_to(whole) for path in (whole / "6").rglob("*") if path.is_file()]
    assert len(files) >= 10
    noticed = []
    for number, file in enumerate(files):
        folder = tmp_path / str(number) / "checkpoints"
        shutil.copytree(whole, folder)
        FAULTS[fault](folder / file)
        said: list[str] = []
        with checkpoint.open_checkpoints(folder, 3) as manager:
            found = checkpoint.restore_common({0: manager}, init, None, said.append)
            left = sorted(manager.all_steps())
        assert found is not None
        step, state = found
        same(state, states[step])
        if step == 6:
            assert not said
            continue
        noticed.append(file)
        assert step == 4
        assert left == [2, 4]
        assert said == [
            f"{folder / file} is missing or damaged; moved to {folder.parent / 'damaged' / '6'}, "
            "going on from step 4"
        ]
        assert (folder.parent / "damaged" / "6").is_dir()
    # The others are marks of Orbax that nothing is read from, and a copy of the score.
    others = {"commit_success.txt", "metrics"}
    assert {path.name for path in set(files) - set(noticed)} <= others


def same(one, other) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_resume_goes_on_from_the_newest_whole_checkpoint(runs, run, monkeypatch, capsys):
    files = sorted((run / "checkpoints" / "6" / "default").rglob("*"))
    flip(next(path for path in files if path.name == "manifest.ocdbt"))
    assert genjax(monkeypatch, "resume", run, "--steps", "8") == 0
    said = capsys.readouterr().out
    assert "manifest.ocdbt is missing or damaged; moved to" in said
    assert "going on from step 4" in said
    assert "steps 5 to 8" in said
    assert weights(run) == weights(runs / "8")
    assert {path.name for path in (run / "damaged").iterdir()} == {"6"}


def test_remains_of_a_deletion_are_put_aside(runs, run, monkeypatch, capsys):
    """A kill while an old checkpoint is deleted may leave any part of it."""
    old = run / "checkpoints" / "2"
    shutil.rmtree(old)
    old.mkdir()
    sample = ("sample", run, "--n", "4", "--checkpoint", "best")
    assert genjax(monkeypatch, *sample) == 2
    assert f"{old / '_CHECKPOINT_METADATA'} is missing or damaged" in capsys.readouterr().err
    assert genjax(monkeypatch, "resume", run, "--steps", "8") == 0
    assert f"moved to {run / 'damaged' / '2'}, going on from step 6" in capsys.readouterr().out
    assert weights(run) == weights(runs / "8")
    assert genjax(monkeypatch, *sample) == 0


def test_sampling_names_the_damaged_file_and_moves_nothing(run, tmp_path, monkeypatch, capsys):
    damaged = run / "checkpoints" / "6" / "default" / "_METADATA"
    cut(damaged)
    out = str(tmp_path / "grid.png")
    assert genjax(monkeypatch, "sample", run, "--n", "4", "--out", out) == 2
    assert f"{damaged} is missing or damaged" in capsys.readouterr().err
    assert genjax(monkeypatch, "sample", run, "--n", "4", "--out", out, "--checkpoint", "4") == 0
    assert damaged.exists()


def test_without_a_whole_checkpoint_nothing_is_moved(run, monkeypatch, capsys):
    for folder in (run / "checkpoints").iterdir():
        flip(folder / "_CHECKPOINT_METADATA")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert genjax(monkeypatch, "resume", run, "--steps", "8") == 2
    error = capsys.readouterr().err
    assert "no checkpoint in" in error
    assert f"{run / 'checkpoints' / '6' / '_CHECKPOINT_METADATA'} is missing or damaged" in error
    assert "with another --out" in error
    for path, content in before.items():
        # The copies of the scores are written anew when a folder is opened.
        assert path.parent.name == "metrics" or path.read_bytes() == content


def test_an_edited_configuration_is_refused(run, monkeypatch, capsys):
    config = run / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"learning_rate": 0.01', '"learning_rate": 0.02', 1))
    for command in ("resume", "sample", "evaluate", "rerun"):
        assert genjax(monkeypatch, command, run) == 2
        error = capsys.readouterr().err
        assert f"{config} is not what the run was trained with" in error
        assert "undo the change" in error
    # How it is written does not matter.
    config.write_text(json.dumps(json.loads(text)))
    assert genjax(monkeypatch, "resume", run, "--steps", "8") == 0


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_description_of_a_run_is_named(run, monkeypatch, capsys, name, fault):
    before = (run / name).read_bytes()
    # Not every byte of a description means something; the first does.
    (partial(flip, where=0) if fault == "flipped" else FAULTS[fault])(run / name)
    assert genjax(monkeypatch, "resume", run, "--steps", "8") == 2
    error = capsys.readouterr().err
    assert str(run) in error
    assert name in error
    assert error.count("\n") == 1
    (run / name).write_bytes(before)
    assert genjax(monkeypatch, "resume", run, "--steps", "7") == 0


def test_a_checkpoint_of_another_architecture_is_refused(run, monkeypatch, capsys):
    manifest = run / "manifest.json"
    config = run / "config.json"
    config.write_text(config.read_text().replace('"latent": 8', '"latent": 9'))
    # Someone has made both files agree.
    now = config_json.config_hash(config_json.load(config))
    described = json.loads(manifest.read_text())
    described["sessions"][-1]["config_hash"] = now
    manifest.write_text(json.dumps(described))
    assert genjax(monkeypatch, "resume", run, "--steps", "8") == 2
    error = capsys.readouterr().err
    assert "checkpoints/6 belongs to another model: it has float32[8, 8] as" in error
    assert "and the configuration needs float32[9, 8]" in error
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["2", "4", "6"]


def test_a_run_of_a_later_format_says_what_reads_it(run, monkeypatch, capsys):
    manifest = run / "manifest.json"
    described = json.loads(manifest.read_text())
    described["format"] = 4
    described["sessions"][-1]["versions"]["genjax"] = "0.0.7"
    manifest.write_text(json.dumps(described))
    assert genjax(monkeypatch, "resume", run, "--steps", "8") == 2
    error = capsys.readouterr().err
    assert f"{manifest} is of format 4; this genjax reads up to 3: use what wrote it" in error
    assert "genjax 0.0.7" in error
