"""How many bytes the collectives of a compiled program move, read from its text."""

import math
import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")

# An asynchronous collective is a start and a done. Only the shape of the done is the result alone.
_INSTRUCTION = re.compile(
    rf"^\s*(?:ROOT )?%?[\w.-]+ = (?P<shape>\S.*?) (?P<kind>{'|'.join(KINDS)})(?:-done)?\(",
    re.MULTILINE,
)
_ARRAY = re.compile(r"\b(?P<type>[a-z]+(?P<bits>\d*)\w*)\[(?P<sizes>[\d,<=]*)\]")


class Traffic(NamedTuple):
    """Collectives of one kind.

    Attributes:
      number: of instructions.
      size: bytes of their results on one device.
    """

    number: int
    size: int


def shape_bytes(shape: str) -> int:
    """Counts the bytes of an array or of all arrays of a tuple, as HLO writes them.

    Args:
      shape: such as ``(f32[64,3]{1,0}, bf16[])``.

    Returns:
      Bytes, without padding.
    """
    total = 0
    for found in _ARRAY.finditer(shape):
        # pred takes a byte; token and opaque hold nothing.
        bits = int(found["bits"] or 8 * (found["type"] == "pred"))
        sizes = [int(size.removeprefix("<=")) for size in found["sizes"].split(",") if size]
        total += -(-bits * math.prod(sizes) // 8)
    return total


def count_collectives(text: str) -> dict[str, Traffic]:
    """Finds the collectives of a program.

    One in a loop or in a branch counts once, however often it runs.

    Args:
      text: the program after the compiler's passes, ``compiled.as_text()``.

    Returns:
      From kind to what it moves; only the kinds that occur.
    """
    traffic: dict[str, Traffic] = {}
    for found in _INSTRUCTION.finditer(text):
        number, size = traffic.get(found["kind"], Traffic(0, 0))
        traffic[found["kind"]] = Traffic(number + 1, size + shape_bytes(found["shape"]))
    return traffic
