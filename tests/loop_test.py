"""A run from its first step to its files, in this process."""

import dataclasses
import io
import json
import re
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from genjax.config import EvalConfig, MonitorConfig
from genjax.config import json as config_json
from genjax.core.compiler import xla_options
from genjax.data.schema import image_schema
from genjax.data.sources import load
from genjax.errors import RunFailed, UserError
from genjax.families.registry import make_algorithm
from genjax.run import checkpoint, loop, program
from genjax.run import directory as run_directory
from genjax.run.sampling import sample_run


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def finished(dense_experiment, tmp_path_factory):
    """A finished run of six steps, its folder and what it printed."""
    directory = tmp_path_factory.mktemp("loop") / "run"
    console = Console(file=io.StringIO(), width=200)
    loop.train(dense_experiment, directory, load(dense_experiment.data), console)
    return directory, console.file.getvalue()


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    directory, printed = finished
    return shutil.copytree(directory, tmp_path / "run"), printed


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.smoke
def test_run_directory(dense_experiment, run):
    directory, printed = run
    assert config_json.load(directory / "config.json") == dense_experiment
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["sessions"][0]["config_hash"] == config_json.config_hash(dense_experiment)
    assert manifest["data"] == {
        "name": "digits",
        "split": "train",
        "count": 1500,
        "digest": load(dense_experiment.data).digest(),
        "domain": "image",
        "fields": {
            "image": {"shape": [8, 8, 1], "dtype": "uint8", "levels": 0},
            "label": {"shape": [], "dtype": "int32", "levels": 10},
        },
        "facts": {"class_names": list("0123456789")},
    }
    session = manifest["sessions"][0]
    assert session["versions"]["jax"] == jax.__version__
    assert session["device"] == {"platform": "cpu", "kind": "cpu", "count": 8}
    assert session["xla_options"] == xla_options(jax.devices()[0])
    # The manifest has them; the first line is what the user wants to know.
    assert "XLA" not in printed

    logged = [row["step"] for row in rows(directory) if "generator/loss" in row]
    assert logged == [2, 4, 6]
    scored = {
        row["step"]: row["evaluation/pixel_frechet"]
        for row in rows(directory)
        if "evaluation/pixel_frechet" in row
    }
    assert sorted(scored) == [2, 4, 6]
    events = EventAccumulator(str(directory)).Reload()
    values = {event.step: event.value for event in events.Scalars("generator/loss")}
    assert values == {
        row["step"]: np.float32(row["generator/loss"])
        for row in rows(directory)
        if "generator/loss" in row
    }
    (text,) = events.Tensors("configuration/text_summary")
    lines = text.tensor_proto.string_val[0].decode().splitlines()
    assert all(line.startswith("    ") for line in lines)
    assert config_json.from_json("\n".join(lines), "TensorBoard") == dense_experiment

    pictures = sorted(path.name for path in (directory / "samples").iterdir())
    assert pictures == ["step_00000003.png", "step_00000006.png"]
    assert np.asarray(Image.open(directory / "samples" / pictures[0])).std() > 1

    kept = {int(path.name) for path in (directory / "checkpoints").iterdir()}
    assert kept == {4, 6, min(scored, key=scored.get)}
    assert "step 6/6" in printed
    assert "images/s" in printed


def test_exported_weights_are_the_checkpoints(dense_experiment, run):
    directory, _ = run
    algorithm = make_algorithm(dense_experiment, image_schema((8, 8, 1), 10))
    with checkpoint.open_checkpoints(directory / "checkpoints", 2) as manager:
        state = checkpoint.restore(manager, 6, algorithm.init, jax.random.key(0), None)
    generator = load_file(directory / "generator.safetensors")
    np.testing.assert_array_equal(
        generator["params/decoder/Dense_0/kernel"],
        state.generator.params["decoder"]["Dense_0"]["kernel"],
    )
    assert "ema/batch_stats/decoder/BatchNorm_0/mean" in generator
    discriminator = load_file(directory / "discriminator.safetensors")
    assert set(discriminator) >= {
        "params/encoder/Dense_0/kernel",
        "batch_stats/encoder/BatchNorm_0/var",
    }


