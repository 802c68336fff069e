"""The script that measures an accelerator in one go: no part costs another what it has measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "accelerator.sh"
PARTS = ("steps", "peers", "loop", "seeds", "memory")

# In place of Python: writes what it was asked for, and where a benchmark writes a line.
STAND_IN = """#!/bin/bash
echo "$*" >> "$CALLS"
for last; do :; done
case "$2" in
  benchmarks.loop) echo "broken" >&2; exit 3 ;;
  benchmarks.seeds) echo "{}" >> "$last"; exec sleep 100 ;;
  benchmarks.report) echo "report" > "$last" ;;
  *) echo "{}" >> "$last" ;;
esac
"""


def run(out, **variables):
    environment = {**os.environ, "OUT": str(out), "PYTHON": sys.executable, **variables}
    return subprocess.run(
        ["bash", SCRIPT], env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )


@pytest.mark.full
@pytest.mark.parametrize("quick", ["0", "1"])
def test_a_part_that_fails_or_hangs_costs_no_other(tmp_path, quick):
    python, calls, out = tmp_path / "python", tmp_path / "calls", tmp_path / "results"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    done = run(out, QUICK=quick, TOTAL="30", PYTHON=str(python), CALLS=str(calls))
    assert done.returncode == 1
    assert done.stderr.startswith("not whole: loop ")
    assert "seeds" in done.stderr
    asked = calls.read_text().splitlines()
    # What is worth most comes first, and the report last, of all that there is.
    modules = [line.split()[1].removeprefix("benchmarks.") for line in asked]
    order = ["adversarial_step", "peers.compare", "loop", "seeds", "report"]
    assert list(dict.fromkeys(modules)) == order
    assert modules[-1] == "report"
    written = {path.name for path in out.iterdir()}
    assert written == {"log.txt", "results.md", *(f"{x}.jsonl" for x in PARTS if x != "loop")}
    for name in written - {"log.txt", "results.md"}:
        assert str(out / name) in asked[-1]
    log = (out / "log.txt").read_text()
    assert "broken\n-- loop: status 3" in log
    assert "-- seeds: status 124" in log
    assert "-- memory: status 0" in log


def test_it_wants_to_know_where_to_write(tmp_path):
    done = run("")
    assert done.returncode != 0
    assert "name the folder to write into" in done.stderr


@pytest.mark.full
def test_each_part_runs_on_a_cpu(tmp_path):
    pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    done = run(tmp_path, QUICK="1", TOTAL=str(PATIENCE_S - 60), JAX_PLATFORMS="cpu")
    log = (tmp_path / "log.txt").read_text()
    assert done.returncode == 0, log
    report = (tmp_path / "results.md").read_text()
    names = {"steps": "adversarial_step", "memory": "adversarial_step"}
    for part in PARTS:
        name = names.get(part, part)
        lines = (tmp_path / f"{part}.jsonl").read_text().splitlines()
        assert lines
        assert {json.loads(line)["benchmark"] for line in lines} == {name}
        assert f"\n## {name}\n" in report
