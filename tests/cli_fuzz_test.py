"""Random command lines end with status 0 or 2, and none with a traceback.

There are five hundred in the full set, and the first of them otherwise.
"""

import json
import random
import shutil
import socket
import sys
from collections import Counter
from pathlib import Path

import pytest
from in_process import contents, genjax, refusal

from genjax import presets

TINY = ["--steps", "1", "--batch-size", "8", "--mode", "jit", "--eval.samples", "8"]
TINY += ["--model.generator.name", "mlp", "--model.discriminator.name", "mlp"]
TINY += ["--model.generator.width", "4", "--model.discriminator.width", "4"]
TINY += ["--model.discriminator.norm", "none", "--out", "new-run"]

FLAGS = {
    "train": ["--steps", "--seed", "--out", "--model.loss", "--model.latent", "--mode", "--feed"],
    "resume": ["--steps"],
    "rerun": ["--out"],
    "sample": ["--n", "--seed", "--out", "--npz", "--checkpoint", "--label", "--per-class"],
    "evaluate": ["--metrics", "--samples", "--features", "--checkpoint", "--real", "--fake"],
    "interpolate": ["--rows", "--keys", "--frames", "--space", "--seed", "--out", "--rate"],
    "mix": ["--rows", "--columns", "--layers", "--seed", "--out", "--checkpoint", "--label"],
    "directions": ["--method", "--count", "--layers", "--names", "--load", "--span", "--columns"],
    "project": ["--image", "--examples", "--space", "--features", "--steps", "--label", "--out"],
    "edit": ["--image", "--examples", "--mask", "--strength", "--invert", "--frames", "--out"],
    "average": ["--width", "--out", "--checkpoint"],
    "compare": ["--metrics", "--ignore"],
    "ablate": ["--seeds", "--steps", "--only", "--seed-mode", "--cluster"],
    "table": ["--out", "--sort"],
    "plot": ["--out"],
    "presets": [],
    "config": ["--format", "--config", "--plugin", "--steps", "--model.generator-optimizer.name"],
    "data": ["--from", "--split", "--resolution", "--directory"],
}
MORE = ["--model.penalties", "--model.dtype", "--data.name", "--model.generator.norm", "--wandb"]
MORE += ["--model.generator.name", "--model.generator-optimizer.schedule.name", "--config"]
MORE += [
    "--monitor.lines",
    "--eval.features",
    "--distributed",
    "--help",
    "--stepz",
    "-x",
    "--",
    "-",
]
VALUES = ["0", "1", "2", "-1", "nan", "inf", "1e400", "10" * 20, "", " ", "None", "True", "zwei"]
VALUES += [
    "sngan",
    "sgd",
    "cosine",
    "yaml",
    "hinge",
    "hinges",
    "r1",
    "last",
    "best",
    "pixels",
    "digits",
    "mnist",
    "fid",
    "auto",
]
VALUES += [
    "../up",
    "file.txt/x",
    ".",
    "a b",
    "é\u202e",
    "line\nbreak",
    "[bold]",
    "%s",
    "{}",
    "\\",
    "'",
    "-5",
]
GOOD = {"--steps": "2", "--seed": "3", "--n": "2", "--checkpoint": "last", "--sort": "fid"}
GOOD |= {"--model.loss": "hinge", "--model.latent": "5", "--mode": "jit", "--feed": "host"}
GOOD |= {"--seeds": "2", "--only": "a", "--seed-mode": "single", "--resolution": "8"}
GOOD |= {"--rows": "2", "--keys": "2", "--columns": "2", "--count": "2", "--method": "sefa"}
GOOD |= {"--format": "json", "--config": "part.yaml", "--plugin": "grid.py"}
GOOD |= {"--split": "test", "--model.dtype": "bfloat16", "--monitor.lines": "3", "--wandb": "False"}
PLACES = ["run", "damaged", "empty", "file.txt", "missing", "results.jsonl", "grid.py", "images"]
PLACES += ["part.yaml", "run/config.json"]
PRESETS = ["dcgan-digits", "dcgan-mnist", "vae-digits", "gaussians-25", "dcgan-digit", "none"]
ACTIONS = ["list", "prepare", "import", "lists"]

