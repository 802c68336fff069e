"""Runs that end when their score improves no more."""

import dataclasses
import io
import json

import pytest
from in_process import genjax
from rich.console import Console
from safetensors import safe_open

from genjax.config import MLP, SGD, DataConfig, EvalConfig, Experiment, GANConfig
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.run.interrupts import Stopped
from genjax.run.loop import train
from genjax.run.patience import SCORE, Patience

QUIET = Console(file=io.StringIO())


@pytest.fixture
def experiment():
    """A run that learns nothing: all of its scores are equal, so that none after the first is
    better."""
    network, still = MLP(width=4, depth=1, norm="none"), SGD(learning_rate=1e-30)
    model = GANConfig(
        generator=network,
        discriminator=network,
        generator_optimizer=still,
        discriminator_optimizer=still,
        latent=2,
    )
    return Experiment(
        "still",
        DataConfig("gaussians-8"),
        model,
        steps=100,
        batch_size=8,
        mode="jit",
        log_every=2,
        sample_every=50,
        checkpoint_every=50,
        eval=EvalConfig(every=2, samples=50, patience=2),
    )


def rows(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    times = ("seconds_per_step", "images_per_second")
    return [{name: row[name] for name in row if name not in times} for row in lines]


def test_the_count_begins_anew_with_each_best():
    ended = []
    patience = Patience(EvalConfig(patience=2))
    for score in (5.0, 4.0, 4.0, 3.0, 3.5, 3.25):
        patience.observe({"generator/loss": 0.0})
        patience.observe({SCORE: score})
        ended.append(patience.spent)
    assert ended == [False, False, False, False, False, True]


def test_a_run_ends_with_all_that_an_end_leaves(experiment, tmp_path):
    run, source = tmp_path / "run", load(experiment.data)
    train(experiment, run, source, QUIET)
    scores = [(row["step"], row[SCORE]) for row in rows(run) if SCORE in row]
    assert [step for step, _ in scores] == [2, 4, 6]
    assert len({score for _, score in scores}) == 1
    assert (run / "checkpoints" / "6").is_dir()
    assert [path.name for path in (run / "samples").iterdir()] == ["step_00000006.png"]
    with safe_open(run / "generator.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["genjax"])["step"] == 6

    before = rows(run)
    outcome = genjax("resume", run)
    assert outcome.status == 0, outcome
    assert "has ended at step 6: its score improved no more" in outcome.out
    assert rows(run) == before
    outcome = genjax("rerun", run)
    assert outcome.status == 0, outcome
    assert "identical" in outcome.out

    stopped = tmp_path / "stopped"
    with pytest.raises(Stopped):
        train(experiment, stopped, source, QUIET, stop=lambda step: step == 5)
    train(experiment, stopped, source, QUIET, resume=True)
    assert rows(stopped) == before


def test_a_run_without_patience_goes_on_and_logs_no_score(experiment, tmp_path):
    plain = dataclasses.replace(experiment, steps=8, eval=EvalConfig(every=2, samples=50))
    train(plain, tmp_path / "run", load(plain.data), QUIET)
    assert rows(tmp_path / "run")[-1]["step"] == 8
    assert not any(SCORE in row for row in rows(tmp_path / "run"))


def test_patience_needs_a_score():
    for changes, said in (
        ({"patience": 0}, "patience is 0; it must be at least 1"),
        ({"patience": 1, "rank": "none"}, "patience is 1; it must be left out where eval.rank"),
    ):
        with pytest.raises(UserError, match=said):
            EvalConfig(**changes)
