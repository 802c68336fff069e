"""What the README says runs as it stands there, in its order."""

import dataclasses
import json
import re
import shlex
import tarfile
from pathlib import Path

import numpy as np
import pytest
from in_process import genjax
from PIL import Image

from genjax.config import MLP
from genjax.presets import PRESETS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

PLUGIN = """
import jax
from genjax.families.gan.losses import LOSSES
LOSSES["mine"] = LOSSES["hinge"]
"""
# What needs a network, or a cluster.
ELSEWHERE = ["data prepare mnist", "train --out runs/d --distributed auto"]


def test_python_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    # With networks that compile soonest.
    base, network = PRESETS["dcgan-digits"], MLP(width=8)
    model = dataclasses.replace(base.model, generator=network, discriminator=network)
    monkeypatch.setitem(PRESETS, "dcgan-digits", dataclasses.replace(base, model=model))
    found: dict[str, object] = {}
    exec(blocks[0].replace("steps=1000", "steps=4, batch_size=8"), found)
    assert found["images"].shape == (16, 8, 8, 1)
    assert (found["images"] == found["again"]).all()
    exec(blocks[1], found)
    assert found["samples"].shape == (16, 8, 8, 1)


def commands():
    """The lines of the long list, each split at ``&&``, without their comments."""
    [block] = [b for b in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "presets" in b]
    for line in block.replace("\\\n", " ").splitlines():
        for command in re.sub(r"\s#.*", "", line).split("&&"):
            yield " ".join(command.split()).removeprefix("genjax ")


def small(command):
    """The words of a command, of fewer steps and examples."""
    command = re.sub(r"--steps \d+", "", command)
    command = command.replace("experiments/", f"{ROOT}/experiments/")
    words, _, file = command.partition(" > ")
    words = shlex.split(words)
    if words[0] == "train" and words[-1] != "--help":
        words += ["--steps", "4", "--batch-size", "8", "--eval.samples", "20"]
        if "gpt-shakespeare" in words:
            network = ("width", "8"), ("depth", "1"), ("heads", "2")
            words += [word for name, size in network for word in (f"--model.network.{name}", size)]
        if {"diffusion-digits", "t2i-emoji", "upsample-emoji"} & set(words):
            words += ["--model.network.name", "mlp"]
        if {"upsample-emoji", "clip-emoji"} & set(words):
            words += ["--model.text.depth", "1"]
        if "clip-emoji" in words:
            words += ["--model.image.widths", "8"]
        if "t2i-gan-emoji" in words:
            words += ["--model.generator.width", "8", "--model.discriminator.width", "8"]
        if "--config" in words:
            # MNIST is not there.
            words += ["--data.name", "digits", "--eval.features", "pixels"]
    elif "--length" in words:
        words[words.index("--length") + 1] = "8"
    elif words[0] == "resume":
        words += ["--steps", "6"]
    elif words[0] == "ablate":
        words += ["--steps", "2", "--seeds", "1", "--only", "non_saturating"]
    elif words[0] == "project":
        words += ["--steps", "4"]
    elif words[0] == "evaluate" and words[1].startswith("runs"):
        words += ["--samples", "300"]
    return words, file


@pytest.mark.full
@pytest.mark.usefixtures("digits_classifier")
def test_the_list_of_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "input.txt").write_text("ROMEO:\nBut soft, what light.\n" * 200)
    for name in ("cats", "dogs"):
        (tmp_path / "my_folder" / name).mkdir(parents=True)
        noise = np.random.default_rng(len(name)).integers(0, 256, (20, 8, 8), np.uint8)
        for number, pixels in enumerate(noise):
            Image.fromarray(pixels).save(tmp_path / "my_folder" / name / f"{number}.png")
    Image.fromarray(noise[0]).save("me.png")
    with tarfile.open("emoji64.tar", "w") as archive:
        for number in range(20):
            archive.add(tmp_path / "my_folder" / "cats" / f"{number}.png", f"{number}.png")
        rows = [json.dumps({"file": f"{n}.png", "caption": "a cat"}) for n in range(20)]
        (tmp_path / "captions.jsonl").write_text("\n".join(rows))
        archive.add("captions.jsonl")
    left_out = []
    for command in commands():
        if command in ELSEWHERE:
            left_out.append(command)
            continue
        words, file = small(command)
        outcome = genjax(*words)
        assert outcome.status == 0, (command, outcome)
        if file:
            Path(file).write_text(outcome.out)
    assert left_out == ELSEWHERE
    assert (tmp_path / "grid.png").exists()
    assert (tmp_path / "runs" / "c" / "samples.png").exists()
    assert (tmp_path / "runs" / "g" / "samples.txt").exists()
