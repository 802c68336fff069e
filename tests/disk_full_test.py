"""A disk that is full ends a run with a clear error, and what was saved before is whole.

A limit on the size of files stands in for the disk: a write beyond it fails as one to a full disk
does, but for the words.
"""

import functools
import os
import shutil
import subprocess
import sys

import pytest
from in_process import genjax
from patience import PATIENCE_S

SIZES = ("--model.generator.name", "mlp", "--model.discriminator.name", "mlp")
SIZES += ("--model.discriminator.norm", "none", "--batch-size", "16", "--mode", "jit")
OFTEN = ("--log-every", "1", "--checkpoint-every", "2", "--eval.samples", "256")

LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from genjax.cli import main
main()
"""


def limited(limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command whose files may not be larger than `limit` bytes."""
    # A cache that can't be written to would be another fault.
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"}
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A function from the width of layers to a run of four steps that has such."""
    folder = tmp_path_factory.mktemp("full")

    @functools.cache
    def make(width):
        flags = (*SIZES, *OFTEN, "--model.generator.width", width)
        flags += ("--model.discriminator.width", width, "--sample-every", "5")
        outcome = genjax("train", *flags, "--steps", 4, "--out", folder / width)
        assert outcome.status == 0, outcome
        return folder / width

    return make


@pytest.mark.parametrize(
    ("what", "width", "limit", "steps"),
    [
        # Weights of 2 MB; nothing else has more than 30 kB.
        ("a checkpoint", "256", 100_000, "6"),
        # Lines of 430 bytes a step; a checkpoint has files of up to 23 kB.
        pytest.param("metrics", "8", 30_000, "200", marks=pytest.mark.full),
        # A grid of 64 images has 10 kB; the description of a run 2 kB.
        pytest.param("a grid", "8", 5_000, "6", marks=pytest.mark.full),
    ],
    ids=["checkpoint", "metrics", "grid"],
)
def test_a_full_disk_loses_nothing(finished, tmp_path, what, width, limit, steps):
    run = shutil.copytree(finished(width), tmp_path / "run")
    result = limited(limit, "resume", str(run), "--steps", steps)
    assert result.returncode == 1, result.stderr
    # Nothing else, such as what Orbax's writers have to say of each array.
    assert result.stderr.count("\n") == 1, result.stderr
    error = result.stderr
    assert error.startswith("genjax: error: cannot write ")
    assert str(run) in error
    assert "File too large" in error
    assert "make room" in error

    last = max(int(p.name) for p in (run / "checkpoints").iterdir() if p.name.isdecimal())
    assert last >= 4
    if what == "metrics":
        assert (run / "metrics.jsonl").stat().st_size > 25_000 or list(run.glob("events*"))
    if what == "a grid":
        assert not (run / "samples" / "step_00000005.png").exists()
    outcome = genjax("resume", run, "--steps", steps)
    assert outcome.status == 0, outcome
    assert f"steps {last + 1} to {steps}" in outcome.out
    assert (run / "generator.safetensors").exists()
