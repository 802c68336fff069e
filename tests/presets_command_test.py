"""`genjax presets`, with presets of one's own."""

import pytest
from in_process import genjax

from genjax.presets import PRESETS

PLUGIN = """
import dataclasses
from genjax.presets import PRESETS
base = PRESETS["dcgan-digits"]
for name, data in (("on-mine", "mine"), ("on-none", "none")):
    data = dataclasses.replace(base.data, name=data)
    PRESETS[name] = dataclasses.replace(base, name=name, data=data)
"""


@pytest.fixture
def before(monkeypatch, tmp_path):
    """What the plugin registers is taken out again."""
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    known = dict(PRESETS)
    yield
    PRESETS.clear()
    PRESETS.update(known)


@pytest.mark.usefixtures("before")
def test_data_of_ones_own_are_opened(tmp_path):
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 1), np.uint8)
    np.savez(tmp_path / "mine.npz", images=pixels)
    assert genjax("data", "import", "mine", "--from", tmp_path / "mine.npz").status == 0
    (tmp_path / "plug.py").write_text(PLUGIN)
    outcome = genjax("presets", "--plugin", tmp_path / "plug.py")
    assert outcome.status == 0, outcome
    lines = {line.split()[0]: line for line in outcome.out.splitlines() if line.strip()}
    assert lines.keys() >= {"dcgan-digits", "on-mine", "on-none"}
    assert "12x12x1" in lines["on-mine"]
    assert "generator " in lines["on-mine"]
    # A preset whose data are not there takes nothing from the others.
    assert "'none'" in outcome.out.partition("on-none")[2]
