"""Python files of a user, which register what configurations can then name.

A file that is named on the command line is run. One that is only named in a configuration, which
may be a stranger's, is run if it was named on the command line before.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from genjax.cache import cache_directory, expand_home
from genjax.errors import UserError

_loaded: set[str] = set()


def use_plugins(files: Iterable[Path]) -> tuple[str, ...]:
    """Runs plugins that the user has named, and remembers that configurations may name them.

    Args:
      files: Python files.

    Returns:
      Their absolute paths, each once.

    Raises:
      UserError: one is not there, or fails.
    """
    found = (expand_home(str(file), "write the path out") for file in files)
    paths = tuple(dict.fromkeys(str(path.absolute()) for path in found))
    for path in paths:
        _load(path)
    trust_plugins(paths)
    return paths


def load_plugins(files: Iterable[str]) -> None:
    """Runs the plugins of a configuration that were not run yet.

    Args:
      files: absolute paths.

    Raises:
      UserError: one is gone or fails, or the user has never named it, or not since it changed.
    """
    for path in files:
        if path in _loaded:
            continue
        if not Path(path).is_file():
            raise UserError(f"the plugin {path} is gone; the configuration needs what it registers")
        if _entry(path) not in _trusted():
            raise UserError(
                f"the configuration names the plugin {path}, which was never used here as it is "
                f"now; if you trust that file, run `genjax config --plugin {path}` once"
            )
        _load(path)


def trust_plugins(paths: Iterable[str]) -> None:
    """Remembers plugins that configurations may name from now on."""
    new = {_entry(path) for path in paths} - _trusted()
    if new:
        # Without a cache, the files are to be named each time.
        with contextlib.suppress(OSError, UserError):
            path = _list()
            path.parent.mkdir(parents=True, exist_ok=True)
            # Processes of one run do this at the same time.
            part = path.with_name(f"{path.name}.{os.getpid()}")
            part.write_text(json.dumps(sorted(_trusted() | new)), encoding="utf-8")
            part.replace(path)


def plugin_digest(path: str) -> str:
    """SHA-256 of a plugin's file; empty for one that is gone."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def run_file(file: Path, prefix: str) -> ModuleType:
    """Runs a Python file as a module.

    Args:
      file: the file.
      prefix: of the module's name.

    Returns:
      The module.

    Raises:
      UserError: it is not Python, or fails.
    """
    unique = hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"{prefix}_{file.stem}_{unique}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{file} fails: {type(error).__name__}: {error}") from error
    return module


def _load(path: str) -> None:
    if path in _loaded:
        return
    if not Path(path).is_file():
        raise UserError(f"{path} is no file; give the Python file of a plugin")
    run_file(Path(path), "genjax_plugin")
    _loaded.add(path)


def _entry(path: str) -> str:
    """What is remembered of a plugin: its contents and its path."""
    return f"{plugin_digest(path)} {path}"


def _list() -> Path:
    return cache_directory() / "plugins.json"


def _trusted() -> set[str]:
    try:
        return {str(entry) for entry in json.loads(_list().read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        return set()