def test_samples_of_a_run(run):
    directory, _ = run
    few = sample_run(directory, 1, "last", 3)
    many = sample_run(directory, 1, "last", 300)
    assert many.step == 6
    assert many.labels is None
    assert many.samples.shape == (300, 8, 8, 1)
    assert many.samples.dtype == np.uint8
    np.testing.assert_array_equal(few.samples, many.samples[:3])
    assert not np.array_equal(few.samples, sample_run(directory, 2, "last", 3).samples)
    assert sample_run(directory, 1, 4, 3).step == 4
    with pytest.raises(UserError, match=r"no checkpoint of step 5; choices: .*4, 6"):
        sample_run(directory, 1, 5, 3)
    with pytest.raises(UserError, match="is not conditional"):
        sample_run(directory, 1, "last", 3, label=1)


def test_samples_of_a_conditional_run(dense_experiment, console, tmp_path):
    model = dataclasses.replace(
        dense_experiment.model, generator_conditioning="concat", discriminator_conditioning="concat"
    )
    experiment = dataclasses.replace(dense_experiment, model=model, steps=2)
    directory = tmp_path / "conditional"
    loop.train(experiment, directory, load(experiment.data), console)
    # Ten rows of eight images of 56 pixels.
    picture = Image.open(directory / "samples" / "step_00000002.png")
    assert picture.size == (8 * 58 + 2, 10 * 58 + 2)
    drawn = sample_run(directory, 0, "last", 12)
    assert drawn.labels.tolist() == [*range(10), 0, 1]
    threes = sample_run(directory, 0, "last", 12, label=3)
    assert threes.labels.tolist() == [3] * 12
    np.testing.assert_array_equal(threes.samples[3], drawn.samples[3])
    assert not np.array_equal(threes.samples[4], drawn.samples[4])
    rows = sample_run(directory, 0, "last", 1, per_class=30)
    assert rows.labels.tolist() == sorted(list(range(10)) * 30)
    np.testing.assert_array_equal(
        rows.samples[90:102], sample_run(directory, 0, "last", 102, 3).samples[90:]
    )
    with pytest.raises(UserError, match="--label is 10; classes of this model: 0 to 9"):
        sample_run(directory, 0, "last", 1, label=10)


def test_an_existing_run_is_not_overwritten(dense_experiment, run, console):
    directory, _ = run
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="already exists; choose another --out; `genjax resume"):
        loop.train(dense_experiment, directory, load(dense_experiment.data), console)
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_at_its_end_is_resumed_without_harm(dense_experiment, run, console):
    """It may have been killed before its weights were written, or be a job that is queued again."""
    directory = run[0]
    weights = {path: path.read_bytes() for path in directory.glob("*.safetensors")}
    metrics = (directory / "metrics.jsonl").read_bytes()
    (directory / "discriminator.safetensors").unlink()
    for _ in range(2):
        loop.train(dense_experiment, directory, load(dense_experiment.data), console, resume=True)
        assert {path: path.read_bytes() for path in directory.glob("*.safetensors")} == weights
        assert (directory / "metrics.jsonl").read_bytes() == metrics


def test_weights_that_cannot_be_written_end_in_one_line(dense_experiment, run, console):
    directory = run[0]
    (directory / "generator.part").mkdir()
    with pytest.raises(RunFailed, match=r"cannot write into .*; make room .*genjax resume"):
        loop.train(dense_experiment, directory, load(dense_experiment.data), console, resume=True)


def test_a_run_does_not_go_back_to_fewer_steps(dense_experiment, run, console):
    fewer = dataclasses.replace(dense_experiment, steps=5)
    with pytest.raises(UserError, match="already at step 6; give --steps above 6"):
        loop.train(fewer, run[0], load(dense_experiment.data), console, resume=True)


