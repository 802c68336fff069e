"""The command line: ``genjax train | resume | sample | evaluate | ablate | table | plot | ...``.

Modules that import JAX are imported by the commands that need them, so that help is instant.
"""

import sys
from collections.abc import Callable

from genjax.commands.ablations import ablate
from genjax.commands.arguments import fail, say, show_help
from genjax.commands.data import data, presets
from genjax.commands.results import plot, table
from genjax.commands.runs import rerun, resume, sample, train
from genjax.commands.scores import compare, evaluate
from genjax.errors import RunFailed, UserError, suggest
from genjax.startup import prepare_process

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": train,
    "resume": resume,
    "rerun": rerun,
    "sample": sample,
    "evaluate": evaluate,
    "compare": compare,
    "ablate": ablate,
    "table": table,
    "plot": plot,
    "presets": presets,
    "data": data,
}


def main() -> None:
    """Entry point; exits with 0, 1 for a run that failed, 2 for the user's mistakes."""
    arguments = sys.argv[1:]
    prepare_process()
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            show_help("genjax", COMMANDS, "Generative models in JAX.")
        elif arguments[0] == "--version":
            import importlib.metadata

            say(f"genjax {importlib.metadata.version('genjax')}")
        elif arguments[0] not in COMMANDS:
            hint = suggest(arguments[0], COMMANDS)
            raise UserError(f"unknown command {arguments[0]!r}; {hint}")
        else:
            COMMANDS[arguments[0]](arguments[1:])
    except UserError as error:
        fail(str(error), 2)
    except (RunFailed, OSError) as error:
        fail(str(error), 1)
    except KeyboardInterrupt:
        fail("interrupted", 130)
