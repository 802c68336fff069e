"""Tables of an ablation, cell by cell against numbers that were worked out by hand."""

import csv
import io
import math
import sys

import pytest
from ablation_records import make_failed, make_record, write_records
from in_process import genjax

from genjax import cli
from genjax.ablation.describe import describe
from genjax.ablation.rows import make_rows
from genjax.ablation.table import (
    COLUMNS,
    escape_latex,
    format_number,
    to_csv,
    to_latex,
    to_markdown,
)
from genjax.commands.arguments import console
from genjax.errors import UserError

SCORES = {"base": (1, 2, 3), "x_1": (2, 4, 6), "y": (1, 2), "w|&": (5, 5)}
# Differences of 1, 2 and 3 have a standard deviation of 1: t is 2 sqrt(3), with 2 degrees.
P_X = 1 - math.sqrt(12 / 14)
# Those of 4 and 3: t is 7, with 1 degree.
P_W = 1 - 2 * math.atan(7) / math.pi


@pytest.fixture
def records():
    """Three seeds; of `y` one has not run, of `w|&` one failed, of `z` all."""
    found = [
        make_record(variant, seed, float(score), score + 0.5)
        for variant, scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]
    found.append(make_failed("w|&", 2, "step 9: generator_loss\nis nan"))
    return found + [make_failed("z", seed) for seed in range(3)]


def test_markdown_cell_by_cell(records):
    """Of 27 resamples of three values, the extreme ones are 3.7 %: the interval reaches them."""
    lines = to_markdown(make_rows(records), records).splitlines()
    table = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in lines[:7]]
    names = ["up", "up, best", "up, worst seed", "up, difference"]
    down = [name.replace("up", "down_1") for name in names]
    assert table[0] == ["variant", *names, *down, "failed", "s/run"]
    assert table[1] == ["---"] * 11
    assert table[2] == [
        *("base (baseline)", "2 [1, 3]", "2.5 [1.5, 3.5]", "1 (seed 0)", ""),
        *("-2 [-3, -1]", "-2.5 [-3.5, -1.5]", "-1 (seed 0)", "", "0 of 3", "3"),
    ]
    # Holm: three times the lowest p, which the next, twice 0.09, does not fall below.
    assert table[3] == [
        *("x_1", "4 [2, 6]", "4.5 [2.5, 6.5]", "2 (seed 0)", "+2 (p = 0.22)"),
        *("-4 [-6, -2]", "-4.5 [-6.5, -2.5]", "-2 (seed 0)", "-2 (p = 0.22)", "0 of 3", "3"),
    ]
    assert table[4] == [
        *("y", "1.5 [1, 2]", "2 [1.5, 2.5]", "1 (seed 0)", "0 (p = 1)"),
        *("-1.5 [-2, -1]", "-2 [-2.5, -1.5]", "-1 (seed 0)", "0 (p = 1)", "0 of 2", "2.5"),
    ]
    assert table[5] == [
        *(r"w\|&", "5 [5, 5]", "5.5 [5.5, 5.5]", "5 (seed 0)", "+3.5 (p = 0.22)"),
        *("-5 [-5, -5]", "-5.5 [-5.5, -5.5]", "-5 (seed 0)", "-3.5 (p = 0.22)"),
        *("1 of 3", "2.5"),
    ]
    failed = ["failed", "failed", "", ""]
    assert table[6] == ["z", *failed, *failed, "3 of 3", ""]
    assert lines[7:12] == [
        "",
        "Failed:",
        "",
        "- w|&, seed 2: step 9: generator_loss is nan",
        "- z, seeds 0, 1, 2: step 7: loss is nan",
    ]
    assert lines[12:] == ["", describe(make_rows(records), records)]


