"""FLOPs of the convolutions and matrix products of a compiled program."""

import functools
import math
import re
from collections.abc import Mapping, Sequence

from genjax.targets.flops import count_meetings
from genjax.targets.hlo import Computation, Instruction, Program, array_sizes


def product_flops(program: Program, instruction: Instruction, within: Computation) -> int:
    """FLOPs of the convolutions and matrix products of an instruction, each time.

    Args:
      program: that it is of.
      instruction: it; of a fusion, all within it counts.
      within: its computation.

    Returns:
      As `genjax.targets.flops` counts them. Products with zeros that the program has put into
      its arrays count.
    """
    if instruction.opcode != "fusion":
        return _own_flops(instruction, within)
    return sum(
        product_flops(program, inner, computation)
        for name in instruction.called
        if (computation := program.computations.get(name))
        for inner in computation.values()
    )


def _own_flops(instruction: Instruction, within: Computation) -> int:
    text = instruction.text
    shapes = [array_sizes(within[name].shape) for name in instruction.operands if name in within]
    result = array_sizes(instruction.shape)
    library = instruction.library
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
