"""Ablations: the grid, its records, and what an interruption leaves."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jax
import pytest
from filelock import FileLock
from in_process import refusal
from patience import PATIENCE_S
from rich.console import Console

from genjax.ablation.cells import RESULT, assemble, changed_since, finish, read_result
from genjax.ablation.grid import choose_seeds, load_ablation, make_cells
from genjax.ablation.plan import Group, make_plan, settle
from genjax.ablation.run import Runner
from genjax.cli import main
from genjax.config import SGD
from genjax.config.json import config_hash
from genjax.data.progress import no_progress
from genjax.errors import UserError
from genjax.run.interrupts import Stopped

FILE = '''"""Does it work?"""
import dataclasses
from genjax.config import *

network = MLP(width=8, depth=1, norm="none")
base = Experiment(
    "small",
    DataConfig("gaussians-8"),
    GANConfig(generator=network, discriminator=network, latent=2),
    steps=60,
    batch_size=16,
    mode="jit",
    log_every=10,
    sample_every=60,
    checkpoint_every=20,
    eval=EvalConfig(samples=200),
)
VARIANTS = {
    "usual": base,
    "hinge + r1": dataclasses.replace(
        base, model=dataclasses.replace(base.model, loss="hinge", penalties={"r1": (0.1, 1)})
    ),
}
BASELINE = "usual"
SEEDS = 2
SCORES = {"mixture": ("modes", "high_quality")}
SAMPLES = 300
'''
QUIET = Console(quiet=True)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(FILE)
    return path


def test_grid(file, tmp_path):
    ablation = load_ablation(file)
    assert ablation.name == "small"
    assert ablation.question == "Does it work?"
    assert ablation.seeds == (0, 1)
    cells = make_cells(ablation, tmp_path, None, ())
    assert [(c.variant, c.experiment.seed) for c in cells] == [
        ("usual", 0),
        ("usual", 1),
        ("hinge + r1", 0),
        ("hinge + r1", 1),
    ]
    assert len({cell.hash for cell in cells}) == 4
    assert cells[3].directory == tmp_path / "hinge-r1" / f"seed-1-{cells[3].hash}"
    longer = make_cells(ablation, tmp_path, 80, ["usual"])
    assert [cell.experiment.steps for cell in longer] == [80, 80]
    assert not {cell.hash for cell in longer} & {cell.hash for cell in cells}
    with pytest.raises(UserError, match=r"unknown variant 'hinge'; did you mean 'hinge \+ r1'"):
        make_cells(ablation, tmp_path, None, ["hinge"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('BASELINE = "usual"', "", "does not define BASELINE"),
        ('BASELINE = "usual"', 'BASELINE = "other"', "unknown BASELINE of .* 'other'"),
        ("SEEDS = 2", "SEEDS = 0", "SEEDS of .* is 0"),
        ("SEEDS = 2", "SEEDS = (1, 1)", "seeds that differ"),
        ("SEEDS = 2", "SEEDS = '2'", "SEEDS of .* is '2'; it must be a number of seeds"),
        ("SEEDS = 2", "SEEDS = (1, 'b')", "seeds that differ"),
        ("SEEDS = 2", "SEEDS = 2.5", "SEEDS of .* is 2.5"),
        ("SAMPLES = 300", "SAMPLES = -20", "SAMPLES of .* is -20; it must be at least 2"),
        ("SEEDS = 2", "SEEDS = 2; 1 / 0", "fails: ZeroDivisionError"),
        ('"usual": base', '"usual": 3', "dict from name to Experiment"),
        ('"hinge + r1"', '"usual + "', "differ in letters or digits"),
        ('("modes", "high_quality")', '"modes"', "to a tuple of its scores"),
    ],
)
def test_declarations_that_are_refused(file, old, new, message):
    assert old in FILE
    file.write_text(FILE.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_ablation(file)


@pytest.mark.full
def test_an_ablation_that_is_asked_to_stop_saves_and_goes_on(file, tmp_path):
    """As a SIGTERM stops `genjax ablate`: all runs of a group are saved, and go on from there."""
    ablation = load_ablation(file)

    def run(directory, stop=lambda step: None):
        cells = make_cells(ablation, directory, None, ["usual"])
        groups = make_plan(directory, cells, "vmap")
        Runner(ablation, directory, cells, QUIET, no_progress, stop).run(groups)
        return cells

    whole = run(tmp_path / "whole")
    with pytest.raises(Stopped) as stopped:
        run(tmp_path / "halved", lambda step: step == 30)
    assert stopped.value.step == 30
    halved = run(tmp_path / "halved")
    for one, other in zip(whole, halved, strict=True):
        assert (other.directory / "generator.safetensors").exists()
        sessions = json.loads((other.directory / "manifest.json").read_text())["sessions"]
        assert [session.get("resumed_at") for session in sessions] == [None, 30]
        # In other company, or alone, it would have other rounding errors.
        assert [session["grouping"] for session in sessions] == ["vmap of 2 runs"] * 2
        ours, theirs = read_result(one), read_result(other)
        assert (ours["scores"], ours["curve"]) == (theirs["scores"], theirs["curve"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"high_quality"', '"quality"', "unknown score of mixture in SCORES"),
        ('{"mixture": ("modes", "high_quality")}', '{"fid": ("fid",)}', "fid needs a feature"),
        ('{"mixture": ("modes", "high_quality")}', '{"likelihood": ("elbo",)}', "likelihood needs"),
        ("SEEDS = 2", "SEEDS = 2\nVARIANTS['hinge + r1'] = ranked", "unknown eval.rank 'foo'"),
        ("SEEDS = 2", "SEEDS = 2\nVARIANTS['hinge + r1'] = sized", "data.length is 5"),
    ],
)
def test_what_could_not_be_trained_or_scored_is_refused_at_once(file, tmp_path, old, new, said):
    """Also of the last variant, before the first is trained."""
    also = """
        import dataclasses
        first = VARIANTS["usual"]
        ranked = dataclasses.replace(first, eval=dataclasses.replace(first.eval, rank="foo"))
        sized = dataclasses.replace(first, data=dataclasses.replace(first.data, length=5))
    """
    assert old in FILE
    file.write_text(
        FILE.replace("SEEDS = 2", textwrap.dedent(also) + "SEEDS = 2").replace(old, new)
    )
    assert said in refusal("ablate", file, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whole_numbers_in_place_of_floats_name_the_same_run(file, tmp_path):
    whole = tmp_path / "whole" / file.name
    whole.parent.mkdir()
    whole.write_text(FILE.replace("(0.1, 1)", "(2, 1)"))
    file.write_text(FILE.replace("(0.1, 1)", "(2.0, 1)"))
    named = [make_cells(load_ablation(path), tmp_path, None, ()) for path in (file, whole)]
    assert [cell.directory for cell in named[0]] == [cell.directory for cell in named[1]]


def test_seeds():
    assert choose_seeds(2, "it") == (0, 1)
    assert choose_seeds((7, 3), "it") == (7, 3)
    with pytest.raises(UserError, match="it is"):
        choose_seeds((), "it")


def test_failed_cells_are_recorded_and_the_grid_goes_on(file, tmp_path):
    declared = load_ablation(file)
    wild = dataclasses.replace(
        declared.variants["usual"],
        model=dataclasses.replace(
            declared.variants["usual"].model,
            loss="wasserstein",
            generator_optimizer=SGD(learning_rate=1e30),
            discriminator_optimizer=SGD(learning_rate=1e30),
        ),
    )
    ablation = declared._replace(
        variants={"wild": wild, "usual": declared.variants["usual"]}, seeds=(0,)
    )
    out = tmp_path / "out"
    cells = make_cells(ablation, out, None, ())
    runner = Runner(ablation, out, cells, QUIET, no_progress)
    groups = make_plan(out, cells, "single")
    with FileLock(out / f".group-{cells[0].hash}.lock"):
        assert runner.run(groups) == 1, "another process is at work on the first"
    assert [read_result(cell) is None for cell in cells] == [True, False]
    assert runner.run(groups) == 0
    records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["failed", "ok"]
    assert records[0]["reason"].startswith("step ")
    assert str(tmp_path) not in json.dumps(records)
    assert records[0]["scores"] == {}
    last = records[1]["scores"]["last"]
    assert (cells[1].directory / "generator.safetensors").exists()
    assert last["step"] == 60
    assert last.keys() == {"step", "modes", "high_quality"}
    assert records[1]["curve"]["step"] == [20, 40, 60]
    assert records[1]["times"]["train_s"] > 0
    with pytest.raises(UserError, match="unknown score in SCORES 'fid'"):
        finish(ablation._replace(scores={"mixture": ("fid",)}), cells[1], "single", None)


def test_plans_are_kept(file, tmp_path):
    ablation = load_ablation(file)
    cells = make_cells(ablation, tmp_path, None, ())
    groups = make_plan(tmp_path, cells[:2], "auto")
    assert groups == [Group("auto", (cells[0].hash, cells[1].hash))]
    assert settle(tmp_path, groups[0], "scan") == [Group("scan", groups[0].cells)]
    more = make_cells(ablation._replace(seeds=(0, 1, 2, 3)), tmp_path, None, ())
    again = make_plan(tmp_path, more, "vmap")
    assert again[0] == Group("scan", (cells[0].hash, cells[1].hash))
    assert [(group.mode, len(group.cells)) for group in again] == [
        ("scan", 2),
        ("vmap", 2),
        ("vmap", 4),
    ]
    back = cells[0]._replace(
        experiment=dataclasses.replace(cells[0].experiment, on_nan="rollback"), hash="0"
    )
    assert make_plan(tmp_path, [back], "vmap") == [Group("single", ("0",))]
    other = make_cells(ablation, tmp_path / "other", None, ())
    assert {group.mode for group in make_plan(tmp_path / "other", other, "single")} == {"single"}


def without_times(path: Path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        del record["times"]
    return [json.dumps(record) for record in records]


def ablate(file, out, *flags):
    return [
        *(sys.executable, "-m", "genjax", "ablate", str(file)),
        *("--out", str(out), "--seed-mode", "vmap", *flags),
    ]


def written(directory: Path) -> int:
    """Files and folders so far, as a measure of how far an ablation is."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(directory))


