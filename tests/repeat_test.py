"""Two processes that train the same end with the same bits, as XLA compiles for users.

The rest of the suite compiles without optimisation.
"""

import json
import os
import subprocess
import sys

import pytest
from patience import PATIENCE_S

FLAGS = ("--model.generator.width", "8", "--model.discriminator.width", "8", "--batch-size", "16")
FLAGS += ("--steps", "12", "--log-every", "1", "--eval.samples", "256", "--mode", "jit")
TIMES = {"images_per_second", "seconds_per_step"}


@pytest.mark.full
def test_the_same_seed_gives_the_same_bits(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    # Compiled twice, not once and read back.
    environment["JAX_ENABLE_COMPILATION_CACHE"] = "0"
    found = []
    for name in ("one", "other"):
        run = tmp_path / name
        command = [sys.executable, "-m", "genjax", "train", *FLAGS, "--out", str(run)]
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment
        )
        assert result.returncode == 0, result.stderr
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert len(rows) == 13
        plain = [{key: row[key] for key in row if key not in TIMES} for row in rows]
        files = [*run.glob("*.safetensors"), *run.glob("samples/*.png")]
        found.append((plain, {path.name: path.read_bytes() for path in files}))
    assert found[0] == found[1]
