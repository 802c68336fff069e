"""Convolutions with 'SAME' padding in several forms that are equal up to rounding.

Kernels are [k, k, inputs, outputs], maps [batch, height, width, channels]; in one dimension, below,
[k, inputs, outputs] and [batch, time, channels].
"""

import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from genjax.core.types import AXIS

FeatureMap = Float[Array, "batch _ _ _"]
Kernel = Float[Array, "_ _ _ _"]
Signal = Float[Array, "batch _ _"]
Kernel1D = Float[Array, "_ _ _"]

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_LAYOUT_1D = ("NWC", "WIO", "NWC")
_WORTH_TRIMMING = 0.9
# Inputs times outputs below which more operations cost more than they save.
_WIDE = 1024


def stock_conv(x: FeatureMap, kernel: Kernel, stride: int, groups: int = 1) -> FeatureMap:
    """Convolution, as XLA does it.

    Args:
      x: [batch, height, width, inputs].
      kernel: [k, k, inputs / groups, outputs].
      stride: s, at least 1.
      groups: of channels, that are convolved each for itself.

    Returns:
      [batch, ceil(height / s), ceil(width / s), outputs].
    """
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )


def grouped_conv(x: FeatureMap, kernel: Kernel, stride: int, groups: int) -> FeatureMap:
    """`stock_conv`, same arguments; on several devices each one convolves its own examples.

    Where XLA splits the program by examples, it would gather the whole batch on every device.
    """
    mesh = jax.sharding.get_abstract_mesh()
    # Under pmap the axis is there, too, but each device sees its own examples alone.
    if AXIS not in mesh.auto_axes or len(x) % mesh.shape[AXIS]:
        return stock_conv(x, kernel, stride, groups)
    apart: FeatureMap = jax.shard_map(
        partial(stock_conv, stride=stride, groups=groups),
        in_specs=(PartitionSpec(AXIS), PartitionSpec()),
        out_specs=PartitionSpec(AXIS),
    )(x, kernel)
    return apart


