"""Times the compiled training step of presets, and says what it reaches of the machine.

`python -m benchmarks.adversarial_step PRESET ...` from the root of the repository. A case is one of
presets x batches x modes x types x steps a call, and each of them runs alone: compilation, the
first call, some calls to warm up, then those that are timed, each to the end of its last step. The
data set is noise on the device and a step gathers its batch from it, as in a run that is fed by the
device. Times are of a step: of a call, divided by its steps.

FLOPs are those of the formulas in `genjax.targets.flops`, beside the compiler's count, which has
norms, optimizers and, in the forms that convolutions take on CPUs, products with zeros. The share
of the ceiling is the formula's FLOPs a second over those of a large matrix product of the same type
in the same process (`benchmarks.ceilings`). Memory is the peak that the device reports if the case
has raised it, else what the compiler has planned for the program: arguments, the data set among
them, results and temporaries.
"""

import dataclasses
import itertools
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import tyro

from benchmarks.ceilings import measure_ceilings
from benchmarks.energy import Meter, joules_of_a_call, open_meter
from benchmarks.machine import append_records, describe_machine, print_machine
from benchmarks.tables import NAMES, RESULTS, head, row, split_common
from benchmarks.timing import timed
from genjax.config import ComputeDtype, Experiment, GANConfig, Mode, norm_of
from genjax.core.algorithm import Algorithm
from genjax.core.parallel import Compiled, choose_mode, compile_step, mapped_axis
from genjax.core.schema import Schema
from genjax.core.types import Batch, Metrics, State
from genjax.data.noise import noise
from genjax.data.schema import resized
from genjax.data.sources import known_schema
from genjax.errors import UserError
from genjax.families.gan.penalties import PENALTIES
from genjax.families.registry import make_algorithm
from genjax.presets import PRESETS, preset
from genjax.run.startup import keep_memory
from genjax.targets.flops import count_flops

PACKAGES = ("genjax", "jax", "jaxlib", "flax", "optax", "numpy")
IMAGES = 2048
"""Of the data set."""
WARM_UP = 2
STEP = "step"
_BYTES = "bytes accessed"


class Case(NamedTuple):
    """What is timed.

    Attributes:
      experiment: whose step it is, with its batch and type.
      schema: of the data.
      mode: how it is compiled.
      steps: in a call.
      part: of the algorithm, or `STEP`.
    """

    experiment: Experiment
    schema: Schema
    mode: Mode
    steps: int
    part: str = STEP

    @property
    def devices(self) -> Sequence[jax.Device]:
        """That it runs on."""
        return jax.devices()[:1] if self.mode == "jit" else jax.devices()

    @property
    def algorithm(self) -> Algorithm:
        """With what is timed as its step."""
        algorithm = make_algorithm(self.experiment, self.schema, mapped_axis(self.mode))
        if self.part == STEP:
            return algorithm
        return algorithm._replace(step=_counting(algorithm.updates[self.part]))

    def describe(self) -> dict[str, Any]:
        """What a record says of it."""
        model = self.experiment.model
        penalty = norm = None
        if isinstance(model, GANConfig):
            penalty, norm = "+".join(model.penalties) or None, norm_of(model.discriminator)
        return {
            "benchmark": "adversarial_step",
            "preset": self.experiment.name,
            "part": self.part,
            "penalty": penalty,
            "norm": norm,
            "side": "genjax",
            "mode": self.mode,
            "devices": len(self.devices),
            "dtype": model.dtype,
            "batch": self.experiment.batch_size,
            "image": next(iter(self.schema.fields.values())).shape,
            "steps_per_call": self.steps,
        }


def _counting(
    part: Callable[[State, Batch], tuple[State, Metrics]],
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """Lets a part count steps: with the same noise again, a compiler may make it once a call."""

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        number = state.step
        state, metrics = part(state, batch)
        return dataclasses.replace(state, step=number + 1), metrics

    return step


def alter(experiment: Experiment, **changes: Any) -> Experiment:
    """The experiment with fields of its model replaced."""
    return dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, **changes))


