"""Columns of what `genjax compile` appends with --json: estimates for devices that were absent."""

from collections.abc import Sequence

from benchmarks.tables import Column, Record, short, table


def _microseconds(record: Record, name: str) -> str:
    bounds = record.get("bounds")
    return "" if not bounds or bounds[name] is None else short(1e6 * bounds[name])


def _bound(record: Record) -> str:
    bounds = record.get("bounds")
    names = ("compute", "memory", "interconnect")
    return max(names, key=bounds.__getitem__) if bounds else ""


def _rate(record: Record) -> str:
    bounds = record.get("bounds")
    if not bounds:
        return ""
    busy = bounds["cycles"] or max(bounds["compute"], bounds["memory"])
    return f"{record['examples'] / (busy + bounds['interconnect']):,.0f}"


def _collectives(record: Record) -> str:
    found = record["collectives"]
    return ", ".join(f"{one['number']} {one['kind']}, {short(one['bytes'] / 1e6)}" for one in found)


def _kernels(record: Record) -> str:
    apart = {"scalar"}
    return str(sum(count for kind, count in record["kernels"].items() if kind not in apart))


def _share(record: Record) -> str:
    return f"{100 * record['product_flops'] / record['flops']:.0f} %" if record["flops"] else ""


def _several(record: Record, name: str) -> str:
    """Older records don't say it."""
    return str(record[name]) if record.get(name, 1) > 1 else ""


_COMMAND = "genjax compile PRESET --target TARGET [FLAG ...]"
_NAMES = (
    Column("preset", lambda record: record["preset"]),
    Column("target", lambda record: record["target"]),
    Column("mode", lambda record: record["mode"]),
    Column("devices", lambda record: str(record["devices"])),
    Column("dtype", lambda record: record["dtype"]),
    Column("precision", lambda record: record["precision"]),
    Column("batch", lambda record: str(record["batch_size"])),
    Column("parts of it", lambda record: _several(record, "accumulate")),
    Column("steps a call", lambda record: _several(record, "steps_per_call")),
    Column("feed", lambda record: record["feed"]),
    Column("scaling", lambda record: record.get("scaling", "")),
)
_RESULTS = (
    Column("GFLOP a step", lambda record: short(record["flops"] / 1e9)),
    Column("of it made", _share),
    Column("MB through memory", lambda record: short(record["bytes"] / 1e6)),
    Column("MiB a device", lambda record: short(sum(record["memory"].values()) / 2**20)),
    Column("fits", lambda record: "yes" if record["fits"] else "no"),
    Column("collectives, MB", _collectives),
    Column("kernels", _kernels),
    Column("kcycles", lambda record: short(record["cycles"] / 1e3) if record["cycles"] else ""),
    Column("work by cycles, us", lambda record: _microseconds(record, "cycles")),
    Column("compute bound, us", lambda record: _microseconds(record, "compute")),
    Column("memory bound, us", lambda record: _microseconds(record, "memory")),
    Column("interconnect bound, us", lambda record: _microseconds(record, "interconnect")),
    Column("bound by", _bound),
    Column("examples/s at best", _rate),
)


def text_of(records: Sequence[Record]) -> str:
    """Markdown of estimates.

    Args:
      records: of `genjax compile`, in any order.

    Returns:
      The software, the command, the table, and where published figures are from.
    """
    versions: dict[str, None] = {}
    for record in records:
        versions.update(dict.fromkeys(f"{name} {v}" for name, v in record["versions"].items()))
    dates = sorted({record["date"] for record in records})
    sources = sorted({record["source"] for record in records if record["source"]})
    days = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    return (
        f"{', '.join(versions)}, {days}\n\n```sh\n{_COMMAND}\n```\n\n"
        f"{table(_NAMES, _RESULTS, records)}\n\n"
        "Nothing here ran. GFLOP are of all devices by the formula; what is made of it more than "
        "once, or as products with zeros, is beyond 100 %. Cycles are those of XLA's cost model, "
        "which it has for TPUs; the bounds follow from published peaks, bandwidths and links "
        f"({'; '.join(sources)}). Examples a second: with no communication hidden behind work.\n"
    )
