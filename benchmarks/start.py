"""How long `genjax train` takes to its first step; `python -m benchmarks.loop --start`.

Each pair of starts has a compilation cache of its own, empty before the first. Seconds are from the
start of the process to the line that says that the first step has ended; the run makes one call and
writes all that a run leaves behind, which is not timed. Files that Python reads are in the memory
of the system, since this process has imported the same ones.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.timing import summary, timed
from genjax.errors import RunFailed
from genjax.presets import preset

HELPS = 5
_CACHE = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")


def time_first_step(name: str, folder: Path, environment: Mapping[str, str]) -> float:
    """Runs `genjax train` for one call.

    Args:
      name: of the preset.
      folder: of the run, new.
      environment: variables of the process.

    Returns:
      Seconds to the end of the first step.

    Raises:
      RunFailed: it ended before.
    """
    steps = str(preset(name).steps_per_call)
    command = ["-m", "genjax", "train", name, "--steps", steps, "--out", str(folder)]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    seconds, said = None, []
    for line in process.stdout:
        said.append(line)
        if seconds is None and line.startswith("first "):
            seconds = time.perf_counter() - start
    if process.wait() or seconds is None:
        raise RunFailed(f"genjax train {name} failed: {' '.join(''.join(said).split())}")
    return seconds


def time_starts(
    presets: Sequence[str], repeats: int, packages: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Times pairs of starts, and help.

    Args:
      presets: their names.
      repeats: pairs of each.
      packages: to describe the machine by.

    Returns:
      A record of each preset and one of help, and the machine.
    """
    # The machine is described last: until then this process must not hold the accelerator.
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    environment = {name: value for name, value in os.environ.items() if name not in _CACHE}
    records: list[dict[str, Any]] = []
    for name in presets:
        first: list[float] = []
        second: list[float] = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                own = {**environment, "GENJAX_CACHE": str(Path(folder) / "cache")}
                for times in (first, second):
                    run = Path(folder) / f"run-{len(first)}-{len(second)}"
                    times.append(time_first_step(name, run, own))
        records.append({"benchmark": "start", "case": name, "first_s": first, "second_s": second})

    def show_help() -> None:
        command = [sys.executable, "-m", "genjax", "--help"]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)

    helps = [timed(show_help)[0] for _ in range(HELPS)]
    records.append({"benchmark": "start", "case": "--help", "first_s": helps, "second_s": []})
    return records, describe_machine(packages) | {"load": load}


def print_starts(records: Sequence[Mapping[str, Any]]) -> None:
    """Prints seconds as a Markdown table."""
    print("\n| command | cache | seconds | min to max | times |\n| --- | --- | --- | --- | --- |")
    for record in records:
        if record["case"] == "--help":
            print(f"| genjax --help | | {summary(record['first_s'], 2)} | {HELPS} |")
            continue
        for cache, seconds in (("empty", record["first_s"]), ("full", record["second_s"])):
            what = f"genjax train {record['case']}, to its first step"
            print(f"| {what} | {cache} | {summary(seconds, 2)} | {len(seconds)} |")
