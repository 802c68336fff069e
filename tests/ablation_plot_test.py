"""Figures of an ablation: the files are valid, the same each time, and say what failed."""

import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from ablation_records import make_failed, make_record, write_records
from PIL import Image

from genjax import cli
from genjax.ablation.plot import plot_curves, plot_scores
from genjax.ablation.rows import make_rows
from genjax.ablation.style import log_scale, new_figure, settings, spans_decades
from genjax.errors import UserError

matplotlib = pytest.importorskip("matplotlib", reason="needs the extra genjax-models[plot]")


@pytest.fixture
def few():
    records = [make_record(v, s, 1.0 + s) for v in ("base", "x") for s in range(3)]
    return [*records, make_failed("x", 3), make_failed("y", 0)]


@pytest.fixture
def many(few):
    return few + [make_record(f"a variant, number {i}", 0, 0.1 * i) for i in range(9)]


def check(files, name):
    png, svg = files
    assert [png.name, svg.name] == [f"{name}.png", f"{name}.svg"]
    with Image.open(png) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.std() > 5
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    return svg.read_text()


def draw(name, records, folder):
    folder.mkdir()
    if name == "curves":
        return plot_curves(records, folder)
    return plot_scores(make_rows(records), records, folder)


@pytest.mark.parametrize("which", ["few", "many"])
@pytest.mark.parametrize("name", ["curves", "scores"])
def test_files_are_valid_and_the_same_each_time(name, which, tmp_path, request):
    records = request.getfixturevalue(which)
    files = draw(name, records, tmp_path / "one")
    # Texts are drawn as paths; a comment before each has its words.
    text = check(files, name)
    assert "<!-- failed -->" in text or "<!-- y (1 of 1 failed) -->" in text
    assert "<dc:date>" not in text
    again = draw(name, records, tmp_path / "two")
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in files]


def test_failed_seeds_are_named_and_left_out(few, tmp_path):
    text = check(draw("curves", few, tmp_path / "curves"), "curves")
    for words in ("base", "x (1 of 4 failed)", "y (1 of 1 failed)", "up", "mean and range over"):
        assert f"<!-- {words}" in text
    bare = [record for record in few if record["status"] == "ok" or record["variant"] == "y"]
    text = check(draw("curves", bare, tmp_path / "bare"), "curves")
    assert "<!-- x -->" in text


def test_many_variants_get_a_panel_each(many, tmp_path):
    text = check(draw("curves", many, tmp_path / "curves"), "curves")
    assert "<!-- up: mean and range over seeds; base in grey -->" in text
    assert text.count("<!-- failed -->") == 1
    assert "<!-- x (1 of 4 failed) -->" in text
    assert "<!-- a variant, number 8 -->" in text


def test_ten_variants_share_a_panel_and_eleven_do_not(tmp_path):
    """Also without a baseline, whose colour is no other's."""
    for count, together in ((9, True), (10, False)):
        records = [make_record(f"v{i}") for i in range(count)]
        text = check(draw("curves", records, tmp_path / str(count)), "curves")
        assert ("<!-- mean and range over seeds -->" in text) == together


def test_curves_without_evaluations(tmp_path):
    assert plot_curves([make_record(curve={}), make_failed("x")], tmp_path) == []
    with pytest.raises(UserError, match="all runs of these results failed"):
        plot_scores(make_rows([make_failed()]), [make_failed()], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_settings_are_left_alone(few, tmp_path):
    with matplotlib.rc_context({"font.size": 30}):
        before = dict(matplotlib.rcParams)
        files = draw("scores", few, tmp_path / "large")
        assert dict(matplotlib.rcParams) == before
    again = draw("scores", few, tmp_path / "usual")
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in files]


def test_a_logarithmic_axis_is_for_large_bad_scores():
    assert spans_decades([1.0, 31.0], "lower")
    assert not spans_decades([1.0, 29.0], "lower")
    assert not spans_decades([0.0, 31.0], "lower")
    assert not spans_decades([1.0, 31.0], "higher")


def test_without_matplotlib(few, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(UserError, match=r"pip install 'genjax-models\[plot\]'"):
        plot_curves(few, tmp_path)


def test_the_command_writes_four_files(few, tmp_path, monkeypatch, capsys):
    file = write_records(tmp_path / "results.jsonl", few)
    monkeypatch.setattr(sys, "argv", ["genjax", "plot", str(tmp_path)])
    cli.main()
    assert sorted(path.name for path in tmp_path.iterdir() if path != file) == [
        "curves.png",
        "curves.svg",
        "scores.png",
        "scores.svg",
    ]
    assert f"wrote {tmp_path / 'curves.png'}, " in capsys.readouterr().out


def test_numbers_of_a_logarithmic_axis_are_plain():
    with settings():
        figure = new_figure(3, 3)
        short, long = figure.subplots(1, 2)
        short.plot([1, 2], [1.7, 40])
        long.plot([1, 2], [0.02, 4000])
        for panel, expected in ((short, {"2", "5", "10", "20"}), (long, {"0.1", "10", "1,000"})):
            log_scale(panel, "y")
            figure.draw_without_rendering()
            ticks = panel.yaxis.get_ticklabels(which="both")
            texts = {tick.get_text() for tick in ticks}
            assert expected <= texts
            assert not any("$" in text for text in texts)
