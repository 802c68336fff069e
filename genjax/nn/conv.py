"""Convolution layers, each operation and derivative in the form that the platform runs fastest.

On CPUs, XLA runs a convolution and its weight gradient near the speed of a matrix product, but
other derivatives of a strided one, narrow ones and those onto small maps several times slower. So
there every derivative is written as one of three operations, convolution, transposed convolution
and weight gradient, and each of these takes the form that is fast for its shape. The three are
closed under differentiation, so penalties on gradients profit as well. On TPUs only strided ones
need a form: the kernel's gradient of a transposed convolution, and all of those onto maps of fewer
pixels than their kernel has taps. Elsewhere, and where `Convolutions` says so, the stock
operations are used. In one dimension only the transposed convolution on CPUs needs a form of its
own. On CPUs a convolution of groups of channels is one for each group: XLA's own takes up to 300
times as long for its weight gradient.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

from genjax.config import Convolutions
from genjax.core.compiler import target_platform
from genjax.core.spectral import spectrally_normalized
from genjax.nn.channels import LINEAR, like
from genjax.nn.conv_forms import (
    FeatureMap,
    Kernel,
    Kernel1D,
    Signal,
    adjoint,
    adjoint1d,
    adjoint_conv_transpose,
    grouped_conv,
    joined_conv_transpose1d,
    patch_conv,
    patch_conv_transpose,
    phase_conv_transpose,
    shifted_conv_transpose1d,
    split_conv_transpose,
    stock_conv,
    stock_conv1d,
    stock_conv_transpose,
    stock_conv_transpose1d,
    trimmed_same_conv,
    turned_weight_gradient,
)

# Measured on two AVX-512 cores, kernels of 3 and 5: channels up to which patches win, and up to
# which the phases of a transposed convolution are joined.
_FEW_CHANNELS = 4
_NARROW = 31
# Inputs times outputs from which on TPUs gain by split kernels.
_WIDE = 1024
# Values that lie side by side in a TPU's registers.
_LANES = 128


def _has_few_pixels(taps: int, pixels: int, stride: int) -> bool:
    """Whether XLA lets the kernel and the smaller map of a strided convolution change places."""
    return stride > 1 and taps > pixels


def _gains_by_splitting(kernel: Kernel, pixels: int, stride: int) -> bool:
    """Whether on TPUs `split_conv_transpose` is faster onto a map of so many pixels."""
    size, _, inputs, outputs = kernel.shape
    # Kernels that are narrow, or split into more than two parts, are no faster.
    worth = inputs * outputs >= _WIDE and 2 * pixels >= size**2
    return worth and _has_few_pixels(size**2, pixels, stride)


def _forward(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv` in the form that is fastest for its shape."""
    if target_platform() != "cpu":
        return stock_conv(x, kernel, stride)
    inputs = x.shape[-1]
    if inputs == 1:
        return patch_conv(x, kernel, stride)
    if stride == 1 and kernel.shape[0] % 2 and kernel.shape[3] <= _FEW_CHANNELS < inputs:
        # With an odd kernel it's also a transposed convolution: a product, then a sum of shifts.
        return patch_conv_transpose(x, kernel, stride)
    return trimmed_same_conv(x, kernel, stride)


