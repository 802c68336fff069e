"""What a compiled program runs, how often, and what that moves and holds."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from genjax.targets.hlo import (
    Computation,
    Instruction,
    Program,
    arrays_of,
    parse_program,
    shape_bytes,
)
from genjax.targets.products import product_flops

_BRANCHES = re.compile(
    r"\b(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%?[\w.-]+))"
)
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CONDITION = re.compile(r"\bcondition=%?([\w.-]+)")
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
            sum(run.times * run_flops(program, run) for run in side),
            sum(run.times * run_bytes(program, run) for run in side),
        )

    def walk(name: str, times: int) -> Iterator[Run]:
        within = program.computations.get(name, {})
        for instruction in within.values():
            if instruction.opcode in _CONTROL:
                again = times * _turns(program, instruction)
                for inner in instruction.called:
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
    for name in run.instruction.called:
        inner = program.computations.get(name, {})
        scopes.update(found.scope for found in inner.values() if found.scope)
    return scopes.most_common(1)[0][0] if scopes else ""


def run_flops(program: Program, run: Run) -> int:
    """FLOPs of the convolutions and matrix products of what runs, each time."""
    return product_flops(program, run.instruction, run.within)


def run_bytes(program: Program, run: Run) -> int:
    """Bytes that an instruction reads and writes in the device's memory, each time.

    Operands and the result count as a whole, as XLA counts them, but for operands of which only
    parts are picked, such as a data set, and results of which only a part is written anew, such as
    what a loop stacks; what lies on the chip does not count.
    """
    instruction = run.instruction
    operands = instruction.operands
    if instruction.opcode.endswith("-start"):
        return 0
    if instruction.opcode.endswith("-done") and operands and operands[0] in run.within:
        operands = run.within[operands[0]].operands
    if instruction.opcode == "fusion":
        inner = program.computations.get(next(iter(instruction.called), ""), {})
        total, picked = _written(instruction, inner), _picked(inner)
    else:
        alone = instruction._replace(
            opcode=instruction.opcode.removesuffix("-done"), operands=operands
        )
        total = shape_bytes(_changed(alone, run.within).shape, on_chip=False)
        picked = {} if (read := _picks(alone)) is None else {0: read}
    for place, name in enumerate(operands):
        if name in run.within:
            whole = shape_bytes(run.within[name].shape, on_chip=False)
            total += min(whole, picked.get(place, whole))
    return total


def _changed(line: Instruction, within: Computation) -> Instruction:
    """What holds as much as an instruction writes: of an update in place, the update."""
    while line.opcode == "bitcast" and line.operands and line.operands[0] in within:
        line = within[line.operands[0]]
    if line.opcode == "dynamic-update-slice" and line.operands[1] in within:
        return within[line.operands[1]]
    return line


def _written(fusion: Instruction, inner: Computation) -> int:
    """Bytes that a fusion writes."""
    root = next(reversed([*inner.values()]), None)
    if root is None:
        return shape_bytes(fusion.shape, on_chip=False)
    names = root.operands if root.opcode == "tuple" else (root.name,)
    arrays = arrays_of(fusion.shape)
    if len(names) != len(arrays):
        return shape_bytes(fusion.shape, on_chip=False)
    return sum(
        min(shape_bytes(array, on_chip=False), shape_bytes(_changed(inner[name], inner).shape))
        if name in inner
        else shape_bytes(array, on_chip=False)
        for name, array in zip(names, arrays, strict=True)
    )


def _picks(line: Instruction) -> int | None:
    """Bytes that an instruction reads of its first operand; None for all of it."""
    if line.opcode in ("dynamic-slice", "gather", "slice"):
        return shape_bytes(line.shape)
    return 0 if line.opcode == "dynamic-update-slice" else None


def _picked(inner: Computation) -> dict[int, int]:
    """Bytes that are picked from those operands of a fusion which serve nothing else."""
    found: dict[int, int] = {}
    for parameter in inner.values():
        if parameter.opcode != "parameter":
            continue
        names = {parameter.name}
        reads: list[int | None] = []
        for line in inner.values():
            if not names.intersection(line.operands):
                continue
            if line.opcode == "bitcast":
                names.add(line.name)
            elif names.intersection(line.operands[1:]):
                reads.append(None)
            else:
                reads.append(_picks(line))
        if reads and None not in reads:
            found[int(parameter.operands[0])] = sum(read for read in reads if read)
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
            arrays = arrays_of(instruction.shape)
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