def with_penalties(experiment: Experiment) -> Iterator[Experiment]:
    """An experiment without penalties, then with each of them alone.

    Penalties that differentiate need a D without batch norm; where the preset has it, they get one
    without norm, and it comes without penalties too, to compare with. Those about D's condition
    need one.
    """
    config = experiment.model
    if not isinstance(config, GANConfig):
        return
    given = config.discriminator
    batch_norm = norm_of(given) == "batch"
    plain: Any = dataclasses.replace(given, norm="none") if batch_norm else given
    for discriminator in (given, plain) if batch_norm else (given,):
        yield alter(experiment, discriminator=discriminator, penalties={})
        for name, penalty in PENALTIES.items():
            if penalty.conditional and config.discriminator_conditioning == "none":
                continue
            if not batch_norm or penalty.differentiates == (discriminator == plain):
                yield alter(experiment, discriminator=discriminator, penalties={name: (1.0, 1)})


def make_cases(
    presets: Sequence[str],
    batches: Sequence[int],
    modes: Sequence[Mode],
    dtypes: Sequence[ComputeDtype],
    steps: Sequence[int],
    resolution: int | None,
    parts: bool,
    penalties: bool,
) -> Iterator[Case]:
    """All cases that the arguments ask for; see `main`."""
    for name, mode, dtype, count in itertools.product(presets, modes, dtypes, steps):
        base = preset(name)
        schema = resized(known_schema(base.data.name), resolution)
        for batch in batches or (base.batch_size,):
            experiment = dataclasses.replace(alter(base, dtype=dtype), batch_size=batch)
            case = Case(experiment, schema, choose_mode(mode, jax.devices()), count)
            yield case
            if parts:
                yield from (case._replace(part=part) for part in case.algorithm.updates)
            for other in with_penalties(experiment) if penalties else ():
                if other.model != experiment.model:
                    yield case._replace(experiment=other)


class Prepared(NamedTuple):
    """A case, ready to run.

    Attributes:
      compiled: its functions.
      data: the data set, on the devices.
      index: int32 [steps, examples], numbers of the examples of a call.
      states: the latest state alone; it is donated by a call, which puts another in its place.
    """

    compiled: Compiled
    data: Any
    index: Any
    states: list[State]

    @classmethod
    def of(cls, case: Case) -> "Prepared":
        """Places data and state."""
        algorithm = case.algorithm
        compiled = compile_step(algorithm, case.mode, case.devices)
        generator = np.random.default_rng(0)
        shape = (case.steps, algorithm.examples)
        index = compiled.place(generator.integers(0, IMAGES, shape, dtype=np.int32))
        data = compiled.load(noise(case.schema, IMAGES))
        state = compiled.init(jax.random.key(0))
        jax.block_until_ready((data, index, state))
        return cls(compiled, data, index, [state])

    def compile(self) -> Any:
        """Compiles the step, for `call` too."""
        step: Any = self.compiled.step
        return step.lower(self.states[0], self.data, self.index).compile()

    def call(self) -> None:
        """Runs it to the end."""
        state, metrics = self.compiled.step(self.states.pop(), self.data, self.index)
        self.states.append(jax.block_until_ready(state))
        jax.block_until_ready(metrics)


def _peak(devices: Sequence[jax.Device]) -> int:
    """Bytes that the fullest device has had in use so far; 0 where it does not say."""
    stats = [device.memory_stats() or {} for device in devices]
    return max(int(found.get("peak_bytes_in_use", 0)) for found in stats)


def _planned(executable: Any) -> int:
    plan = executable.memory_analysis()
    used = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
    return int(used - plan.alias_size_in_bytes)


