"""Whether both sides compute the same: images, logits, gradients, and the losses of one step."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.peers.torch_networks import make_networks
from benchmarks.peers.torch_step import MODES, Step
from benchmarks.peers.torch_weights import convert_params, load, mirror
from genjax.config import GANConfig
from genjax.core.players import apply_training
from genjax.core.rng import latents, stream
from genjax.core.schema import Field, Spec
from genjax.core.types import Key, NetState, Params
from genjax.domains.image import scale_images
from genjax.families.gan.composition import make_networks as make_our_networks
from genjax.families.gan.losses import LOSSES

_FLOOR = 1e-2


class Values(NamedTuple):
    """What both sides compute from the same weights, images and z.

    Attributes:
      images: G's, float32 [batch, channels, height, width], mirrored.
      logits: D's of the real images, float32 [batch].
      d_grads: of D's loss by D's parameters, by PyTorch's names.
      g_grads: of G's loss by G's.
    """

    images: np.ndarray
    logits: np.ndarray
    d_grads: Mapping[str, Any]
    g_grads: Mapping[str, Any]


class Start(NamedTuple):
    """What both sides start from.

    Attributes:
      generator: our G before the first step, on the host.
      discriminator: our D.
      image: (height, width, channels).
    """

    generator: NetState
    discriminator: NetState
    image: tuple[int, int, int]

    @classmethod
    def of(cls, state: Any, image: tuple[int, int, int]) -> "Start":
        """Copies the players of a state, which the step would overwrite."""
        g, d = jax.tree.map(np.array, (state.generator, state.discriminator))
        return cls(g, d, image)

    def step(self, config: GANConfig, flip: bool, mode: str, device: torch.device) -> Step:
        """The peer's step with our weights.

        Args:
          config: of the GAN.
          flip: mirror each real image with probability 1/2.
          mode: key of `MODES`.
          device: where it runs.

        Returns:
          A step that has not run.
        """
        networks = make_networks(config, self.image, MODES[mode].channels_last)
        for network, player in zip(networks, (self.generator, self.discriminator), strict=True):
            load(network, player.params, player.variables)
            network.to(device)
        return Step(networks, config, flip, MODES[mode])


def draws(config: GANConfig, key: Key, batch: int) -> Iterator[np.ndarray]:
    """The z that genjax draws in its first step, one update after the other.

    Args:
      config: of the GAN.
      key: of the state.
      batch: examples in an update.

    Yields:
      float32 [batch, latent]: of D's updates, then of G's.
    """
    keys = [
        stream(key, "discriminator update", 0, update)
        for update in range(config.discriminator_updates)
    ]
    for update_key in (*keys, stream(key, "generator update", 0)):
        z = latents(stream(update_key, "latent"), jnp.arange(batch), config.latent)
        yield np.array(z)


def our_values(config: GANConfig, start: Start, real: np.ndarray, z: np.ndarray) -> Values:
    """Runs our networks in training mode, in float32 without TF32.

    Args:
      config: of the GAN.
      start: the weights.
      real: uint8 [batch, height, width, channels].
      z: float32 [batch, latent].

    Returns:
      The values; gradients by our names.
    """
    spec = Spec(len(real), {"image": Field(tuple(start.image), "float32")}, "image")
    g_network, d_network = make_our_networks(config, spec, None)
    loss = LOSSES[config.loss]
    g, d = jax.tree.map(jnp.asarray, (start.generator, start.discriminator))

    def generate(params: Params, z: Any) -> Any:
        return apply_training(g_network, params, g.variables, z)[0]

    def judge(params: Params, images: Any) -> Any:
        return apply_training(d_network, params, d.variables, images)[0].logits

    def d_loss(params: Params, real: Any, fake: Any) -> Any:
        return jnp.mean(loss.discriminator(judge(params, real), judge(params, fake), 0.0))

    def g_loss(params: Params, z: Any) -> Any:
        return jnp.mean(loss.generator(None, judge(d.params, generate(params, z))))

    @jax.jit
    def values(g_params: Params, d_params: Params, real: Any, z: Any) -> Any:
        images, real = generate(g_params, z), scale_images(real)
        d_grads = jax.grad(d_loss)(d_params, real, images)
        return images, judge(d_params, real), d_grads, jax.grad(g_loss)(g_params, z)

    with jax.default_matmul_precision("highest"):
        images, *others = jax.device_get(values(g.params, d.params, real, z))
    return Values(mirror(images), *others)


def peer_values(step: Step, real: np.ndarray, z: np.ndarray) -> Values:
    """Runs the peer's networks and losses in training mode.

    Args:
      step: in float32; it keeps its weights, and its statistics move.
      real: uint8 [batch, height, width, channels].
      z: float32 [batch, latent].

    Returns:
      The values.
    """
    images, noise = step.place(mirror(real)), torch.tensor(z, device=step.device)
    g, d = step.generator.network, step.discriminator.network

    def gradients(network: Any, loss: torch.Tensor) -> dict[str, np.ndarray]:
        names, parameters = zip(*network.named_parameters(), strict=True)
        grads = torch.autograd.grad(loss, parameters)
        return {name: x.cpu().numpy() for name, x in zip(names, grads, strict=True)}

    d_grads = gradients(d, step.discriminator_loss(images, noise))
    g_grads = gradients(g, step.generator_loss(noise))
    with torch.no_grad():
        made, logits = g(noise), d(images.float() / 127.5 - 1.0)
    return Values(made.cpu().numpy(), logits.cpu().numpy(), d_grads, g_grads)


def largest_difference(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> float:
    """The largest difference, relative to the largest value of its tensor.

    A tensor counts as if its largest value were at least 0.01 of the largest of all: a bias before
    batch norm has gradient 0, of which rounding makes noise.
    """
    largest = max(float(np.abs(np.asarray(x)).max()) for x in ours.values())
    return max(
        float(np.abs(np.asarray(x) - np.asarray(peer[name])).max())
        / max(float(np.abs(np.asarray(x)).max()), _FLOOR * largest)
        for name, x in ours.items()
    )


def differences(ours: Values, peer: Values, step: Step) -> dict[str, float]:
    """How far the two sides are apart.

    Args:
      ours: from `our_values`.
      peer: from `peer_values` of the step.
      step: of the peer, whose names the gradients get.

    Returns:
      From what to the largest difference, see `largest_difference`.
    """
    g, d = step.generator.network, step.discriminator.network
    return {
        "images": largest_difference({"x": ours.images}, {"x": peer.images}),
        "logits": largest_difference({"x": ours.logits}, {"x": peer.logits}),
        "D's gradients": largest_difference(convert_params(d, ours.d_grads), peer.d_grads),
        "G's gradients": largest_difference(convert_params(g, ours.g_grads), peer.g_grads),
    }
