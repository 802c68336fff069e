"""Tables of an ablation: Markdown and LaTeX to read, CSV to compute with."""

import csv
import io
from collections.abc import Sequence

from genjax.ablation.describe import describe, name_seeds
from genjax.ablation.results import Record, directions
from genjax.ablation.rows import Row, Summary
from genjax.ablation.statistics import Interval

COLUMNS = (
    "variant",
    "checkpoint",
    "score",
    "mean",
    "low",
    "high",
    "n",
    "worst",
    "worst_seed",
    "difference",
    "p",
    "p_holm",
    "failed",
    "train_s",
)
"""Columns of the CSV; numbers are not rounded, and what does not exist is empty."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    **{character: f"\\{character}" for character in "_%&#${}"},
}


def to_markdown(rows: Sequence[Row], records: Sequence[Record]) -> str:
    """A table for people, with what failed and what the numbers are below it.

    Args:
      rows: of `make_rows`.
      records: what the rows were made of.

    Returns:
      Markdown, with a newline at its end.
    """
    header, *body = [[cell.replace("|", "\\|") for cell in line] for line in cells(rows, records)]
    lines = [f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *body)]
    failures = [
        f"- {row.variant}, {name_seeds(seeds)}: {reason}"
        for row in rows
        for reason, seeds in _by_reason(row).items()
    ]
    if failures:
        lines += ["", "Failed:", "", *failures]
    return "\n".join([*lines, "", describe(rows, records)]) + "\n"


def to_latex(rows: Sequence[Row], records: Sequence[Record]) -> str:
    """The same table as a LaTeX tabular, which needs no package.

    Args:
      rows: of `make_rows`.
      records: what the rows were made of.

    Returns:
      LaTeX, after a comment that says what the numbers are.
    """
    header, *body = [
        " & ".join(escape_latex(cell) for cell in line) + r" \\" for line in cells(rows, records)
    ]
    columns = "l" + "r" * header.count(" & ")
    lines = [
        f"% {describe(rows, records)}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\hline",
        header,
        "\\hline",
        *body,
        "\\hline",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """One line for each variant, checkpoint and score.

    Args:
      rows: of `make_rows`.

    Returns:
      CSV with the columns `COLUMNS`.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        for (checkpoint, score), summary in row.summaries.items():
            interval = summary.interval or Interval(float("nan"), None, None, 0)
            difference = summary.difference
            writer.writerow(
                (
                    row.variant,
                    checkpoint,
                    score,
                    interval.mean if interval.n else None,
                    interval.low,
                    interval.high,
                    interval.n,
                    summary.worst,
                    summary.worst_seed,
                    None if difference is None else difference.mean,
                    None if difference is None else difference.p,
                    summary.p_holm,
                    len(row.failures),
                    row.train_s,
                )
            )
    return stream.getvalue()


def escape_latex(text: str) -> str:
    """Makes text safe for LaTeX.

    Args:
      text: any.

    Returns:
      LaTeX that is printed as the text.

    Example:
      >>> print(escape_latex("r1_weight & 5 %"))
      r1\\_weight \\& 5 \\%
    """
    return "".join(_LATEX.get(character, character) for character in text)


def format_number(value: float) -> str:
    """Prints a number with four significant digits at most.

    Args:
      value: finite.

    Returns:
      The number, with an exponent only if it has seven digits or more, or starts behind three
      zeros.

    Example:
      >>> format_number(0.123456), format_number(12345.6), format_number(25.0)
      ('0.1235', '12350', '25')
    """
    return f"{float(f'{value + 0.0:.4g}'):g}"


def cells(rows: Sequence[Row], records: Sequence[Record]) -> list[list[str]]:
    """The words of the table.

    Args:
      rows: of `make_rows`.
      records: what the rows were made of.

    Returns:
      A line of titles, then one for each variant.
    """
    better = directions(records)
    header = ["variant"]
    for name in better:
        header += [name, f"{name}, best", f"{name}, worst seed", f"{name}, difference"]
    lines = [[*header, "failed", "s/run"]]
    for row in rows:
        line = [f"{row.variant} (baseline)" if row.baseline else row.variant]
        for name in better:
            last, best = row.summaries["last", name], row.summaries["best", name]
            line += [_interval(last), _interval(best), _worst(last), _difference(last)]
        line.append(f"{len(row.failures)} of {len(row.seeds)}")
        lines.append([*line, "" if row.train_s is None else format_number(row.train_s)])
    return lines


def _interval(summary: Summary) -> str:
    if summary.interval is None:
        return "failed"
    mean, low, high, _ = summary.interval
    if low is None or high is None:
        return format_number(mean)
    return f"{format_number(mean)} [{format_number(low)}, {format_number(high)}]"


def _worst(summary: Summary) -> str:
    if summary.worst is None:
        return ""
    return f"{format_number(summary.worst)} (seed {summary.worst_seed})"


def _difference(summary: Summary) -> str:
    if summary.difference is None:
        return ""
    mean = summary.difference.mean
    text = f"{'+' if mean > 0 else ''}{format_number(mean)}"
    if summary.p_holm is None:
        return text
    return f"{text} (p {'< 0.001' if summary.p_holm < 0.001 else f'= {summary.p_holm:.2g}'})"


def _by_reason(row: Row) -> dict[str, list[int]]:
    reasons: dict[str, list[int]] = {}
    for seed, reason in row.failures.items():
        reasons.setdefault(reason, []).append(seed)
    return reasons
