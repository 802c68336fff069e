"""Several steps in one call, and batches gathered on the device, give the run of single steps."""

import dataclasses
import io
import json

import jax
import numpy as np
import pytest
from rich.console import Console
from specs import stand_in

from genjax.config import EvalConfig
from genjax.core.parallel import compile_step, mapped_axis
from genjax.data.memory import in_memory
from genjax.data.schema import image_schema
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.families.registry import make_algorithm
from genjax.run import checkpoint, loop
from genjax.run.feed import make_feeder

FEW = EvalConfig(samples=50)


def train(experiment, directory, resume=False):
    console = Console(file=io.StringIO(), width=200)
    loop.train(experiment, directory, load(experiment.data), console, resume)
    return console.file.getvalue()


def final_state(experiment, directory):
    algorithm = make_algorithm(experiment, image_schema((8, 8, 1), 10))
    with checkpoint.open_checkpoints(directory / "checkpoints", 2) as manager:
        step = manager.latest_step()
        return checkpoint.restore(manager, step, algorithm.init, jax.random.key(0), None)


def metrics(directory):
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds_per_step", "images_per_second", "time")
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


def difference(a, b):
    def apart(x, y):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        return float(np.abs(np.float64(x) - np.float64(y)).max())

    return max(jax.tree.leaves(jax.tree.map(apart, a, b)))


@pytest.mark.full
def test_the_run_is_the_same(dense_experiment, tmp_path):
    """Fed from the host or the device bit for bit; more steps a call up to rounding."""
    states, lines = {}, {}
    for name, fields in {
        "single": {},
        "device": {"feed": "device"},
        "three": {"steps_per_call": 3},
        "three on device": {"steps_per_call": 3, "feed": "device"},
    }.items():
        experiment = dataclasses.replace(
            dense_experiment, checkpoint_every=3, log_every=2, eval=FEW, **fields
        )
        printed = train(experiment, tmp_path / name)
        states[name] = final_state(experiment, tmp_path / name)
        lines[name] = metrics(tmp_path / name)
        assert ("first 3 steps, with" if "three" in name else "first step, with") in printed
    assert [row["step"] for row in lines["single"]] == [row["step"] for row in lines["three"]]
    assert [row["step"] for row in lines["three"] if "generator/loss" in row] == [2, 4, 6]
    # Another program gathers the batch, and the compiler may round otherwise in it.
    assert difference(states["single"], states["device"]) < 1e-6
    assert difference(states["three"], states["three on device"]) < 1e-6
    assert difference(states["single"], states["three"]) < 1e-4
    for other, tolerance in (("device", 1e-5), ("three", 1e-3)):
        for one, two in zip(lines["single"], lines[other], strict=True):
            for name, value in one.items():
                assert two[name] == pytest.approx(value, rel=tolerance, abs=tolerance / 10)


def test_a_resume_with_several_steps_a_call_is_exact(dense_experiment, tmp_path):
    experiment = dataclasses.replace(
        dense_experiment, steps_per_call=2, sample_every=2, feed="device", eval=FEW
    )
    train(experiment, tmp_path / "whole")
    train(dataclasses.replace(experiment, steps=4), tmp_path / "halves")
    train(experiment, tmp_path / "halves", resume=True)
    whole, halves = (final_state(experiment, tmp_path / name) for name in ("whole", "halves"))
    assert difference(whole, halves) == 0
    assert metrics(tmp_path / "whole")[-1] == metrics(tmp_path / "halves")[-1]


def sums():
    """An algorithm that reports which images came, in which order."""

    def step(state, batch, axis_name=None):
        places = np.arange(1, 1 + len(batch["image"]), dtype=np.float32)
        if axis_name is not None:
            places += len(batch["image"]) * jax.lax.axis_index(axis_name)
        total = (batch["image"][:, 0, 0, 0].astype(np.float32) * places).sum()
        return state + 1, {"sum": jax.lax.psum(total, axis_name) if axis_name else total}

    return stand_in(step)


@pytest.mark.parametrize(("mode", "count"), [("jit", 1), ("mesh", 8), ("pmap", 8)])
@pytest.mark.parametrize("feed", ["host", "device"])
def test_every_mode_and_feed_sees_the_same_batches(dense_experiment, mode, count, feed):
    dataset = load(dense_experiment.data)
    values = np.arange(dataset.count) % 251
    images = np.broadcast_to(values[:, None, None, None], (len(values), 8, 8, 1)).astype(np.uint8)
    dataset = in_memory("numbers", "train", image_schema((8, 8, 1)), {"image": images})
    seen = {}
    for steps in (1, 3):
        experiment = dataclasses.replace(
            dense_experiment,
            steps_per_call=steps,
            feed=feed,
            sample_every=3,
            checkpoint_every=3,
        )
        algorithm = sums()
        if axis_name := mapped_axis(mode):
            body = algorithm.step
            algorithm = algorithm._replace(step=lambda s, b, body=body: body(s, b, axis_name))
        compiled = compile_step(algorithm, mode, jax.devices()[:count])
        feeder = make_feeder([experiment], dataset, compiled, 16)
        assert (feeder.data is None) == (feed == "host")
        state, seen[steps] = compiled.init(jax.random.key(0)), []
        for first in range(0, 6, steps):
            state, found = compiled.step(state, feeder.data, feeder.batches(first))
            seen[steps] += np.asarray(found["sum"]).tolist()
    reference = sums()
    feeder = make_feeder(
        [dataclasses.replace(dense_experiment, feed="host")],
        dataset,
        compile_step(reference, "jit", jax.devices()[:1]),
        16,
    )
    expected = [
        float(reference.step(0, {"image": feeder.batches(step)["image"][0]})[1]["sum"])
        for step in range(6)
    ]
    assert seen[1] == seen[3] == expected


def test_intervals_must_be_multiples(dense_experiment):
    with pytest.raises(UserError, match="sample_every is 3, no multiple of"):
        dataclasses.replace(dense_experiment, steps_per_call=2)
    with pytest.raises(UserError, match=r"steps is 7, no .* set --steps 8"):
        dataclasses.replace(dense_experiment, steps=7, sample_every=2, steps_per_call=2)
    evaluation = EvalConfig(every=5)
    with pytest.raises(UserError, match=r"eval.every is 5, no .* set --eval.every 6"):
        dataclasses.replace(dense_experiment, eval=evaluation, sample_every=2, steps_per_call=2)
