"""``python -m genjax`` is the command ``genjax``."""

from genjax.cli import main

main()
