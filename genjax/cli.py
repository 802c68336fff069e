"""The command line: ``genjax train | resume | sample | evaluate | ablate | table | plot | ...``.

Modules that import JAX are imported by the commands that need them, so that help is instant.
"""

import errno
import os
import sys
from collections.abc import Callable

from genjax.commands.ablations import ablate
from genjax.commands.arguments import fail, say, show_help
from genjax.commands.averages import average
from genjax.commands.compile import compile
from genjax.commands.config import config
from genjax.commands.data import data, presets
from genjax.commands.directions import directions
from genjax.commands.editing import edit
from genjax.commands.interpolation import interpolate
from genjax.commands.mixing import mix
from genjax.commands.projection import project
from genjax.commands.results import plot, runs, table
from genjax.commands.runs import rerun, resume, train
from genjax.commands.sampling import sample
from genjax.commands.scores import compare, evaluate
from genjax.commands.variations import vary
from genjax.commands.weights import weights
from genjax.errors import RunFailed, UserError, reason, suggest
from genjax.run.startup import prepare_process

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": train,
    "resume": resume,
    "rerun": rerun,
    "sample": sample,
    "interpolate": interpolate,
    "mix": mix,
    "directions": directions,
    "project": project,
    "edit": edit,
    "vary": vary,
    "evaluate": evaluate,
    "average": average,
    "runs": runs,
    "compare": compare,
    "ablate": ablate,
    "table": table,
    "plot": plot,
    "compile": compile,
    "presets": presets,
    "config": config,
    "data": data,
    "weights": weights,
}

# What a path can be wrong in; a full disk or a network that is down is no mistake.
_WRONG_PATH = {
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}

_NO_MEMORY = "out of memory; ask for less at once, such as a smaller batch"


def main() -> None:
    """Entry point; exits with 0, 1 for a run that failed, 2 for the user's mistakes."""
    arguments = sys.argv[1:]
    prepare_process()
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            show_help("genjax", COMMANDS, "Generative models in JAX.")
        elif arguments[0] == "--version":
            from genjax.distribution import version_of

            say(f"genjax {version_of('genjax')}")
        elif arguments[0] not in COMMANDS:
            hint = suggest(arguments[0], COMMANDS)
            raise UserError(f"unknown command {arguments[0]!r}; {hint}")
        else:
            COMMANDS[arguments[0]](arguments[1:])
        sys.stdout.flush()
    except UserError as error:
        fail(str(error), 2)
    except RunFailed as error:
        fail(str(error), 1)
    except BrokenPipeError:
        # Whoever reads, such as head, has enough; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in _WRONG_PATH:
            fail(str(error), 1)
        fail(f"cannot use {error.filename!r}: {error.strerror}; name another path", 2)
    except MemoryError as error:
        fail(f"{_NO_MEMORY}: {reason(error)}", 1)
    except RuntimeError as error:
        # Of XLA, whose errors have no type of their own for this.
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        fail(f"{_NO_MEMORY}: {reason(error)}", 1)
    except KeyboardInterrupt:
        fail("interrupted", 130)
