"""Results of ablations: records are read, put together and refused; statistics by other means."""

import itertools
import json
import math
import statistics

import numpy as np
import pytest
from ablation_records import make_failed, make_record, write_records

from genjax.ablation.results import by_variant, differences, directions, read_results, succeeded
from genjax.ablation.statistics import Difference, holm, mean_interval, paired_difference
from genjax.errors import UserError


def test_a_folder_and_a_file_are_read_alike(tmp_path):
    records = [make_record("base", 1), make_record("other", 0), make_record("base", 0)]
    file = write_records(tmp_path / "results.jsonl", records)
    assert read_results([tmp_path]) == read_results([file])
    assert read_results([file]) == (records, [])
    groups = by_variant(records)
    assert list(groups) == ["base", "other"]
    assert [record["seed"] for record in groups["base"]] == [0, 1]


def test_results_of_two_machines_are_put_together(tmp_path):
    one = write_records(tmp_path / "a.jsonl", [make_record(score=1.0), make_record("x", 0, 2.0)])
    two = write_records(tmp_path / "b.jsonl", [make_record("x", 0, 3.0), make_record("x", 1, 4.0)])
    found = read_results([one, two]).records
    assert [(r["variant"], r["seed"], r["scores"]["last"]["up"]) for r in found] == [
        ("base", 0, 1.0),
        ("x", 0, 3.0),
        ("x", 1, 4.0),
    ]
    write_records(two, [make_record("x", 0, config_hash="new")])
    message = r"'x' with seed 0 has configuration x-0 in .*a.jsonl but new in .*b.jsonl"
    with pytest.raises(UserError, match=message):
        read_results([one, two])


def test_other_code_versions_and_devices_are_warned_of(tmp_path):
    other = make_record(
        seed=1, commit=None, device="1 x gpu", versions={"genjax": "0.1.0", "jax": "0.11"}
    )
    warnings = read_results([write_records(tmp_path / "r.jsonl", [make_record(), other])]).warnings
    assert warnings == [
        "the runs differ in commit (ab12, None), so their code may differ",
        "the runs differ in device (1 x cpu, 1 x gpu), so their seconds do not compare",
        "the runs differ in the version of jax (0.10.2, 0.11)",
    ]


def test_other_protocols_are_refused(tmp_path):
    other = make_record(seed=1)
    other["protocol"]["up"] = {"features": {"name": "inception", "hash": "abc"}, "samples": 7}
    message = (
        r'differ in protocol: up.features.name is "classifier" or "inception"; '
        r"up.samples is 1000 or 7; run"
    )
    with pytest.raises(UserError, match=message):
        read_results([write_records(tmp_path / "r.jsonl", [make_record(), other])])


def test_a_failed_run_has_no_protocol_to_differ(tmp_path):
    records = [make_failed("x"), make_record()]
    found = read_results([write_records(tmp_path / "r.jsonl", records)]).records
    assert succeeded(found) == [records[1]]
    assert directions(found) == {"up": "higher", "down_1": "lower"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ablation": "large"}, "their ablation is 'small' or 'large'"),
        ({"baseline": "x"}, "their baseline is 'base' or 'x'"),
        ({"better": {"up": "lower", "down_1": "lower"}}, 'better: up is "higher" or "lower"'),
    ],
)
def test_mixtures_are_refused(tmp_path, changes, message):
    records = [make_record(), make_record(seed=1, **changes)]
    with pytest.raises(UserError, match=message):
        read_results([write_records(tmp_path / "r.jsonl", records)])


def scores(**changes):
    last = {"step": 1, "up": 1.0, "down_1": 1.0}
    return {"last": {**last, **changes}, "best": last}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": True}, "'seed' is True"),
        ({"seed": "0"}, "'seed' is '0'"),
        ({"status": "fine"}, "'status' is 'fine'; choices: ok, failed"),
        ({"status": "failed"}, "a failed cell needs a reason"),
        ({"better": {"up": "more", "down_1": "lower"}}, "'better.up' is 'more'; choices: higher"),
        ({"scores": {}}, "'scores' has nothing"),
        ({"scores": scores(other=1)}, "'scores.last' is not a step and the scores in 'better'"),
        ({"scores": scores(up=math.nan)}, "NaN is not valid JSON"),
        ({"scores": scores(up=math.inf)}, "Infinity is not valid JSON"),
        ({"scores": scores(up=None)}, "'scores.last.up' is None, which is no finite number"),
        ({"times": {}}, "'times.train_s' is None"),
        ({"curve": {"step": [1], "evaluation/up": [1, 2]}}, "'curve.evaluation/up' does not have"),
        ({"curve": {"step": [1], "evaluation/up": ["1"]}}, "'curve.evaluation/up' is '1'"),
    ],
)
def test_damaged_records_are_refused_with_their_line(tmp_path, changes, message):
    records = [make_record(), {**make_record(seed=1), **changes}]
    with pytest.raises(UserError, match=rf"r.jsonl, line 2, is no record of .*: {message}"):
        read_results([write_records(tmp_path / "r.jsonl", records)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"ablation": "small"', "line 2.*delimiter"),
        (b"[]", "line 2.*it is no JSON object"),
        (b"{}", "line 2.*'ablation' is missing"),
        (b"", "line 2"),
        (b"\xff", "line 2"),
    ],
)
def test_damaged_lines_are_refused(tmp_path, line, message):
    file = tmp_path / "results.jsonl"
    file.write_bytes(json.dumps(make_record()).encode() + b"\n" + line + b"\n")
    with pytest.raises(UserError, match=message):
        read_results([tmp_path])
    text = json.dumps(make_record(scores=scores(up=0.5))).replace("0.5", "1e999")
    file.write_text(text)
    with pytest.raises(UserError, match=r"'scores.last.up' is inf, which is no finite number"):
        read_results([file])


