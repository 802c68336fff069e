"""Every benchmark can be started."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_it_finds_what_it_imports(name):
    if "torch" in name or name.endswith(("scores", "checks", "compare")):
        pytest.importorskip("torch", reason="needs the extra genjax-models[parity]")
    importlib.import_module(name)