def test_the_line_below_says_what_the_numbers_are(records):
    for words in (
        "Ablation small; seeds of a variant: 2 to 3; steps: 1,000.",
        "its 95 % percentile bootstrap interval (10,000 resamples of the seeds).",
        "Higher is better for up. Lower is better for down_1.",
        "Differences are from base at the last checkpoint, paired by seed, with p of a two-sided "
        "paired t test after Holm's correction over all comparisons of one score (3).",
        "Without a result: y, seed 2.",
        "Protocol: features.name classifier (up), features.hash abc (up), samples 1000.",
        "Commit ab12; genjax 0.1.0, jax 0.10.2; 1 x cpu. Seed mode vmap. Run on 2026-11-25.",
    ):
        assert words in describe(make_rows(records), records)
    records[0] |= {
        "commit": None,
        "device": "1 x gpu",
        "versions": {"genjax": "0.1.0", "jax": "0.11"},
        "seed_mode": "scan",
        "times": {"finished": "2026-11-24T23:00:00Z", "train_s": 1.0},
    }
    words = (
        "Commit unknown, ab12; genjax 0.1.0, jax 0.11 and 0.10.2; 1 x gpu, 1 x cpu. Seed mode "
        "scan, vmap, whose seconds do not compare. Run on 2026-11-24 to 2026-11-25."
    )
    assert describe(make_rows(records), records).endswith(words)


def test_csv_has_raw_numbers(records):
    rows = list(csv.DictReader(io.StringIO(to_csv(make_rows(records)))))
    assert tuple(rows[0]) == COLUMNS
    found = {(row["variant"], row["checkpoint"], row["score"]): row for row in rows}
    assert len(found) == len(rows) == 5 * 2 * 2
    x = found["x_1", "last", "down_1"]
    numbers = {name: float(x[name]) for name in COLUMNS[3:]}
    assert numbers == {
        "mean": -4,
        "low": -6,
        "high": -2,
        "n": 3,
        "worst": -2,
        "worst_seed": 0,
        "difference": -2,
        "p": pytest.approx(P_X),
        "p_holm": pytest.approx(3 * P_X),
        "failed": 0,
        "train_s": 3,
    }
    w = found["w|&", "best", "up"]
    assert float(w["p"]) == pytest.approx(P_W)
    assert float(w["p_holm"]) == pytest.approx(3 * P_X)
    assert (w["n"], w["failed"], w["train_s"]) == ("2", "1", "2.5")
    assert float(found["y", "last", "up"]["p_holm"]) == 1
    base, z = found["base", "last", "up"], found["z", "last", "up"]
    assert [base[name] for name in ("difference", "p", "p_holm")] == ["", "", ""]
    assert {name: z[name] for name in COLUMNS[3:] if z[name]} == {"n": "0", "failed": "3"}


def test_latex_is_escaped_and_rectangular(records):
    comment, *lines = to_latex(make_rows(records), records).splitlines()
    assert comment == f"% {describe(make_rows(records), records)}"
    assert lines[0] == r"\begin{tabular}{lrrrrrrrrrr}"
    assert lines[-1] == r"\end{tabular}"
    body = [line for line in lines if line.endswith(r" \\")]
    assert [line.replace(r"\&", "").count("&") for line in body] == [10] * 6
    assert body[2].startswith(r"x\_1 & 4 [2, 6] & ")
    assert body[4].startswith(r"w|\& & 5 [5, 5] & ")
    assert escape_latex(r"5% #1_a {b} $c ~d ^e \f <g>") == (
        r"5\% \#1\_a \{b\} \$c \textasciitilde{}d \textasciicircum{}e \textbackslash{}f $<$g$>$"
    )


def test_one_seed_has_neither_interval_nor_p():
    records = [make_record("base", 0, 0.123456), make_record("x", 0, 12345.6)]
    markdown = to_markdown(make_rows(records), records)
    assert "| base (baseline) | 0.1235 | 0.1235 | 0.1235 (seed 0) |  |" in markdown
    assert "| x | 12350 | 12350 | 12350 (seed 0) | +12350 |" in markdown
    assert "seeds of a variant: 1;" in markdown
    assert "Holm" not in markdown
    assert "Failed" not in markdown


def test_a_low_p_and_the_worst_of_equals():
    records = [
        make_record(variant, seed, offset + 1e-3 * seed * sign)
        for variant, offset, sign in (("base", 0.0, 1), ("x", 1.0, -1))
        for seed in (3, 1, 2, 0, 4)
    ]
    records += [make_record("same", seed, 1.0) for seed in range(5)]
    base, x, same = make_rows(records)
    assert (x.summaries["last", "up"].worst, x.summaries["last", "up"].worst_seed) == (0.996, 4)
    assert same.summaries["last", "up"].worst_seed == 0
    assert base.summaries["last", "down_1"].worst_seed == 0
    assert "| +0.996 (p < 0.001) |" in to_markdown([base, x, same], records)


