"""`genjax presets`: sizes of those there are, and of one's own."""

import numpy as np
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


def listed(*arguments):
    """What is printed, and from the first word of each line to the line."""
    outcome = genjax("presets", *arguments)
    assert outcome.status == 0, outcome
    lines = [line for line in outcome.out.splitlines() if line.strip()]
    return outcome.out, {line.split()[0]: line for line in lines}


@pytest.mark.full
def test_presets_say_how_long_and_how_large_they_are():
    _, lines = listed()
    assert lines.keys() == {"name", *PRESETS}
    header = ["name", "family", "data", "shape", "steps", "batch", "parameters"]
    assert lines["name"].split() == header
    first = ["dcgan-mnist", "gan", "mnist", "28x28x1", "10,000", "128"]
    assert lines["dcgan-mnist"].split()[:6] == first
    # 100*49*128 + 2*128 + 25*128*64 + 2*64 + 25*64 + 1
    assert "generator 833,985" in lines["dcgan-mnist"]
    assert lines["stylegan2-clothing64"].split()[3] == "64x64x3"


@pytest.fixture
def few(monkeypatch, tmp_path):
    """One preset, and what the plugin registers is taken out again."""
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    known = dict(PRESETS)
    # To count the parameters of all takes seconds.
    for name in known.keys() - {"dcgan-digits"}:
        del PRESETS[name]
    yield
    PRESETS.clear()
    PRESETS.update(known)


@pytest.mark.usefixtures("few")
def test_data_of_ones_own_are_opened(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 1), np.uint8)
    np.savez(tmp_path / "mine.npz", images=pixels)
    assert genjax("data", "import", "mine", "--from", tmp_path / "mine.npz").status == 0
    (tmp_path / "plug.py").write_text(PLUGIN)
    text, lines = listed("--plugin", tmp_path / "plug.py")
    assert lines.keys() >= {"dcgan-digits", "on-mine", "on-none"}
    assert "12x12x1" in lines["on-mine"]
    assert "generator " in lines["on-mine"]
    # A preset whose data are not there takes nothing from the others.
    assert "'none'" in text.partition("on-none")[2]
