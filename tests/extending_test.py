"""docs/extending.md, followed literally: each of its files, by the commands below it."""

import os
import re
import shlex
from pathlib import Path

import pytest
from in_process import genjax

from genjax.config import plugins
from genjax.config.tags import Tagged
from genjax.data.bundled import SOURCES
from genjax.domains import DOMAINS
from genjax.families.gan.losses import LOSSES
from genjax.families.gan.penalties import PENALTIES
from genjax.families.registry import FAMILIES
from genjax.nn.networks import DECODERS, ENCODERS
from genjax.presets import PRESETS

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"```python\n# (\w+\.py)\n(.*?)```\n+```sh\n(.*?)```", PAGE, re.DOTALL)
# A loss, and a data set with a domain and a preset.
QUICK = ("exponential.py", "waves.py")
CASES = [
    pytest.param(name, code, command, id=command, marks=() if name in QUICK else pytest.mark.full)
    for name, code, commands in BLOCKS
    for command in commands.strip().splitlines()
]
# Networks that compile soonest, for files that bring none.
DENSE = ("--model.generator.name", "mlp", "--model.discriminator.name", "mlp")
DENSE += ("--model.discriminator.norm", "none")
SMALL = ("--steps", "4", "--batch-size", "8", "--checkpoint-every", "4", "--eval.samples", "20")


@pytest.fixture
def registries(monkeypatch, tmp_path):
    """What a plugin registers is taken out again."""
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plugins, "_loaded", set())
    kinds = [kind.registry for kind in Tagged.__subclasses__() if "registry" in vars(kind)]
    tables = [SOURCES, DOMAINS, LOSSES, PENALTIES, FAMILIES, DECODERS, ENCODERS, PRESETS, *kinds]
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


def test_every_kind_has_its_file():
    assert [name for name, _, _ in BLOCKS] == [
        "exponential.py",
        "drift.py",
        "affine.py",
        "gaussian.py",
        "waves.py",
    ]


@pytest.mark.parametrize(("name", "code", "command"), CASES)
def test_a_file_does_what_the_page_says(registries, tmp_path, monkeypatch, name, code, command):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(code)
    program, *arguments = shlex.split(command)
    assert program == "genjax"
    arguments += DENSE if name in ("exponential.py", "drift.py") else ()
    done = genjax(*arguments, *SMALL, "--out", "run")
    assert done.status == 0, done.err
    again = genjax("resume", "run", "--steps", "6")
    assert again.status == 0, again.err
    drawn = genjax("sample", "run", "--n", "4")
    assert drawn.status == 0, drawn.err
    assert "wrote 4 samples of step 6" in drawn.out
    pictures = sorted(os.listdir("run/samples"))
    assert pictures == ["step_00000004.png", "step_00000006.png"]