GRID = """
import dataclasses
from genjax.presets import preset
SEEDS = 2
SCORES = {"fid": ("fid",)}
BASELINE = "a"
VARIANTS = {"a": preset("dcgan-digits"), "b": dataclasses.replace(preset("dcgan-digits"), steps=9)}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the command lines name, and no way to the network."""
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GENJAX_CACHE", str(folder / "cache"))
        patch.setenv("TFDS_DATA_DIR", str(folder / "data"))
        # Whose parameters `genjax presets` counts.
        for name in presets.PRESETS.keys() - set(PRESETS):
            patch.delitem(presets.PRESETS, name)
        patch.setattr(socket.socket, "connect", no_network)
        patch.setattr(socket, "getaddrinfo", no_network)
        outcome = genjax("train", *[word.replace("new-run", "run") for word in TINY])
        assert outcome.status == 0, outcome
        shutil.copytree("run", "damaged")
        config = Path("damaged/config.json")
        config.write_text(config.read_text().replace('"steps": 1', '"steps": "one"'))
        Path("empty").mkdir()
        Path("file.txt").write_text("no data\n")
        Path("grid.py").write_text(GRID)
        Path("part.yaml").write_text("steps: 1\nmodel: {discriminator: {spectral_norm: true}}\n")
        results = Path(__file__).parents[1] / "experiments/ablations/results/salimans"
        lines = (results / "results.jsonl").read_text().splitlines(keepends=True)
        Path("results.jsonl").write_text("".join(lines[:8]))
        yield folder


def no_network(*_: object, **__: object) -> None:
    raise OSError("no network in this test")


def command_line(draw: random.Random) -> list[str]:
    """Draws a command, what it is about, and up to four flags with or without values."""
    often = [name for name in FLAGS if name not in ("presets", "train", "config")]
    command = draw.choice(
        [*often * 6, *["train", "config"] * 2, "presets", "trian", "", "--help", "--version", "-h"]
    )
    words = [command]
    if command == "train":
        # Parsing all its flags takes longest.
        words += [draw.choice(PRESETS)] * draw.randrange(2)
        words += TINY if words[-1] != "vae-digits" else ["--steps", "1", "--eval.samples", "8"]
    elif command == "data":
        words += [draw.choice(ACTIONS)] * (draw.random() < 0.9)
        words += [draw.choice(["digits", "mine", "../mine", "mnist", "nothing"])]
    elif command == "config":
        words += [draw.choice(PRESETS)] * draw.randrange(2)
    elif command != "presets":
        words += draw.choices(PLACES, k=draw.choice([0, 1, 1, 1, 1, 2]))
        # What an ablation trains is tested elsewhere.
        words += ["--dry-run"] * (command == "ablate")
    for _ in range(draw.choice([0, 0, 1, 1, 2, 3])):
        known = FLAGS.get(command) or MORE
        flag = draw.choice([*known, *known, draw.choice(MORE)])
        words.append(flag)
        if flag in GOOD and draw.random() < 0.6:
            words.append(GOOD[flag])
        else:
            words += draw.choices([*VALUES, draw.choice(PLACES)], k=draw.choice([0, 1, 1, 1, 1, 2]))
    return words


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.full)])
def test_every_command_line_ends_well(place, count):
    draw = random.Random(7)
    found: Counter[int] = Counter()
    succeeded: Counter[str] = Counter()
    for number in range(count):
        words = command_line(draw)
        shutil.rmtree("new-run", ignore_errors=True)
        outcome = genjax(*words)
        said = json.dumps([number, words, outcome], indent=1)
        assert outcome.status in (0, 2), said
        assert "Traceback" not in outcome.out + outcome.err, said
        if outcome.status == 2:
            lines = outcome.err.splitlines()
            assert len(lines) == 1, said
            assert lines[0].startswith("genjax: error: "), said
            assert len(lines[0]) > len("genjax: error: "), said
        else:
            succeeded[words[0]] += 1
        found[outcome.status] += 1
    print(found, succeeded)
    # The fuzz is worth something only where both happen, in many commands.
    assert found[0] > count // 20
    assert len(succeeded) > min(6, count // 25)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("table results.jsonl --out file.txt/x", "--out file.txt/x can't be a folder"),
        ("plot results.jsonl --out file.txt/x", "--out file.txt/x can't be a folder"),
        ("sample run --npz empty", "cannot write empty: it is a folder"),
        ("ablate grid.py --dry-run --seeds 1000000000000", "--seeds is 1000000000000"),
        ("ablate exits.py --dry-run", "exits.py fails: SystemExit: 3"),
    ],
)
def test_what_the_fuzz_found(place, monkeypatch, words, said):
    # An ablation is imported, which would leave its bytecode beside it.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    Path("exits.py").write_text("raise SystemExit(3)\n")
    before = contents(place)
    assert said in refusal(*words.split())
    assert contents(place) == before


def test_a_run_is_repeated_from_within_its_folder(place, monkeypatch):
    monkeypatch.chdir(place / "run")
    # The fuzz may have made it before.
    shutil.rmtree(place / "run-rerun", ignore_errors=True)
    outcome = genjax("rerun", ".")
    assert outcome.status == 0, outcome
    assert (place / "run-rerun" / "config.json").exists()


def test_a_run_at_its_end_is_resumed_without_an_error(place):
    """A scheduler would take it for a failure of the job."""
    outcome = genjax("resume", place / "run")
    assert outcome.status == 0, outcome
    assert f"{place / 'run'} is already at step " in outcome.out
