"""Strided and transposed convolutions, in the form that the platform runs fastest.

On CPUs, XLA runs a convolution and its weight gradient near the speed of a matrix product, but
other derivatives of a strided one several times slower. There, a transposed convolution is computed
as one of stride 1 with s * s times the channels, whose blocks are then spread over the pixels
(sub-pixel convolution, Shi et al. 2016), and every derivative is written as one of three
operations that are all fast: convolution, transposed convolution, and weight gradient. They are
closed under differentiation, so penalties on gradients profit as well. Very small maps, and single
channels at stride 1, become matrix products over patches. Elsewhere the stock operations are used.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.nn.spectral import spectrally_normalized

FeatureMap = Float[Array, "batch _ _ _"]
Kernel = Float[Array, "_ _ _ _"]

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def stock_conv(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """Convolution with 'SAME' padding, as XLA does it.

    Args:
      x: [batch, height, width, inputs].
      kernel: [k, k, inputs, outputs].
      stride: s, at least 1.

    Returns:
      [batch, ceil(height / s), ceil(width / s), outputs].
    """
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=_LAYOUT
    )


def stock_conv_transpose(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """Transposed convolution with 'SAME' padding, as XLA does it.

    Args:
      x: [batch, height, width, inputs].
      kernel: [k, k, inputs, outputs].
      stride: s, at least 1.

    Returns:
      [batch, s * height, s * width, outputs].
    """
    return jax.lax.conv_transpose(x, kernel, (stride, stride), "SAME", dimension_numbers=_LAYOUT)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis for which the output has ``ceil(size / stride)`` values."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _taps(size: int, kernel: int, stride: int, crop: int) -> tuple[int, int, int]:
    """Which input pixels an output block sees, along one axis of a transposed convolution.

    Output ``o = s p + r - crop`` takes input ``p + d`` times the kernel's ``t = s d - r + low``.

    Returns:
      The smallest and the largest d, and low.
    """
    low = kernel - 1 - _same_padding(stride * size, kernel, stride)[0] + crop
    return -(low // stride), (kernel - 1 + stride - 1 - low) // stride, low


def _best_crop(size: int, kernel: int, stride: int) -> int:
    """The shift of the blocks against the pixels that costs the fewest multiplications."""

    def cost(crop: int) -> int:
        first, last, _ = _taps(size, kernel, stride, crop)
        return (last - first + 1) * (size + (crop > 0))

    return min(range(stride), key=cost)


def subpixel_conv_transpose(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv_transpose` as a convolution of stride 1 and a reshape; equal up to rounding."""
    size, _, inputs, outputs = kernel.shape
    shape = x.shape
    padding, crops = [], []
    for axis in (0, 1):
        length = shape[1 + axis]
        crop = _best_crop(length, size, stride)
        first, last, low = _taps(length, size, stride, crop)
        before = stride - 1 - low - stride * first
        after = (last - first + 1) * stride - size - before
        # Axis 2 axis of the kernel becomes a pair: the tap d, and the residue r in falling order.
        widths = [(0, 0)] * kernel.ndim
        widths[2 * axis] = (before, after)
        kernel = jnp.pad(kernel, widths)
        split = (last - first + 1, stride)
        at = 2 * axis
        kernel = kernel.reshape(*kernel.shape[:at], *split, *kernel.shape[at + 1 :])
        kernel = jnp.flip(kernel, at + 1)
        blocks = length + (crop > 0)
        padding.append((-first, blocks + last - length))
        crops.append(crop)
    kernel = kernel.transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(*kernel.shape[:2], inputs, stride * stride * outputs)
    # XLA would fold a reversed kernel into the convolution, which takes twice the time then.
    kernel = jax.lax.optimization_barrier(kernel)
    y = jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=_LAYOUT)
    b, h, w, _ = y.shape
    y = y.reshape(b, h, w, stride, stride, outputs).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(b, h * stride, w * stride, outputs)
    (top, left), (rows, columns) = crops, (stride * shape[1], stride * shape[2])
    return y[:, top : top + rows, left : left + columns]


