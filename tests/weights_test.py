"""Weights that are used without genjax: what docs/weights.md says of them is enough."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_process import genjax
from safetensors import safe_open

from genjax.core.rng import latents
from genjax.run.opening import open_run

PAGE = (Path(__file__).parents[1] / "docs" / "weights.md").read_text().partition("\n## ")[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "run"
    small = ("--model.generator.width", 4, "--model.discriminator.width", 4, "--batch-size", 8)
    flags = ("--steps", 3, "--eval.samples", 20, "--mode", "jit")
    outcome = genjax("train", *small, *flags, "--out", folder)
    assert outcome.status == 0, outcome
    return folder


def test_files_say_what_they_are(run):
    rows = re.findall(r"^\| `(.*?)` \|", PAGE, re.MULTILINE)
    words = [word for row in rows for word in row.split("`, `")]
    for player in ("generator", "discriminator"):
        with safe_open(run / f"{player}.safetensors", "numpy") as file:
            found = json.loads(file.metadata()["genjax"])
        assert set(found) == set(words)
        assert found["player"] == player
        assert found["config"] == json.loads((run / "config.json").read_text())
        assert found["data"]["fields"]["image"]["shape"] == [8, 8, 1]
        assert found["step"] == 3
        assert found["values"] == "uint8 x as x / 127.5 - 1"


def test_who_may_read_a_run_may_read_its_weights(run):
    mode = (run / "config.json").stat().st_mode
    assert (run / "generator.safetensors").stat().st_mode == mode


def test_the_generator_in_numpy(run, monkeypatch):
    monkeypatch.chdir(run)
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(code, names)
    assert names["images"].shape == (16, 8, 8, 1)
    opened = open_run(run, "last")
    key, index = jax.random.key(0), jnp.arange(16)
    ours = np.asarray(opened.algorithm.sample(opened.state, key, index, {}))
    theirs = names["generate"](np.asarray(latents(key, index, 100), np.float64))
    # Rounding to whole numbers may go either way.
    assert np.abs((ours + 1) * 127.5 - theirs).max() < 0.501
    assert ours.std() > 1e-3
