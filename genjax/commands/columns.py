"""Rows of words: side by side where a terminal has the width, otherwise below each other."""

import re
from collections.abc import Iterable, Sequence

from genjax.commands.arguments import console, say
from genjax.errors import printable

_GAP = "  "


def lay_out(
    rows: Iterable[Sequence[str]], width: int | None = None, header: Sequence[str] | None = None
) -> list[str]:
    """Sets words out in columns.

    Args:
      rows: at least one; a shorter one ends with a remark of its own.
      width: characters there are in a line; None for any number.
      header: titles of the columns.

    Returns:
      The lines. Where they would be too wide, the columns that fit stay side by side, and each of
      the others has a line of its own below, after its title.
    """
    # A line break within a name would end its row.
    rows = [[printable(word) for word in row] for row in rows]
    everything = [*([header] if header else []), *rows]
    padded = _widths([row[:-1] for row in everything])
    lines = [_join(row, padded) for row in everything]
    if width is None or max(map(len, lines)) <= width:
        return lines
    whole = _widths(everything)
    kept = 1
    while kept < len(whole) and sum(whole[: kept + 1]) + kept * len(_GAP) <= width:
        kept += 1
    titles = [f"{title}: " for title in header or ()]
    lines = []
    for number, row in enumerate(everything):
        lines.append(_join(row[:kept], whole))
        for place in range(kept, len(row)) if number or not header else ():
            if row[place]:
                lines += _indent((titles[place] if titles else "") + row[place], width)
    return lines


def print_rows(rows: Iterable[Sequence[str]], header: Sequence[str] | None = None) -> None:
    """Prints rows in columns, as wide as they are where nobody looks at them in a terminal."""
    for line in lay_out(rows, console.width if console.is_terminal else None, header):
        say(line)


def _indent(words: str, width: int) -> list[str]:
    """Breaks a list between its things alone: a command that is broken can't be copied."""
    things = [f"{thing} " for thing in re.split("(?<=[,;]) ", words)]
    things[-1] = things[-1][:-1]
    lines = [_GAP + things[0]]
    for thing in things[1:]:
        if len((lines[-1] + thing).rstrip()) <= width:
            lines[-1] += thing
        else:
            lines.append(2 * _GAP + thing)
    return [line.rstrip() for line in lines]


def _widths(rows: Iterable[Sequence[str]]) -> list[int]:
    widths: list[int] = []
    for row in rows:
        widths += [0] * (len(row) - len(widths))
        for place, word in enumerate(row):
            widths[place] = max(widths[place], len(word))
    return widths


def _join(row: Sequence[str], widths: Sequence[int]) -> str:
    *first, last = row
    return _GAP.join([*map(str.ljust, first, widths), last]).rstrip()
