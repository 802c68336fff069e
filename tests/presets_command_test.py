"""`genjax presets`: sizes of those there are, and of one's own."""

import numpy as np
import pytest
from in_process import genjax, refusal

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


FIRST = ["dcgan-mnist", "gan", "mnist", "28x28x1", "10,000", "128"]


def test_presets_say_how_long_they_are():
    _, lines = listed()
    assert lines.keys() == {"name", *PRESETS}
    assert lines["name"].split() == ["name", "family", "data", "shape", "steps", "batch"]
    assert lines["dcgan-mnist"].split() == FIRST
    assert lines["stylegan2-clothing64"].split()[3] == "64x64x3"


def test_those_that_are_named_say_how_large_they_are():
    _, lines = listed("dcgan-mnist", "gaussians-8")
    assert lines.keys() == {"name", "dcgan-mnist", "gaussians-8"}
    assert lines["name"].split()[-1] == "parameters"
    assert lines["dcgan-mnist"].split()[:6] == FIRST
    # 100*49*128 + 2*128 + 25*128*64 + 2*64 + 25*64 + 1
    assert "generator 833,985" in lines["dcgan-mnist"]
    assert "unknown preset 'dcgan-mnits'; did you mean" in refusal("presets", "dcgan-mnits")


@pytest.fixture
def restored(monkeypatch, tmp_path):
    """What the plugin registers is taken out again."""
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    known = dict(PRESETS)
    yield
    PRESETS.clear()
    PRESETS.update(known)


@pytest.mark.usefixtures("restored")
def test_data_of_ones_own_are_opened(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 1), np.uint8)
    np.savez(tmp_path / "mine.npz", images=pixels)
    assert genjax("data", "import", "mine", "--from", tmp_path / "mine.npz").status == 0
    (tmp_path / "plug.py").write_text(PLUGIN)
    text, lines = listed("on-mine", "on-none", "--plugin", tmp_path / "plug.py")
    assert lines.keys() >= {"name", "on-mine"}
    assert "12x12x1" in lines["on-mine"]
    assert "generator " in lines["on-mine"]
    # A preset whose data are not there takes nothing from the others.
    assert "'none'" in text.partition("on-none")[2]