def _adjoint(kernel: Kernel) -> Kernel:
    """The kernel with which a transposed convolution is the adjoint of a convolution."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def fast_conv(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv` with derivatives that are fast on CPUs; equal up to rounding.

    The sizes of `x` must be multiples of the stride.
    """
    return stock_conv(x, kernel, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def fast_conv_transpose(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv_transpose` in a form that is fast on CPUs; equal up to rounding."""
    return subpixel_conv_transpose(x, kernel, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _weight_gradient(x: FeatureMap, dy: FeatureMap, stride: int, size: int) -> Kernel:
    """Gradient of ``sum(conv(x, kernel) * dy)`` with respect to the kernel of side `size`."""
    zeros = jnp.zeros((size, size, x.shape[-1], dy.shape[-1]), x.dtype)
    # Linear in the kernel, so where the gradient is taken does not matter.
    gradient: Kernel = jax.vjp(lambda kernel: stock_conv(x, kernel, stride), zeros)[1](dy)[0]
    return gradient


def _conv_forward(x: FeatureMap, kernel: Kernel, stride: int) -> Any:
    return fast_conv(x, kernel, stride), (x, kernel)


def _conv_backward(stride: int, saved: Any, dy: FeatureMap) -> Any:
    x, kernel = saved
    dx = fast_conv_transpose(dy, _adjoint(kernel), stride)
    return dx, _weight_gradient(x, dy, stride, kernel.shape[0])


def _conv_transpose_forward(x: FeatureMap, kernel: Kernel, stride: int) -> Any:
    return fast_conv_transpose(x, kernel, stride), (x, kernel)


def _conv_transpose_backward(stride: int, saved: Any, dy: FeatureMap) -> Any:
    x, kernel = saved
    dx = fast_conv(dy, _adjoint(kernel), stride)
    return dx, _adjoint(_weight_gradient(dy, x, stride, kernel.shape[0]))


def _weight_gradient_forward(x: FeatureMap, dy: FeatureMap, stride: int, size: int) -> Any:
    return _weight_gradient(x, dy, stride, size), (x, dy)


def _weight_gradient_backward(stride: int, size: int, saved: Any, dkernel: Kernel) -> Any:
    x, dy = saved
    return fast_conv_transpose(dy, _adjoint(dkernel), stride), fast_conv(x, dkernel, stride)


fast_conv.defvjp(_conv_forward, _conv_backward)
fast_conv_transpose.defvjp(_conv_transpose_forward, _conv_transpose_backward)
_weight_gradient.defvjp(_weight_gradient_forward, _weight_gradient_backward)


def patch_conv(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv` as one matrix product over the patches of the image; equal up to rounding."""
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
    """`stock_conv_transpose` as the adjoint of `patch_conv`; equal up to rounding."""
    b, h, w, _ = x.shape
    wide = jax.ShapeDtypeStruct((b, stride * h, stride * w, kernel.shape[3]), x.dtype)
    adjoint = jax.linear_transpose(lambda y: patch_conv(y, _adjoint(kernel), stride), wide)
    y: FeatureMap = adjoint(x)[0]
    return y


def _patches_pay(pixels: int, channels: int, stride: int) -> bool:
    """Whether patches beat XLA's convolution on CPUs, measured for 5 x 5 kernels.

    Args:
      pixels: of the small side, the output of a convolution or the input of a transposed one.
      channels: of the large side.
      stride: between the two.
    """
    return pixels <= 9 or (stride == 1 and channels <= 4)


def conv(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv` in the platform's fastest form; same arguments."""
    _, h, w, channels = x.shape
    if jax.default_backend() != "cpu":
        return stock_conv(x, kernel, stride)
    if _patches_pay(-(-h // stride) * -(-w // stride), channels, stride):
        return patch_conv(x, kernel, stride)
    divides = h % stride == 0 and w % stride == 0
    return (fast_conv if divides else stock_conv)(x, kernel, stride)


def conv_transpose(x: FeatureMap, kernel: Kernel, stride: int) -> FeatureMap:
    """`stock_conv_transpose` in the platform's fastest form; same arguments."""
    if jax.default_backend() != "cpu":
        return stock_conv_transpose(x, kernel, stride)
    if _patches_pay(x.shape[1] * x.shape[2], kernel.shape[3], stride):
        return patch_conv_transpose(x, kernel, stride)
    return fast_conv_transpose(x, kernel, stride)


class _ConvLayer(nn.Module):
    """Parameters that both kinds of convolution share.

    Attributes:
      features: output channels.
      kernel: side of the kernel.
      stride: step of the window, or growth of the image.
      use_bias: add a bias to each output channel.
      dtype: type of the computation.
      kernel_init: initialiser of the kernel.
      spectral_norm: divide the kernel by its largest singular value.
    """

    features: int
    kernel: int
    stride: int = 1
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    spectral_norm: bool = False

    def convolve(
        self, x: FeatureMap, operation: Callable[[FeatureMap, Kernel, int], FeatureMap]
    ) -> FeatureMap:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        if self.spectral_norm:
            kernel = spectrally_normalized(self, kernel)
        y = operation(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.astype(self.dtype)
        return y


class Conv(_ConvLayer):
    """Convolution with 'SAME' padding: [b, h, w, c] to [b, ceil(h/s), ceil(w/s), features]."""

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        return self.convolve(x, conv)


class ConvTranspose(_ConvLayer):
    """Transposed convolution with 'SAME' padding: [b, h, w, c] to [b, s*h, s*w, features]."""

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        return self.convolve(x, conv_transpose)