def test_a_checkpoint_of_another_model_is_refused(dense_experiment, run, console):
    model = dataclasses.replace(dense_experiment.model, latent=9)
    other = dataclasses.replace(dense_experiment, model=model, steps=8)
    with pytest.raises(UserError, match=r"belongs to another model: it has float32.*needs float"):
        loop.train(other, run[0], load(other.data), console, resume=True)


def test_a_misfit_writes_nothing(small_experiment, tmp_path, console):
    data = dataclasses.replace(small_experiment.data, resolution=9)
    experiment = dataclasses.replace(small_experiment, data=data)
    with pytest.raises(UserError, match="8 or 12"):
        loop.train(experiment, tmp_path / "run", load(data), console)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rank", "message"),
    [
        (
            "foo",
            "choices: diversity, none, pixel_frechet; held_out is no choice, as this model has no",
        ),
        ("Diversity", "did you mean 'diversity'"),
        ("", "unknown eval.rank ''"),
        ("elbo", "unknown eval.rank 'elbo'"),
        ("held_out", "this model has no loss on held-out data; set it to none"),
    ],
)
def test_a_rank_that_nothing_measures_writes_nothing(
    dense_experiment, tmp_path, console, rank, message
):
    scoring = dataclasses.replace(dense_experiment.eval, rank=rank)
    experiment = dataclasses.replace(dense_experiment, eval=scoring)
    with pytest.raises(UserError, match=message):
        loop.train(experiment, tmp_path / "run", load(experiment.data), console)
    assert not (tmp_path / "run").exists()


def poison(monkeypatch, metric, value, at, forever=True):
    """Makes a metric of every step from `at` a value, and if not forever, only until a rollback."""

    def poisoned(experiment, *args, **kwargs):
        algorithm = make_algorithm(experiment, *args, **kwargs)
        first = jax.random.key_data(jax.random.key(experiment.seed))

        def step(state, batch):
            state, metrics = algorithm.step(state, batch)
            ill = (state.step >= at) & (forever | jnp.all(jax.random.key_data(state.key) == first))
            return state, {**metrics, metric: jnp.where(ill, value, metrics[metric])}

        return algorithm._replace(step=step)

    monkeypatch.setattr(program, "open_algorithm", poisoned)


@pytest.mark.parametrize(
    ("at", "good"),
    [pytest.param(1, "no checkpoint was written", marks=pytest.mark.full), (5, "checkpoints/4")],
)
def test_a_nan_stops_the_run(dense_experiment, tmp_path, console, monkeypatch, at, good):
    poison(monkeypatch, "discriminator/loss", jnp.nan, at)
    message = f"step {at}: the discriminator's loss is nan; .*{good}"
    with pytest.raises(RunFailed, match=message):
        loop.train(dense_experiment, tmp_path / "run", load(dense_experiment.data), console)
    assert [row["step"] for row in rows(tmp_path / "run") if row["step"] >= at] == []


@pytest.mark.parametrize(("at", "resumed_at"), [pytest.param(1, 0, marks=pytest.mark.full), (5, 4)])
def test_a_nan_rolls_back(dense_experiment, tmp_path, console, monkeypatch, at, resumed_at):
    poison(monkeypatch, "discriminator/loss", jnp.nan, at, forever=False)
    experiment = dataclasses.replace(dense_experiment, on_nan="rollback")
    loop.train(experiment, tmp_path / "run", load(experiment.data), console)
    sessions = json.loads((tmp_path / "run" / "manifest.json").read_text())["sessions"]
    assert [session.get("resumed_at") for session in sessions] == [None, resumed_at]
    assert sessions[1]["went_back"] == f"step {at}: the discriminator's loss is nan"
    assert [r["step"] for r in rows(tmp_path / "run") if "generator/loss" in r] == [2, 4, 6]
    printed = console.file.getvalue()
    assert f"to {f'step {resumed_at}' if resumed_at else 'the start'} with other noise" in printed


@pytest.mark.full
def test_rolling_back_in_vain_ends(dense_experiment, tmp_path, console, monkeypatch):
    poison(monkeypatch, "discriminator/loss", jnp.nan, 5)
    monkeypatch.setattr(loop, "_ROLLBACKS", 1)
    experiment = dataclasses.replace(dense_experiment, on_nan="rollback")
    with pytest.raises(RunFailed, match=r"nan; going back .1 of 1. did not help; .*checkpoints/4"):
        loop.train(experiment, tmp_path / "run", load(experiment.data), console)


