"""`genjax runs`: what lies below a folder, how far it came, and what is wrong with it."""

import json
import shutil
from pathlib import Path

import pytest
from in_process import genjax, refusal

from genjax.evals.records import PROTOCOL

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


def test_scores_of_the_checkpoint_that_was_scored_last(folder):
    def record(step, metric, value):
        found = {"subject": "vae", "metric": metric, "value": value, "spread": None, "seed": 0}
        found |= {"better": "lower", "step": step}
        for name in PROTOCOL:
            part, _, rest = name.partition(".")
            found = {**found, part: {**found.get(part, {}), rest: "x"} if rest else "x"}
        return json.dumps(found) + "\n"

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


def test_mistakes(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        ((tmp_path / "none",), "is not a folder; name one that has runs in it"),
        ((tmp_path / "empty",), "holds no runs; `genjax train` makes one below runs/"),
        ((folder, "--sort", "fud"), "unknown score of the runs in"),
    ):
        assert said in refusal("runs", *arguments)
