"""Markdown tables of timed steps, from the records that benchmarks write."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.timing import spread, summary

Record = Mapping[str, Any]


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      title: its head.
      cell: from a record to its text; empty where the record has nothing to say.
    """

    title: str
    cell: Callable[[Record], str]


def short(value: float) -> str:
    """A number to about three digits.

    Example:
      >>> [short(x) for x in (12345.6, 99.96, 1.0, 0.00123)]
      ['12,346', '100', '1', '0.00123']
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def milliseconds(seconds: Sequence[float]) -> str:
    """Two cells: the median, and the smallest to the largest, to about three digits."""
    values = [1e3 * value for value in seconds]
    return summary(values, max(0, 3 - len(str(int(min(values))))))


def _text(key: str) -> Callable[[Record], str]:
    return lambda record: "" if record.get(key) is None else str(record[key])


def _number(key: str, scale: float = 1.0) -> Callable[[Record], str]:
    def cell(record: Record) -> str:
        value = record.get(key)
        return "" if value is None else short(scale * value)

    return cell


def image_size(record: Record) -> str:
    """Of the images of a record."""
    return " x ".join(map(str, record["image"])) if record.get("image") else ""


def roof_name(record: Record) -> str:
    """Says what a record's ceilings are of."""
    count = record["devices"]
    return f"{record['dtype']} on {count} device{'s' if count > 1 else ''}"


def _share(record: Record) -> str:
    share = record.get("share")
    return "" if share is None else f"{100 * share:.0f} %"


def _memory(record: Record) -> str:
    size = record.get("memory_bytes")
    return "" if size is None else f"{short(size / 2**20)} ({record['memory_kind']})"


def _ratio(record: Record) -> str:
    if record.get("ratio") is None:
        return ""
    return f"{record['ratio']:.2f} ({spread([record['ratio_min'], record['ratio_max']], 2)})"


NAMES = (
    Column("preset", _text("preset")),
    Column("side", _text("side")),
    Column("part", _text("part")),
    Column("penalty", _text("penalty")),
    Column("norm of D", _text("norm")),
    Column("mode", _text("mode")),
    Column("devices", _text("devices")),
    Column("dtype", _text("dtype")),
    Column("batch", _text("batch")),
    Column("image", image_size),
    Column("steps a call", _text("steps_per_call")),
)
"""What was timed, in the records of one step: of `adversarial_step` and `peers`."""

RESULTS = (
    Column("compile, s", _number("compile_s")),
    Column("first step, s", _number("first_s")),
    Column("ms/step", lambda record: milliseconds(record["seconds"]).split(" | ")[0]),
    Column("min to max", lambda record: milliseconds(record["seconds"]).split(" | ")[1]),
    Column("images/s", _number("images_per_second")),
    Column("GFLOP a step", _number("flops", 1e-9)),
    Column("by the compiler", _number("compiler_flops", 1e-9)),
    Column("of the ceiling", _share),
    Column("MiB a device", _memory),
    Column("J per 1,000 images", _number("joules_per_1000_images")),
)
"""What came of it."""

RATIO = Column("genjax times faster", _ratio)


def head(columns: Sequence[Column]) -> str:
    """The two lines that begin a table."""
    titles = " | ".join(column.title for column in columns)
    return f"| {titles} |\n|{' --- |' * len(columns)}"


def row(columns: Sequence[Column], record: Record) -> str:
    """A line of a table."""
    return f"| {' | '.join(column.cell(record) or '-' for column in columns)} |"


def split_common(columns: Sequence[Column], records: Sequence[Record]) -> tuple[str, list[Column]]:
    """Takes out the columns that say the same in every row.

    Args:
      columns: of a table.
      records: one a row.

    Returns:
      What they say, for a line above the table, and the other columns.
    """
    common, others = [], []
    for column in columns:
        cells = {column.cell(record) for record in records}
        if len(cells) > 1:
            others.append(column)
        elif cell := cells.pop():
            common.append(f"{column.title} {cell}")
    return ", ".join(common), others


def table(names: Sequence[Column], results: Sequence[Column], records: Sequence[Record]) -> str:
    """A table without its empty columns, under a line with what all rows have in common.

    Args:
      names: columns that tell the rows apart.
      results: further columns.
      records: one a row.

    Returns:
      Markdown.
    """
    common, columns = split_common(names, records)
    columns += [x for x in results if any(x.cell(record) for record in records)]
    lines = [head(columns), *(row(columns, record) for record in records)]
    return "\n".join([common, "", *lines] if common else lines)