def _transposed(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv_transpose` in the form that is fastest for its shape."""
    if target_platform() == "gpu":
        if _has_few_pixels(kernel.shape[0] ** 2, x.shape[1] * x.shape[2], stride):
            return patch_conv_transpose(x, kernel, stride)
        return adjoint_conv_transpose(x, kernel, stride)
    if target_platform() != "cpu":
        split = _gains_by_splitting(kernel, x.shape[1] * x.shape[2], stride)
        return (split_conv_transpose if split else stock_conv_transpose)(x, kernel, stride)
    size, outputs = kernel.shape[0], kernel.shape[3]
    if outputs <= _FEW_CHANNELS or size < stride:
        return patch_conv_transpose(x, kernel, stride)
    return phase_conv_transpose(x, kernel, stride, join=outputs <= _NARROW)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def fast_conv(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv` with all derivatives fast; equal up to rounding.

    The sizes of `x` must be multiples of the stride.
    """
    return _forward(x, kernel, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def fast_conv_transpose(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv_transpose` with all derivatives fast; equal up to rounding."""
    return _transposed(x, kernel, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _input_gradient(dy: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """Gradient of ``sum(conv(x, kernel) * dy)`` with respect to x."""
    pixels = dy.shape[1] * dy.shape[2]
    if target_platform() == "tpu" and _gains_by_splitting(kernel, pixels, stride):
        return split_conv_transpose(dy, kernel, stride, turn=True)
    return _transposed(dy, adjoint(kernel), stride)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _weight_gradient(x: FeatureMap, dy: FeatureMap, stride: int, size: int) -> Kernel:
    """Gradient of ``sum(conv(x, kernel) * dy)`` with respect to the kernel of side `size`."""
    swaps = target_platform() == "cpu" and stride == 1 and size % 2
    if swaps and dy.shape[-1] <= _FEW_CHANNELS < x.shape[-1]:
        # The same sums with the roles changed, so that the side with few channels is the input.
        return adjoint(_weight_gradient(dy, x, stride, size))
    if target_platform() == "cpu":
        return turned_weight_gradient(x, dy, stride, size)
    few_pixels = _has_few_pixels(size**2, dy.shape[1] * dy.shape[2], stride)
    form = patch_conv if target_platform() == "gpu" and few_pixels else stock_conv
    zeros = jnp.zeros((size, size, x.shape[-1], dy.shape[-1]), x.dtype)
    # Linear in the kernel, so where the gradient is taken does not matter.
    gradient: Kernel = jax.vjp(lambda kernel: form(x, kernel, stride), zeros)[1](dy)[0]
    return gradient


def _conv_forward(x: FeatureMap, kernel: Kernel, stride: int) -> Any:
    return fast_conv(x, kernel, stride), (x, kernel)


def _conv_backward(stride: int, saved: Any, dy: FeatureMap) -> Any:
    x, kernel = saved
    dx = _input_gradient(dy, kernel, stride)
    return dx, _weight_gradient(x, dy, stride, kernel.shape[0])


def _input_gradient_forward(dy: FeatureMap, kernel: Kernel, stride: int) -> Any:
    return _input_gradient(dy, kernel, stride), (dy, kernel)


def _input_gradient_backward(stride: int, saved: Any, dx: FeatureMap) -> Any:
    dy, kernel = saved
    return fast_conv(dx, kernel, stride), _weight_gradient(dx, dy, stride, kernel.shape[0])


def _conv_transpose_forward(x: FeatureMap, kernel: Kernel, stride: int) -> Any:
    return fast_conv_transpose(x, kernel, stride), (x, kernel)


def _conv_transpose_backward(stride: int, saved: Any, dy: FeatureMap) -> Any:
    x, kernel = saved
    dx = fast_conv(dy, adjoint(kernel), stride)
    dkernel = adjoint(_weight_gradient(dy, x, stride, kernel.shape[0]))
    if target_platform() == "tpu" and kernel.shape[3] % _LANES == 0:
        # Turned once here, or XLA turns all that the optimizer keeps of the kernel.
        dkernel = with_layout_constraint(dkernel, Layout((0, 1, 2, 3)))
    return dx, dkernel


def _weight_gradient_forward(x: FeatureMap, dy: FeatureMap, stride: int, size: int) -> Any:
    return _weight_gradient(x, dy, stride, size), (x, dy)


def _weight_gradient_backward(stride: int, size: int, saved: Any, dkernel: Kernel) -> Any:
    x, dy = saved
    return _input_gradient(dy, dkernel, stride), fast_conv(x, dkernel, stride)


fast_conv.defvjp(_conv_forward, _conv_backward)
fast_conv_transpose.defvjp(_conv_transpose_forward, _conv_transpose_backward)
_input_gradient.defvjp(_input_gradient_forward, _input_gradient_backward)
_weight_gradient.defvjp(_weight_gradient_forward, _weight_gradient_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def fast_conv1d(x: Signal, kernel: Kernel1D, stride: int) -> Signal:
    """`stock_conv1d` with all derivatives fast on CPUs; equal up to rounding.

    The length of `x` must be a multiple of the stride.
    """
    # XLA would fold a reversed kernel into the convolution, which is slow then.
    return stock_conv1d(x, jax.lax.optimization_barrier(kernel), stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def fast_conv_transpose1d(x: Signal, kernel: Kernel1D, stride: int) -> Signal:
    """`stock_conv_transpose1d` with all derivatives fast on CPUs; equal up to rounding."""
    if kernel.shape[0] < stride:
        return stock_conv_transpose1d(x, kernel, stride)
    if kernel.shape[2] == 1:
        return shifted_conv_transpose1d(x, kernel, stride)
    return joined_conv_transpose1d(x, kernel, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _weight_gradient1d(x: Signal, dy: Signal, stride: int, size: int) -> Kernel1D:
    """Gradient of ``sum(conv1d(x, kernel) * dy)`` with respect to the kernel of length `size`."""
    return turned_weight_gradient(x, dy, stride, size)


def _conv1d_forward(x: Signal, kernel: Kernel1D, stride: int) -> Any:
    return fast_conv1d(x, kernel, stride), (x, kernel)


def _conv1d_backward(stride: int, saved: Any, dy: Signal) -> Any:
    x, kernel = saved
    dx = fast_conv_transpose1d(dy, adjoint1d(kernel), stride)
    return dx, _weight_gradient1d(x, dy, stride, kernel.shape[0])


def _conv_transpose1d_forward(x: Signal, kernel: Kernel1D, stride: int) -> Any:
    return fast_conv_transpose1d(x, kernel, stride), (x, kernel)


def _conv_transpose1d_backward(stride: int, saved: Any, dy: Signal) -> Any:
    x, kernel = saved
    dx = fast_conv1d(dy, adjoint1d(kernel), stride)
    return dx, adjoint1d(_weight_gradient1d(dy, x, stride, kernel.shape[0]))


def _weight_gradient1d_forward(x: Signal, dy: Signal, stride: int, size: int) -> Any:
    return _weight_gradient1d(x, dy, stride, size), (x, dy)


def _weight_gradient1d_backward(stride: int, size: int, saved: Any, dkernel: Kernel1D) -> Any:
    x, dy = saved
    dx = fast_conv_transpose1d(dy, adjoint1d(dkernel), stride)
    return dx, fast_conv1d(x, dkernel, stride)


fast_conv1d.defvjp(_conv1d_forward, _conv1d_backward)
fast_conv_transpose1d.defvjp(_conv_transpose1d_forward, _conv_transpose1d_backward)
_weight_gradient1d.defvjp(_weight_gradient1d_forward, _weight_gradient1d_backward)


def _stock_is_best(
    form: Convolutions, kernel: Kernel, pixels: int, stride: int, transposed: bool
) -> bool:
    """Whether XLA's own operation is the fastest in two dimensions.

    Args:
      form: as configured.
      kernel: [k, k, inputs, outputs].
      pixels: of the smaller map.
      stride: of the operation.
      transposed: whether it is a transposed convolution.
    """
    platform = target_platform()
    if form == "stock" or platform not in ("cpu", "gpu", "tpu"):
        return True
    if platform == "tpu":
        # By itself XLA makes the kernel's gradient of a transposed one of a map that it reverses.
        reverses = transposed and stride > 1
        return not (reverses or _gains_by_splitting(kernel, pixels, stride))
    return platform == "gpu" and stride == 1


def conv(
    x: FeatureMap, kernel: Kernel, stride: int, form: Convolutions = "auto", groups: int = 1
) -> FeatureMap:
    """`stock_conv` in the platform's fastest form, or in XLA's; same arguments."""
    if groups > 1:
        if form == "stock" or target_platform() != "cpu":
            return grouped_conv(x, kernel, stride, groups)
        pairs = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
        return jnp.concatenate([conv(part, own, stride) for part, own in pairs], -1)
    _, h, w, _ = x.shape
    pixels = (h // stride) * (w // stride)
    if _stock_is_best(form, kernel, pixels, stride, False) or h % stride or w % stride:
        return stock_conv(x, kernel, stride)
    return fast_conv(x, kernel, stride)


def conv_transpose(
    x: FeatureMap, kernel: Kernel, stride: int, form: Convolutions = "auto"
) -> FeatureMap:
    """`stock_conv_transpose` in the platform's fastest form, or in XLA's; same arguments."""
    if _stock_is_best(form, kernel, x.shape[1] * x.shape[2], stride, True):
        return stock_conv_transpose(x, kernel, stride)
    return fast_conv_transpose(x, kernel, stride)


def conv1d(x: Signal, kernel: Kernel1D, stride: int, form: Convolutions = "auto") -> Signal:
    """`stock_conv1d` in the platform's fastest form, or in XLA's; same arguments."""
    if (form == "stock" or target_platform() != "cpu") or x.shape[1] % stride:
        return stock_conv1d(x, kernel, stride)
    return fast_conv1d(x, kernel, stride)


def conv_transpose1d(
    x: Signal, kernel: Kernel1D, stride: int, form: Convolutions = "auto"
) -> Signal:
    """`stock_conv_transpose1d` in the platform's fastest form, or in XLA's; same arguments."""
    if form == "stock" or target_platform() != "cpu":
        return stock_conv_transpose1d(x, kernel, stride)
    return fast_conv_transpose1d(x, kernel, stride)


class _ConvLayer(nn.Module):
    """Parameters that all kinds of convolution share.

    Attributes:
      features: output channels.
      kernel: side of the kernel.
      stride: step of the window, or growth of the image.
      use_bias: add a bias to each output channel.
      dtype: type of the computation.
      kernel_init: initialiser of the kernel.
      spectral_norm: divide the kernel by its largest singular value.
      form: of the operation.
      bias_init: initialiser of the bias.
    """

    features: int
    kernel: int
    stride: int = 1
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    spectral_norm: bool = False
    form: Convolutions = "auto"
    bias_init: Callable[..., Any] = nn.initializers.zeros

    def convolve(
        self,
        x: Float[Array, "batch *map inputs"],
        operation: Callable[..., Array],
        groups: int = 1,
    ) -> Float[Array, "..."]:
        shape = (*(self.kernel,) * (x.ndim - 2), x.shape[-1] // groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        if self.spectral_norm:
            kernel = spectrally_normalized(self, kernel)
        # While parameters are made only shapes matter, and each group takes long to trace.
        form = "stock" if groups > 1 and self.is_initializing() else self.form
        y = operation(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, form)
        y = checkpoint_name(y, LINEAR)
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,))
            y = y + like(bias.astype(self.dtype), y)
        return y


class Conv(_ConvLayer):
    """Convolution with 'SAME' padding: [b, h, w, c] to [b, ceil(h/s), ceil(w/s), features].

    Attributes:
      groups: of channels, that are convolved each for itself; they divide inputs and features.
    """

    groups: int = 1

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        return self.convolve(x, partial(conv, groups=self.groups), self.groups)


class ConvTranspose(_ConvLayer):
    """Transposed convolution with 'SAME' padding: [b, h, w, c] to [b, s*h, s*w, features]."""

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        return self.convolve(x, conv_transpose)


class Conv1D(_ConvLayer):
    """Convolution with 'SAME' padding: [b, t, c] to [b, ceil(t/s), features]."""

    @nn.compact
    def __call__(self, x: Signal) -> Signal:
        return self.convolve(x, conv1d)


class ConvTranspose1D(_ConvLayer):
    """Transposed convolution with 'SAME' padding: [b, t, c] to [b, s*t, features]."""

    @nn.compact
    def __call__(self, x: Signal) -> Signal:
        return self.convolve(x, conv_transpose1d)
