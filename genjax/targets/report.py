"""What a compiled step costs on devices that may be absent, as plain numbers."""

import dataclasses
import importlib.metadata
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from genjax.config import Experiment, Precision
from genjax.core.types import AXIS
from genjax.distribution import version_of
from genjax.families.registry import count_parameters
from genjax.targets import hlo
from genjax.targets.bounds import Bounds, bounds_of
from genjax.targets.flops import step_products
from genjax.targets.layers import layer_of
from genjax.targets.lowering import Lowered
from genjax.targets.runs import (
    Run,
    count_kernels,
    fullest_moment,
    run_bytes,
    run_flops,
    runs,
    scope_of,
)

TOP = 10
"""Operations that a report names."""
_PACKAGES = (
    "genjax",
    "jax",
    "jaxlib",
    "libtpu",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "flax",
    "optax",
)
# Nothing can be tried out on a GPU that is absent.
_OPTIONS = {"gpu": {"xla_gpu_autotune_level": "0"}}
_SETTINGS: dict[str, Precision] = {
    "bfloat16_3x": "high",
    "float32": "highest",
    "high": "high",
    "highest": "highest",
    "tensorfloat32": "high",
}
_NEEDED = re.compile(r"required for HLO temporaries \(([\d.]+)([KMGT])\)")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Operation(NamedTuple):
    """Kernels of one layer and kind.

    Attributes:
      layer: the module, or the function, that they were traced in.
      part: forward or backward.
      kind: of the kernels.
      runs: how often they run in a step.
      share: of the step: of its cycles where the compiler estimates them, else of the time that
        its chip's peak and bandwidth allow, else of its FLOPs.
      flops: of their products, on one device.
      bytes: that they read and write, on one device.
    """

    layer: str
    part: str
    kind: str
    runs: int
    share: float
    flops: int
    bytes: int


