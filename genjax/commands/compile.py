"""``genjax compile``."""

import dataclasses
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genjax.commands.arguments import check_file, parse, say, with_values
from genjax.commands.columns import print_rows
from genjax.commands.flags import Chosen, Plugins, prepare
from genjax.config import LARGEST_BATCH, ComputeDtype
from genjax.distribution import install_extra
from genjax.errors import UserError

if TYPE_CHECKING:
    from genjax.core.schema import Schema
    from genjax.targets.report import Report
    from genjax.targets.scaling import Point

_SWITCHES = ("--largest-batch", "--scaling")


def compile(arguments: list[str]) -> None:
    """Say what a step costs on absent devices: genjax compile [PRESET] --target tpu-v5e:2x2."""
    prepared = prepare(with_values(arguments, _SWITCHES))

    def run(
        target: str,
        experiment: Chosen = prepared.experiment,
        config: Path | None = None,
        plugin: Plugins = (),
        dtype: ComputeDtype | None = None,
        largest_batch: bool = False,
        scaling: bool = False,
        out: Path | None = None,
        json: Path | None = None,
    ) -> None:
        """Compile a training step for devices that need not be there, and say what it costs.

        FLOPs, bytes, memory, collectives and kernels are those of the program that XLA makes for
        the target; times are estimates, not measurements: cycles of XLA's own model on TPUs, and
        what the chip's published figures allow.

        Args:
          target: Devices: tpu-v5e:2x2, tpu-v6e:4x4, tpu-v4:2x2x1, tpu-v5p:2x2x1, a100, h100:4,
            h200:8, cpu or cpu:4. TPUs need `pip install 'genjax-models[targets]'`, GPUs
            `pip install 'jax[cuda12]'`.
          experiment: the configuration.
          config: YAML or JSON file with some fields of the configuration, or all; flags go before
            it, and it goes before the preset.
          plugin: Python file that registers what the configuration can then name; may be given
            several times.
          dtype: Of the computation; short for --model.dtype.
          largest_batch: Find the largest batch that fits the memory, to a sixteenth.
          scaling: Compile for 1 to 256 chips (GPUs: up to 8), and draw weak and strong scaling.
          out: PNG file of the drawing; scaling-PRESET-CHIP.png by default.
          json: File to append the reports to, one line each.
        """
        from genjax.targets.devices import parse_target, prepare_process

        aimed = parse_target(target)
        if scaling and largest_batch:
            raise UserError("--scaling and --largest-batch are two questions; give one of them")
        if out is not None and not scaling:
            raise UserError(f"--out {out} is the drawing of --scaling, which is missing")
        file = out or Path(f"scaling-{Path(experiment.name).name}-{aimed.name}.png")
        for written in (file if scaling else None, json):
            check_file(written)
        if scaling and importlib.util.find_spec("matplotlib") is None:
            raise UserError(f"--scaling needs matplotlib; run: {install_extra('plot')}")
        prepare_process(aimed)
        from genjax.targets.cache import report_of

        if dtype is not None:
            model: Any = experiment.model
            experiment = dataclasses.replace(
                experiment, model=dataclasses.replace(model, dtype=dtype)
            )
        schema, count = _data_of(experiment)
        if scaling:
            from genjax.targets.scaling import fitting_points, plot_scaling, scaling_points

            points = scaling_points(
                experiment, aimed, lambda own, chips: report_of(own, schema, chips, say, count)
            )
            if not points:
                raise UserError(
                    f"a batch of {experiment.batch_size} fits no number of {aimed.name}"
                )
            _append(
                json, [{**point.report.to_json(), "scaling": point.scaling} for point in points]
            )
            fitting = fitting_points(points)
            print_rows(list(_scaling_rows(points, fitting[0])), _SCALING)
            plot_scaling(fitting, file)
            say(f"wrote {file}")
            return
        if largest_batch:
            from genjax.targets.batches import largest_batch as find

            unit = experiment.accumulate * (1 if experiment.mode == "jit" else aimed.devices)
            report = find(experiment, unit, lambda own: report_of(own, schema, aimed, say, count))
            if report.batch_size + unit > LARGEST_BATCH:
                say(f"no configuration has more than {LARGEST_BATCH:,}; more examples may fit")
        else:
            report = report_of(experiment, schema, aimed, say, count)
        _print(report)
        _append(json, [report.to_json()])

    run.__name__ = "compile"
    prog = f"genjax compile {prepared.preset}"
    parse(run, prepared.arguments, prog, registry=prepared.registry)


def _data_of(experiment: Any) -> "tuple[Schema, int | None]":
    """The schema, and how many examples lie in memory of a set that is no usual one.

    Others need not be there.
    """
    from genjax.data.sources import expected_schema, load
    from genjax.run.feed import is_whole

    data = experiment.data
    try:
        return expected_schema(data), None
    except UserError:
        source = load(data)
        return source.schema, source.count if is_whole(source) else None


def _append(path: Path | None, records: list[dict[str, Any]]) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        say(f"appended to {path}")