def test_no_results_are_refused(tmp_path):
    with pytest.raises(UserError, match="is no file of results; give the folder of an ablation"):
        read_results([tmp_path])
    (tmp_path / "results.jsonl").touch()
    with pytest.raises(UserError, match=r"results.jsonl holds no results; run: genjax ablate"):
        read_results([tmp_path])


def test_differences_are_found_in_nested_fields():
    one = {"a": {"b": 1, "c": [1, 2]}, "d": "x"}
    assert differences([one, one]) == {}
    assert differences([one, {"a": {"b": 1, "c": [2]}}]) == {"a.c": [[1, 2], [2]], "d": ["x", None]}


def test_interval_against_all_resamples():
    """Of three values there are 27 resamples, so the quantiles of their means are known."""
    values = [0.0, 3.0, 9.0]
    means = np.sort([np.mean(sample) for sample in itertools.product(values, repeat=3)])
    # One in 27 is 3.7 %, more than the 2.5 % that lie outside on each side.
    assert mean_interval(values) == (4.0, means[0], means[-1], 3)


def test_interval_against_the_normal_one():
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    mean, low, high, n = mean_interval(values.tolist())
    half = 1.959964 * np.std(values) / math.sqrt(400)
    assert mean == pytest.approx(statistics.fmean(values))
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.04 * half)
    assert n == 400


def test_interval_is_the_same_each_time():
    assert mean_interval([0.1, 0.5, 0.2, 0.9]) == mean_interval([0.1, 0.5, 0.2, 0.9])


@pytest.mark.filterwarnings("error")
def test_interval_of_one_value_and_of_equal_ones():
    assert mean_interval([0.1]) == (0.1, None, None, 1)
    assert mean_interval([0.1] * 3) == (0.1, 0.1, 0.1, 3)


def test_paired_p_in_closed_form():
    """Student's t with 2 degrees has the distribution function (1 + t / sqrt(2 + t^2)) / 2."""
    ours, theirs = {0: 3.0, 1: 7.0, 2: 8.0, 9: 1.0}, {2: 4.0, 1: 5.0, 0: 2.0, 8: 1.0}
    differences = [1.0, 2.0, 4.0]
    t = statistics.fmean(differences) / (statistics.stdev(differences) / math.sqrt(3))
    found = paired_difference(ours, theirs)
    assert found.mean == pytest.approx(7 / 3)
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert found.n == 3
    opposite = paired_difference(theirs, ours)
    assert (opposite.mean, opposite.p) == pytest.approx((-found.mean, found.p))


def test_paired_p_of_students_sleep():
    """The hours of sleep that two drugs gain, of Student 1908: t is 4.0621 with 9 degrees."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired_difference(dict(enumerate(second)), dict(enumerate(first)))
    assert found.mean == pytest.approx(1.58)
    assert found.p == pytest.approx(0.002833, abs=5e-7)


@pytest.mark.filterwarnings("error")
def test_pairs_that_can_not_be_tested():
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert paired_difference({}, {}) is None
    assert paired_difference({0: 1.0, 1: 2.0}, {0: 3.0}) == Difference(-2.0, None, 1)
    assert paired_difference({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}) == Difference(0.0, 1.0, 2)
    assert paired_difference({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}) == Difference(1.0, None, 2)
    # 0.3 - 0.2 and 0.4 - 0.3 differ in their last bits.
    nearly = paired_difference({0: 0.3, 1: 0.4}, {0: 0.2, 1: 0.3})
    assert nearly.p is None


def test_holm_by_hand():
    """The 15 p of Benjamini & Hochberg 1995, section 3.2, in another order than theirs."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    # 15 p_1, 14 p_2, and so on; 9 x 0.0298 and 8 x 0.0344 are less than 10 x 0.0278.
    corrected = [0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213] + [1.0] * 6
    assert holm(p[::-1]) == pytest.approx(corrected[::-1])
    assert sum(value < 0.05 for value in corrected) == 3
    assert holm([]) == []
    assert holm([0.5, 0.5]) == [1.0, 1.0]
