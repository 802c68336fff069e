"""What a benchmark ran on."""

import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from genjax.run.directory import git_commit

BUSY = 0.5
"""Load from which on other programs are said to have run."""
_SETTINGS = (
    "GENJAX_KEEP_MEMORY",
    "GENJAX_XLA_OPTIONS",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_NUM_CPU_DEVICES",
    "JAX_PLATFORMS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "XLA_FLAGS",
)


def describe_machine(packages: Sequence[str]) -> dict[str, Any]:
    """Describes machine and software, before anything is timed.

    Args:
      packages: names of distributions; those that are not installed are left out.

    Returns:
      The machine, its load over the last minute, the command line, the commit, the versions, and
      the date.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    # Of the first core. Clouds cut the name short, so that machines of several kinds share it.
    fields = [[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]
    found = dict(reversed(fields))
    cpu = found.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in found:
        cpu += f" (family {found['cpu family']}, model {found.get('model')})"
    device = jax.devices()[0]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": load,
        "gpu": device.device_kind if device.platform == "gpu" else None,
        "jax_device": f"{jax.device_count()} x {device.device_kind}",
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "command": _command(),
        "commit": git_commit(12),
        "versions": versions,
    }


def _command() -> str:
    """The command line of this process, with the variables that change what is measured."""
    settings = [
        f"{name}={shlex.quote(os.environ[name])}" for name in _SETTINGS if name in os.environ
    ]
    return " ".join([*settings, shlex.join(["python", *sys.orig_argv[1:]])])


def print_machine(machine: dict[str, Any]) -> None:
    """Prints the machine and the date, the software, and whether other programs were running."""
    parts = [machine["cpu"], f"{machine['cores']} cores", machine["gpu"], machine["system"]]
    print(", ".join(part for part in (*parts, machine["date"]) if part))
    if machine["load"] is not None and machine["load"] > BUSY:
        print(f"other programs were running: a load of {machine['load']:.1f} at the start")
    versions = [f"{name} {version}" for name, version in machine["versions"].items()]
    print(", ".join([*versions, f"commit {machine['commit']}"]))


def append_records(
    path: Path | None, records: Iterable[Mapping[str, Any]], machine: Mapping[str, Any]
) -> None:
    """Appends records to a file of JSON lines, each with what it was measured on.

    Args:
      path: of the file; None writes nothing.
      records: one a line.
      machine: from `describe_machine`.
    """
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({**record, **machine}) + "\n" for record in records)
