"""FLOPs of a GAN's step by hand, to compare `genjax.targets.flops` with.

With F the sum over a network's layers, and f its first layer, whose input is data or noise and
needs no gradient,

    update of D    F_G + 2 (3 F_D - f_D)              G's images; both passes of D, on two batches
    update of G    (3 F_G - f_G) + 2 F_D              through D, but not to its weights
                   + F_D                              if G's loss also needs D on real images
    step           k updates of D + an update of G    less F_G if the players share their images
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.config import GANConfig
from genjax.core.players import apply_training
from genjax.core.schema import Spec
from genjax.core.types import Key
from genjax.families.gan.algorithm import make_gan
from genjax.families.gan.composition import make_networks
from genjax.families.gan.conditioning import make_conditioning
from genjax.families.gan.losses import LOSSES
from genjax.nn.conv import Conv, ConvTranspose
from genjax.nn.layers import Dense


def count_taps(large: int, small: int, kernel: int, stride: int) -> int:
    """How often a tap on one of the `small` places meets one of the `large` pixels of an axis.

    Example:
      >>> count_taps(28, 14, kernel=5, stride=2)
      67
    """
    before = max((small - 1) * stride + kernel - large, 0) // 2
    places = itertools.product(range(small), range(kernel))
    return sum(0 <= place * stride + tap - before < large for place, tap in places)


class Layer(NamedTuple):
    """A layer as it was applied to a batch.

    Attributes:
      module: the layer.
      inputs: shape of its input.
      outputs: shape of its output.
    """

    module: nn.Module
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def flops(self) -> int:
        """Of its forward pass."""
        if not isinstance(self.module, Conv | ConvTranspose):
            return 2 * math.prod(self.inputs) * math.prod(self.outputs[1:])
        size, stride = self.module.kernel, self.module.stride
        transposed = isinstance(self.module, ConvTranspose)
        large, small = (self.inputs, self.outputs)[:: -1 if transposed else 1]
        taps = math.prod(
            count_taps(wide, narrow, size, stride)
            for wide, narrow in zip(large[1:3], small[1:3], strict=True)
        )
        return 2 * self.inputs[0] * taps * self.inputs[-1] * self.outputs[-1]


@contextmanager
def recorded_layers() -> Iterator[list[Layer]]:
    """Collects the layers that are applied within, in their order."""
    layers: list[Layer] = []

    def record(
        function: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
    ) -> Any:
        y = function(*args, **kwargs)
        counted = isinstance(context.module, Conv | ConvTranspose | Dense | nn.Dense)
        if counted and context.method_name == "__call__":
            layers.append(Layer(context.module, args[0].shape, y.shape))
        return y

    with nn.intercept_methods(record):
        yield layers


def gan_layers(config: GANConfig, spec: Spec) -> tuple[list[Layer], list[Layer]]:
    """The layers of both players, without computing anything.

    Args:
      config: of the GAN.
      spec: shape of the data.

    Returns:
      Those of G and those of D, each as applied to one batch.
    """
    algorithm = make_gan(config, spec)
    generator, discriminator = make_networks(config, spec, None)
    conditioning = make_conditioning(config, spec.classes)
    found: list[list[Layer]] = []

    def run(key: Key) -> None:
        state = algorithm.init(key)
        index = jnp.arange(spec.size)
        labels = index % spec.classes if conditioning.labelled else None
        condition = conditioning.draw(key, index, labels)
        inputs = jnp.zeros((spec.size, config.latent))
        rngs = {"dropout": key}
        for network, player in (
            (generator, state.generator),
            (discriminator, state.discriminator),
        ):
            with recorded_layers() as layers:
                inputs, _ = apply_training(
                    network, player.params, player.variables, inputs, condition, rngs=rngs
                )
            found.append(layers)

    jax.eval_shape(run, jax.random.key(0))
    g, d = found
    return g, d


class Cost(NamedTuple):
    """Floating-point operations of a network on a batch.

    Attributes:
      forward: of all layers.
      first: of the first.
    """

    forward: int
    first: int

    @classmethod
    def of(cls, layers: list[Layer]) -> "Cost":
        """Adds layers up, in the order they are applied."""
        return cls(sum(layer.flops for layer in layers), layers[0].flops)


def part_flops(config: GANConfig, g: Cost, d: Cost) -> Mapping[str, int]:
    """Applies the formula.

    Args:
      config: of the GAN.
      g: the generator's.
      d: the discriminator's.

    Returns:
      Of all updates of D, of the update of G, and of the step.
    """
    paired = LOSSES[config.loss].paired or config.feature_matching
    updates = config.discriminator_updates * (g.forward + 2 * (3 * d.forward - d.first))
    update = 3 * g.forward - g.first + (3 if paired else 2) * d.forward
    shared = g.forward if config.share_generated else 0
    return {"discriminator": updates, "generator": update, "step": updates + update - shared}
