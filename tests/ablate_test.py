"""Ablations: the grid, several runs in one program, and what an interruption leaves."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console

from genjax import checkpoint
from genjax.ablation.cells import RESULT, assemble, changed_since, finish, read_result
from genjax.ablation.grid import choose_seeds, load_ablation, make_cells
from genjax.ablation.plan import Group, kind, make_plan, measure_modes, settle
from genjax.ablation.run import Runner
from genjax.ablation.scalars import structure, varying, with_scalars
from genjax.ablation.together import train_together
from genjax.cli import main
from genjax.config import (
    DataConfig,
    EvalConfig,
    Experiment,
    GANConfig,
    NetworkConfig,
    OptimizerConfig,
    VAEConfig,
)
from genjax.data.progress import no_progress
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.families import make_algorithm
from genjax.loop import train

FILE = '''"""Does it work?"""
import dataclasses
from genjax.config import *

network = NetworkConfig("mlp", width=8, depth=1, norm="none")
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


def small(seed=0, rate=0.01, **changes):
    network = NetworkConfig("mlp", width=8, depth=1, norm="none")
    optimizer = OptimizerConfig("sgd", learning_rate=rate, b1=0.0)
    config = GANConfig(
        generator=network,
        discriminator=network,
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        latent=2,
        **changes,
    )
    return Experiment(
        "small",
        DataConfig("gaussians-8"),
        config,
        steps=6,
        batch_size=16,
        seed=seed,
        mode="jit",
        log_every=2,
        sample_every=6,
        checkpoint_every=2,
        eval=EvalConfig(samples=100),
    )


def all_together(experiments, directories, dataset, how):
    """Trains runs together; returns which failed, and why."""
    failures = {}
    train_together(experiments, directories, dataset, how, QUIET, failures.__setitem__)
    return failures


def final_params(directory, experiment):
    algorithm = make_algorithm(experiment, (1, 1, 2), 8)
    with checkpoint.open_checkpoints(directory / "checkpoints", 2) as manager:
        state = checkpoint.restore(
            manager, experiment.steps, algorithm.init, jax.random.key(0), None
        )
    return jax.tree.leaves((state.generator.params, state.discriminator.params))


def rows(directory):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    times = ("seconds_per_step", "images_per_second")
    return [{k: v for k, v in json.loads(line).items() if k not in times} for line in lines]


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


def test_seeds():
    assert choose_seeds(2, "it") == (0, 1)
    assert choose_seeds((7, 3), "it") == (7, 3)
    with pytest.raises(UserError, match="it is"):
        choose_seeds((), "it")


def test_structure_is_all_but_seeds_and_scalars():
    base = small(penalties={"r1": (0.1, 2)})
    assert structure(base) == structure(small(3, 0.5, penalties={"r1": (9.0, 2)}))
    assert structure(base) != structure(small(penalties={"r1": (0.1, 1)}))
    assert structure(base) != structure(small(penalties={"r2": (0.1, 2)}))
    assert structure(base) != structure(dataclasses.replace(base, steps=8))
    found = varying([base, small(3, 0.5, penalties={"r1": (9.0, 2)}, label_smoothing=0.25)])
    assert {path: value.tolist() for path, value in found.items()} == {
        ("generator_optimizer", "learning_rate"): pytest.approx([0.01, 0.5]),
        ("discriminator_optimizer", "learning_rate"): pytest.approx([0.01, 0.5]),
        ("penalties", "r1", 0): pytest.approx([0.1, 9.0]),
        ("label_smoothing",): [0.0, 0.25],
    }
    changed = with_scalars(base, {path: float(value[1]) for path, value in found.items()})
    assert changed.model.penalties == {"r1": (9.0, 2)}
    assert changed.model.discriminator_optimizer.learning_rate == 0.5
    assert base.model.penalties == {"r1": (0.1, 2)}


@pytest.mark.parametrize("how", ["vmap", "scan"])
def test_runs_in_one_program_have_the_numbers_of_single_runs(tmp_path, how):
    """Seeds and every scalar of a GAN at once."""
    dataset = load(DataConfig("gaussians-8"))
    experiments = [
        small(0, 0.01, penalties={"r1": (0.1, 1)}),
        small(5, 0.02, penalties={"r1": (0.3, 1)}, label_smoothing=0.1),
        small(6, 0.05, penalties={"r1": (0.2, 1)}, label_smoothing=0.2),
    ]
    together = [tmp_path / f"together-{i}" for i in range(3)]
    assert all_together(experiments, together, dataset, how) == {}
    for number, experiment in enumerate(experiments):
        alone = tmp_path / f"alone-{number}"
        train(experiment, alone, dataset, QUIET)
        for a, b in zip(
            final_params(alone, experiment), final_params(together[number], experiment), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        expected, found = rows(alone), rows(together[number])
        assert [row.keys() for row in found] == [row.keys() for row in expected]
        for one, other in zip(expected, found, strict=True):
            assert one == pytest.approx(other, rel=1e-3, abs=1e-4)
        for name in ("manifest.json", "config.json", "samples/step_00000006.png"):
            assert (together[number] / name).exists()
    # The seeds and the scalars matter.
    first, second = (final_params(together[n], experiments[n])[0] for n in (0, 1))
    assert not np.allclose(first, second)


def test_convolutions_and_batch_norm_in_one_program(tmp_path, small_gan):
    experiments = [
        dataclasses.replace(small(seed), data=DataConfig("digits"), model=small_gan, steps=2)
        for seed in (0, 1)
    ]
    dataset = load(DataConfig("digits"))
    together = [tmp_path / "a", tmp_path / "b"]
    assert all_together(experiments, together, dataset, "vmap") == {}
    train(experiments[1], tmp_path / "alone", dataset, QUIET)
    for one, other in zip(rows(tmp_path / "alone"), rows(together[1]), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_scalars_of_a_vae_share_a_program(tmp_path):
    network = NetworkConfig("mlp", width=8, depth=1, norm="none")
    experiments = [
        Experiment(
            "vae",
            DataConfig("digits"),
            VAEConfig(
                encoder=network,
                decoder=network,
                optimizer=OptimizerConfig("sgd", learning_rate=rate, b1=0.0),
                latent=2,
                beta=beta,
            ),
            steps=2,
            batch_size=8,
            mode="jit",
            checkpoint_every=2,
            eval=EvalConfig(samples=50),
        )
        for rate, beta in ((0.01, 1.0), (0.02, 4.0))
    ]
    assert structure(experiments[0]) == structure(experiments[1])
    dataset = load(DataConfig("digits"))
    together = [tmp_path / "a", tmp_path / "b"]
    assert all_together(experiments, together, dataset, "vmap") == {}
    train(experiments[1], tmp_path / "alone", dataset, QUIET)
    assert rows(tmp_path / "b")[-1] == pytest.approx(rows(tmp_path / "alone")[-1], rel=1e-3)


def test_runs_are_spread_over_devices(tmp_path):
    dataset = load(DataConfig("gaussians-8"))
    experiments = [small(seed) for seed in range(jax.device_count())]
    directories = [tmp_path / str(seed) for seed in range(len(experiments))]
    assert all_together(experiments, directories, dataset, "vmap") == {}
    train(experiments[3], tmp_path / "alone", dataset, QUIET)
    for a, b in zip(
        final_params(tmp_path / "alone", experiments[3]),
        final_params(directories[3], experiments[3]),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_run_that_diverges_is_left_behind(tmp_path):
    dataset = load(DataConfig("gaussians-8"))
    experiments = [small(0), small(0, 1e30, loss="wasserstein"), small(1)]
    experiments = [
        dataclasses.replace(e, model=dataclasses.replace(e.model, loss="wasserstein"))
        for e in experiments
    ]
    directories = [tmp_path / str(place) for place in range(3)]
    failures = all_together(experiments, directories, dataset, "vmap")
    assert list(failures) == [1]
    assert "is nan" in failures[1] or "is inf" in failures[1] or "is -inf" in failures[1]
    train(experiments[2], tmp_path / "alone", dataset, QUIET)
    for a, b in zip(
        final_params(tmp_path / "alone", experiments[2]),
        final_params(directories[2], experiments[2]),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_failed_cells_are_recorded_and_the_grid_goes_on(file, tmp_path):
    declared = load_ablation(file)
    wild = dataclasses.replace(
        declared.variants["usual"],
        model=dataclasses.replace(
            declared.variants["usual"].model,
            loss="wasserstein",
            generator_optimizer=OptimizerConfig("sgd", learning_rate=1e30),
            discriminator_optimizer=OptimizerConfig("sgd", learning_rate=1e30),
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
    back = cells[0]._replace(experiment=dataclasses.replace(small(), on_nan="rollback"), hash="0")
    assert make_plan(tmp_path, [back], "vmap") == [Group("single", ("0",))]
    other = make_cells(ablation, tmp_path / "other", None, ())
    assert {group.mode for group in make_plan(tmp_path / "other", other, "single")} == {"single"}


def test_modes_are_measured():
    experiments = [small(0), small(1)]
    dataset = load(DataConfig("gaussians-8"))
    times = measure_modes(experiments, dataset)
    assert times.keys() == {"single", "vmap", "scan"}
    assert all(0 < seconds < 10 for seconds in times.values())
    assert kind(experiments) == kind([small(4, penalties={"r1": (1.0, 1)}), small(5)])
    assert kind(experiments) != kind(experiments[:1])


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


def test_an_ablation_killed_three_times_has_the_same_records(file, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(ablate(file, whole), check=True, capture_output=True, timeout=240)
    moments = random.Random(6)
    shares = sorted(moments.uniform(0.02, 0.85) for _ in range(3))
    for share in shares:
        process = subprocess.Popen(ablate(file, killed), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 240
        while written(killed) < share * written(whole):
            assert process.poll() is None, "the ablation ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert (
        not (killed / "results.jsonl").exists() or len(without_times(killed / "results.jsonl")) < 4
    )
    subprocess.run(ablate(file, killed), check=True, capture_output=True, timeout=240)
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


def test_jobs_of_a_cluster(file, tmp_path):
    pytest.importorskip("submitit", reason="needs the extra genjax[cluster]")
    out = tmp_path / "out"
    subprocess.run(
        [
            *ablate(file, out, "--steps", "20", "--seeds", "1"),
            *("--cluster", "local", "--cluster-option", "timeout_min=5"),
        ],
        check=True,
        capture_output=True,
        timeout=240,
    )
    assert len(without_times(out / "results.jsonl")) == 2
    assert list((out / "jobs").glob("*_log.out"))
