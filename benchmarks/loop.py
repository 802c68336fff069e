"""Times `genjax train` from end to end against its bare step: how much the loop around it costs.

`python -m benchmarks.loop PRESET ...` from the root of the repository; with --start, how long
`genjax train` takes to its first step, and `genjax --help` to its end.

The loop is the real one: `genjax.run.loop.train` with its data, metrics, sample grids, scores and
checkpoints, at the preset's own intervals, into a temporary folder (TMPDIR chooses the disk). It
says each logged line to a console, and does so when the step of that line has ended on the device.
The console here takes the time of each line, and at some lines halts the loop and times the bare
step: the same compiled step over and over on one batch that lies on the device, from a state of its
own, never waiting before the last call. So both run by turns in one process and one run:

    warm-up | bare | window | bare | window | bare ...

A window is compared with the mean of the blocks before and after it. It lasts a whole number of
periods, the least common multiple of the intervals, so that everything happens in it as often as in
a long run, neither more nor less. Nothing is compiled in it: the first period, in which everything
happens for the first time, is the warm-up and is reported apart. Windows begin and end about
halfway between two events, so that a checkpoint that is written in the background slows its own
window. One call is in flight when the loop is halted; it is counted as long as the others.

The time lost is split by the lines, each of which belongs to the steps since the line before:

data and logs  the median of lines without an event, less the bare step: batches, dispatch, reading
               and writing metrics; negative if noise is larger than that
grid, score,   what lines with these events take longer than that median; a checkpoint comes with a
checkpoint     score, and events of the same step can't be told apart
rest           what the other lines take longer: background work and outliers
"""

import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from benchmarks.loop_windows import BLOCKS, Plan, Window, make_plan, measure
from benchmarks.machine import append_records, describe_machine, print_machine
from benchmarks.start import print_starts, time_starts
from benchmarks.timing import summary
from genjax.core.parallel import choose_mode
from genjax.data.sources import load
from genjax.errors import RunFailed, UserError
from genjax.presets import preset
from genjax.run.feed import fits_on_device
from genjax.run.startup import keep_memory

PACKAGES = ("genjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def print_tables(plan: Plan, windows: list[Window], first: float, once: float) -> None:
    """Prints what was run, and two tables."""
    experiment = plan.experiment
    every = ", ".join(f"{name} every {steps} steps" for name, steps in plan.events.items())
    print(
        f"\n{experiment.name}: {len(windows)} windows of {plan.window} steps, a line every "
        f"{experiment.log_every} steps, {every}, {experiment.eval.samples} samples scored; bare "
        f"blocks of {plan.window // BLOCKS} steps. Once: {first:.1f} s to the end of the first "
        f"call, {once:.1f} s more for the first grid, score and checkpoint than for later ones\n"
    )
    print("| bare, ms/step | min to max | loop, ms/step | min to max | % kept | min to max |")
    print("| --- | --- | --- | --- | --- | --- |")
    bare, loop = ([1e3 * getattr(x, name) for x in windows] for name in ("bare", "loop"))
    kept = [100 * x.kept for x in windows]
    print(f"| {summary(bare, 2)} | {summary(loop, 2)} | {summary(kept, 2)} |\n")
    print("| lost to | % of the loop's time | min to max |\n| --- | --- | --- |")
    for cause in windows[0].lost:
        print(f"| {cause} | {summary([100 * x.lost[cause] / x.loop for x in windows], 2)} |")
    sys.stdout.flush()


def compare(plan: Plan) -> dict[str, Any]:
    """Measures and prints one preset; returns its record."""
    experiment = plan.experiment
    source = load(experiment.data)
    windows, first, once = measure(plan, source)
    print_tables(plan, windows, first, once)
    kept = [window.kept for window in windows]
    on_device = experiment.feed == "device" or (
        experiment.feed == "auto" and fits_on_device(source)
    )
    return {
        "benchmark": "loop",
        "preset": experiment.name,
        "mode": choose_mode(experiment.mode, jax.devices()),
        "dtype": experiment.model.dtype,
        "batch": experiment.batch_size,
        "image": source.schema.fields["image"].shape,
        "feed": "device" if on_device else "host",
        "steps_per_call": experiment.steps_per_call,
        "log_every": experiment.log_every,
        "events": plan.events,
        "window": plan.window,
        "first_s": first,
        "first_events_s": once,
        "bare_s": [window.bare for window in windows],
        "loop_s": [window.loop for window in windows],
        "lost_s": [window.lost for window in windows],
        "kept": statistics.median(kept),
        "kept_min": min(kept),
        "kept_max": max(kept),
    }


def main(
    presets: tyro.conf.Positional[tuple[str, ...]] = ("dcgan-fashion",),
    steps: int = 1,
    repeats: int = 3,
    shrink: int = 1,
    start: bool = False,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Time the whole training loop against its bare step and print Markdown tables.

    Args:
      presets: Names of presets.
      steps: Steps of a window, at least; rounded up to what holds every event equally often.
      repeats: Windows after the warm-up; with --start, pairs of starts.
      shrink: Divide the preset's intervals by this, for a look; that costs more than the preset.
      start: Time the first and the second start of `genjax train` instead.
      json_file: File to append to, one line a preset.
    """
    if min(steps, repeats, shrink) < 1:
        raise UserError("steps, repeats and shrink must be at least 1")
    records: Iterable[dict[str, Any]]
    if start:
        records, machine = time_starts(presets, repeats, PACKAGES)
        print_machine(machine)
        print_starts(records)
    else:
        plans = [make_plan(preset(name), steps, repeats, shrink) for name in presets]
        # As the command does.
        keep_memory()
        machine = describe_machine(PACKAGES)
        print_machine(machine)
        if shrink > 1:
            print(f"events are {shrink} times as frequent as in the presets")
        records = map(compare, plans)
    for record in records:
        append_records(json_file, [record], machine)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (UserError, RunFailed) as error:
        sys.exit(str(error))
