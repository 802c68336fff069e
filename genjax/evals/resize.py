"""Resizing of images as each implementation of the FID does it, by one matrix an axis."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from genjax.errors import lookup

Matrix = Float64[np.ndarray, "outputs inputs"]


class Resize(NamedTuple):
    """A way to resize.

    Attributes:
      matrix: from numbers of pixels along an axis, before and after, to the matrix that resizes it.
      clips: whether what overshoots is clipped to [0, 255].
    """

    matrix: Callable[[int, int], Matrix]
    clips: bool


def resize(
    images: Float[Array, "batch height width channels"], method: str, height: int, width: int
) -> Float[Array, "batch height2 width2 channels"]:
    """Resizes images.

    ``y_bijc = sum_hw R_ih x_bhwc C_jw``

    Args:
      images: float32 [batch, height, width, channels], in [0, 255].
      method: a name in `RESIZES`.
      height: pixels along the first axis of the result, at least 1.
      width: pixels along the second.

    Returns:
      float32 [batch, height, width, channels].

    Raises:
      UserError: the method is unknown.

    Example:
      >>> resize(jnp.float32([[[[0], [8]]]]), "tf", 1, 4).ravel()
      Array([0., 4., 8., 8.], dtype=float32)
    """
    matrix, clips = lookup(RESIZES, method, "resize")
    rows = jnp.asarray(matrix(images.shape[1], height), jnp.float32)
    columns = jnp.asarray(matrix(images.shape[2], width), jnp.float32)
    highest = jax.lax.Precision.HIGHEST
    images = jnp.einsum("ih,bhwc->biwc", rows, images, precision=highest)
    images = jnp.einsum("jw,biwc->bijc", columns, images, precision=highest)
    return jnp.clip(images, 0, 255) if clips else images


def tensorflow_bilinear(inputs: int, outputs: int) -> Matrix:
    """The matrix of TensorFlow 1's bilinear resize, which moves images by up to half a pixel.

    Pixel i of the result lies at ``i * inputs / outputs``; between pixels it interpolates, however
    much the image shrinks.

    Args:
      inputs: pixels before.
      outputs: pixels after.

    Returns:
      float64 [outputs, inputs]; rows sum to 1.

    Reference: Heusel et al. 2017, the authors' code; Parmar et al. 2022, section 3.1.
    """
    return _interpolate(np.arange(outputs) * (inputs / outputs), inputs)


def torch_bilinear(inputs: int, outputs: int) -> Matrix:
    """The matrix of PyTorch's bilinear resize, without align_corners and antialiasing.

    Pixel i of the result lies at ``(i + 1/2) * inputs / outputs - 1/2``; between pixels it
    interpolates, however much the image shrinks.

    Args:
      inputs: pixels before.
      outputs: pixels after.

    Returns:
      float64 [outputs, inputs]; rows sum to 1.

    Reference: Parmar et al. 2022, section 3.1.
    """
    positions = (np.arange(outputs) + 0.5) * (inputs / outputs) - 0.5
    return _interpolate(np.maximum(positions, 0), inputs)


def pillow_bicubic(inputs: int, outputs: int) -> Matrix:
    """The matrix of Pillow's bicubic resize, whose kernel is as wide as pixels of the result.

    Weights are ``k((j + 1/2 - c_i) / s)``, scaled to a sum of 1, where ``s = max(1, inputs /
    outputs)``, ``c_i = (i + 1/2) * inputs / outputs`` and k is Keys' kernel with a = -1/2.

    Args:
      inputs: pixels before.
      outputs: pixels after.

    Returns:
      float64 [outputs, inputs]; rows sum to 1.

    Reference: Parmar et al. 2022, section 3.1; Keys 1981, equation 15.
    """
    scale = inputs / outputs
    centres = (np.arange(outputs) + 0.5) * scale
    x = np.abs(np.arange(inputs) + 0.5 - centres[:, None]) / max(1.0, scale)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    matrix: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return matrix


RESIZES: dict[str, Resize] = {
    "tf": Resize(tensorflow_bilinear, clips=False),
    "torch": Resize(torch_bilinear, clips=False),
    "clean": Resize(pillow_bicubic, clips=True),
}
"""From name to a way to resize: of the first FID's code, of pytorch-fid and of clean-fid."""


def _interpolate(positions: Float64[np.ndarray, "outputs"], inputs: int) -> Matrix:
    """Linear interpolation at positions between 0 and inputs; the last pixel goes on."""
    low = positions.astype(int)
    high = np.minimum(low + 1, inputs - 1)
    weight = (positions - low)[:, None]
    pixels = np.eye(inputs)
    return (1 - weight) * pixels[low] + weight * pixels[high]
