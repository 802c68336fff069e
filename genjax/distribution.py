"""What pip knows this package as: the name genjax is another project's there."""

import importlib.metadata

NAME = "genjax-models"


def version_of(package: str) -> str:
    """The installed version of a package, ``genjax`` included."""
    return importlib.metadata.version(NAME if package == "genjax" else package)


def install_extra(extra: str) -> str:
    """The command that installs what an extra needs, for an error."""
    return f"pip install '{NAME}[{extra}]'"