@pytest.mark.parametrize(
    "policy", [pytest.param("warn", marks=pytest.mark.full), "stop", "rollback"]
)
def test_a_collapse(dense_experiment, tmp_path, console, monkeypatch, policy):
    poison(monkeypatch, "discriminator/accuracy", 3.0, 3, forever=False)
    experiment = dataclasses.replace(
        dense_experiment, on_collapse=policy, monitor=MonitorConfig(2, accuracy=2.0, diversity=0.0)
    )
    directory = tmp_path / "run"
    words = "step 6: .*collapsed: D has preferred 300% of the real images on 2 logged lines"
    if policy == "stop":
        with pytest.raises(RunFailed, match=words):
            loop.train(experiment, directory, load(experiment.data), console)
        return
    loop.train(experiment, directory, load(experiment.data), console)
    assert re.search(words, console.file.getvalue())
    sessions = json.loads((directory / "manifest.json").read_text())["sessions"]
    # The checkpoint of step 4 was written when the first sign showed already.
    resumed = [None] if policy == "warn" else [None, 2]
    assert [session.get("resumed_at") for session in sessions] == resumed


def test_scoring_and_saving_have_intervals_of_their_own(dense_experiment, tmp_path, console):
    experiment = dataclasses.replace(
        dense_experiment, eval=EvalConfig(every=3, samples=20), checkpoint_every=4
    )
    loop.train(experiment, tmp_path / "run", load(experiment.data), console)
    scored = [row["step"] for row in rows(tmp_path / "run") if "evaluation/diversity" in row]
    assert scored == [3, 6]
    # What was saved in between is never the best.
    with checkpoint.open_checkpoints(tmp_path / "run" / "checkpoints", 2) as manager:
        assert checkpoint.find_step(manager, "best") == 6


def test_an_untrained_classifier_is_missed_at_once(
    dense_experiment, tmp_path, console, monkeypatch
):
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("genjax.evals.classifier.SHIPPED", tmp_path)
    experiment = dataclasses.replace(dense_experiment, eval=EvalConfig(features="classifier"))
    with pytest.raises(UserError, match="genjax evaluate --train-features digits"):
        loop.train(experiment, tmp_path / "run", load(experiment.data), console)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", [pytest.param("mesh", marks=pytest.mark.full), "pmap"])
def test_a_run_resumes_in_another_mode(dense_experiment, run, console, mode):
    directory, _ = run
    longer = dataclasses.replace(dense_experiment, steps=8, mode=mode)
    loop.train(longer, directory, load(longer.data), console, resume=True)
    assert rows(directory)[-1]["step"] == 8


def test_wandb_is_never_required(dense_experiment, tmp_path, console, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    experiment = dataclasses.replace(dense_experiment, wandb=True)
    with pytest.raises(UserError, match=r"pip install 'genjax-models\[wandb\]'"):
        loop.train(experiment, tmp_path / "run", load(experiment.data), console)
    assert not (tmp_path / "run").exists()


def test_a_second_process_is_refused(dense_experiment, tmp_path, console):
    """Locks tell open files apart, so one process stands for two here."""
    directory = tmp_path / "run"
    dataset = load(dense_experiment.data)
    longer = dataclasses.replace(dense_experiment, steps=8)
    with run_directory.claim(directory):
        message = f"another process is at work on {directory}"
        with pytest.raises(UserError, match=message):
            loop.train(dense_experiment, directory, dataset, console)
    loop.train(dense_experiment, directory, dataset, console)
    before = (directory / "metrics.jsonl").read_bytes()
    with run_directory.claim(directory), pytest.raises(UserError, match=message):
        loop.train(longer, directory, dataset, console, resume=True)
    assert (directory / "metrics.jsonl").read_bytes() == before
    loop.train(longer, directory, dataset, console, resume=True)
