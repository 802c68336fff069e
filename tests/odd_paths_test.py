"""Any path that a file system takes holds runs and data, and what was written is looked at."""

import os
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image

from genjax.core.types import Array
from genjax.errors import RunFailed, UserError
from genjax.run import checkpoint, checkpoint_store

# What Orbax's glob, epath and TensorStore take for something else; last, what they do not.
NAMES = [
    "a[b]",
    "**",
    "back\\slash",
    "gs:",
    os.fsdecode(b"\xff"),
    "ünï-日本-😀 /dots.../~/%41/$HOME/line\nbreak/a:b/process_0/x.orbax-checkpoint-tmp/e\u0301",
]

SIZES = ("--model.generator.name", "mlp", "--model.discriminator.name", "mlp")
SIZES += ("--model.discriminator.norm", "none", "--batch-size", "16", "--mode", "jit")
SIZES += ("--checkpoint-every", "2", "--eval.rank", "none")


@chex.dataclass(frozen=True)
class Small:
    numbers: Array
    noise: Array
    zeros: Array


def make(start: float) -> Small:
    numbers = start + jnp.arange(3.0)
    # Small values lie in the files that say where the others are.
    noise = jax.random.normal(jax.random.key(0), (64, 64))
    return Small(numbers=numbers, noise=noise, zeros=jnp.zeros((2, 3)))


def init(key: jax.Array) -> Small:
    return make(0.0)


def save(folder, steps, start=0.0):
    with checkpoint.open_checkpoints(folder, 1) as manager:
        for step in steps:
            checkpoint.save(manager, step, make(start), 1.0)
            checkpoint.wait(manager)


def numbers(folder, step):
    with checkpoint.open_checkpoints(folder, 1) as manager:
        state = checkpoint.restore(manager, step, init, jax.random.key(0), None)
    return np.asarray(state.numbers).tolist()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_checkpoints_under_any_name_are_read_back(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    save(folder, (1, 2), 2.0)
    assert numbers(folder, 2) == [2, 3, 4]
    assert {path.name for path in folder.iterdir()} == {"2"}


@pytest.mark.parametrize(("name", "like"), [("a*b", "axb"), ("[ab]", "a")])
def test_a_name_is_no_pattern_for_its_neighbours(tmp_path, name, like):
    """Both are written at once, and each has parts that a pattern would find in the other."""
    folders = [tmp_path / name, tmp_path / like]
    with (
        checkpoint.open_checkpoints(folders[0], 1) as one,
        checkpoint.open_checkpoints(folders[1], 1) as other,
    ):
        checkpoint.save(other, 1, make(5.0), 1.0)
        checkpoint.save(one, 1, make(1.0), 1.0)
        for manager in (one, other):
            checkpoint.wait(manager)
    assert [numbers(folder, 1) for folder in folders] == [[1, 2, 3], [5, 6, 7]]


def test_the_folders_of_other_machines_need_a_link():
    plain = {"/gs": False, "/s3/runs": False, "/home/gs/runs": True, "/gsx": True}
    assert {path: checkpoint_store.is_plain(checkpoint_store.Path(path)) for path in plain} == plain


def test_messages_name_the_folder_that_the_user_knows_and_links_are_removed(tmp_path, monkeypatch):
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(links))
    folder = tmp_path / "a[b]"
    save(folder, (1,))
    with checkpoint.open_checkpoints(folder, 1) as manager:
        assert list(links.iterdir())
        shutil.rmtree(folder / "1" / "default" / "d")
        (folder / "1" / "default" / "files.json").unlink()
        with pytest.raises(UserError) as caught:
            checkpoint.restore(manager, 1, init, jax.random.key(0), None)
    assert str(folder) in str(caught.value)
    assert str(links) not in str(caught.value)
    assert not list(links.iterdir())


def lose_the_manifest(folder):
    (folder / "manifest.ocdbt").unlink()


def lose_the_arrays(folder):
    for path in (folder / "ocdbt.process_0" / "d").iterdir():
        path.unlink()


def cut_the_arrays(folder):
    for path in (folder / "ocdbt.process_0" / "d").iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("fault", [lose_the_manifest, lose_the_arrays, cut_the_arrays])
def test_a_checkpoint_that_is_not_whole_is_an_error_and_gets_no_name(tmp_path, monkeypatch, fault):
    finalize = checkpoint_store.ocp.StandardCheckpointHandler.finalize

    def spoil(self, directory):
        finalize(self, directory)
        fault(checkpoint_store.Path(directory))

    save(tmp_path, (1,))
    monkeypatch.setattr(checkpoint_store.ocp.StandardCheckpointHandler, "finalize", spoil)
    with checkpoint.open_checkpoints(tmp_path, 1) as manager:
        with pytest.raises(RunFailed, match=r"cannot write a checkpoint .* of step 1; make"):
            save(tmp_path, (2,))
        assert manager.all_steps() == [1]
    assert numbers(tmp_path, 1) == [0, 1, 2]


@pytest.mark.parametrize("leaves", [2, 4])
def test_a_checkpoint_with_another_number_of_arrays_is_not_whole(tmp_path, leaves):
    save(tmp_path, (1,))
    checkpoint_store.check_arrays(tmp_path / "1" / "default", 3)
    with pytest.raises(OSError, match=f"3 whole arrays of {leaves}"):
        checkpoint_store.check_arrays(tmp_path / "1" / "default", leaves)


def test_every_command_takes_such_a_path(tmp_path):
    folder = tmp_path / "a [b]*?\\ ü.. "
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    data, run = folder / "data[1]", folder / "run[1]"
    own = ("--data.name", "own", "--data.directory", data)
    for command in (
        ("data", "import", "own", "--from", pictures, "--directory", data),
        ("train", *SIZES, *own, "--steps", "2", "--out", run),
        ("resume", run, "--steps", "4"),
        ("sample", run, "--npz", folder / "x[1].npz", "--out", folder / "x[1].png"),
    ):
        outcome = genjax(*command)
        assert outcome.status == 0, outcome
    assert (folder / "x[1].png").stat().st_size > 100
    assert len(np.load(folder / "x[1].npz")["images"]) == 64


def test_a_folder_that_array_record_can_not_name_is_refused(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("L", (8, 8)).save(pictures / "0.png")
    folder = tmp_path / os.fsdecode(b"\xff")
    error = refusal("data", "import", "own", "--from", pictures, "--directory", folder)
    assert "choose another --directory" in error
    assert not folder.exists()


def test_the_folder_for_what_is_temporary_may_have_an_odd_name_too(tmp_path, monkeypatch):
    odd = tmp_path / "t[1]"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    save(odd / "checkpoints", (1,))
    assert numbers(odd / "checkpoints", 1) == [0, 1, 2]
    assert [path.name for path in odd.iterdir()] == ["checkpoints"]
    monkeypatch.setattr(checkpoint_store.os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="set TMPDIR to a folder"):
        save(odd / "others", (1,))
