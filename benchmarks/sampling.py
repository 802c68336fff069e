"""Times the samplers of presets, and of each solver of those that are solved step by step.

`python -m benchmarks.sampling PRESET ...` from the root of the repository. A sampler has the
preset's size and random parameters, and draws a batch in one call, which it waits for. What is
compared takes turns.
"""

import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.machine import append_records, describe_machine, print_machine
from benchmarks.timing import alternate, summary, timed
from genjax.config import DiffusionConfig, DiffusionSampling
from genjax.core.compiler import jit
from genjax.data.sources import known_schema
from genjax.errors import UserError
from genjax.families.registry import make_algorithm
from genjax.presets import preset
from genjax.run.conditions import conditions_in_turn
from genjax.run.startup import keep_memory

PACKAGES = ("genjax", "jax", "jaxlib", "flax", "optax", "numpy")


def _sampler(name: str, options: DiffusionSampling | None, batch: int) -> Any:
    """A call that draws a batch, and another one each time."""
    base = preset(name)
    schema = known_schema(base.data.name, base.data.length)
    algorithm = make_algorithm(base, schema, sampling=options)
    state = jit(algorithm.init)(jax.random.key(0))
    given = {key: jnp.asarray(x) for key, x in conditions_in_turn(algorithm.spec, batch).items()}
    index = jnp.asarray(np.arange(batch, dtype=np.int32))
    sample = jit(algorithm.sample)
    return lambda: jax.block_until_ready(sample(state, jax.random.key(1), index, given))


def time_samplers(
    presets: tuple[str, ...], ways: tuple[DiffusionSampling, ...], batch: int, repeats: int
) -> list[dict[str, Any]]:
    """Times samplers by turns and prints their rows.

    Args:
      presets: names.
      ways: of the presets that have solvers.
      batch: samples of a call.
      repeats: calls of each.

    Returns:
      A record of each sampler.
    """
    cases: list[tuple[str, DiffusionSampling | None]] = [
        (name, way)
        for name in presets
        for way in (ways if isinstance(preset(name).model, DiffusionConfig) else (None,))
    ]
    calls = [_sampler(name, way, batch) for name, way in cases]
    first = [timed(call)[0] for call in calls]
    records = []
    for (name, way), compiled, seconds in zip(cases, first, alternate(calls, repeats), strict=True):
        solver = "" if way is None else f"{way.solver}, {way.steps}"
        print(
            f"| {name} | {solver} | {batch} | {compiled:.1f} "
            f"| {summary([1e3 * x for x in seconds], 1)} "
            f"| {batch / statistics.median(seconds):,.0f} |",
            flush=True,
        )
        records.append(
            {
                "benchmark": "sampling",
                "preset": name,
                "sampling": None if way is None else dataclasses.asdict(way),
                "batch_size": batch,
                "first_s": compiled,
                "seconds": seconds,
            }
        )
    return records


def main(
    presets: tyro.conf.Positional[tuple[str, ...]] = ("dcgan-digits", "diffusion-digits"),
    solvers: tuple[str, ...] = ("heun", "ddim", "dpmpp_2m"),
    steps: tuple[int, ...] = (10, 18),
    batch: int = 64,
    repeats: int = 10,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Time samplers and print a Markdown table.

    Args:
      presets: Names of presets.
      solvers: Of those that have them.
      steps: Numbers of steps of each solver.
      batch: Samples of a call.
      repeats: Calls of each sampler, by turns.
      json_file: File to append to, one line a sampler.
    """
    keep_memory()
    if min(batch, repeats) < 1:
        raise UserError("batch and repeats must be at least 1")
    ways = tuple(
        DiffusionSampling(solver=solver, steps=count) for solver in solvers for count in steps
    )
    machine = describe_machine(PACKAGES)
    print_machine(machine)
    print(f"jax on {machine['jax_device']}; {repeats} calls\n")
    print(
        "| preset | solver, steps | batch | first call, s | ms a call | min to max | samples/s |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    append_records(json_file, time_samplers(presets, ways, batch, repeats), machine)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
