"""Keeps reports of what has been compiled, since a program compiles for up to a minute."""

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from genjax.cache import cache_directory
from genjax.config import Experiment
from genjax.config.json import to_dict
from genjax.core.compiler import OPTIONS
from genjax.core.schema import Schema
from genjax.run.startup import name_processor
from genjax.targets.devices import Target
from genjax.targets.flops import count_flops
from genjax.targets.lowering import Lowered, lower
from genjax.targets.report import Report, compile_report, versions

_SCOPE = re.compile(r'loc\("([^"]+)"')

Say = Callable[[str], None]


def report_of(
    experiment: Experiment,
    schema: Schema,
    target: Target,
    say: Say = lambda message: None,
    own: int | None = None,
) -> Report:
    """Compiles a step for a target, or finds the report of an earlier compilation of the same.

    Args:
      experiment: the configuration.
      schema: of the data.
      target: of the devices.
      say: told what takes a while.
      own: as of `genjax.targets.lowering.lower`.

    Returns:
      The report.

    Raises:
      UserError: as `genjax.targets.lowering.lower` does.
    """
    lowered = lower(experiment, schema, target, own)
    path = cache_directory() / "compile" / f"{_key(lowered)}.json"
    try:
        return Report.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    say(f"compiling {experiment.name} with a batch of {experiment.batch_size} for {target} ...")
    report = compile_report(lowered)
    _keep(path, report)
    return report


def _key(lowered: Lowered) -> str:
    """Of the program before the compiler, with the names of its operations' scopes.

    The formula is read from another program, in XLA's own forms. Those of a CPU are made for its
    processor and the cores that a process may use.
    """
    scopes = _SCOPE.findall(lowered.stage.as_text(debug_info=True))
    parts = [
        str(lowered.target),
        _processor() if lowered.target.platform == "cpu" else "",
        str(count_flops(lowered.experiment, lowered.schema)),
        _reader(),
        lowered.stage.as_text(),
        *(scope for scope in scopes if not scope.endswith(".py")),
        json.dumps([to_dict(lowered.experiment), versions(), OPTIONS], sort_keys=True),
        os.environ.get("GENJAX_XLA_OPTIONS", ""),
        os.environ.get("XLA_FLAGS", ""),
        os.environ.get("LIBTPU_INIT_ARGS", ""),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _processor() -> str:
    # Not of every system, where all cores count.
    usable = getattr(os, "sched_getaffinity", lambda process: range(os.cpu_count() or 1))
    return f"{name_processor()} {len(usable(0))}"


@functools.cache
def _reader() -> str:
    """What makes a report of a program, so that one of an older reading is not found."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return "\0".join(file.read_text(encoding="utf-8") for file in files)


def _keep(path: Path, report: Report) -> None:
    """Writes it whole or not at all; where nothing can be written, nothing is kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(report.to_json()), encoding="utf-8")
        part.replace(path)
    except OSError:
        return
