"""Layers that Flax lacks or that must not depend on the number of devices."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Shaped

from genjax.config import Convolutions
from genjax.core.compiler import target_platform
from genjax.core.rng import example_index, example_keys
from genjax.core.spectral import spectrally_normalized
from genjax.core.types import Key
from genjax.errors import UserError, lookup
from genjax.nn.channels import LINEAR
from genjax.nn.conv import Conv, Conv1D, ConvTranspose, ConvTranspose1D
from genjax.nn.norms import NORMS, Normalize

Initializer = Callable[..., Any]


# With fewer columns XLA makes a product on TPUs a sum, in a pass of its own over the input.
_FEW_COLUMNS = 8


def _product(
    x: Float[Array, "batch *inputs"], kernel: Float[Array, "_ _"], shape: tuple[int, ...]
) -> Float[Array, "batch *outputs"]:
    """All units of an example times the kernel, as a map of the given shape, on TPUs.

    It is one contraction of the map as it is: flattening it would end what can be computed within
    the product, such as the norm before it and its sums.
    """
    columns = kernel.shape[1]
    few = columns < _FEW_COLUMNS
    if few:
        kernel = jnp.pad(kernel, ((0, 0), (0, _FEW_COLUMNS - columns)))
    axes = tuple(range(1, x.ndim))
    kernel = kernel.reshape(*x.shape[1:], *(kernel.shape[1:] if few else shape))
    y = jnp.tensordot(x, kernel, axes=(axes, tuple(axis - 1 for axis in axes)))
    return y[:, :columns].reshape(-1, *shape) if few else y


class Dense(nn.Module):
    """Affine map of all units of an example, with a kernel that can be spectrally normalised.

    Attributes:
      features: outputs; or the shape of the map that they make, whose units they are in order.
      use_bias: add a bias to each output.
      dtype: type of the computation.
      kernel_init: initialiser of the kernel.
      spectral_norm: divide the kernel by its largest singular value.
      bias_init: initialiser of the bias.
    """

    features: int | tuple[int, ...]
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()
    spectral_norm: bool = False
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "batch *inputs"]) -> Float[Array, "batch *outputs"]:
        shape = (self.features,) if isinstance(self.features, int) else self.features
        sizes = math.prod(x.shape[1:]), math.prod(shape)
        kernel = self.param("kernel", self.kernel_init, sizes)
        if self.spectral_norm:
            kernel = spectrally_normalized(self, kernel)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        # Of vectors alone nothing is gained, and XLA fails at second derivatives with few columns.
        maps = target_platform() == "tpu" and (x.ndim > 2 or len(shape) > 1)
        y = _product(x, kernel, shape) if maps else x.reshape(x.shape[0], -1) @ kernel
        y = checkpoint_name(y, LINEAR)
        if self.use_bias:
            bias = self.param("bias", self.bias_init, sizes[1:])
            y = y + bias.astype(self.dtype).reshape(y.shape[1:])
        return y.reshape(-1, *shape)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _signed_leaky_relu(x: Array, slope: float) -> Array:
    return jnp.maximum(x, slope * x)


@_signed_leaky_relu.defjvp
def _signed_leaky_relu_jvp(slope: float, primals: Any, tangents: Any) -> tuple[Array, Array]:
    y = _signed_leaky_relu(primals[0], slope)
    return y, tangents[0] * ((1 + slope) / 2 + (1 - slope) / 2 * jnp.sign(y))


def leaky_relu(x: Float[Array, "*units"], slope: float) -> Float[Array, "*units"]:
    """``max(x, slope x)``, for slopes in (0, 1).

    On TPUs the gradient takes the sign of the result, which is kept anyway. XLA's own way keeps a
    mask beside it, made in a pass of its own.
    """
    return _signed_leaky_relu(x, slope) if target_platform() == "tpu" else nn.leaky_relu(x, slope)


class Layers(NamedTuple):
    """What all layers of a network have in common; makes them, within a compact call.

    Attributes:
      norm: entry of `NORMS`, or ``none``.
      spectral_norm: divide every kernel by its largest singular value.
      dtype: type of the computation.
      axis_name: mapped axis over the devices, if any.
      reference: first rows of each input that are virtual batch norm's reference batch.
      convolutions: form of the convolutions.
    """

    norm: str = "none"
    spectral_norm: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None
    reference: int = 0
    convolutions: Convolutions = "auto"

    def dense(
        self,
        features: int | tuple[int, ...],
        init: Initializer,
        use_bias: bool = True,
        bias_init: Initializer = nn.initializers.zeros,
        name: str | None = None,
    ) -> Dense:
        """An affine layer, perhaps to a map."""
        return Dense(features, use_bias, self.dtype, init, self.spectral_norm, bias_init, name=name)

    def conv(
        self,
        features: int,
        kernel: int,
        stride: int,
        init: Initializer,
        use_bias: bool = True,
        groups: int = 1,
        bias_init: Initializer = nn.initializers.zeros,
        name: str | None = None,
    ) -> Conv:
        """A convolution with 'SAME' padding."""
        settings = (features, kernel, stride, use_bias, self.dtype, init, *self._form())
        return Conv(*settings, bias_init, groups, name=name)

    def conv_transpose(
        self, features: int, kernel: int, stride: int, init: Initializer, use_bias: bool = True
    ) -> ConvTranspose:
        """A transposed convolution with 'SAME' padding."""
        return ConvTranspose(features, kernel, stride, use_bias, self.dtype, init, *self._form())

    def conv1d(
        self, features: int, kernel: int, stride: int, init: Initializer, use_bias: bool = True
    ) -> Conv1D:
        """A convolution in one dimension with 'SAME' padding."""
        return Conv1D(features, kernel, stride, use_bias, self.dtype, init, *self._form())

    def conv_transpose1d(
        self, features: int, kernel: int, stride: int, init: Initializer, use_bias: bool = True
    ) -> ConvTranspose1D:
        """A transposed convolution in one dimension with 'SAME' padding."""
        return ConvTranspose1D(features, kernel, stride, use_bias, self.dtype, init, *self._form())

    def _form(self) -> tuple[bool, Convolutions]:
        return self.spectral_norm, self.convolutions

    def normalize(
        self,
        x: Float[Array, "batch *map channels"],
        train: bool,
        condition: Float[Array, "batch labels"] | None = None,
        **arguments: Any,
    ) -> Float[Array, "..."]:
        """Normalises hidden units, given a condition or none; the identity for norm ``none``.

        Further arguments are attributes of `Normalize`.

        Raises:
          UserError: unknown norm, or a condition without a norm.
        """
        if self.norm == "none":
            if condition is not None:
                raise UserError(
                    "generator_conditioning 'cbn' needs a norm, but norm is 'none'; set batch"
                )
            return x
        make = lookup({**NORMS, "none": None}, self.norm, "norm")
        assert make is not None
        norm = make(train, self.axis_name, self.reference)
        return Normalize(norm, self.dtype, **arguments)(x, condition)


class Dropout(nn.Module):
    """Inverted dropout whose mask is a function of the example's place in the whole batch.

    ``y = x * mask / (1 - rate)``, with ``mask ~ Bernoulli(1 - rate)``.

    Attributes:
      rate: probability that a unit is zeroed, in [0, 1).
      axis_name: mapped axis over the devices, if any.

    Reference: Srivastava et al. 2014, section 4.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch *units"], train: bool) -> Float[Array, "..."]:
        if not train or self.rate == 0:
            return x
        keys = example_keys(self.make_rng("dropout"), example_index(x.shape[0], self.axis_name))
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:]))(keys)
        return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)


