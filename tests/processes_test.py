"""Several processes train one run as one process with as many devices does."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE_S
from safetensors.numpy import load_file

from genjax.errors import UserError
from genjax.run.processes import parse_address

SIZES = ("--model.generator.width", "8", "--model.discriminator.width", "8", "--batch-size", "16")
SIZES += ("--model.ema-decay", "0.9", "--model.latent", "8")
SGD = ("--model.generator-optimizer.name", "sgd", "--model.discriminator-optimizer.name", "sgd")
OFTEN = ("--log-every", "2", "--sample-every", "4", "--checkpoint-every", "4")
OFTEN += ("--eval.samples", "256")
TINY = ("--model.generator.name", "mlp", "--model.discriminator.name", "mlp")
TINY += ("--model.discriminator.norm", "none")
FLAGS = (*SIZES, *SGD, *OFTEN)
TIMES = {"images_per_second", "seconds_per_step"}


def start(processes: int, *arguments: str, devices: int = 1, slurm: bool = False):
    """Starts the processes of a run; returns them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    for number in range(processes):
        where = "auto" if slurm else f"127.0.0.1:{port},{processes},{number}"
        environment = {
            **os.environ,
            "JAX_NUM_CPU_DEVICES": str(devices),
            "PYTHONUNBUFFERED": "1",
        }
        if slurm:
            # As srun sets them.
            environment |= {
                "SLURM_JOB_ID": str(port),
                "SLURM_STEP_NODELIST": "localhost",
                "SLURM_NTASKS": str(processes),
                "SLURM_PROCID": str(number),
                "SLURM_LOCALID": str(number),
                "SLURM_STEP_NUM_NODES": "1",
            }
        flags = () if processes == 1 else ("--distributed", where)
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "genjax", *arguments, *flags],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
    return started


def end(started) -> tuple[list[int], list[str], list[str]]:
    """Waits for processes; returns their statuses, outputs and errors."""
    deadline = time.monotonic() + PATIENCE_S
    try:
        said = [process.communicate(timeout=deadline - time.monotonic()) for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], *map(list, zip(*said, strict=True))


def run(processes: int, *arguments: str, devices: int = 1, slurm: bool = False) -> list[str]:
    """Runs the processes of a run to their end; returns what each of them printed."""
    statuses, said, errors = end(start(processes, *arguments, devices=devices, slurm=slurm))
    assert statuses == [0] * processes, errors
    return said


def wait_for(path: Path, started) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert all(process.poll() is None for process in started), end(started)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def metrics(directory: Path) -> list[dict[str, float]]:
    rows = [json.loads(x) for x in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name not in TIMES} for row in rows]


def assert_equal(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    """The same steps are logged, with the same numbers, and the weights are the same."""
    for a, b in zip(metrics(one), metrics(other), strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), tolerance, tolerance)
    for name in ("generator.safetensors", "discriminator.safetensors"):
        ours, theirs = load_file(one / name), load_file(other / name)
        assert ours.keys() == theirs.keys()
        for tensor in ours:
            np.testing.assert_allclose(ours[tensor], theirs[tensor], tolerance, tolerance)


@pytest.mark.parametrize(
    ("processes", "network"),
    [
        pytest.param(2, TINY, id="2-mlp", marks=pytest.mark.full),
        pytest.param(2, (), id="2-dcgan", marks=pytest.mark.full),
        pytest.param(4, TINY, id="4-mlp", marks=pytest.mark.full),
    ],
)
def test_processes_equal_devices(tmp_path, processes, network):
    several, one = tmp_path / "several", tmp_path / "one"
    flags = (*FLAGS, *network, "--steps", "12", "--profile", "4")
    said = run(processes, "train", *flags, "--out", str(several))
    assert f"steps 1 to 12 in {processes} processes, mode mesh on {processes} x cpu" in said[0]
    # Process 0 alone prints and writes; gloo says who is connected.
    for other in said[1:]:
        assert all(line.startswith("[Gloo]") for line in other.splitlines())
    assert len(list(several.glob("events.*"))) == 1
    traces = several.glob("profile/*/plugins/profile/*/*.xplane.pb")
    assert {path.parts[-5] for path in traces} == {str(number) for number in range(processes)}
    run(1, "train", *flags, "--out", str(one), devices=processes)
    assert_equal(several, one)
    assert [row["step"] for row in metrics(several) if "generator/loss" in row] == [
        *range(2, 13, 2)
    ]
    pictures = {path.name for path in (several / "samples").iterdir()}
    assert pictures == {f"step_{step:08d}.png" for step in range(4, 13, 4)}


