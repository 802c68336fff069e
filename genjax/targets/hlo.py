"""Reads the text of a compiled program: what it runs, how often, and what that costs.

XLA gives no other account of a program for a device that is absent.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from genjax.targets.flops import count_meetings

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")

_HEAD = re.compile(r"^(ENTRY )?%?([\w.-]+)\s.*\{$")
_NAME = re.compile(r"^\s*(ROOT )?%?([\w.-]+) = ")
_OPERAND = re.compile(r"%?([\w.-]+)$")
_ARRAY = re.compile(
    r"\b(?P<type>[a-z]+(?P<bits>\d*)\w*)\[(?P<sizes>[\d,<=]*)\](?P<layout>\{[^}]*\})?"
)
_CALLED = re.compile(r"\b(?:calls|body|to_apply)=%?([\w.-]+)")
_BRANCHES = re.compile(
    r"\b(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%?[\w.-]+))"
)
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CONDITION = re.compile(r"\bcondition=%?([\w.-]+)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_SCOPE = re.compile(r'\bop_name="((?:[^"\\]|\\.)*)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_KIND = re.compile(r"\bkind=(\w+)")
_GROUPS = re.compile(
    r"replica_groups=(mesh\[[^\]]*\] \{[^}]*\}|\{\{[^=]*?\}\}|\[[\d,]+\]<=\[[\d,]+\])"
)
# Memory space 1 of a TPU lies on the chip.
_ON_CHIP = re.compile(r"S\([1-9]\)")
# Names for other instructions' memory, or for none.
_FREE = {
    "after-all",
    "bitcast",
    "constant",
    "get-tuple-element",
    "iota",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
_CONTROL = {"call", "conditional", "while"}


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
    def kind(self) -> str:
        """What it is in a list of kernels: the kind of a fusion, the routine of a library."""
        if self.opcode == "fusion":
            found = _KIND.search(self.text)
            return f"{found[1].removeprefix('k').lower()} fusion" if found else "fusion"
        if self.opcode == "custom-call":
            found = _TARGET.search(self.text)
            return found[1].lstrip("_").replace("$", " ") if found else "custom call"
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


class Run(NamedTuple):
    """An instruction that runs by itself.

    Attributes:
      instruction: it.
      within: its computation.
      times: how often it runs.
    """

    instruction: Instruction
    within: Computation
    times: int


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


def runs(program: Program) -> list[Run]:
    """What a program runs, loops as often as they turn, and of a branch the most expensive side.

    Args:
      program: from `parse_program`.

    Returns:
      Instructions that do something, in their order; those within fusions are not apart.
    """

    def cost(side: Sequence[Run]) -> tuple[int, int, int]:
        return (
            sum(run.times * run.instruction.cycles for run in side),
            sum(run.times * product_flops(program, run) for run in side),
            sum(run.times * run_bytes(program, run) for run in side),
        )

    def walk(name: str, times: int) -> Iterator[Run]:
        within = program.computations.get(name, {})
        for instruction in within.values():
            if instruction.opcode in _CONTROL:
                again = times * _turns(program, instruction)
                for inner in _CALLED.findall(instruction.text):
                    yield from walk(inner, again)
                sides = [
                    list(walk(side.strip().lstrip("%"), again))
                    for names in _BRANCHES.findall(instruction.text)
                    for side in "".join(names).split(",")
                ]
                yield from max(sides, key=cost, default=[])
            elif instruction.opcode not in _FREE:
                yield Run(instruction, within, times)

    return list(walk(program.entry, 1))


def _turns(program: Program, loop: Instruction) -> int:
    """How often a loop turns; once where nobody can say, or where it is none."""
    if found := _TURNS.search(loop.text):
        return int(found[1])
    # TPUs' programs don't say it. A scan counts from 0 to a constant.
    named = _CONDITION.search(loop.text)
    condition = program.computations.get(named[1], {}) if named else {}
    last = next(reversed([*condition.values()]), None)
    if last is None or last.opcode != "compare" or "direction=LT" not in last.text:
        return 1
    count, limit = (condition.get(name) for name in last.operands[:2])
    counted = count is not None and count.opcode == "get-tuple-element"
    if not counted or limit is None or limit.opcode != "constant" or limit.shape[:1] not in "su":
        return 1
    return max(1, int(limit.operands[0]))


def scope_of(program: Program, run: Run) -> str:
    """Where what runs was traced; of a fusion without a name, what most of it is named after."""
    if run.instruction.scope or run.instruction.opcode != "fusion":
        return run.instruction.scope
    scopes: Counter[str] = Counter()
    for name in _CALLED.findall(run.instruction.text):
        inner = program.computations.get(name, {})
        scopes.update(found.scope for found in inner.values() if found.scope)
    return scopes.most_common(1)[0][0] if scopes else ""


def run_bytes(program: Program, run: Run) -> int:
    """Bytes that an instruction reads and writes in the device's memory, each time.

    Operands and the result count as a whole, as XLA counts them, but for operands of which a
    fusion only picks parts, such as a data set; what lies on the chip does not count.
    """
    instruction = run.instruction
    operands = instruction.operands
    if instruction.opcode.endswith("-start"):
        return 0
    if instruction.opcode.endswith("-done") and operands and operands[0] in run.within:
        operands = run.within[operands[0]].operands
    total = shape_bytes(instruction.shape, on_chip=False)
    picked = _picked(program, instruction)
    for place, name in enumerate(operands):
        if name in run.within:
            whole = shape_bytes(run.within[name].shape, on_chip=False)
            total += min(whole, picked.get(place, whole))
    return total


def _picked(program: Program, instruction: Instruction) -> dict[int, int]:
    """Bytes that are picked from those operands of a fusion which serve nothing else."""
    found: dict[int, int] = {}
    called = _CALLED.findall(instruction.text) if instruction.opcode == "fusion" else []
    for inner in (program.computations.get(name, {}) for name in called):
        numbers = {
            name: int(line.operands[0])
            for name, line in inner.items()
            if line.opcode == "parameter"
        }
        users: dict[str, list[Instruction]] = {name: [] for name in numbers}
        for line in inner.values():
            for operand in line.operands:
                if operand in users:
                    users[operand].append(line)
        for name, own in users.items():
            picks = [
                line
                for line in own
                if line.opcode in ("gather", "dynamic-slice") and line.operands[0] == name
            ]
            if own and len(picks) == len(own):
                found[numbers[name]] = sum(shape_bytes(line.shape) for line in picks)
    return found


def fullest_moment(program: Program) -> list[str]:
    """What lies in the device's memory between instructions when most does.

    Arguments and results of the program don't count, nor what loops need within.

    Args:
      program: scheduled, as compiled programs are.

    Returns:
      Shapes of the temporary arrays at that moment.
    """
    entry = program.computations.get(program.entry, {})
    places = {name: place for place, name in enumerate(entry)}
    # Of each instruction, what holds each array of its result: instructions that made it.
    holders: dict[str, list[frozenset[str]]] = {}
    shapes: dict[str, str] = {}
    lives: dict[str, tuple[int, int]] = {}
    for name, instruction in entry.items():
        place = places[name]
        given = [holders[operand] for operand in instruction.operands if operand in holders]
        for holder in frozenset().union(*(part for parts in given for part in parts)):
            lives[holder] = (lives[holder][0], place)
        if instruction.opcode in ("parameter", "constant", "iota") or not instruction.shape:
            holders[name] = []
        elif instruction.opcode == "get-tuple-element":
            number = re.search(r"index=(\d+)", instruction.text)
            holders[name] = given[0][int(number[1]) :][:1] if given and number else []
        elif instruction.opcode in _FREE:
            holders[name] = [part for parts in given for part in parts]
        elif instruction.opcode.endswith("-start"):
            holders[name] = []
        else:
            arrays = [found[0] for found in _ARRAY.finditer(instruction.shape)]
            holders[name] = [frozenset((f"{name}#{index}",)) for index in range(len(arrays))]
            # What is asynchronous has its result from its start on.
            start = min((places.get(o, place) for o in instruction.operands), default=place)
            begin = start if instruction.opcode.endswith("-done") else place
            for index, array in enumerate(arrays):
                shapes[f"{name}#{index}"] = array
                lives[f"{name}#{index}"] = (begin, place)
    kept = frozenset().union(*holders[list(entry)[-1]]) if entry else frozenset()
    changes: Counter[int] = Counter()
    for holder in lives.keys() - kept:
        size = shape_bytes(shapes[holder], on_chip=False)
        changes[lives[holder][0]] += size
        changes[lives[holder][1] + 1] -= size
    most = held = moment = 0
    for place in sorted(changes):
        held += changes[place]
        if held > most:
            most, moment = held, place
    return [
        shapes[holder]
        for holder in sorted(lives.keys() - kept)
        if lives[holder][0] <= moment <= lives[holder][1]
    ]


class Traffic(NamedTuple):
    """Collectives of one kind.

    Attributes:
      number: of times that they run.
      size: bytes of their results on one device.
    """

    number: int
    size: int


def count_collectives(text: str) -> dict[str, Traffic]:
    """Finds what a program sends to other devices.

    Args:
      text: the program after the compiler's passes, ``compiled.as_text()``.

    Returns:
      From kind to what it moves; only the kinds that occur.
    """
    traffic: dict[str, Traffic] = {}
    for run in runs(parse_program(text)):
        kind = run.instruction.collective
        if kind is not None:
            number, size = traffic.get(kind, Traffic(0, 0))
            own = run.times * shape_bytes(run.instruction.shape)
            traffic[kind] = Traffic(number + run.times, size + own)
    return traffic


def count_kernels(found: Sequence[Run]) -> dict[str, int]:
    """How often each kind of kernel runs; the end of what is asynchronous is none of its own."""
    kinds: Counter[str] = Counter()
    for run in found:
        if not run.instruction.opcode.endswith("-done"):
            kinds[run.instruction.kind] += run.times
    return dict(kinds.most_common())


def product_flops(program: Program, run: Run) -> int:
    """FLOPs of the convolutions and matrix products of what runs, each time.

    Args:
      program: that it is of.
      run: one of `runs`; of a fusion, all within it.

    Returns:
      As `genjax.targets.flops` counts them. Products with zeros that the program has put into
      its arrays count.
    """
    if run.instruction.opcode == "fusion":
        return sum(
            _computation_flops(program, name) for name in _CALLED.findall(run.instruction.text)
        )
    return _own_flops(run.instruction, run.within)


def _computation_flops(program: Program, name: str) -> int:
    within = program.computations.get(name, {})
    total = 0
    for instruction in within.values():
        if instruction.opcode == "fusion":
            total += sum(
                _computation_flops(program, inner) for inner in _CALLED.findall(instruction.text)
            )
        else:
            total += _own_flops(instruction, within)
    return total


def _own_flops(instruction: Instruction, within: Computation) -> int:
    text = instruction.text
    shapes = [array_sizes(within[name].shape) for name in instruction.operands if name in within]
    result = array_sizes(instruction.shape)
    target = _TARGET.search(text)
    library = target[1] if target and instruction.opcode == "custom-call" else ""
    if instruction.opcode == "convolution" or "conv" in library:
        if len(shapes) < 2 or "dim_labels=" not in text:
            return 0
        first, second = shapes[:2]
        if "BackwardInput" in library:
            return _convolution_flops(text, result, second, first)
        if "BackwardFilter" in library:
            return _convolution_flops(text, first, result, second)
        return _convolution_flops(text, first, second, result)
    if instruction.opcode == "dot" or "gemm" in library or "matmul" in library:
        found = re.search(r"lhs_contracting_dim(?:s|ensions)\"?[=:][{\[]([^}\]]*)[}\]]", text)
        if not shapes or not found:
            return 0
        axes = [int(axis) for axis in re.findall(r"\d+", found[1])]
        return 2 * math.prod(result) * math.prod(shapes[0][axis] for axis in axes)
    return 0


@functools.lru_cache(4096)
def _window(text: str) -> Mapping[str, str]:
    found = re.search(r"window=\{([^}]*)\}", text)
    return dict(part.split("=", 1) for part in found[1].split()) if found else {}


def _convolution_flops(text: str, x: Sequence[int], kernel: Sequence[int], y: Sequence[int]) -> int:
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", text)
    assert labels is not None
    of_x, of_kernel, of_y = labels.groups()
    window = _window(text)

    def each(name: str, default: str) -> list[str]:
        axes = sum(label.isdigit() for label in of_x)
        return window[name].split("x") if name in window else [default] * axes

    meetings = 1
    options = (
        each("stride", "1"),
        each("pad", "0_0"),
        each("lhs_dilate", "1"),
        each("rhs_dilate", "1"),
    )
    for axis, (stride, pad, spread, between) in enumerate(zip(*options, strict=True)):
        places = (
            x[of_x.index(str(axis))],
            y[of_y.index(str(axis))],
            kernel[of_kernel.index(str(axis))],
        )
        before = int(pad.split("_")[0])
        meetings *= count_meetings(*places, int(stride), before, int(spread), int(between))
    sides = y[of_y.index("b")] * y[of_y.index("f")] * kernel[of_kernel.index("i")]
    return 2 * sides * meetings
