"""Times a training step of several seeds: one by one, and in one program by vmap or by scan.

`python -m benchmarks.seeds PRESET ...` from the root of the repository. Each way makes a step of
every seed on one batch and waits for it; the ways run by turns. `genjax ablate` chooses among them
by a shorter measurement of the same kind.
"""

import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from benchmarks.machine import append_records, describe_machine, print_machine
from benchmarks.timing import alternate, summary, timed
from genjax.ablation.plan import make_step
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.presets import preset
from genjax.run.program import Grouping
from genjax.run.startup import keep_memory

PACKAGES = ("genjax", "jax", "jaxlib", "flax", "optax", "numpy")
MODES: tuple[Grouping, ...] = ("single", "vmap", "scan")


def time_seeds(name: str, seeds: int, repeats: int) -> list[dict[str, Any]]:
    """Times a preset and prints its rows.

    Args:
      name: of the preset.
      seeds: how many.
      repeats: calls of each way.

    Returns:
      A record of each way.
    """
    base = preset(name)
    source = load(base.data)
    experiments = [dataclasses.replace(base, seed=seed) for seed in range(seeds)]
    calls, first = [], []
    for mode in MODES:
        call = make_step(experiments, source, mode)
        first.append(timed(call)[0])
        call()
        calls.append(call)
    records = []
    for mode, compiled, seconds in zip(MODES, first, alternate(calls, repeats), strict=True):
        print(
            f"| {name} | {seeds} | {mode} | {compiled:.1f} "
            f"| {summary([1e3 * x for x in seconds], 2)} "
            f"| {1e3 * statistics.median(seconds) / seeds:.2f} |",
            flush=True,
        )
        records.append(
            {
                "benchmark": "seeds",
                "preset": name,
                "seeds": seeds,
                "seed_mode": mode,
                "first_s": compiled,
                "seconds": seconds,
            }
        )
    return records


def main(
    presets: tyro.conf.Positional[tuple[str, ...]] = ("gaussians-25", "dcgan-digits"),
    seeds: tuple[int, ...] = (1, 4, 8),
    repeats: int = 15,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Time training steps of several seeds and print a Markdown table.

    Args:
      presets: Names of presets.
      seeds: Numbers of seeds.
      repeats: Calls of each way, by turns.
      json_file: File to append to, one line a way.
    """
    keep_memory()
    if min(*seeds, repeats) < 1:
        raise UserError("seeds and repeats must be at least 1")
    machine = describe_machine(PACKAGES)
    print_machine(machine)
    print(f"jax on {machine['jax_device']}, {jax.device_count()} devices; {repeats} calls\n")
    print(
        "| preset | seeds | mode | first step, s | ms a step of all | min to max | ms a seed |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name in presets:
        for count in seeds:
            append_records(json_file, time_seeds(name, count, repeats), machine)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
