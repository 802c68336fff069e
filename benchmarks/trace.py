"""Lists where the time goes in a trace that `genjax train --profile` wrote.

`python -m benchmarks.trace RUN/profile [--hlo DIR]` from the root of the repository. An operation
has the time of its own events, and that in which nothing runs on its device after it has begun and
before the next one does. On GPUs and TPUs the second is a device that waits. On CPUs it is work,
too: the event of a convolution or a large product ends when other threads have been given it.

Layers are what the trace says of an operation, or the compiled program does, which XLA writes with
``XLA_FLAGS=--xla_dump_to=DIR JAX_ENABLE_COMPILATION_CACHE=0``.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tyro

from benchmarks.tables import short
from genjax.errors import UserError
from genjax.run.trace import STEP

_HOLDERS = ("while", "call", "conditional")
"""Operations that hold others, which have events of their own."""


class Event(NamedTuple):
    """When an operation ran, in nanoseconds."""

    start: float
    end: float
    name: str


class Traced(NamedTuple):
    """What a trace says of a program.

    Attributes:
      begins: when each call began on the host, in nanoseconds.
      own: nanoseconds of all calls together in which an operation had an event.
      after: in which nothing ran after an operation had begun.
      layers: where in the model operations are; may lack some.
      programs: names of all that ran.
    """

    begins: list[float]
    own: Counter[str]
    after: Counter[str]
    layers: dict[str, str]
    programs: set[str]


def read_trace(folder: Path, program: str) -> Traced:
    """Sums the events of operations.

    Args:
      folder: of one trace or of several, which are summed.
      program: part of the name of the programs that count.

    Returns:
      The sums.

    Raises:
      UserError: there is no trace.
    """
    traced = Traced([], Counter(), Counter(), {}, set())
    for plane in _planes(folder):
        events = []
        for event in (event for line in plane.lines for event in line.events):
            said = dict(event.stats)
            name, module = (str(said.get(key, "")) for key in ("hlo_op", "hlo_module"))
            traced.programs.update({module} - {""})
            if event.name == STEP:
                traced.begins.append(event.start_ns)
            elif name and program in module:
                events.append(Event(event.start_ns, event.end_ns, name))
                if "tf_op" in said:
                    traced.layers[name] = str(said["tf_op"])
        _add(traced, sorted(x for x in events if x.name.split(".")[0] not in _HOLDERS))
    return traced


def _planes(folder: Path) -> Iterator[Any]:
    files = sorted(folder.glob("**/plugins/profile/*/*.xplane.pb"))
    if not files:
        raise UserError(f"{folder} holds no trace; give the folder profile of a run")
    for file in files:
        yield from jax.profiler.ProfileData.from_file(str(file)).planes


def _add(traced: Traced, events: Sequence[Event]) -> None:
    """Adds the events of one device, in the order in which they begin."""
    end = 0.0
    for place, event in enumerate(events):
        traced.own[event.name] += int(event.end - event.start)
        end = max(end, event.end)
        if place + 1 < len(events) and events[place + 1].start > end:
            traced.after[event.name] += int(events[place + 1].start - end)


def read_layers(folder: Path, program: str) -> dict[str, str]:
    """Which layer each operation of compiled programs comes from.

    Args:
      folder: that XLA has written them into.
      program: part of the name of the programs that count; others have operations of the same name.

    Returns:
      From operation to the path of functions and modules that made it.
    """
    files = sorted(folder.glob("*after_optimizations.txt"))
    found = (file.read_text() for file in files if program in file.name)
    pairs = (re.findall(r'^ *(?:ROOT )?%?([\w.-]+) = .*op_name="([^"]*)"', x, re.M) for x in found)
    return {name: path for some in pairs for name, path in some}


def main(
    folder: tyro.conf.Positional[Path],
    program: str = "steps",
    hlo: Path | None = None,
    most: int = 10,
) -> None:
    """Print where the time of a trace goes as a Markdown table.

    Args:
      folder: The folder profile of a run.
      program: Part of the name of the programs that count.
      hlo: Folder with the compiled programs, for the layers.
      most: Rows.
    """
    found = read_trace(folder, program)
    if not found.own:
        choices = ", ".join(sorted(found.programs)) or "none"
        raise UserError(
            f"{folder} has no operation of a program with {program!r} in its name; --program takes "
            f"a part of one of these: {choices}"
        )
    layers = {**({} if hlo is None else read_layers(hlo, program)), **found.layers}
    calls = max(len(found.begins), 1)
    both = found.own + found.after
    own, total = (1e-6 * x.total() / calls for x in (found.own, both))
    print(
        f"{calls} calls of {len(both)} operations, {short(total)} ms each, of which operations "
        f"have {short(own)} ms\n"
    )
    print("| operation | ms a call | ms after it | % | layer |\n| --- | --- | --- | --- | --- |")
    for name, ns in both.most_common(most):
        times = (short(1e-6 * x[name] / calls) for x in (found.own, found.after))
        share = 100 * ns / both.total()
        print(f"| {name} | {' | '.join(times)} | {share:.0f} | {layers.get(name, '-')} |")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
