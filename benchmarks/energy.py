"""Energy that a machine says it has used: NVIDIA's GPUs by NVML, CPUs by RAPL under Linux."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

_POWERCAP = Path("/sys/class/powercap")
_LEAST = 2.0
"""Seconds to measure over: NVML's counters move some ten times a second."""


class Meter(NamedTuple):
    """A running total.

    Attributes:
      joules: reads it. Only differences mean anything.
      covers: what it counts, in words.
    """

    joules: Callable[[], float]
    covers: str


class Domain:
    """One of RAPL's counters, which starts again from 0 every few minutes or hours.

    Attributes:
      folder: its files.
    """

    def __init__(self, folder: Path) -> None:
        """Reads where the counter starts.

        Args:
          folder: its files.

        Raises:
          OSError: they can't be read.
        """
        self.folder = folder
        self._range = self._read("max_energy_range_uj")
        self._last = self._read("energy_uj")
        self._total = 0

    def _read(self, name: str) -> int:
        return int((self.folder / name).read_text())

    def joules(self) -> float:
        """Since this was made; right as long as it is read once in each round of the counter."""
        now = self._read("energy_uj")
        self._total += now - self._last if now >= self._last else now - self._last + self._range
        self._last = now
        return self._total / 1e6


def open_rapl(root: Path = _POWERCAP) -> Meter | str:
    """Opens RAPL's counters of all processor packages.

    Args:
      root: folder of the kernel's power capping.

    Returns:
      The meter, or why there is none.
    """
    # Of names such as intel-rapl:0, not of their parts, intel-rapl:0:0.
    folders = sorted(x for x in root.glob("intel-rapl:*") if x.name.count(":") == 1)
    if not folders:
        return f"no RAPL counters in {root}"
    try:
        domains = [Domain(folder) for folder in folders]
    except (OSError, ValueError) as error:
        return f"RAPL counters in {root} can't be read: {error}"
    covers = f"RAPL, {len(domains)} processor packages, all programs"
    return Meter(lambda: sum(domain.joules() for domain in domains), covers)


def open_nvml(count: int) -> Meter | str:
    """Opens the counters of GPUs.

    Args:
      count: how many of those that this process may use.

    Returns:
      The meter, or why there is none.
    """
    try:
        import pynvml
    except ImportError:
        return "NVML needs the package nvidia-ml-py"
    try:
        pynvml.nvmlInit()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = visible.split(",") if visible else [str(i) for i in range(count)]
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(int(name))
            if name.isdigit()
            else pynvml.nvmlDeviceGetHandleByUUID(name)
            for name in names[:count]
        ]

        def joules() -> float:
            total: float = sum(map(pynvml.nvmlDeviceGetTotalEnergyConsumption, handles))
            return total / 1e3

        joules()
    except pynvml.NVMLError as error:
        return f"NVML: {error}"
    return Meter(joules, f"NVML, {len(handles)} GPUs, not the host")


def open_meter(devices: Sequence[jax.Device]) -> Meter | str:
    """Opens what counts the energy of devices.

    Args:
      devices: those that JAX runs on.

    Returns:
      The meter, or why there is none.
    """
    platform = devices[0].platform
    if platform == "gpu":
        return open_nvml(len(devices))
    return open_rapl() if platform == "cpu" else f"no meter for {platform}"


def joules_of_a_call(meter: Meter, call: Callable[[], Any]) -> float:
    """Measures energy over many calls.

    Args:
      meter: that is running.
      call: it must wait for its result.

    Returns:
      Joules a call.
    """
    calls, until, start = 0, time.perf_counter() + _LEAST, meter.joules()
    while time.perf_counter() < until:
        call()
        calls += 1
    return (meter.joules() - start) / calls