def measure(case: Case, repeats: int, meter: Meter | str) -> dict[str, Any]:
    """Times one case.

    Args:
      case: what to time.
      repeats: calls to time, after those that warm up.
      meter: of energy, or why there is none.

    Returns:
      The record, without the machine.
    """
    ready, devices = Prepared.of(case), case.devices
    examples = case.algorithm.examples
    before = _peak(devices)
    compile_s, executable = timed(ready.compile)
    # Compilers try out programs on the device and need memory for it.
    compiling = max(before, _peak(devices))
    first_s, _ = timed(ready.call)
    for _ in range(WARM_UP):
        ready.call()
    seconds = [timed(ready.call)[0] / case.steps for _ in range(repeats)]
    peak = _peak(devices)
    joules = None if isinstance(meter, str) else joules_of_a_call(meter, ready.call) / case.steps

    median = statistics.median(seconds)
    # A loop's body counts once, and the program is that of one device.
    cost = executable.cost_analysis() or {}
    counted = {name: cost.get(name, 0) * len(devices) or None for name in ("flops", _BYTES)}
    flops = count_flops(case.experiment, case.schema, case.part)
    # All CPU devices are the same cores.
    apart = 1 if devices[0].platform == "cpu" else len(devices)
    ceilings = measure_ceilings(case.experiment.model.dtype)
    ceiling = apart * ceilings.flops
    raised = peak > compiling
    return {
        **case.describe(),
        "compile_s": compile_s,
        "first_s": compile_s + first_s,
        "seconds": seconds,
        "ms": 1e3 * median,
        "images_per_second": examples / median,
        "flops": flops,
        "compiler_flops": counted["flops"],
        "compiler_bytes": counted[_BYTES],
        "ceiling": ceiling,
        "bandwidth": apart * ceilings.bandwidth,
        "share": flops and flops / median / ceiling,
        "memory_bytes": peak if raised else _planned(executable),
        "memory_kind": "peak" if raised else "planned",
        "joules_per_1000_images": joules and 1000 * joules / examples,
        "energy_note": meter if isinstance(meter, str) else meter.covers,
    }


def main(
    presets: tyro.conf.Positional[tuple[str, ...]] = tuple(PRESETS),
    batch: tuple[int, ...] = (),
    mode: tuple[Mode, ...] = ("auto",),
    dtype: tuple[ComputeDtype, ...] = ("float32",),
    steps_per_call: tuple[int, ...] = (1,),
    resolution: int | None = None,
    parts: bool = False,
    penalties: bool = False,
    repeats: int = 20,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Time the training step of presets and print a Markdown table.

    Args:
      presets: Names of presets; all of them by default.
      batch: Examples in an update; the preset's by default.
      mode: How the step is compiled.
      dtype: Of the computation.
      steps_per_call: Steps in a call.
      resolution: Side of the images, which are noise; the data set's by default.
      parts: Time each player's updates alone, too.
      penalties: Time GANs without penalties and with each of them alone, of weight 1 in every
        update, too. D has no batch norm with those that need the gradient by its input.
      repeats: Calls to time after those that warm up.
      json_file: File to append to, one line a case.
    """
    keep_memory()
    if min((repeats, *batch, *steps_per_call)) < 1:
        raise UserError("repeats, batch and steps per call must be at least 1")
    cases = list(
        make_cases(presets, batch, mode, dtype, steps_per_call, resolution, parts, penalties)
    )
    machine = describe_machine(PACKAGES)
    meter = open_meter(jax.devices())
    print_machine(machine)
    print(f"jax on {machine['jax_device']}; {repeats} calls")
    common, names = split_common(NAMES, [case.describe() for case in cases])
    print(f"{common}\n\n{head([*names, *RESULTS])}", flush=True)
    for case in cases:
        try:
            record = measure(case, repeats, meter)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            print(f"out of memory: {row(names, case.describe())}", file=sys.stderr)
            continue
        print(row([*names, *RESULTS], record), flush=True)
        append_records(json_file, [record], machine)
    print()
    for kind in dtype:
        found = measure_ceilings(kind)
        print(
            f"ceilings of a device in {kind}: {found.flops / 1e9:,.0f} GFLOP/s, "
            f"{found.bandwidth / 1e9:,.0f} GB/s",
        )
    print(f"energy: {meter if isinstance(meter, str) else meter.covers}")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
