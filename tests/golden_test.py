"""Stored numbers: what moved is named, rounding is not, and storing them anew is stable."""

import json
import re

import pytest
from golden import RENEW, STORED, check_golden

from genjax.presets import PRESETS

NUMBERS = {"d/loss": 1.38629436, "d/logit": -1e-3, "d/optimizer nu": 3.3e-4}


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A folder with the numbers of a preset."""
    monkeypatch.setenv(RENEW, "1")
    check_golden("it", NUMBERS, tmp_path)
    monkeypatch.delenv(RENEW)
    return tmp_path


def test_every_preset_has_its_numbers():
    assert {path.stem for path in STORED.iterdir()} == set(PRESETS)


def test_rounding_is_no_change(stored):
    check_golden("it", {key: value * (1 + 5e-5) for key, value in NUMBERS.items()}, stored)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"d/loss": 1.3869}, "d/loss: 1.38629 is 1.3869"),
        ({"d/loss": float("nan")}, "d/loss: 1.38629 is nan"),
        ({"d/logit": 1e-3}, "d/logit: -0.001 is 0.001"),
        ({"d/optimizer nu": 3.4e-4}, "d/optimizer nu: 0.00033 is 0.00034"),
        ({"d/new": 2.0}, "d/new: None is 2.0"),
    ],
    ids=["value", "nan", "sign", "small", "new"],
)
def test_what_moved_is_named(stored, change, line):
    message = f"it.json; .*{RENEW}=1 pytest -m '' tests/contract_test.py` .*:\n{re.escape(line)}$"
    with pytest.raises(AssertionError, match=message):
        check_golden("it", {**NUMBERS, **change}, stored)


def test_what_is_missing_is_named(stored):
    with pytest.raises(AssertionError, match=r"d/logit: -0\.001 is None$"):
        check_golden("it", {k: v for k, v in NUMBERS.items() if k != "d/logit"}, stored)
    with pytest.raises(AssertionError, match=r"other\.json"):
        check_golden("other", NUMBERS, stored)


def test_renewing_gives_the_same_file(stored, monkeypatch):
    """And changes no line but those of numbers that moved."""
    path = stored / "it.json"
    first = path.read_bytes()
    monkeypatch.setenv(RENEW, "1")
    check_golden("it", {key: value * (1 + 5e-5) for key, value in NUMBERS.items()}, stored)
    assert path.read_bytes() == first
    check_golden("it", {**NUMBERS, "d/loss": 1.5}, stored)
    assert path.read_bytes() == first.replace(b"1.38629", b"1.5")
    check_golden("it", NUMBERS, stored)
    assert path.read_bytes() == first
    check_golden("it", {"d/loss": 1.38629436}, stored)
    assert json.loads(path.read_bytes()) == {"d/loss": 1.38629}
