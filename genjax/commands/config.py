"""``genjax config``."""

import json
import sys
from pathlib import Path
from typing import Literal

from genjax.commands.arguments import parse
from genjax.commands.flags import Chosen, Plugins, prepare


def config(arguments: list[str]) -> None:
    """Print a configuration: genjax config [PRESET] [--format yaml|json] [--FIELD VALUE]."""
    prepared = prepare(arguments)

    def run(
        experiment: Chosen = prepared.experiment,
        config: Path | None = None,
        plugin: Plugins = (),
        format: Literal["yaml", "json"] = "yaml",
    ) -> None:
        """Print a complete configuration, which genjax train --config takes.

        Args:
          experiment: the configuration.
          config: As of genjax train.
          plugin: As of genjax train.
          format: Of what is printed.
        """
        from genjax.config.json import as_written, to_dict
        from genjax.config.yaml import to_yaml

        plain = to_dict(as_written(experiment))
        text = to_yaml(plain) if format == "yaml" else json.dumps(plain, indent=2) + "\n"
        sys.stdout.write(text)

    run.__name__ = "config"
    prog = f"genjax config {prepared.preset}"
    parse(run, prepared.arguments, prog, registry=prepared.registry)