def _short(value: float, units: str = " kMGTP", base: float = 1000.0) -> str:
    """Such as 27.0 G."""
    place = 0
    while abs(value) >= base and place < len(units) - 1:
        value /= base
        place += 1
    digits = 0 if not place and value == int(value) else 3
    return f"{value:.{digits}g} {units[place]}".rstrip() if digits else f"{value:.0f}"


def _size(value: float) -> str:
    return f"{_short(value, ' KMGT', 1024.0)}iB" if value >= 1024 else f"{value:.0f} B"


def _seconds(value: float) -> str:
    scale, unit = (1, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "us")
    return f"{value * scale:.3g} {unit}"


def _print(report: "Report") -> None:
    chip = report.target.partition(":")[0]
    say(f"{report.preset} on {report.devices} x {chip}")
    print_rows(list(_facts(report)))
    if report.operations:
        say("\nmost expensive:")
        rows = (
            (
                f"{100 * one.share:.1f} %",
                f"{_short(one.flops)}FLOP" if one.flops else "-",
                _size(one.bytes),
                one.part,
                f"{one.runs} x {one.kind}",
                one.layer,
            )
            for one in report.operations
        )
        print_rows(list(rows), ("share", "products", "bytes", "pass", "kernels", "layer"))


def _facts(report: "Report") -> Iterator[tuple[str, str]]:
    exact = "" if report.precision == "default" else f" at {report.precision} precision"
    parts = "" if report.accumulate == 1 else f" in {report.accumulate} parts"
    calls = "" if report.steps_per_call == 1 else f", {report.steps_per_call} steps a call"
    yield (
        "step",
        f"mode {report.mode}, {report.dtype}{exact}, batch {report.batch_size:,}{parts}, "
        f"{report.examples:,} real examples a step{calls}, batches from the {report.feed}",
    )
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    yield "compiled", f"{report.date} in {report.compile_s:.1f} s by {versions}"
    yield "parameters", ", ".join(f"{name} {n:,}" for name, n in report.parameters.items())
    flops = f"{_short(report.flops)}FLOP a step by the formula"
    if report.product_flops:
        ratio = f"{100 * report.product_flops / report.flops:.1f} %" if report.flops else "-"
        flops += f"; the program's products make {_short(report.product_flops)}FLOP ({ratio})"
    if report.compiler_flops:
        flops += f"; {_short(report.compiler_flops)}FLOP with everything else, by the compiler"
    yield "work", flops
    moved = f"{_short(report.bytes)}B read and written in memory by kernels"
    if report.compiler_bytes:
        moved += f"; {_short(report.compiler_bytes)}B accessed by the compiler's count"
    yield "bytes", moved
    kinds = ", ".join(f"{kind} {_size(size)}" for kind, size in report.memory.items() if size)
    capacity = "" if report.capacity is None else f" of {_size(report.capacity)}"
    verdict = "" if report.fits else ": does NOT fit"
    yield "memory", f"{_size(report.memory_bytes)}{capacity} a device{verdict}: {kinds}"
    sent = ", ".join(
        f"{c.number} {c.kind} over {c.axis}, {_size(c.bytes)}" for c in report.collectives
    )
    yield "collectives", sent or "none"
    if report.kernels:
        yield "kernels", ", ".join(f"{n} {kind}" for kind, n in report.kernels.items())
    if report.bounds is None:
        return
    bounds = report.bounds
    if report.cycles is not None and bounds.cycles:
        rate = report.examples / bounds.cycles
        yield (
            "estimate",
            f"{report.cycles:,} cycles, {_seconds(bounds.cycles)} at "
            f"{report.cycles / bounds.cycles / 1e9:.2f} GHz: {rate:,.0f} examples/s, not measured",
        )
    yield (
        "bounds",
        f"compute {_seconds(bounds.compute)}, memory {_seconds(bounds.memory)}, interconnect "
        f"{_seconds(bounds.interconnect)}: bound by {bounds.name}, at most "
        f"{report.examples / getattr(bounds, bounds.name):,.0f} examples/s",
    )
    yield "figures", f"{report.source}"


_SCALING = (
    "scaling",
    "chips",
    "batch",
    "work",
    "interconnect",
    "examples/s",
    "efficiency",
    "memory",
)


def _scaling_rows(points: "list[Point]", first: "Point") -> Iterator[tuple[str, ...]]:
    """Efficiencies are against the first point that fits."""
    for point in points:
        report = point.report
        yield (
            point.scaling,
            str(report.devices),
            f"{report.batch_size:,}",
            *(_rates(point, first) if report.bounds is not None else ["-"] * 4),
            f"{_size(report.memory_bytes)}{'' if report.fits else ', does NOT fit'}",
        )


def _rates(point: "Point", first: "Point") -> list[str]:
    bounds, (low, high) = point.report.bounds, point.rates
    assert bounds is not None
    whole = first.rates[1] / first.report.devices * point.report.devices
    return [
        _seconds(bounds.busy),
        _seconds(bounds.interconnect),
        f"{low:,.0f} to {high:,.0f}",
        f"{100 * low / whole:.0f} to {100 * high / whole:.0f} %",
    ]
