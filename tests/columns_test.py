"""Lists and tables on terminals of any width: whole, and not cut within a word."""

import pytest
from in_process import genjax

from genjax.commands import columns
from genjax.commands.columns import lay_out

HEADER = ("name", "status", "where")
ROWS = [("digits", "embedded", "scikit-learn"), ("a-long-name", "missing", "genjax data prepare x")]


def test_rows_stand_side_by_side_where_there_is_room():
    wide = [
        "name         status    where",
        "digits       embedded  scikit-learn",
        "a-long-name  missing   genjax data prepare x",
    ]
    assert lay_out(ROWS, None, HEADER) == lay_out(ROWS, 44, HEADER) == wide


def test_what_has_no_room_follows_below_with_its_title():
    assert lay_out(ROWS, 43, HEADER) == [
        "name         status",
        "digits       embedded",
        "  where: scikit-learn",
        "a-long-name  missing",
        "  where: genjax data prepare x",
    ]
    assert lay_out(ROWS, 12) == [
        "digits",
        "  embedded",
        "  scikit-learn",
        "a-long-name",
        "  missing",
        "  genjax data prepare x",
    ]


def test_lists_break_between_their_things():
    rows = [("a", "one 1, two 2, three 3, a whole command")]
    assert lay_out(rows, 16) == ["a", "  one 1, two 2,", "    three 3,", "    a whole command"]
    rows = [("a", "a clause; another one, long")]
    assert lay_out(rows, 20) == ["a", "  a clause;", "    another one,", "    long"]


def test_a_shorter_row_ends_with_a_remark():
    rows = [("a", "b", "c"), ("longer", "a remark that is wider than its column")]
    assert lay_out(rows) == ["a       b  c", "longer  a remark that is wider than its column"]
    assert lay_out(rows, 20)[-2:] == ["longer", "  a remark that is wider than its column"]


@pytest.mark.parametrize(
    ("command", "width"),
    [
        ("presets", 60),
        ("presets dcgan-digits vae-digits", 80),
        ("data list", 60),
        ("data list", 80),
    ],
)
def test_no_line_is_wider_than_a_terminal(monkeypatch, tmp_path, command, width):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    whole = genjax(*command.split()).out
    monkeypatch.setattr(columns.console, "_width", width)
    monkeypatch.setattr(columns.console, "_force_terminal", True)
    narrow = genjax(*command.split()).out
    assert max(map(len, narrow.splitlines())) <= width
    assert "…" not in narrow
    # Nothing is lost.
    assert set(whole.split()) <= set(narrow.replace(":", "").split()) | set(narrow.split())
