"""Several runs in one program have the numbers, the files and the care of runs that are alone."""

import dataclasses
import io
import json
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

from genjax.ablation.plan import kind, measure_modes
from genjax.config import MLP, SGD, DataConfig, EvalConfig, Experiment, GANConfig, VAEConfig
from genjax.data.schema import point_schema
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.families.registry import make_algorithm
from genjax.run import checkpoint
from genjax.run.interrupts import Stopped
from genjax.run.loop import train, train_runs
from genjax.run.program import compile_runs
from genjax.run.rerun import compare_runs
from genjax.run.scalars import structure, varying, with_scalars
from genjax.run.training import Member

QUIET = Console(quiet=True)


def small(seed=0, rate=0.01, **changes):
    network = MLP(width=8, depth=1, norm="none")
    optimizer = SGD(learning_rate=rate)
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
    members = [Member(e, d, resume=False) for e, d in zip(experiments, directories, strict=True)]
    train_runs(members, dataset, QUIET, how, failures.__setitem__)
    return failures


def final_params(directory, experiment):
    algorithm = make_algorithm(experiment, point_schema("gaussians-8", 8))
    with checkpoint.open_checkpoints(directory / "checkpoints", 2) as manager:
        state = checkpoint.restore(
            manager, experiment.steps, algorithm.init, jax.random.key(0), None
        )
    return jax.tree.leaves((state.generator.params, state.discriminator.params))


def assert_same_params(one, other, experiment):
    """Up to the order in which numbers are summed."""
    ours, theirs = (final_params(directory, experiment) for directory in (one, other))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def rows(directory):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    times = ("seconds_per_step", "images_per_second")
    return [{k: v for k, v in json.loads(line).items() if k not in times} for line in lines]


def test_structure_is_all_but_seeds_and_scalars():
    base = small(penalties={"r1": (0.1, 2)})
    assert structure(base) == structure(small(3, 0.5, penalties={"r1": (9.0, 2)}))
    assert structure(base) != structure(small(penalties={"r1": (0.1, 1)}))
    assert structure(base) != structure(small(penalties={"r2": (0.1, 2)}))
    ones, others = (
        small(generator_penalties={"path_length": (weight, every)})
        for weight, every in ((1.0, 4), (2.0, 4))
    )
    assert structure(ones) == structure(others) != structure(base)
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


@pytest.mark.parametrize("how", ["vmap", pytest.param("scan", marks=pytest.mark.full)])
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
        assert_same_params(alone, together[number], experiment)
        expected, found = rows(alone), rows(together[number])
        assert [row.keys() for row in found] == [row.keys() for row in expected]
        for one, other in zip(expected, found, strict=True):
            assert one == pytest.approx(other, rel=1e-3, abs=1e-4)
        for name in ("manifest.json", "config.json", "samples/step_00000006.png"):
            assert (together[number] / name).exists()
    # The seeds and the scalars matter.
    first, second = (final_params(together[n], experiments[n])[0] for n in (0, 1))
    assert not np.allclose(first, second)


