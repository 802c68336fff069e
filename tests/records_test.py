"""Records of scores: stored, read back, ranked, and refused where their protocols differ."""

import json

import pytest

from genjax.errors import UserError
from genjax.evals.records import (
    FILE,
    PROTOCOL,
    append_records,
    differences,
    name_subjects,
    rank,
    read_records,
)


def record(metric="fid", value=1.0, **changes):
    base = {
        "metric": metric,
        "value": value,
        "spread": None,
        "better": "lower",
        "features": {"name": "classifier-digits", "hash": "abc", "resize": "none"},
        "reference": {"data": "digits", "split": "train", "count": 1500, "contents": "123"},
        "samples": 1000,
        "parameters": {},
        "subject": "a",
        "config_hash": "0",
        "ema": False,
        "truncation": None,
        "checkpoint": "last",
        "step": 100,
        "seed": 0,
        "genjax": "0.1.0",
    }
    for name, change in changes.items():
        outer, _, inner = name.partition("__")
        base[outer] = {**base[outer], inner: change} if inner else change
    return base


def test_records_are_read_back_and_the_latest_stands(tmp_path):
    append_records(tmp_path / "scores.jsonl", [record(value=3.0), record("kid", 0.5)])
    append_records(tmp_path / "scores.jsonl", [record(value=2.0), record(value=9.0, step=50)])
    found = read_records(tmp_path)
    assert [(r["metric"], r["value"], r["step"]) for r in found] == [
        ("kid", 0.5, 100),
        ("fid", 2.0, 100),
        ("fid", 9.0, 50),
    ]
    of_file = [{**r, "path": str(tmp_path.resolve())} for r in read_records(tmp_path / FILE)]
    assert of_file == found


def test_runs_in_folders_of_one_name_are_two(tmp_path):
    """They may have been written into one file, or each into its folder's own."""
    runs = [
        record(subject="seed0", path=f"/runs/{loss}/seed0", config_hash=loss, value=value)
        for loss, value in (("hinge", 2.0), ("wasserstein", 1.0))
    ]
    append_records(tmp_path / "both.jsonl", runs)
    assert len(read_records(tmp_path / "both.jsonl")) == 2
    read = []
    for row in runs:
        folder = tmp_path / row["config_hash"] / "seed0"
        folder.mkdir(parents=True)
        append_records(folder / "scores.jsonl", [row, {**row, "path": "/before/it/moved"}])
        read += read_records(folder)
    for found in (read_records(tmp_path / "both.jsonl"), read):
        assert name_subjects(rank(found, ["fid"])["fid"]) == ["wasserstein/seed0", "hinge/seed0"]
    again = {**runs[0], "config_hash": "0123456789ab", "value": 3.0}
    append_records(tmp_path / "both.jsonl", [again])
    names = name_subjects(read_records(tmp_path / "both.jsonl"))
    assert names == ["hinge/seed0 (hinge)", "wasserstein/seed0", "hinge/seed0 (012345)"]
    # Those of before knew no path.
    assert name_subjects([record(), record("kid"), record(subject="b")]) == ["a", "a", "b"]


def test_ranks_by_the_better_side():
    records = [record(value=v, subject=s) for v, s in ((2.0, "a"), (1.0, "b"), (3.0, "c"))]
    assert [r["subject"] for r in rank(records, ["fid"])["fid"]] == ["b", "a", "c"]
    higher = [{**r, "metric": "is", "better": "higher"} for r in records]
    assert [r["subject"] for r in rank(records + higher, [])["is"]] == ["c", "a", "b"]
    with pytest.raises(UserError, match="no record of 'kid'; there are: fid"):
        rank(records, ["kid"])


CHANGES = {
    "features.name": "inception",
    "features.hash": "abd",
    "features.resize": "clean",
    "reference.data": "mnist",
    "reference.split": "test",
    "reference.count": 1499,
    "reference.contents": "124",
    "samples": 999,
    "parameters": {"neighbours": 3},
    "truncation": 0.5,
    "sampling": {"temperature": 0.5},
    "labels": "shares of the reference",
    "ema": True,
    "checkpoint": "best",
    "genjax": "0.2.0",
}


@pytest.mark.parametrize("field", PROTOCOL)
def test_another_protocol_is_refused(field):
    other = record(value=0.1, subject="b", **{field.replace(".", "__"): CHANGES[field]})
    records = [record(), other]
    assert list(differences(records)) == [field]
    with pytest.raises(UserError, match=f"protocols differ: {field} is .* or .*--ignore {field}"):
        rank(records, ["fid"])
    assert [r["subject"] for r in rank(records, ["fid"], [field])["fid"]] == ["b", "a"]


def test_records_of_before_say_nothing_of_labels(tmp_path):
    """They rank among each other and with models without labels, but not with labels as in data."""
    file = tmp_path / "scores.jsonl"
    append_records(file, [record(subject="old"), record(subject="new", labels=None, value=2.0)])
    old, new = read_records(file)
    assert [r["subject"] for r in rank([old, new], ["fid"])["fid"]] == ["old", "new"]
    conditional = record(labels="shares of the reference", subject="c")
    with pytest.raises(UserError, match='labels is "shares of the reference" or null'):
        rank([old, conditional], ["fid"])


def test_the_seed_and_the_step_may_differ():
    records = [record(seed=1, step=7, subject="b", config_hash="1", value=0.5), record()]
    assert [r["subject"] for r in rank(records, [])["fid"]] == ["b", "a"]


def test_a_score_without_features_is_not_one_with():
    assert set(differences([record(), record(features=None)])) == {
        "features.name",
        "features.hash",
        "features.resize",
    }


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="holds no scores; run: genjax evaluate"):
        read_records(tmp_path)
    with pytest.raises(UserError, match="run is not there; name folders of runs, or files of"):
        read_records(tmp_path / "run")
    file = tmp_path / "scores.jsonl"
    file.write_text(json.dumps(record()) + "\n{}\n")
    with pytest.raises(UserError, match=r"scores.jsonl, line 2, is no record"):
        read_records(file)
    file.write_text("")
    with pytest.raises(UserError, match="holds no scores"):
        read_records(file)
    with pytest.raises(UserError, match="'sample' is no field; choices: features"):
        rank([record()], [], ["sample"])