def stock_conv_transpose(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """Transposed convolution, as XLA does it.

    Args:
      x: [batch, height, width, inputs].
      kernel: [k, k, inputs, outputs].
      stride: s, at least 1.

    Returns:
      [batch, s * height, s * width, outputs].
    """
    return jax.lax.conv_transpose(x, kernel, (stride, stride), "SAME", dimension_numbers=_LAYOUT)


def adjoint(kernel: Kernel) -> Kernel:
    """The kernel with which a transposed convolution is the adjoint of a convolution."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def split_conv_transpose(
    x: FeatureMap, kernel: Kernel, stride: int, turn: bool = False
) -> FeatureMap:
    """`stock_conv_transpose` as a sum over groups of the kernel's columns.

    Each group has no more taps than `x` has pixels, or is one column. With more taps, XLA on TPUs
    lets kernel and image change places and multiplies by the zeros between the pixels.

    Args:
      x: [batch, height, width, inputs].
      kernel: [k, k, inputs, outputs]; to turn, [k, k, outputs, inputs].
      stride: s, at least 1.
      turn: take the kernel's `adjoint`.

    Returns:
      [batch, s * height, s * width, outputs].
    """
    _, h, w, _ = x.shape
    size = kernel.shape[0]
    total = size + stride - 2
    before = size - 1 if stride > size - 1 else -(-total // 2)
    rows = before, total - before
    y = jnp.zeros((), x.dtype)
    group = max(1, h * w // size)
    for first in range(0, size, group):
        last = min(first + group, size)
        columns = rows[0] - first, rows[1] - (size - last)
        # Cut before it's turned: XLA turns within the product, but not what is cut of it after.
        cut = adjoint(kernel[:, size - last : size - first]) if turn else kernel[:, first:last]
        y += jax.lax.conv_general_dilated(
            x,
            cut,
            (1, 1),
            (rows, columns),
            lhs_dilation=(stride, stride),
            dimension_numbers=_LAYOUT,
        )
    return y


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis for which the output has ``ceil(size / stride)`` values."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def patch_conv(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv` as one matrix product over the patches of the image."""
    size, _, inputs, outputs = kernel.shape
    _, h, w, _ = x.shape
    rows, columns = -(-h // stride), -(-w // stride)
    padding = [(0, 0), _same_padding(h, size, stride), _same_padding(w, size, stride), (0, 0)]
    x = jnp.pad(x, padding)
    patches = [
        x[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(size * size * inputs, outputs)


def patch_conv_transpose(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv_transpose` as the adjoint of `patch_conv`: a product, then a sum of shifts."""
    b, h, w, _ = x.shape
    wide = jax.ShapeDtypeStruct((b, stride * h, stride * w, kernel.shape[3]), x.dtype)
    transpose = jax.linear_transpose(lambda y: patch_conv(y, adjoint(kernel), stride), wide)
    y: FeatureMap = transpose(x)[0]
    return y


def adjoint_conv_transpose(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv_transpose` as the gradient of a convolution by its input.

    The library on GPUs has a routine for that; XLA would put zeros between the pixels of `x`, and
    multiply by them.
    """
    b, h, w, _ = x.shape
    wide = jax.ShapeDtypeStruct((b, stride * h, stride * w, kernel.shape[3]), x.dtype)
    # XLA knows such a gradient by its reversed kernel, and cancels one that is reversed twice.
    kernel = jax.lax.optimization_barrier(adjoint(kernel))
    transpose = jax.linear_transpose(lambda y: stock_conv(y, kernel, stride), wide)
    y: FeatureMap = transpose(x)[0]
    return y


def turned_weight_gradient(
    x: Float[Array, "batch *map inputs"],
    dy: Float[Array, "batch *outputs_map outputs"],
    stride: int,
    size: int,
) -> Float[Array, "*taps inputs outputs"]:
    """The gradient of ``sum(conv(x, kernel) * dy)`` by the kernel, as a convolution of x with dy.

    Batch and channels change places before and after, since the library on CPUs takes one order of
    the axes alone. XLA turns them so itself, but not within loops and branches, where such a
    convolution then takes some ten times as long.

    Args:
      x: [batch, height, width, inputs] or [batch, time, inputs].
      dy: gradient of the convolution's result, with 'SAME' padding.
      stride: s, at least 1.
      size: side k of the kernel.

    Returns:
      [k, k, inputs, outputs] or [k, inputs, outputs].
    """
    axes = range(1, x.ndim - 1)
    padding = []
    for axis in axes:
        before = _same_padding(x.shape[axis], size, stride)[0]
        reach = stride * (dy.shape[axis] - 1)
        padding.append((before, size + reach - x.shape[axis] - before))
    last = x.ndim - 1
    gradient = jax.lax.conv_general_dilated(
        x.transpose(last, *axes, 0),
        dy.transpose(*axes, 0, last),
        (1,) * len(axes),
        padding,
        rhs_dilation=(stride,) * len(axes),
        dimension_numbers=_LAYOUT if len(axes) == 2 else _LAYOUT_1D,
    )
    return gradient.transpose(*axes, 0, last)


class _Region(NamedTuple):
    """Neighbouring output pixels that the same taps reach, along one axis.

    Attributes:
      taps: of the kernel, first and last + 1, that meet the image and not its padding.
      padding: zeros before and after the input, negative, that leave what these pixels see.
      outputs: number of the pixels.
    """

    taps: slice
    padding: tuple[int, int]
    outputs: int


def _regions(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> list[_Region]:
    """Splits the output of a convolution, along one axis, by the taps that reach it."""
    outputs = (size + sum(padding) - kernel) // stride + 1
    starts = [stride * pixel - padding[0] for pixel in range(outputs)]
    taps = [(max(0, -start), min(kernel, size - start)) for start in starts]
    regions = []
    for (first, last), group in itertools.groupby(range(outputs), taps.__getitem__):
        pixels = list(group)
        crop = (-starts[pixels[0]] - first, starts[pixels[-1]] + last - size)
        regions.append(_Region(slice(first, last), crop, len(pixels)))
    return regions


def trimmed_conv(
    x: FeatureMap, kernel: Kernel, stride: int, padding: list[tuple[int, int]]
) -> FeatureMap:
    """A convolution that does not multiply by the zeros of its padding.

    On small maps these are a good part of the work. Rows at the border, and columns at the border
    of the other rows, are then computed apart with the taps that reach them.

    Args:
      x: [batch, height, width, inputs].
      kernel: [k_height, k_width, inputs, outputs].
      stride: s, at least 1.
      padding: zeros before and after, of each axis; fewer than the kernel has taps.

    Returns:
      [batch, out_height, out_width, outputs].
    """
    rows, columns = (
        _regions(x.shape[1 + axis], kernel.shape[axis], stride, padding[axis]) for axis in (0, 1)
    )
    useful = 1.0
    for axis, regions in enumerate((rows, columns)):
        taps = sum(r.outputs * (r.taps.stop - r.taps.start) for r in regions)
        useful *= taps / (kernel.shape[axis] * sum(r.outputs for r in regions))
    narrow = kernel.shape[2] * kernel.shape[3] < _WIDE
    if narrow or useful > _WORTH_TRIMMING:
        return _convolve(x, kernel, stride, padding)
    parts = []
    for r in rows:
        # Corners are too small to be worth a convolution of their own.
        inner = r.outputs == max(each.outputs for each in rows)
        across = columns if inner else [_Region(slice(None), padding[1], 0)]
        row = [_convolve(x, kernel[r.taps, c.taps], stride, [r.padding, c.padding]) for c in across]
        parts.append(jnp.concatenate(row, axis=2))
    return jnp.concatenate(parts, axis=1)


def _convolve(
    x: FeatureMap, kernel: Kernel, stride: int, padding: list[tuple[int, int]]
) -> FeatureMap:
    # XLA would fold a reversed or strided kernel into the convolution, which is slow then.
    kernel = jax.lax.optimization_barrier(kernel)
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT
    )


def trimmed_same_conv(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv` as a `trimmed_conv`."""
    padding = [_same_padding(x.shape[1 + axis], kernel.shape[axis], stride) for axis in (0, 1)]
    return trimmed_conv(x, kernel, stride, padding)


class _Phase(NamedTuple):
    """Which input pixels the output pixels of one residue see, along one axis.

    Output ``o = s p + r`` takes input ``p + d`` times the kernel's tap ``s d - r + low``.

    Attributes:
      first: the smallest d.
      last: the largest d.
      tap: of the smallest d.
    """

    first: int
    last: int
    tap: int


def _phases(length: int, kernel: int, stride: int) -> list[_Phase]:
    """The phases of a transposed convolution of an axis of `length` pixels, by residue."""
    low = kernel - 1 - _same_padding(stride * length, kernel, stride)[0]
    phases = []
    for residue in range(stride):
        first = -((low - residue) // stride)
        last = (kernel - 1 + residue - low) // stride
        phases.append(_Phase(first, last, stride * first - residue + low))
    return phases


def phase_conv_transpose(x: FeatureMap, kernel: Kernel, stride: int, join: bool) -> FeatureMap:
    """`stock_conv_transpose` as convolutions of stride 1, whose outputs are then interleaved.

    Each of the s * s phases of the output, pixels of one residue, is a convolution with the taps
    that meet it. Joined, they are one convolution with s * s times the channels and more taps, some
    of them 0 (sub-pixel convolution, Shi et al. 2016): more work, but in one wide product.

    Args:
      x: [batch, height, width, inputs].
      kernel: [k, k, inputs, outputs], k at least s.
      stride: s, at least 1.
      join: whether to join the phases.

    Returns:
      [batch, s * height, s * width, outputs].
    """
    b, h, w, _ = x.shape
    size, outputs = kernel.shape[0], kernel.shape[3]
    phases = list(itertools.product(_phases(h, size, stride), _phases(w, size, stride)))
    parts = []
    for group in [phases] if join else [[phase] for phase in phases]:
        padding = [
            (-min(p.first for p in axis), max(p.last for p in axis))
            for axis in zip(*group, strict=True)
        ]
        taps = jnp.concatenate([_taps(kernel, phase, padding, stride) for phase in group], axis=-1)
        parts.append(trimmed_conv(x, taps, 1, padding))
    if join:
        y = parts[0].reshape(b, h, w, stride, stride, outputs).transpose(0, 1, 3, 2, 4, 5)
    else:
        rows = [jnp.stack(parts[i : i + stride], 3) for i in range(0, stride**2, stride)]
        y = jnp.stack(rows, 2)
    return y.reshape(b, h * stride, w * stride, outputs)


def _taps(
    kernel: Kernel, phase: tuple[_Phase, _Phase], padding: list[tuple[int, int]], stride: int
) -> Kernel:
    """The kernel of one phase, with zeros where the phases joined with it have further taps."""
    slices, zeros = [], []
    for axis, (before, after) in zip(phase, padding, strict=True):
        count = axis.last - axis.first + 1
        slices.append(slice(axis.tap, axis.tap + stride * (count - 1) + 1, stride))
        zeros.append((axis.first + before, after - axis.last))
    return jnp.pad(kernel[slices[0], slices[1]], [*zeros, (0, 0), (0, 0)])


def stock_conv1d(x: Signal, kernel: Kernel1D, stride: int) -> Signal:
    """Convolution in one dimension, as XLA does it.

    Args:
      x: [batch, time, inputs].
      kernel: [k, inputs, outputs].
      stride: s, at least 1.

    Returns:
      [batch, ceil(time / s), outputs].
    """
    return jax.lax.conv_general_dilated(x, kernel, (stride,), "SAME", dimension_numbers=_LAYOUT_1D)


def stock_conv_transpose1d(x: Signal, kernel: Kernel1D, stride: int) -> Signal:
    """Transposed convolution in one dimension, as XLA does it.

    Args:
      x: [batch, time, inputs].
      kernel: [k, inputs, outputs].
      stride: s, at least 1.

    Returns:
      [batch, s * time, outputs].
    """
    return jax.lax.conv_transpose(x, kernel, (stride,), "SAME", dimension_numbers=_LAYOUT_1D)


def adjoint1d(kernel: Kernel1D) -> Kernel1D:
    """`adjoint` of a kernel in one dimension."""
    return kernel[::-1].swapaxes(1, 2)


def joined_conv_transpose1d(x: Signal, kernel: Kernel1D, stride: int) -> Signal:
    """`stock_conv_transpose1d` as one convolution of stride 1 with the phases as channels.

    Args:
      x: [batch, time, inputs].
      kernel: [k, inputs, outputs], k at least s.
      stride: s, at least 1.

    Returns:
      [batch, s * time, outputs].
    """
    b, time, _ = x.shape
    taps, padding = _joined_taps(kernel, time, stride)
    # XLA would fold a reversed or strided kernel into the convolution, which is slow then.
    taps = jax.lax.optimization_barrier(taps)
    y = jax.lax.conv_general_dilated(x, taps, (1,), [padding], dimension_numbers=_LAYOUT_1D)
    return y.reshape(b, stride * time, kernel.shape[2])


def shifted_conv_transpose1d(x: Signal, kernel: Kernel1D, stride: int) -> Signal:
    """`joined_conv_transpose1d` as one product with all taps, then a sum of shifts."""
    b, time, inputs = x.shape
    taps, padding = _joined_taps(kernel, time, stride)
    count, _, wide = taps.shape
    y = x @ taps.swapaxes(0, 1).reshape(inputs, count * wide)
    y = jnp.pad(y, [(0, 0), padding, (0, 0)])
    parts = [y[:, i : i + time, i * wide : (i + 1) * wide] for i in range(count)]
    return sum(parts[1:], parts[0]).reshape(b, stride * time, kernel.shape[2])


def _joined_taps(kernel: Kernel1D, time: int, stride: int) -> tuple[Kernel1D, tuple[int, int]]:
    """The kernel [taps, inputs, s * outputs] that makes all phases at once, and its padding."""
    phases = _phases(time, kernel.shape[0], stride)
    before, after = -min(p.first for p in phases), max(p.last for p in phases)
    taps = []
    for phase in phases:
        last = phase.tap + stride * (phase.last - phase.first)
        zeros = [(phase.first + before, after - phase.last), (0, 0), (0, 0)]
        taps.append(jnp.pad(kernel[phase.tap : last + 1 : stride], zeros))
    return jnp.concatenate(taps, axis=-1), (before, after)
