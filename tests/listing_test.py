"""`genjax runs`: what lies below a folder, how far it came, and what is wrong with it."""

import json
import shutil
from pathlib import Path

import pytest
from in_process import genjax, refusal

from genjax.config.json import config_hash, to_dict
from genjax.evals.records import PROTOCOL
from genjax.presets import preset

RUNS = Path(__file__).parent / "fixtures" / "runs"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(RUNS / "format-2" / "gan", tmp_path / "deep" / "er" / "gan")
    shutil.copytree(RUNS / "format-1" / "vae", tmp_path / "vae")
    broken = shutil.copytree(RUNS / "format-2" / "points", tmp_path / "points")
    (broken / "manifest.json").write_text("{")
    return tmp_path


def lines(*arguments):
    outcome = genjax("runs", *arguments)
    assert outcome.status == 0, outcome
    return outcome.out.splitlines()


def test_runs_with_what_was_logged(folder):
    gan, points, vae = lines(folder)
    assert gan.split()[:3] == [str(folder / "deep" / "er" / "gan"), "cgan-digits", "4/4"]
    rows = (RUNS / "format-1" / "vae" / "metrics.jsonl").read_text().splitlines()
    last = [json.loads(row) for row in rows if "evaluation/" in row][-1]
    for name, value in last.items():
        if name.startswith("evaluation/"):
            assert f"{name.removeprefix('evaluation/')} {value:.4g}" in vae
    assert f"{folder / 'points'}" in points
    assert "manifest.json is damaged" in points
    [alone] = lines(folder / "vae")
    assert alone.split() == vae.split()


def record(step, metric, value, **protocol):
    found = {"subject": "vae", "metric": metric, "value": value, "spread": None, "seed": 0}
    found |= {"better": "lower", "step": step, "truncation": None, "sampling": None}
    for name in PROTOCOL:
        part, _, rest = name.partition(".")
        if part not in ("truncation", "sampling"):
            found = {**found, part: {**found.get(part, {}), rest: "x"} if rest else "x"}
    return json.dumps(found | protocol) + "\n"


def test_scores_of_the_checkpoint_that_was_scored_last(folder):
    (folder / "vae" / "scores.jsonl").write_text(
        record(2, "fid", 9.0) + record(2, "kid", 8.0) + record(4, "fid", 1.25)
    )
    assert lines(folder)[2].endswith("  fid 1.25")
    with (folder / "vae" / "scores.jsonl").open("a") as file:
        file.write(record(4, "kid", 2.5))
    # What is broken on a narrow terminal is broken at commas.
    assert lines(folder)[2].endswith("  fid 1.25, kid 2.5")
    assert [line.split()[0] for line in lines(folder, "--sort", "fid")] == [
        str(folder / name) for name in ("vae", "deep/er/gan", "points")
    ]


def test_scores_of_samples_that_were_not_drawn_as_usual(folder):
    """They have a mark, one for each way, and nothing else has."""
    truncated = {"psi": 0.7, "noise": "none"}
    (folder / "deep" / "er" / "gan" / "scores.jsonl").write_text(
        record(4, "fid", 2.0, sampling=truncated)
        + record(4, "kid", 3.0)
        + record(4, "is", 9.5, sampling=truncated)
    )
    (folder / "vae" / "scores.jsonl").write_text(record(4, "fid", 1.0, truncation=0.5))
    gpt = shutil.copytree(RUNS / "format-3" / "gan", folder / "z")
    experiment = preset("gpt-shakespeare")
    (gpt / "config.json").write_text(json.dumps(to_dict(experiment)))
    manifest = json.loads((gpt / "manifest.json").read_text())
    manifest["sessions"][-1]["config_hash"] = config_hash(experiment)
    (gpt / "manifest.json").write_text(json.dumps(manifest))
    usual = {"temperature": 1.0, "top_k": None, "length": None, "prompt": ""}
    (gpt / "scores.jsonl").write_text(
        record(4, "kid", 1.0, sampling=usual)
        + record(4, "fid", 2.0, sampling={**usual, "temperature": 0.5})
    )
    gan, _, vae, text, *notes = lines(folder)
    assert gan.endswith("  fid 2 [1], kid 3, is 9.5 [1]")
    assert vae.endswith("  fid 1 [2]")
    assert text.endswith("  kid 1, fid 2 [3]")
    assert notes == [
        "[1] of samples drawn with psi 0.7, noise none",
        "[2] of samples drawn with truncation 0.5",
        "[3] of samples drawn with temperature 0.5",
    ]


def test_mistakes(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        ((tmp_path / "none",), "is not a folder; name one that has runs in it"),
        ((tmp_path / "empty",), "holds no runs; `genjax train` makes one below runs/"),
        ((folder, "--sort", "fud"), "unknown score of the runs in"),
    ):
        assert said in refusal("runs", *arguments)
