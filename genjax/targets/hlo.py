"""Reads the text of a compiled program.

XLA gives no other account of a program for a device that is absent.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")

_HEAD = re.compile(r"^(ENTRY )?%?([\w.-]+)\s.*\{$")
_NAME = re.compile(r"^\s*(ROOT )?%?([\w.-]+) = ")
_OPERAND = re.compile(r"%?([\w.-]+)$")
_ARRAY = re.compile(
    r"\b(?P<type>[a-z]+(?P<bits>\d*)\w*)\[(?P<sizes>[\d,<=]*)\](?P<layout>\{[^}]*\})?"
)
_CALLED = re.compile(r"\b(?:calls|body|to_apply)=%?([\w.-]+)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_SCOPE = re.compile(r'\bop_name="((?:[^"\\]|\\.)*)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_KIND = re.compile(r"\bkind=(\w+)")
_GROUPS = re.compile(
    r"replica_groups=(mesh\[[^\]]*\] \{[^}]*\}|\{\{[^=]*?\}\}|\[[\d,]+\]<=\[[\d,]+\])"
)
# Memory space 1 of a TPU lies on the chip.
_ON_CHIP = re.compile(r"S\([1-9]\)")


class Instruction(NamedTuple):
    """A line of a program.

    Attributes:
      name: its own.
      shape: of its result, as it is written.
      opcode: what it does.
      operands: names of other instructions of its computation.
      text: what follows them: attributes and metadata.
    """

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    text: str

    @property
    def scope(self) -> str:
        """Where it was traced, as JAX names it; empty where XLA does not say."""
        found = _SCOPE.search(self.text)
        return found[1] if found else ""

    @property
    def cycles(self) -> int:
        """That XLA estimates for it, on TPUs; 0 where it does not say."""
        found = _CYCLES.search(self.text)
        return int(found[1]) if found else 0

    @property
    def called(self) -> list[str]:
        """Names of the computations that it runs: of a fusion, a call, or a loop's body."""
        return _CALLED.findall(self.text)

    @property
    def library(self) -> str:
        """What a custom call asks for, as XLA writes it; empty for all else."""
        found = _TARGET.search(self.text) if self.opcode == "custom-call" else None
        return found[1] if found else ""

    @property
    def kind(self) -> str:
        """What it is in a list of kernels: the kind of a fusion, the routine of a library."""
        if self.opcode == "fusion":
            found = _KIND.search(self.text)
            return f"{found[1].removeprefix('k').lower()} fusion" if found else "fusion"
        if self.opcode == "custom-call":
            return self.library.lstrip("_").replace("$", " ") or "custom call"
        if math.prod(array_sizes(self.shape)) == 1 and not self.shape.startswith("("):
            return "scalar"
        return self.opcode.removesuffix("-start").removesuffix("-done")

    @property
    def collective(self) -> str | None:
        """Its kind if it sends something to other devices; one that is asynchronous, at its end."""
        kind = self.opcode.removesuffix("-done")
        return kind if kind in COLLECTIVES else None

    @property
    def groups(self) -> str:
        """The devices that a collective joins, as XLA writes it."""
        found = _GROUPS.search(self.text)
        return found[1] if found else ""


Computation = Mapping[str, Instruction]


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      entry: name of its first computation.
      computations: by name, each the instructions by name, in the order in which they run.
    """

    entry: str
    computations: Mapping[str, Computation]


def shape_bytes(shape: str, on_chip: bool = True) -> int:
    """Counts the bytes of an array or of all arrays of a tuple, as HLO writes them.

    Args:
      shape: such as ``(f32[64,3]{1,0}, bf16[])``.
      on_chip: count those that lie in a TPU's memory on the chip, too.

    Returns:
      Bytes, without padding.
    """
    total = 0
    for found in _ARRAY.finditer(shape):
        if not on_chip and _ON_CHIP.search(found["layout"] or ""):
            continue
        # pred takes a byte; token and opaque hold nothing.
        bits = int(found["bits"] or 8 * (found["type"] == "pred"))
        total += -(-bits * math.prod(_sizes(found["sizes"])) // 8)
    return total


def _sizes(text: str) -> list[int]:
    return [int(size.removeprefix("<=")) for size in text.split(",") if size]


def group_size(groups: str) -> int:
    """How many devices a collective joins, from how XLA writes its groups; 0 where it does not say.

    Example:
      >>> [group_size(x) for x in ("{{0,1},{2,3}}", "[2,4]<=[8]", "mesh['a'=4,'b'=2] {'a'}")]
      [2, 4, 4]
    """
    if groups.startswith("mesh["):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", groups))
        chosen = re.findall(r"'(\w+)'", groups.partition("]")[2])
        return math.prod(int(sizes[name]) for name in chosen)
    if found := re.match(r"\[[\d,]*?(\d+)\]<=", groups):
        return int(found[1])
    first = re.match(r"\{\{([\d,]*)\}", groups)
    return len(first[1].split(",")) if first else 0


def arrays_of(shape: str) -> list[str]:
    """The arrays of a tuple, or the array itself."""
    return [found[0] for found in _ARRAY.finditer(shape)]


def array_sizes(shape: str) -> list[int]:
    """The sides of an array, or of the first array of a tuple."""
    found = _ARRAY.search(shape)
    return _sizes(found["sizes"]) if found else []


def parse_program(text: str) -> Program:
    """Reads ``compiled.as_text()``.

    Args:
      text: the program after the compiler's passes.

    Returns:
      The program.
    """
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", ""
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head and not line.startswith(("HloModule", " ")):
            current = head[2]
            entry = current if head[1] else entry
            computations[current] = {}
        elif current and (found := _NAME.match(line)):
            instruction = _read(found[2], line[found.end() :])
            computations[current][instruction.name] = instruction
    return Program(entry or current, computations)


def _read(name: str, rest: str) -> Instruction:
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.find(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    start = rest.find("(")
    stop = _closing(rest, start)
    operands = tuple(
        found[1]
        for part in re.split(r",(?![^{\[]*[}\]])", rest[start + 1 : stop])
        if (found := _OPERAND.search(part.strip()))
    )
    return Instruction(name, shape, rest[:start], operands, rest[stop + 1 :])


def _closing(text: str, start: int) -> int:
    """Place of the parenthesis that closes the one at `start`."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if not depth:
            return place
    return len(text)
