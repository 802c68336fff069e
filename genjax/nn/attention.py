"""Self-attention of feature maps (Zhang et al. 2019)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.errors import UserError
from genjax.nn.layers import Initializer, Layers


def max_pool(x: Float[Array, "batch h w c"]) -> Float[Array, "batch h2 w2 c"]:
    """Halves a map by the largest value of each block of 2 x 2; the sides must be even."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


class SelfAttention(nn.Module):
    """Adds to each place of a map what it attends to in a map of half the side.

    With ``f = W_f x``, ``g = pool(W_g x)`` and ``h = pool(W_h x)``,
    ``y_i = x_i + gamma W_o sum_j softmax_j(f_i . g_j) h_j``, where gamma starts at 0.
    f and g have an eighth of the channels, h a half.

    Attributes:
      layers: what its layers have in common.
      kernel_init: initialiser of the kernels.

    Reference: Zhang et al. 2019, equations 1 to 3, with the pooling of the authors' code.
    """

    layers: Layers
    kernel_init: Initializer = nn.initializers.orthogonal()

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
        _, height, width, channels = x.shape
        if channels < 8 or height % 2 or width % 2:
            raise UserError(
                f"attention needs maps of even sides and at least 8 channels, not {height} x "
                f"{width} with {channels}; choose another attention or a larger width"
            )

        def product(features: int, y: Array) -> Array:
            return self.layers.conv(features, 1, 1, self.kernel_init, use_bias=False)(y)

        query = product(channels // 8, x)
        key = max_pool(product(channels // 8, x))
        value = max_pool(product(channels // 2, x))
        scores = jnp.einsum("bhwc,bijc->bhwij", query, key).astype(jnp.float32)
        shares = jax.nn.softmax(scores, axis=(-2, -1)).astype(x.dtype)
        seen = jnp.einsum("bhwij,bijc->bhwc", shares, value)
        gain = self.param("gain", nn.initializers.zeros, ())
        return x + gain.astype(x.dtype) * product(channels, seen)