def test_a_baseline_without_results(records):
    """A variant can be looked at before the baseline has run, or though it failed."""
    others = [record for record in records if record["variant"] != "base"]
    markdown = to_markdown(make_rows(others), others)
    assert "| x_1 | 4 [2, 6] | 4.5 [2.5, 6.5] | 2 (seed 0) |  |" in markdown
    assert "The baseline has no result." in markdown
    failed = [make_failed("base", 0), *others]
    assert "| base (baseline) | failed | failed |  |  |" in to_markdown(make_rows(failed), failed)


def test_all_failed():
    records = [make_failed("base", 0), make_failed("x", 0)]
    assert to_markdown(make_rows(records), records).splitlines()[:4] == [
        "| variant | failed | s/run |",
        "| --- | --- | --- |",
        "| base (baseline) | 1 of 1 |  |",
        "| x | 1 of 1 |  |",
    ]


def test_rows_are_sorted_by_the_better_side(records):
    for score in ("up", "down_1"):
        rows = make_rows(records, score)
        assert [row.variant for row in rows] == ["w|&", "x_1", "base", "y", "z"]
    with pytest.raises(UserError, match="unknown score 'upp'; did you mean 'up'"):
        make_rows(records, "upp")


def test_numbers_have_four_digits_at_most():
    numbers = (0.0, -0.0, 1.0, -0.00012345, 99999.0, 1234567.0, 3.14159)
    found = [format_number(number) for number in numbers]
    assert found == ["0", "0", "1", "-0.0001234", "100000", "1.235e+06", "3.142"]


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["genjax", *map(str, arguments)])
    cli.main()


def test_the_command_prints_and_writes(records, tmp_path, monkeypatch, capsys):
    one = write_records(tmp_path / "one" / "results.jsonl", records[:5])
    two = write_records(tmp_path / "two" / "results.jsonl", records[5:])
    call(monkeypatch, "table", one.parent, two, "--sort", "up")
    out = capsys.readouterr().out
    written = {path.name: path.read_text() for path in one.parent.iterdir() if path != one}
    assert sorted(written) == ["table.csv", "table.md", "table.tex"]
    assert written["table.md"] == to_markdown(make_rows(records, "up"), records)
    assert out.startswith(written["table.md"])
    assert f"wrote {one.parent / 'table.md'}, " in out
    call(monkeypatch, "table", one.parent, two, "--sort", "up", "--out", tmp_path / "a" / "b")
    assert {p.name: p.read_text() for p in (tmp_path / "a" / "b").iterdir()} == written


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table"], "give the folder of an ablation, or files of its results"),
        (["table", "nowhere"], "nowhere is no file of results"),
        (["table", "results.jsonl", "--sort", "fid"], "unknown score 'fid'; choices: down_1, up"),
        (["table", "results.jsonl", "--out", "results.jsonl"], "is a file; give a folder"),
        (["plot", "nowhere"], "nowhere is no file of results"),
    ],
)
def test_mistakes_get_one_line_and_status_2(arguments, words, tmp_path, monkeypatch, capsys):
    write_records(tmp_path / "results.jsonl", [make_record()])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *arguments)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_shows_a_score_a_line(records, tmp_path, monkeypatch, width):
    write_records(tmp_path / "results.jsonl", records)
    piped = genjax("table", tmp_path).out
    assert "| base (baseline) | 2 [1, 3] |" in piped
    monkeypatch.setattr(console, "_width", width)
    monkeypatch.setattr(console, "_force_terminal", True)
    lines = genjax("table", tmp_path).out.splitlines()
    shown = lines[: lines.index("")]
    assert max(map(len, shown)) <= width
    assert "  down_1, worst seed: -1 (seed 0)" in shown
    assert [line for line in shown if line.startswith("base (baseline)")]
    assert "Failed:" in lines
    assert (tmp_path / "table.md").read_text().splitlines()[0] == piped.splitlines()[0]
