"""The folders' order is the order of the arrows: nothing imports from further down."""

import ast
from pathlib import Path

import pytest

import genjax

ORDER = (
    "errors",
    "distribution",
    "cache",
    "config",
    "presets",
    "core",
    "domains",
    "data",
    "nn",
    "families",
    "official",
    "evals",
    "run",
    "targets",
    "ablation",
    "api",
    "commands",
    "cli",
)
ROOT = Path(genjax.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in ORDER)


def imported(path):
    """What of genjax a file imports, by its first folder, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
            if node.module == "genjax":
                names = [f"genjax.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("genjax."))


def test_every_folder_has_a_place():
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    files = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__"}
    assert folders | files == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_from_further_down(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    below = ORDER[ORDER.index(own) + 1 :]
    assert not set(imported(path)) & set(below)
