"""Ablations, results and scores of strangers: what they name is text, and leads nowhere."""

import json

import pytest
from ablation_records import make_record, write_records
from in_process import contents, genjax, refusal
from records_test import record

from genjax.ablation.grid import load_ablation
from genjax.ablation.plan import make_plan, planned
from genjax.errors import UserError

HUGE = 10**400


@pytest.mark.parametrize("name", ["..", ".", "", "/"])
def test_variants_are_no_way_out(tmp_path, name):
    path = tmp_path / "grid.py"
    path.write_text(
        "from genjax.presets import preset\n"
        f"VARIANTS = {{{name!r}: preset('dcgan-digits')}}\n"
        f"BASELINE, SEEDS, SCORES = {name!r}, 1, {{'fid': ('fid',)}}\n"
    )
    with pytest.raises(UserError, match="must have names that differ in letters or digits"):
        load_ablation(path)


@pytest.mark.parametrize(
    "groups",
    [
        [{"mode": "single", "cells": ["/../../evil", "0123456789ab"]}],
        [{"mode": "single", "cells": [3]}],
        [{"mode": "exec", "cells": ["0123456789ab"]}],
        [{"mode": "single", "cells": []}],
        3,
    ],
    ids=["path", "number", "mode", "empty", "no list"],
)
def test_plans_of_strangers(tmp_path, groups):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "plan.json").write_text(json.dumps({"groups": groups}))
    with pytest.raises(UserError, match=r"plan\.json is damaged"):
        planned(tmp_path / "grid", ["0123456789ab"])
    with pytest.raises(UserError, match=r"plan\.json is damaged"):
        make_plan(tmp_path / "grid", [], "single")


RESULTS = {
    "huge": {"times": {"train_s": HUGE, "evaluate_s": 1}},
    "NaN": {"times": {"train_s": float("nan"), "evaluate_s": 1}},
    "no list": {"curve": {"evaluation/up": [1.0], "step": 5}},
    "half a character": {"variant": "\ud800"},
    "deep": {"protocol": "DEEP"},
    "types": {"scores": {"last": 3, "best": []}},
}


@pytest.mark.parametrize("case", RESULTS)
def test_results_of_strangers_are_refused(tmp_path, case):
    path = write_records(tmp_path / "results.jsonl", [make_record(**RESULTS[case])])
    path.write_text(path.read_text().replace('"DEEP"', "[" * 100_000))
    line = refusal("table", path)
    assert f"{path}, line 1, is no record of an ablation" in line
    assert len(line) < 1000
    assert list(contents(tmp_path)) == ["results.jsonl"]


def test_names_in_results_are_text(tmp_path):
    names = ("base", "../../x", "$\\frac{", "[/bold]")
    records = [make_record(name, seed, seed + 1.0) for name in names for seed in (0, 1)]
    folder = tmp_path / "a" / "b"
    write_records(folder / "results.jsonl", records)
    for command in ("table", "plot"):
        outcome = genjax(command, folder)
        assert outcome.status == 0, outcome
    table = (folder / "table.md").read_text()
    for name in names:
        assert name in table
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


SCORES = {
    "huge": {"value": HUGE},
    "text": {"value": "1"},
    "side": {"better": "faster"},
    "no name": {"subject": None},
    "half a character": {"subject": "\ud800"},
    "features": {"features": []},
}


@pytest.mark.parametrize("case", SCORES)
def test_scores_of_strangers_are_refused(tmp_path, case):
    path = write_records(tmp_path / "scores.jsonl", [record(**SCORES[case])])
    assert f"{path}, line 1, is no record of a score" in refusal("compare", path)


def test_names_in_scores_are_text(tmp_path):
    path = write_records(tmp_path / "scores.jsonl", [record(subject="[/bold]")])
    outcome = genjax("compare", path)
    assert outcome.status == 0
    assert "1. [/bold]" in outcome.out
