"""A run killed at any moment and resumed equals one that was not, bit for bit."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from patience import PATIENCE_S

KILLS = 30
TIMES = {"images_per_second", "seconds_per_step"}


def outcome(run: Path) -> dict[str, bytes]:
    """The weights, the metrics without times, and the pictures of a run."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    plain = [{name: row[name] for name in row if name not in TIMES} for row in rows]
    files = [*run.glob("*.safetensors"), *run.glob("samples/*.png")]
    found = {path.name: path.read_bytes() for path in files}
    return {**found, "metrics": json.dumps(plain).encode()}


@pytest.mark.full
def test_thirty_kills_change_nothing(tmp_path):
    script = Path(__file__).with_name("kill_at_random.py")
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_S,
    )
    assert result.returncode == 0, result.stderr
    runs = [json.loads(line) for line in result.stdout.splitlines()]
    phases = Counter(phase for run in runs for phase in run["killed"])
    print(phases)
    assert phases.total() == KILLS
    # Not all of them before anything was saved.
    assert len(phases) > 1
    wanted = outcome(tmp_path / "whole")
    assert {"generator.safetensors", "discriminator.safetensors", "step_00000048.png"} <= set(
        wanted
    )
    for run in runs:
        assert run["status"] == 0, Path(run["run"]).with_suffix(".log").read_text()[-3000:]
        assert outcome(Path(run["run"])) == wanted, run