@pytest.mark.full
def test_checkpoints_do_not_depend_on_the_number_of_processes(tmp_path):
    chain, whole = tmp_path / "chain", tmp_path / "whole"
    flags = (*FLAGS, *TINY)
    run(1, "train", *flags, "--steps", "20", "--out", str(whole))
    run(1, "train", *flags, "--steps", "4", "--out", str(chain))
    for steps, processes in ((8, 2), (12, 4), (16, 2), (20, 1)):
        said = run(processes, "resume", str(chain), "--steps", str(steps), slurm=processes == 4)
        assert f"steps {steps - 3} to {steps} in " in said[0]
    sessions = json.loads((chain / "manifest.json").read_text())["sessions"]
    assert [session["processes"] for session in sessions] == [1, 2, 4, 2, 1]
    assert_equal(chain, whole)


@pytest.mark.full
@pytest.mark.parametrize("victim", [0, 1])
def test_the_others_end_when_one_is_killed(tmp_path, victim):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    flags = (*FLAGS, *TINY)
    started = start(2, "train", *flags, "--steps", "100000", "--out", str(killed))
    wait_for(killed / "checkpoints" / "8", started)
    started[victim].kill()
    began = time.monotonic()
    statuses, _, errors = end(started)
    # At once, or after 30 seconds without a sign of life; the rest is for a busy machine.
    assert time.monotonic() - began < 240
    # JAX itself may be the first to notice, and aborts.
    assert statuses[1 - victim] in (1, -6)
    assert re.search(
        r"process \d of 2 can't go on: .*all processes continues|"
        "Terminating process because the JAX distributed service detected fatal errors",
        errors[1 - victim],
    )
    assert "Traceback" not in errors[1 - victim]
    if victim == 0:
        # What follows is the same.
        return
    last = max(int(p.name) for p in (killed / "checkpoints").iterdir() if p.name.isdecimal())
    run(2, "resume", str(killed), "--steps", str(last + 4))
    run(1, "train", *flags, "--steps", str(last + 4), "--out", str(whole))
    assert_equal(killed, whole)


@pytest.mark.full
def test_all_save_when_one_is_asked_to_end(tmp_path):
    directory = tmp_path / "asked"
    rare = (*SIZES, *SGD, *TINY, "--log-every", "2", "--checkpoint-every", "4")
    started = start(2, "train", *rare, "--steps", "100000", "--out", str(directory))
    wait_for(directory / "checkpoints" / "4", started)
    started[1].terminate()
    statuses, _, errors = end(started)
    assert statuses == [143, 143]
    found = re.search(r"stopped after step (\d+), which is saved; `genjax resume", errors[0])
    assert found is not None, errors
    assert (directory / "checkpoints" / found[1]).is_dir()


@pytest.mark.full
def test_mistakes_end_all_processes(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").write_text("kept")
    statuses, _, errors = end(start(2, "train", *FLAGS, "--out", str(taken)))
    assert statuses == [2, 2]
    assert all(f"{taken} already exists; choose another --out" in error for error in errors)
    statuses, _, errors = end(
        start(2, "train", *FLAGS, "--mode", "pmap", "--out", str(tmp_path / "new"))
    )
    assert statuses == [2, 2]
    assert all("--mode pmap runs in one process; several need" in error for error in errors)
    assert not (tmp_path / "new").exists()


def test_addresses():
    assert parse_address("auto") is None
    assert parse_address("10.0.0.1:1234,4,3") == ("10.0.0.1:1234", 4, 3)
    for wrong in ("", "here", "here,2,0", "here:1,2,2", "here:1,2", "here:x,2,0", "here:1,-2,0"):
        with pytest.raises(UserError, match="HOST:PORT,COUNT,INDEX"):
            parse_address(wrong)