@pytest.mark.full
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
    network = MLP(width=8, depth=1, norm="none")
    experiments = [
        Experiment(
            "vae",
            DataConfig("digits"),
            VAEConfig(
                encoder=network,
                decoder=network,
                optimizer=SGD(learning_rate=rate),
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


@pytest.mark.full
def test_runs_are_spread_over_devices(tmp_path):
    dataset = load(DataConfig("gaussians-8"))
    experiments = [small(seed) for seed in range(jax.device_count())]
    directories = [tmp_path / str(seed) for seed in range(len(experiments))]
    assert all_together(experiments, directories, dataset, "vmap") == {}
    train(experiments[3], tmp_path / "alone", dataset, QUIET)
    assert_same_params(tmp_path / "alone", directories[3], experiments[3])


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
    assert_same_params(tmp_path / "alone", directories[2], experiments[2])


def members(experiments, directories, resume):
    return [Member(e, d, resume) for e, d in zip(experiments, directories, strict=True)]


@pytest.mark.parametrize("how", ["vmap", pytest.param("scan", marks=pytest.mark.full)])
def test_runs_that_are_asked_to_stop_save_and_go_on(tmp_path, how):
    """Bit for bit as if they had not been stopped, and with weights at the end."""
    source = load(DataConfig("gaussians-8"))
    experiments = [small(0), small(1)]
    whole, halved = ([tmp_path / f"{name}-{i}" for i in range(2)] for name in ("whole", "halved"))
    assert all_together(experiments, whole, source, how) == {}
    with pytest.raises(Stopped) as stopped:
        train_runs(
            members(experiments, halved, False), source, QUIET, how, stop=lambda step: step == 3
        )
    assert stopped.value.step == 3
    assert all((folder / "checkpoints" / "3").is_dir() for folder in halved)
    train_runs(members(experiments, halved, True), source, QUIET, how)
    for one, other in zip(whole, halved, strict=True):
        assert compare_runs(one, other).different == []
        assert {path.name for path in one.glob("*.safetensors")} == {
            "generator.safetensors",
            "discriminator.safetensors",
        }


def test_runs_fall_back_to_the_newest_step_that_is_whole_for_all(tmp_path):
    source = load(DataConfig("gaussians-8"))
    experiments = [small(0), small(1)]
    folders = [tmp_path / "a", tmp_path / "b"]
    assert all_together(experiments, folders, source, "vmap") == {}
    expected = [rows(folder) for folder in folders]
    damaged = folders[1] / "checkpoints" / "6" / "default" / "manifest.ocdbt"
    damaged.write_bytes(b"nothing")
    console = Console(file=io.StringIO(), width=400)
    train_runs(members(experiments, folders, True), source, console, "vmap")
    said = console.file.getvalue()
    assert f"{damaged} is missing or damaged; moved to {folders[1] / 'damaged' / '6'}" in said
    assert "going on from step 4" in said
    assert [rows(folder) for folder in folders] == expected


def test_runs_without_a_common_step_begin_again(tmp_path):
    """As a kill leaves them that comes between the first checkpoints of two runs."""
    source = load(DataConfig("gaussians-8"))
    experiments = [small(0), small(1)]
    folders = [tmp_path / "a", tmp_path / "b"]
    assert all_together(experiments, folders, source, "vmap") == {}
    expected = [rows(folder) for folder in folders]
    shutil.rmtree(folders[1] / "checkpoints")
    train_runs(members(experiments, folders, True), source, QUIET, "vmap")
    assert [rows(folder) for folder in folders] == expected


@pytest.mark.parametrize(
    ("batch", "accumulate", "updates", "multiple"),
    # Of the last, the examples of all updates together could be shared, but not those of one.
    [(16, 4, 1, 32), (16, 16, 1, 128), (8, 2, 1, 16), (12, 1, 2, 8)],
)
def test_devices_must_share_each_part_of_a_batch(batch, accumulate, updates, multiple):
    experiment = dataclasses.replace(
        small(discriminator_updates=updates), mode="pmap", batch_size=batch, accumulate=accumulate
    )
    devices = jax.devices()
    assert len(devices) == 8
    schema = point_schema("gaussians-8", 8)
    with pytest.raises(UserError, match=f"batch_size is {batch}.* to a multiple of {multiple}, or"):
        compile_runs([experiment], schema, "single", devices)
    fitting = dataclasses.replace(experiment, batch_size=multiple)
    compile_runs([fitting], schema, "single", devices)


def test_modes_are_measured():
    experiments = [small(0), small(1)]
    dataset = load(DataConfig("gaussians-8"))
    times = measure_modes(experiments, dataset)
    assert times.keys() == {"single", "vmap", "scan"}
    assert all(seconds > 0 for seconds in times.values())
    assert kind(experiments) == kind([small(4, penalties={"r1": (1.0, 1)}), small(5)])
    assert kind(experiments) != kind(experiments[:1])
