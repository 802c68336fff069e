"""A small residual network of images (He et al. 2016)."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.core.types import Images
from genjax.nn.layers import Layers

_LARGEST_MAP = 16
_INIT = nn.initializers.he_normal()


def residual_features(
    images: Images, widths: Sequence[int], layers: Layers, train: bool
) -> Float[Array, "batch features"]:
    """Means over the last map of a residual network, within a compact call.

    A convolution takes the image to a map of at most 16 x 16. A block follows for each width, all
    but the first of which halve the map; a block is a 3x3 convolution, norm, ReLU, a 3x3
    convolution and norm, beside the identity or a 1x1 convolution and norm, and ReLU of the sum.

    Args:
      images: float32 [batch, height, width, channels].
      widths: channels of each block.
      layers: what its layers have in common, such as their norm.
      train: whether norms are those of training.

    Returns:
      [batch, widths[-1]].

    Reference: He et al. 2016, section 3 and figure 2 (with projections, option B).
    """
    stride = -(-max(images.shape[1:3]) // _LARGEST_MAP)
    x = layers.conv(widths[0], 2 * stride + 1, stride, _INIT, use_bias=False)(images)
    x = nn.relu(layers.normalize(x, train))
    for number, width in enumerate(widths):
        step = 2 if number else 1
        y = layers.conv(width, 3, step, _INIT, use_bias=False)(_even(x) if step == 2 else x)
        y = nn.relu(layers.normalize(y, train))
        y = layers.conv(width, 3, 1, _INIT, use_bias=False)(y)
        y = layers.normalize(y, train, scale_init=nn.initializers.zeros)
        if step == 2:
            x = layers.conv(width, 1, 1, _INIT, use_bias=False)(x[:, ::2, ::2])
            x = layers.normalize(x, train)
        x = nn.relu(x + y)
    return x.mean(axis=(1, 2))


def _even(x: Float[Array, "batch h w c"]) -> Float[Array, "batch h2 w2 c"]:
    """Puts zeros before an odd axis, which 'SAME' padding does anyway for a stride of 2."""
    # Strided convolutions of even maps have the faster derivatives on CPUs.
    return jnp.pad(x, [(0, 0), (x.shape[1] % 2, 0), (x.shape[2] % 2, 0), (0, 0)])
