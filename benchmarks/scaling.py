"""Times the training step on one device and on several, and reads what it sends between them.

`python -m benchmarks.scaling PRESET ...` from the root of the repository.

strong   the preset's batch, split over the devices
weak     as many images on each device (--batch, else the preset's batch)

Both are run by `mesh`, one program that the compiler splits, and by `pmap`. Efficiency is the
throughput over that of `jit` on one device times the number of devices; for strong scaling with the
same batch, for weak scaling with the batch of one device. So the rows of one device show what the
modes cost by themselves. All programs are compiled first and then run by turns, a block of calls
each, on random images that lie on the devices; efficiency is taken round by round.

Bytes of collectives are those of the results, on one device and in one step, as the compiled
program has them; how they travel is up to the devices. Beside them are the bytes of the parameters
as they are stored: data parallelism needs the sum of all gradients at least once in each update,
and beside it statistics of batch norm, losses and metrics. Fewer bytes than that mean that
some update is not split: every device makes all of it.

With --fake-devices N the devices are threads of one CPU and share its cores. That shows that it
runs and what it sends, and nothing about speed.
"""

import dataclasses
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import tyro

from benchmarks.machine import append_records, describe_machine, print_machine
from benchmarks.timing import alternate, ratios, summary
from genjax.config import Mode
from genjax.core.parallel import compile_step, mapped_axis
from genjax.core.players import players
from genjax.data.noise import noise
from genjax.data.sources import known_schema
from genjax.errors import UserError
from genjax.families.registry import make_algorithm
from genjax.presets import preset
from genjax.run.startup import keep_memory
from genjax.targets.runs import Traffic, count_collectives

PACKAGES = ("genjax", "jax", "jaxlib", "flax", "optax", "numpy")
Scaling = Literal["strong", "weak"]
Parallel = Literal["mesh", "pmap"]


class Program(NamedTuple):
    """A compiled step.

    Attributes:
      images: real ones in a step, over all devices.
      traffic: its collectives, by kind.
      parameters: bytes of all players' parameters.
      block: makes some steps, to their end.
    """

    images: int
    traffic: dict[str, Traffic]
    parameters: int
    block: Callable[[], Any]


class Case(NamedTuple):
    """What is measured: a batch over all devices, a mode, and the number of devices."""

    batch: int
    mode: Mode
    devices: int


def make_program(name: str, case: Case, steps: int) -> Program:
    """Compiles the step of a preset and runs it once.

    Args:
      name: of the preset.
      case: how it is run.
      steps: in a block.

    Returns:
      The program.

    Raises:
      UserError: the batch can't be split over the devices.
    """
    experiment = dataclasses.replace(preset(name), batch_size=case.batch)
    schema = known_schema(experiment.data.name)
    algorithm = make_algorithm(experiment, schema, mapped_axis(case.mode))
    compiled = compile_step(algorithm, case.mode, jax.devices()[: case.devices])
    batch = noise(schema, algorithm.examples)
    batches = compiled.place({name: array[None] for name, array in batch.items()})
    states = [compiled.init(jax.random.key(0))]
    step: Any = compiled.step
    traffic = count_collectives(step.lower(states[0], None, batches).compile().as_text())
    parameters = sum(
        leaf.nbytes
        for player in players(states[0]).values()
        for leaf in jax.tree.leaves(player.params)
    )

    def block(count: int = steps) -> None:
        state = states.pop()
        for _ in range(count):
            state, metrics = step(state, None, batches)
        states.append(jax.block_until_ready((state, metrics))[0])

    block(1)
    return Program(algorithm.examples, traffic, parameters, block)


def make_cases(
    modes: Sequence[Parallel], counts: Sequence[int], batches: dict[Scaling, int]
) -> list[tuple[Scaling, Case]]:
    """Lists what is measured.

    Args:
      modes: of several devices.
      counts: numbers of devices.
      batches: from what is measured to the batch on one device.

    Returns:
      The cases, each of them with `jit` on one device first.
    """
    cases: list[tuple[Scaling, Case]] = []
    for scaling, batch in batches.items():
        cases.append((scaling, Case(batch, "jit", 1)))
        for mode in modes:
            for count in counts:
                whole = batch * count if scaling == "weak" else batch
                cases.append((scaling, Case(whole, mode, count)))
    return cases


