"""Users without a home folder, and terminals and pipes that lack characters."""

import io
import os
import pwd
import sys
from pathlib import Path

import pytest
from in_process import genjax, refusal

from genjax import cli
from genjax.cache import cache_directory
from genjax.data.prepared import data_directory
from genjax.errors import UserError
from genjax.run import startup


@pytest.fixture
def homeless(monkeypatch):
    """As in a container whose user has a number and no entry."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "GENJAX_CACHE", "XDG_CACHE_HOME", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("path", [None, "~nobody-of-this-name/data"])
def test_without_a_home_what_needs_one_says_what_to_set(homeless, path):
    with pytest.raises(UserError, match="set TFDS_DATA_DIR to a folder"):
        data_directory(path)
    with pytest.raises(UserError, match="set GENJAX_CACHE to a folder"):
        cache_directory()
    assert "set TFDS_DATA_DIR" in refusal("data", "list")
    assert "write the path out" in refusal("train", "--plugin", "~nobody-of-this-name/x.py")


def test_without_a_home_the_rest_works(homeless, tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    startup.use_compilation_cache()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    sizes = ("--model.generator.name", "mlp", "--model.discriminator.name", "mlp")
    command = ("train", *sizes, "--model.discriminator.norm", "none", "--steps", "1")
    outcome = genjax(*command, "--eval.rank", "none", "--out", tmp_path / "run")
    assert outcome.status == 0, outcome
    assert (tmp_path / "run" / "generator.safetensors").exists()


def test_a_cache_that_can_not_be_written_is_not_used(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "file" / "below"))
    startup.use_compilation_cache()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("name", ["日本 é…", os.fsdecode(b"\xff"), "plain"], ids=ascii)
def test_what_a_pipe_has_no_character_for_is_an_escape(
    tmp_path, monkeypatch, encoding, errors, name
):
    streams = {}
    for stream in ("stdout", "stderr"):
        raw = io.BytesIO()
        wrapped = io.TextIOWrapper(raw, encoding=encoding, errors=errors, write_through=True)
        monkeypatch.setattr(sys, stream, wrapped)
        streams[stream] = raw
    folder = tmp_path / name
    folder.mkdir()
    (folder / "notes.txt").write_text("a b c " * 100)
    command = ["data", "import", "own", "--from", folder / "notes.txt", "--directory", folder]
    monkeypatch.setattr(sys, "argv", ["genjax", *map(str, command)])
    cli.main()
    shown = os.fsencode(name).decode(encoding, "backslashreplace")
    text = streams["stdout"].getvalue().decode(encoding)
    escaped = str(folder / "own").encode(encoding, "backslashreplace").decode(encoding)
    assert escaped in text, (shown, text)
    # Again: it is there, and the one line of the error has the folder, too.
    with pytest.raises(SystemExit):
        cli.main()
    assert streams["stderr"].getvalue().count(b"\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", [["--help"], ["data", "list", "--help"], ["data", "list"]])
def test_help_and_tables_have_no_character_that_ascii_lacks(
    tmp_path, monkeypatch, encoding, command
):
    raw = io.BytesIO()
    wrapped = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", wrapped)
    monkeypatch.setenv("TFDS_DATA_DIR", str(Path(tmp_path)))
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "argv", ["genjax", *command])
    if "--help" in command[1:]:
        with pytest.raises(SystemExit, match="0"):
            cli.main()
    else:
        cli.main()
    assert b"\\u" not in raw.getvalue()