@pytest.mark.full
def test_an_ablation_killed_three_times_has_the_same_records(file, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(ablate(file, whole), check=True, capture_output=True, timeout=PATIENCE_S)
    moments = random.Random(6)
    shares = sorted(moments.uniform(0.02, 0.85) for _ in range(3))
    for share in shares:
        process = subprocess.Popen(ablate(file, killed), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while written(killed) < share * written(whole):
            assert process.poll() is None, "the ablation ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert (
        not (killed / "results.jsonl").exists() or len(without_times(killed / "results.jsonl")) < 4
    )
    subprocess.run(ablate(file, killed), check=True, capture_output=True, timeout=PATIENCE_S)
    assert without_times(killed / "results.jsonl") == without_times(whole / "results.jsonl")
    assert len(without_times(whole / "results.jsonl")) == 4


def test_command(file, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"

    def genjax(*arguments):
        monkeypatch.setattr(sys, "argv", ["genjax", *map(str, arguments)])
        main()
        return capsys.readouterr().out

    steps = ("--steps", "20", "--out", out)
    text = genjax("ablate", file, "--dry-run", *steps)
    assert "missing: 4 runs, about" in text
    assert not out.exists()
    text = genjax("ablate", file, "--seed-mode", "scan", "--seeds", "1", *steps)
    assert "2 of 2 runs are finished, 0 of them failed" in text
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*")}
    assert "2 of 2 runs" in genjax("ablate", file, "--seeds", "1", *steps)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*/*")} == before
    # A smaller grid, and runs of another length, take nothing from what is finished.
    rows = (out / "results.jsonl").read_text()
    made = make_cells(load_ablation(file)._replace(seeds=(0,)), out, 20, ())
    other = dataclasses.replace(made[1].experiment, seed=7)
    folder = made[1].directory.with_name(f"seed-7-{config_hash(other)}")
    shutil.copytree(made[1].directory, folder)
    record = json.loads((folder / RESULT).read_text()) | {"config_hash": config_hash(other)}
    (folder / RESULT).write_text(json.dumps(record | {"seed": 7}))
    longer = shutil.copytree(folder, folder.with_name("seed-8-0123456789ab"))
    text = genjax("ablate", file, "--seeds", "1", *steps)
    assert "2 of 2 runs are finished" in text
    found = (out / "results.jsonl").read_text()
    assert found.startswith(rows)
    assert json.loads(found.splitlines()[-1])["seed"] == 7
    assert len(found.splitlines()) == 3
    shutil.rmtree(folder)
    shutil.rmtree(longer)
    other = tmp_path / "other"
    known = ("--steps", "20", "--out", other, "--records", out, "--seeds", "1")
    assert "nothing is missing" in genjax("ablate", file, "--dry-run", *known)
    assert not other.exists()
    assert "2 of 2 runs are finished" in genjax("ablate", file, *known)
    assert (other / "results.jsonl").read_text() == rows
    for changed, wrong in (("config_hash", "none of its runs"), ("ablation", "of the ablation")):
        strange = [json.loads(row) | {changed: "x" * 12} for row in rows.splitlines()[:1]]
        (tmp_path / "strange.jsonl").write_text(json.dumps(strange[0]) + "\n")
        with pytest.raises(SystemExit) as stopped:
            genjax("ablate", file, "--records", tmp_path / "strange.jsonl", *steps)
        assert stopped.value.code == 2
        assert wrong in capsys.readouterr().err
    text = genjax("ablate", file, "--dry-run", "--only", "usual", *steps)
    assert "missing: 1 runs" in text
    assert "as the finished runs took" in text
    with pytest.raises(SystemExit) as stopped:
        genjax("ablate", file, "--only", "unusual", *steps)
    assert stopped.value.code == 2
    assert "did you mean 'usual'" in capsys.readouterr().err

    ablation = load_ablation(file)._replace(seeds=(0,))
    cells = make_cells(ablation, out, 20, ())
    record = read_result(cells[0])
    assert changed_since([record]) == []
    old = {**record, "commit": "0123456", "versions": {**record["versions"], "jax": "0.1"}}
    first, second = changed_since([record, old])
    assert first.startswith("1 finished runs have commit 0123456; now it is ")
    assert second == f"1 finished runs have versions jax 0.1; now it is jax {jax.__version__}"
    (cells[0].directory / RESULT).write_text("{")
    with pytest.raises(UserError, match=r"result.json is damaged; delete it"):
        assemble(out, cells)


@pytest.mark.full
def test_jobs_of_a_cluster(file, tmp_path):
    pytest.importorskip("submitit", reason="needs the extra genjax-models[cluster]")
    out = tmp_path / "out"
    subprocess.run(
        [
            *ablate(file, out, "--steps", "20", "--seeds", "1"),
            *("--cluster", "local", "--cluster-option", "timeout_min=5"),
        ],
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert len(without_times(out / "results.jsonl")) == 2
    assert list((out / "jobs").glob("*_log.out"))