def measure(
    name: str, cases: Sequence[tuple[Scaling, Case]], steps: int, repeats: int
) -> list[dict[str, Any]]:
    """Times the cases of one preset by turns and prints them.

    Args:
      name: of the preset.
      cases: from `make_cases`.
      steps: in a block.
      repeats: blocks of each.

    Returns:
      A record of each case.
    """
    # Both kinds of scaling may begin with the same program.
    programs = {
        case: make_program(name, case, steps) for case in dict.fromkeys(x for _, x in cases)
    }
    taken = alternate([program.block for program in programs.values()], repeats)
    seconds = dict(zip(programs, ([x / steps for x in block] for block in taken), strict=True))
    bases = {scaling: case for scaling, case in reversed(cases) if case.mode == "jit"}

    print(f"\n{name}\n")
    print("| scaling | mode | devices | images a step | images/s | ms/step | min to max ", end="")
    print("| efficiency | min to max | collectives, MB | parameters, MB |\n" + "| --- " * 11 + "|")
    records = []
    for scaling, case in cases:
        program, own = programs[case], seconds[case]
        base = bases[scaling]
        share = programs[base].images * case.devices / program.images
        efficiency = [1 / (x * share) for x in ratios(seconds[base], own)]
        rate = program.images / statistics.median(own)
        moved = sum(traffic.size for traffic in program.traffic.values())
        kinds = ", ".join(f"{kind} {x.number}" for kind, x in program.traffic.items())
        print(
            f"| {scaling} | {case.mode} | {case.devices} | {program.images} | {rate:,.0f} "
            f"| {summary([1e3 * x for x in own], 2)} | {summary(efficiency, 2)} "
            f"| {moved / 1e6:.2f}{kinds and f' ({kinds})'} | {program.parameters / 1e6:.2f} |"
        )
        records.append(
            {
                "benchmark": "scaling",
                "preset": name,
                "scaling": scaling,
                **case._asdict(),
                "images": program.images,
                "steps": steps,
                "seconds": own,
                "images_per_second": rate,
                "efficiency": statistics.median(efficiency),
                "efficiency_min": min(efficiency),
                "efficiency_max": max(efficiency),
                "collectives": {kind: x._asdict() for kind, x in program.traffic.items()},
                "collective_bytes": moved,
                "parameter_bytes": program.parameters,
            }
        )
    sys.stdout.flush()
    return records


def main(
    presets: tyro.conf.Positional[tuple[str, ...]] = ("dcgan-fashion",),
    devices: tuple[int, ...] = (),
    fake_devices: int | None = None,
    scalings: tuple[Scaling, ...] = ("strong", "weak"),
    modes: tuple[Parallel, ...] = ("mesh", "pmap"),
    batch: int | None = None,
    steps: int = 20,
    repeats: int = 5,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Time the training step on one device and on several and print Markdown tables.

    Args:
      presets: Names of presets.
      devices: Numbers of devices; the powers of two up to all of them by default.
      fake_devices: Split the CPU into that many devices.
      scalings: What is measured.
      modes: How several devices are used.
      batch: Images on each device in weak scaling; the preset's whole batch by default.
      steps: In a block.
      repeats: Blocks of each.
      json_file: File to append to, one line a row.
    """
    keep_memory()
    if min(steps, repeats, fake_devices or 1, batch or 1, *devices) < 1:
        raise UserError("devices, batch, steps and repeats must be at least 1")
    if fake_devices is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", fake_devices)
    there = jax.device_count()
    if devices and max(devices) > there:
        raise UserError(f"{max(devices)} devices asked for, but there are {there}")
    counts = devices or tuple(2**power for power in range(there.bit_length()))
    machine = describe_machine(PACKAGES) | {"fake_devices": fake_devices}
    print_machine(machine)
    print(f"jax on {machine['jax_device']}; {repeats} blocks of {steps} steps by turns")
    if jax.default_backend() == "cpu" and there > 1:
        print(
            f"the {there} devices are fake: they share {machine['cores']} cores, so that the times "
            "prove nothing but that it runs"
        )
    for name in presets:
        own = preset(name).batch_size
        both: dict[Scaling, int] = {"strong": own, "weak": batch or own}
        cases = make_cases(modes, counts, {scaling: both[scaling] for scaling in scalings})
        records = measure(name, cases, steps, repeats)
        append_records(json_file, records, machine)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
