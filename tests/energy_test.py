"""Meters of energy read what the kernel counts."""

import sys
from types import SimpleNamespace

import pytest

from benchmarks import energy
from benchmarks.energy import Meter, joules_of_a_call, open_nvml, open_rapl

RANGE = 1_000_000


@pytest.fixture
def powercap(tmp_path):
    """Two packages, one of them with a part, and something else."""
    for name, start in (("0", 900_000), ("1", 0), ("0:0", 5)):
        folder = tmp_path / f"intel-rapl:{name}"
        folder.mkdir()
        (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
        (folder / "energy_uj").write_text(f"{start}\n")
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def test_rapl_adds_packages_and_survives_the_counters_end(powercap):
    meter = open_rapl(powercap)
    assert isinstance(meter, Meter)
    assert "2 processor packages" in meter.covers
    assert meter.joules() == 0
    (powercap / "intel-rapl:0/energy_uj").write_text("100000")
    (powercap / "intel-rapl:1/energy_uj").write_text("300000")
    assert meter.joules() == pytest.approx(0.5)
    (powercap / "intel-rapl:0/energy_uj").write_text("50000")
    assert meter.joules() == pytest.approx(0.5 + 0.95)


def test_without_rapl_there_is_a_reason(tmp_path, powercap):
    assert "no RAPL counters" in open_rapl(tmp_path / "nowhere")
    (powercap / "intel-rapl:1/energy_uj").unlink()
    assert "can't be read" in open_rapl(powercap)


def test_nvml_adds_the_gpus_in_use(monkeypatch):
    def total(handle):
        if handle == "broken":
            raise Error("not supported")
        return {"GPU-2": 2000, "GPU-5": 500, 0: 7000}[handle]

    Error = type("NVMLError", (Exception,), {})
    fake = SimpleNamespace(
        NVMLError=Error,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=total,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert open_nvml(1).joules() == 7
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2,GPU-5,0")
    assert open_nvml(2).joules() == 2.5
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "broken")
    assert open_nvml(1) == "NVML: not supported"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_nvml(1) == "NVML needs the package nvidia-ml-py"


def test_energy_of_a_call_is_a_mean_over_many(monkeypatch):
    monkeypatch.setattr(energy, "_LEAST", 0.01)
    calls = []
    meter = Meter(lambda: 3.0 * len(calls), "")
    assert joules_of_a_call(meter, lambda: calls.append(0)) == 3
    assert calls