class Collective(NamedTuple):
    """What devices send to each other.

    Attributes:
      kind: such as all-reduce.
      axis: of the devices that take part.
      number: in a step.
      bytes: of the results on one device.
    """

    kind: str
    axis: str
    number: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Report:
    """A step, compiled for a target.

    Attributes:
      preset: name of the experiment.
      target: what it was compiled for.
      devices: how many of them it uses.
      mode: how it was compiled.
      dtype: of the computation.
      precision: of its matrix products.
      batch_size: examples in an update, over all devices.
      accumulate: parts that it goes through the networks in.
      steps_per_call: steps of a call; all else is of one.
      examples: real examples in a step, over all devices.
      feed: where batches are gathered.
      compile_s: seconds that the compiler took.
      parameters: trainable numbers, by player.
      flops: of a step over all devices, by the formula.
      product_flops: of the products that the devices make.
      compiler_flops: of all operations by the compiler's count, over all devices, loops' bodies
        once; None where it has none.
      compiler_bytes: accessed on one device, by the compiler's count, likewise.
      bytes: that kernels read and write in the memory of one device, loops as often as they turn.
      memory: bytes on one device by kind.
      capacity: of the memory of one device; None for the CPU.
      fits: whether it has enough.
      collectives: by kind and axis.
      kernels: how often each kind runs.
      cycles: of one device, by the compiler's estimate; None where it has none.
      bounds: what the chip's published figures allow; None for the CPU.
      operations: the most expensive ones.
      source: of the published figures.
      versions: of the software.
      date: of the compilation.
    """

    preset: str
    target: str
    devices: int
    mode: str
    dtype: str
    precision: str
    batch_size: int
    accumulate: int
    steps_per_call: int
    examples: int
    feed: str
    compile_s: float
    parameters: Mapping[str, int]
    flops: int
    product_flops: int
    compiler_flops: float | None
    compiler_bytes: float | None
    bytes: int
    memory: Mapping[str, int]
    capacity: int | None
    fits: bool
    collectives: Sequence[Collective]
    kernels: Mapping[str, int]
    cycles: int | None
    bounds: Bounds | None
    operations: Sequence[Operation]
    source: str | None
    versions: Mapping[str, str]
    date: str

    @property
    def memory_bytes(self) -> int:
        """Of all kinds."""
        return sum(self.memory.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values, for one line of JSON."""
        named = {
            "operations": [operation._asdict() for operation in self.operations],
            "collectives": [collective._asdict() for collective in self.collectives],
            "bounds": self.bounds and self.bounds._asdict(),
        }
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"benchmark": "compile", "estimated": True, **own, **named}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Report":
        """Reads what `to_json` made; raises KeyError or TypeError for anything else."""
        own = {field.name: value[field.name] for field in dataclasses.fields(cls)}
        return cls(
            **{
                **own,
                "operations": [Operation(**one) for one in own["operations"]],
                "collectives": [Collective(**one) for one in own["collectives"]],
                "bounds": own["bounds"] and Bounds(**own["bounds"]),
            }
        )


def compile_report(lowered: Lowered) -> Report:
    """Compiles a step and reads what it costs.

    Args:
      lowered: from `lower`.

    Returns:
      The report. Where the compiler refuses the program since the memory is too small, it has
      what can be known without a program.
    """
    experiment, target = lowered.experiment, lowered.target
    chip = target.chip
    start = time.perf_counter()
    try:
        executable = lowered.stage.compile(_OPTIONS.get(target.platform))
        text = executable.as_text()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        executable, text = None, ""
        needed = _needed(str(error))
    compile_s = time.perf_counter() - start
    program = hlo.parse_program(text)
    found = runs(program)
    steps, used = experiment.steps_per_call, lowered.devices
    cost = (executable and executable.cost_analysis()) or {}
    collectives = _collectives(found, used, steps)
    total = sum(run.times * run.instruction.cycles for run in found) // steps or None
    flops = sum(product.flops for product in step_products(experiment, lowered.schema))
    moved = sum(run.times * run_bytes(program, run) for run in found) // steps
    memory = (
        _memory(lowered, executable.memory_analysis(), program)
        if executable
        else {**lowered.sizes, "temporaries": needed}
    )
    capacity = None if chip is None else chip.memory
    bounds = None
    if chip is not None and executable:
        traffic = [(one.kind, one.bytes) for one in collectives]
        peak = chip.peak(experiment.model.dtype, precision_of(experiment))
        bounds = bounds_of(chip, peak, flops / used, moved, traffic, used, total)
    return Report(
        preset=experiment.name,
        target=str(target),
        devices=used,
        mode=lowered.mode,
        dtype=experiment.model.dtype,
        precision=precision_of(experiment),
        batch_size=experiment.batch_size,
        accumulate=experiment.accumulate,
        steps_per_call=steps,
        examples=lowered.algorithm.examples,
        feed="device" if lowered.sizes["data"] else "host",
        compile_s=compile_s,
        parameters=count_parameters(lowered.algorithm),
        flops=flops,
        product_flops=used * sum(r.times * run_flops(program, r) for r in found) // steps,
        compiler_flops=used * cost["flops"] if cost.get("flops") else None,
        compiler_bytes=cost.get("bytes accessed"),
        bytes=moved,
        memory=memory,
        capacity=capacity,
        fits=executable is not None and (capacity is None or sum(memory.values()) <= capacity),
        collectives=collectives,
        kernels={kind: -(-n // steps) for kind, n in count_kernels(found).items()},
        cycles=total,
        bounds=bounds,
        operations=_operations(program, found, lowered, steps),
        source=None if chip is None else chip.source,
        versions=versions(),
        date=time.strftime("%Y-%m-%d"),
    )


def precision_of(experiment: Experiment) -> Precision:
    """Of matrix products; JAX has a setting of its own for what the configuration leaves to it."""
    if experiment.precision != "default":
        return experiment.precision
    config: Any = jax.config
    return _SETTINGS.get(config.jax_default_matmul_precision or "", "default")


def _needed(message: str) -> int:
    """Bytes of temporary arrays that a program needs, from the compiler's refusal."""
    found = _NEEDED.search(message)
    return int(float(found[1]) * _UNITS[found[2]]) if found else 0


def _memory(lowered: Lowered, plan: Any, program: hlo.Program) -> dict[str, int]:
    """Bytes on one device, by kind."""
    given = dict(lowered.sizes)
    # What the step does not use, such as labels, is left out of the program.
    unused = max(0, sum(given.values()) - plan.argument_size_in_bytes)
    for kind in ("data", "batch"):
        less = min(given[kind], unused)
        given[kind], unused = given[kind] - less, unused - less
    results = plan.output_size_in_bytes - plan.alias_size_in_bytes
    held = fullest_moment(program)
    alive = sum(
        hlo.shape_bytes(shape, on_chip=False)
        for shape in held
        if tuple(hlo.array_sizes(shape)) not in lowered.shapes
    )
    activations = min(alive, plan.temp_size_in_bytes)
    return {
        **given,
        "padding": max(0, plan.argument_size_in_bytes - sum(given.values())),
        "results": max(0, results),
        "activations": activations,
        "temporaries": plan.temp_size_in_bytes - activations,
        "program": plan.generated_code_size_in_bytes,
    }


def _collectives(found: Sequence[Run], devices: int, steps: int) -> list[Collective]:
    numbers: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for run in found:
        kind = run.instruction.collective
        if kind is None:
            continue
        source = run.instruction
        if source.opcode.endswith("-done") and source.operands:
            source = run.within.get(source.operands[0], source)
        members = hlo.group_size(source.groups) or devices
        axis = AXIS if members == devices else f"{members} of {devices}"
        numbers[kind, axis] += run.times
        sizes[kind, axis] += run.times * hlo.shape_bytes(run.instruction.shape)
    return [
        Collective(*key, -(-numbers[key] // steps), sizes[key] // steps) for key in sorted(numbers)
    ]


def _operations(
    program: hlo.Program, found: Sequence[Run], lowered: Lowered, steps: int
) -> list[Operation]:
    chip, experiment = lowered.target.chip, lowered.experiment
    peak = chip and chip.peak(experiment.model.dtype, precision_of(experiment))
    costs: dict[tuple[str, str, str], float] = defaultdict(float)
    runs: Counter[tuple[str, str, str]] = Counter()
    flops: Counter[tuple[str, str, str]] = Counter()
    moved: Counter[tuple[str, str, str]] = Counter()
    estimated = any(run.instruction.cycles for run in found)
    for run in found:
        if run.instruction.opcode.endswith("-start"):
            continue
        key = (*layer_of(scope_of(program, run)), run.instruction.kind)
        products = run.times * run_flops(program, run)
        size = run.times * run_bytes(program, run)
        if estimated:
            costs[key] += run.times * run.instruction.cycles
        elif chip is not None and peak:
            costs[key] += max(products / peak, size / chip.bandwidth)
        else:
            costs[key] += products
        runs[key] += run.times
        flops[key] += products
        moved[key] += size
    whole = sum(costs.values()) or 1
    return [
        Operation(
            *key, -(-runs[key] // steps), cost / whole, flops[key] // steps, moved[key] // steps
        )
        for key, cost in sorted(costs.items(), key=lambda item: -item[1])[:TOP]
        if cost
    ]


def versions() -> dict[str, str]:
    """Of the packages that a report depends on, those that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version_of(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
