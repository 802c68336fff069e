"""A run that is killed and resumed equals one that was not, bit for bit."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from in_process import genjax
from patience import PATIENCE_S

from genjax.data.schema import image_schema
from genjax.families.registry import make_algorithm
from genjax.run import checkpoint
from genjax.run import directory as run_directory

SIZES = ("--model.generator.width", "8", "--model.discriminator.width", "8", "--batch-size", "32")
SIZES += ("--mode", "jit")
OFTEN = ("--log-every", "10", "--sample-every", "50", "--checkpoint-every", "40")
FLAGS = (*SIZES, *OFTEN, "--model.ema-decay", "0.99", "--data.flip", "True")
TIMES = {"images_per_second", "seconds_per_step"}


def start(*arguments: str) -> subprocess.Popen[str]:
    """Starts a command in a process of its own, which can be killed."""
    command = [sys.executable, "-m", "genjax", *arguments]
    # As many as this process has, since XLA has threads for each.
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(jax.device_count())}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


def run(*arguments: object) -> None:
    outcome = genjax(*arguments)
    assert outcome.status == 0, outcome


def final_state(directory: Path, step: int):
    experiment = run_directory.read_config(directory)
    algorithm = make_algorithm(experiment, image_schema((8, 8, 1), 10))
    with checkpoint.open_checkpoints(directory / "checkpoints", 2) as manager:
        assert checkpoint.find_step(manager, "last") == step
        state = checkpoint.restore(manager, step, algorithm.init, jax.random.key(0), None)
    return state.replace(key=jax.random.key_data(state.key))


def metrics(directory: Path):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def test_sigkill_and_resume_is_exact(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # More steps than wanted, so that it is surely still running when it is killed.
    process = start("train", "--steps", "100000", "--out", str(killed), *FLAGS)
    deadline = time.monotonic() + PATIENCE_S
    while not (killed / "checkpoints" / "120").exists():
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGKILL
    # What a kill in the middle of a write leaves behind.
    with (killed / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 130, "generator/lo')

    steps = [int(p.name) for p in (killed / "checkpoints").iterdir() if p.name.isdecimal()]
    assert max(steps) >= 120
    # It may have gone far before this process was given time to look and to kill it.
    end = (max(steps) // 50 + 2) * 50
    run("resume", killed, "--steps", end)
    run("train", "--steps", end, "--out", whole, *FLAGS)

    a, b = final_state(whole, end), final_state(killed, end)
    assert a.generator.ema is not None
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)
    assert metrics(whole) == metrics(killed)
    for name in ("generator.safetensors", "discriminator.safetensors"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    last = f"samples/step_{end:08d}.png"
    assert (whole / last).read_bytes() == (killed / last).read_bytes()
    sessions = run_directory.read_manifest(killed)["sessions"]
    assert [session.get("resumed_at") for session in sessions] == [None, max(steps)]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.full)]
)
def test_a_run_that_is_asked_to_end_saves_first(tmp_path, number):
    """Between two checkpoints; resumed, it has the parameters of a run that went through."""
    directory = tmp_path / "asked"
    rare = (*SIZES, "--log-every", "5", "--checkpoint-every", "100000", "--steps", "100000")
    process = start("train", *rare, "--out", str(directory))
    deadline = time.monotonic() + PATIENCE_S
    while not (directory / "metrics.jsonl").exists() or len(metrics(directory)) < 2:
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number
    found = re.search(r"stopped after step (\d+), which is saved; `genjax resume (.*)` cont", said)
    assert found is not None, said
    assert found[2] == str(directory)
    step = int(found[1])
    assert step >= 10
    final_state(directory, step)

    run("resume", directory, "--steps", step + 20)
    whole = tmp_path / "whole"
    run("train", *rare[:-1], step + 20, "--out", whole)
    for one, other in zip(
        jax.tree.leaves(final_state(directory, step + 20)),
        jax.tree.leaves(final_state(whole, step + 20)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert [r for r in metrics(directory) if "discriminator/loss" in r] == [
        r for r in metrics(whole) if "discriminator/loss" in r
    ]
