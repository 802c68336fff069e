"""Feature networks: what turns images into the vectors that scores compare."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from genjax.core.compiler import jit
from genjax.core.parallel import spread


class Output(NamedTuple):
    """What a feature network says of a batch.

    Attributes:
      features: float32 [batch, d].
      logits: of the classes it knows, float32 [batch, k], or None.
    """

    features: Float[Array, "batch d"]
    logits: Float[Array, "batch k"] | None


class FeatureNetwork(NamedTuple):
    """A feature network, ready to be compiled.

    Attributes:
      name: such as ``classifier-mnist`` or ``inception``.
      hash: first 12 hexadecimal digits of the SHA-256 of its weights; scores compare only where it
        is equal. Empty where there are no weights to hash.
      resize: how it resizes images: ``none``, or the name of a method.
      variables: its weights, a pytree.
      apply: ``(variables, examples) -> Output``; examples are as they are stored, such as uint8
        [batch, height, width, channels].
      traceable: whether `apply` can be compiled by JAX; if not, it gets NumPy arrays.
    """

    name: str
    hash: str
    resize: str
    variables: Any
    apply: Callable[[Any, Any], Output]
    traceable: bool = True


class Features(NamedTuple):
    """Features of a set of images, on the host.

    Attributes:
      features: float32 [n, d].
      logits: float32 [n, k], or None.
    """

    features: Float32[np.ndarray, "n d"]
    logits: Float32[np.ndarray, "n k"] | None


def from_function(
    function: Callable[[Any], Any], name: str, traceable: bool = False
) -> FeatureNetwork:
    """Makes a feature network of any function of images.

    Args:
      function: uint8 images [batch, height, width, channels] to features [batch, d].
      name: what records call it; scores of functions that differ must not share one.
      traceable: whether JAX can compile it; if not, it gets and may return NumPy arrays.

    Returns:
      The network, without logits.

    Example:
      >>> halves = from_function(lambda x: x.reshape(len(x), -1) / 2, "halves")
      >>> extract(halves, [np.full((1, 1, 2, 1), 8, np.uint8)], chunk=4).features
      array([[4., 4.]], dtype=float32)
    """
    return FeatureNetwork(
        name, "", "none", None, lambda _, images: Output(function(images), None), traceable
    )


def extract(
    network: FeatureNetwork,
    batches: Iterable[Any],
    chunk: int,
) -> Features:
    """Passes images through a feature network, on all devices, a chunk at a time.

    Args:
      network: the feature network.
      batches: examples as they are stored, in order; each batch of 1 to `chunk`, on the host or on
        devices.
      chunk: images in one call, which is compiled once; rounded up to a multiple of the number of
        devices. It does not change the features but for float32 rounding.

    Returns:
      The features of all images, in their order.
    """
    devices, whole, split = spread(jax.local_devices())
    size = -(-chunk // devices) * devices
    run: Callable[[Any], Any]
    if network.traceable:
        compiled = jit(network.apply, in_shardings=(whole, split), out_shardings=split)
        run = functools.partial(compiled, jax.device_put(network.variables, whole))
    else:
        run = functools.partial(network.apply, network.variables)

    parts: list[Any] = []
    for images in batches:
        count = len(images)
        padded: Any = images
        if network.traceable:
            rest = [(0, size - count), *[(0, 0)] * (np.ndim(images) - 1)]
            padded = jax.device_put(jnp.pad(jnp.asarray(images), rest), split)
        # Lower precision, the default of some accelerators, gives other scores.
        with jax.default_matmul_precision("highest"):
            output = run(padded)
        # Only a few chunks are in flight, and all but those are on the host.
        parts.append(jax.tree.map(lambda x, n=count: np.asarray(x, np.float32)[:n], output))
    features = np.concatenate([part.features for part in parts])
    logits = [part.logits for part in parts if part.logits is not None]
    return Features(features, np.concatenate(logits) if logits else None)