def symmetric_uniform(limit: float) -> Callable[..., Array]:
    """An initialiser that draws from the uniform distribution on [-limit, limit)."""

    def init(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


class Maxout(nn.Module):
    """A layer of units that each take the largest of several linear pieces.

    ``y_i = max_j (W_ij x + b_ij)``

    Attributes:
      units: outputs.
      pieces: linear pieces a unit.
      layers: what its layers have in common.
      kernel_init: initialiser of the weights.

    Reference: Goodfellow et al. 2013, equation 1.
    """

    units: int
    pieces: int
    layers: Layers = Layers()
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch units"]:
        y = self.layers.dense(self.units * self.pieces, self.kernel_init)(x)
        return y.reshape(x.shape[0], self.units, self.pieces).max(axis=-1)


def gather_batch(
    x: Shaped[Array, "batch ..."], axis_name: str | None
) -> Shaped[Array, "whole ..."]:
    """The rows of all devices, in the order of the whole batch; `x` itself without an axis."""
    if axis_name is None:
        return x
    rows: Array = jax.lax.all_gather(x, axis_name, tiled=True)
    return rows


def _bound_axis(module: Any) -> str | None:
    """The module's axis, but none in `init`, which runs outside of it."""
    return None if module.is_initializing() else module.axis_name


class MinibatchDiscrimination(nn.Module):
    """Appends to each example's features how close it lies to the others of the batch.

    With ``M = f T`` of shape [batch, kernels, dimensions],
    ``o_i,k = sum_{j != i} exp(-|M_i,k - M_j,k|_1)``.

    Attributes:
      kernels: features appended; 100 in the paper's code.
      dimensions: of each kernel; 5 in the paper's code.
      axis_name: mapped axis over the devices, if any.

    Reference: Salimans et al. 2016, section 3.2.
    """

    kernels: int = 100
    dimensions: int = 5
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, features: Float[Array, "batch features"]
    ) -> Float[Array, "batch features_and_kernels"]:
        f = features.astype(jnp.float32)
        m = nn.Dense(self.kernels * self.dimensions, False, name="tensor")(f)
        m = m.reshape(-1, self.kernels, self.dimensions)
        others = gather_batch(m, _bound_axis(self))
        # Kernel by kernel, so that the pairs of one kernel are all that is in memory.
        distance = jax.lax.map(
            lambda pair: jnp.sum(jnp.abs(pair[0][:, None] - pair[1][None]), -1),
            (m.swapaxes(0, 1), others.swapaxes(0, 1)),
        )
        # An example is no neighbour of its own: its distance of 0 counts 1.
        closeness = jnp.sum(jnp.exp(-distance), -1).T - 1
        return jnp.concatenate([f, closeness], -1)


class MinibatchStddev(nn.Module):
    """Appends the standard deviation over a group of examples, averaged over the features.

    ``s = mean_f sqrt(var_group(x_f) + 1e-8)``, the same number for every member of a group of
    consecutive examples.

    Attributes:
      group: examples in a group; the whole batch if it isn't a multiple.
      axis_name: mapped axis over the devices, if any.

    Reference: Karras et al. 2018, section 3.
    """

    group: int = 4
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, features: Float[Array, "batch features"]
    ) -> Float[Array, "batch features_and_one"]:
        axis_name = _bound_axis(self)
        x = gather_batch(features.astype(jnp.float32), axis_name)
        group = self.group if x.shape[0] % self.group == 0 else x.shape[0]
        groups = x.reshape(-1, group, x.shape[-1])
        deviation = jnp.mean(jnp.sqrt(jnp.var(groups, axis=1) + 1e-8), axis=-1)
        whole = jnp.repeat(deviation, group)[:, None]
        own = whole[example_index(features.shape[0], axis_name)]
        return jnp.concatenate([features, own.astype(features.dtype)], -1)
