"""genjax's adversarial step in PyTorch, in every way that PyTorch offers to run it fast.

It does what `genjax.families.gan.algorithm` does: k updates of D, each on real images and noise of
its own, then one of G against the new D, on fresh noise. As there, batch norm sees real and
generated images apart. What isn't needed isn't computed: no gradient of G in D's update, none of
D's weights in G's, and of genjax's metrics only the two losses, so the peer does a little less. A D
without batch norm judges real and generated images in one pass. Both optimizers are fused.

The running statistics of G's batch norm also move when G makes images for D, and those of D when it
judges for G, which genjax leaves out; no training output depends on them.
"""

import itertools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers.torch_networks import DISCRIMINATORS, GENERATORS, power_iteration
from genjax.config import Adam, Constant, GANConfig, Linear, norm_of
from genjax.errors import UserError

WARM_UPS = 3
"""Steps before a CUDA graph is captured, as PyTorch's documentation advises."""

Losses = tuple[Tensor, Tensor]
Draw = Callable[[], Tensor]
"""Makes the z of one update, [batch, latent]."""

DISCRIMINATOR_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "hinge": lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
    "non_saturating": lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
}
GENERATOR_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "hinge": lambda fake: -fake.mean(),
    "non_saturating": lambda fake: F.softplus(-fake).mean(),
}


class Mode(NamedTuple):
    """A way to run the step.

    Attributes:
      channels_last: maps lie in memory as [batch, height, width, channels].
      compiled: both losses, their gradients and the power iteration go through `torch.compile`.
      graph: the whole step is captured once as a CUDA graph and then replayed.
    """

    channels_last: bool
    compiled: bool
    graph: bool

    @property
    def name(self) -> str:
        """For example ``compile channels_last``."""
        parts = {
            "compile": self.compiled,
            "cuda graph": self.graph,
            "channels_last": self.channels_last,
        }
        found = [name for name, holds in parts.items() if holds]
        return " ".join(found if self.compiled or self.graph else ["eager", *found])


MODES = {
    mode.name: mode
    for mode in (
        Mode(channels_last, compiled, graph)
        for graph, compiled, channels_last in itertools.product((False, True), repeat=3)
    )
}
"""From name to mode; those with a graph need CUDA."""


def available_modes(device: torch.device) -> list[str]:
    """The names of the modes that a device can run."""
    return [name for name, mode in MODES.items() if device.type == "cuda" or not mode.graph]


def require_supported(config: Any) -> None:
    """Refuses models whose step is not written here.

    Args:
      config: of a model of genjax.

    Raises:
      UserError: it isn't a plain GAN of DCGAN's or SNGAN's networks.
    """
    if not isinstance(config, GANConfig):
        raise UserError("the peer is only written for GANs")
    g, d = config.generator, config.discriminator
    optimizers = (config.generator_optimizer, config.discriminator_optimizer)
    plain = GANConfig(
        generator=g,
        discriminator=d,
        generator_optimizer=config.generator_optimizer,
        discriminator_optimizer=config.discriminator_optimizer,
        loss=config.loss,
        latent=config.latent,
        discriminator_updates=config.discriminator_updates,
        dtype=config.dtype,
    )
    holds = {
        "an unconditional GAN without penalties and techniques": config == plain
        and all(o.clip is None for o in optimizers),
        "dcgan and sngan": g.name in GENERATORS and d.name in DISCRIMINATORS,
        "batch norm or none": {norm_of(g), norm_of(d)} <= {"batch", "none"}
        and (d.name, norm_of(d)) != ("sngan", "batch"),
        "spectral norm of D": not g.spectral_norm,
        " and ".join(DISCRIMINATOR_LOSSES): config.loss in DISCRIMINATOR_LOSSES,
        "adam": all(isinstance(o, Adam) and not o.weight_decay for o in optimizers),
        "a constant step size, or one that falls linearly to 0": all(
            o.schedule in (Constant(), Linear(length=getattr(o.schedule, "length", 1)))
            for o in optimizers
        ),
    }
    for what, held in holds.items():
        if not held:
            raise UserError(f"the peer is only written for {what}")


def configure(precise: bool) -> None:
    """Sets what PyTorch leaves to its user.

    All cores compute. On GPUs, convolutions choose the fastest algorithm, and float32 products use
    TF32, which is also what JAX does there by default.

    Args:
      precise: no TF32, and no algorithm but the usual one, to check values.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    torch.backends.cudnn.benchmark = not precise
    torch.backends.cuda.matmul.allow_tf32 = not precise
    torch.backends.cudnn.allow_tf32 = not precise


class Player:
    """A network with its optimizer.

    Args:
      network: on its device.
      config: of Adam.
      capturable: for a CUDA graph.
    """

    def __init__(self, network: Any, config: Adam, capturable: bool) -> None:
        self.network = network
        device = next(network.parameters()).device
        self.rate: Any = config.learning_rate
        self.decrement = 0.0
        if isinstance(config.schedule, Linear):
            self.decrement = config.learning_rate / config.schedule.length
            # A tensor, so that a graph or a compiled program sees it fall.
            self.rate = torch.tensor(config.learning_rate, device=device)
        self.optimizer = torch.optim.Adam(
            network.parameters(),
            self.rate,
            (config.b1, config.b2),
            eps=1e-8,
            fused=True,
            capturable=capturable,
        )

    def update(self, loss: Tensor) -> None:
        """Moves the network down the gradient of a loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.decrement:
            self.rate.sub_(self.decrement).clamp_(min=0)


class Step:
    """The adversarial step of two networks in one mode.

    Args:
      networks: G and D of `torch_networks`, on their device, in the mode's layout.
      config: of the GAN.
      flip: mirror each real image with probability 1/2.
      mode: how to run it.
    """

    def __init__(self, networks: tuple[Any, Any], config: GANConfig, flip: bool, mode: Mode):
        g, d = networks
        self.generator = Player(g, config.generator_optimizer, mode.graph)
        self.discriminator = Player(d, config.discriminator_optimizer, mode.graph)
        self.config, self.flip, self.mode = config, flip, mode
        self.device = next(g.parameters()).device
        self.one_pass = not d.batch_norm
        self.iterate = d.spectral_norm
        self.discriminator_loss, self.generator_loss = (
            self._discriminator_loss,
            self._generator_loss,
        )
        self.power_iteration = power_iteration
        if mode.compiled:
            self.discriminator_loss = torch.compile(self._discriminator_loss, dynamic=False)
            self.generator_loss = torch.compile(self._generator_loss, dynamic=False)
            self.power_iteration = torch.compile(power_iteration, dynamic=False)
        self.replay: Callable[[Tensor], Losses] | None = None

    def place(self, images: Any) -> Tensor:
        """Moves a batch to the device, in the mode's layout.

        Args:
          images: uint8 [k * batch, channels, height, width].

        Returns:
          The tensor that the step takes.
        """
        layout = torch.channels_last if self.mode.channels_last else torch.contiguous_format
        return torch.as_tensor(images).to(self.device).contiguous(memory_format=layout)

    def _autocast(self) -> Any:
        enabled = self.config.dtype == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _discriminator_loss(self, images: Tensor, z: Tensor) -> Tensor:
        """D's loss on uint8 images [batch, channels, height, width] and z [batch, latent]."""
        with self._autocast():
            with torch.no_grad():
                fake = self.generator.network(z)
            real = images.float() / 127.5 - 1.0
            if self.flip:
                heads = torch.rand(len(real), 1, 1, 1, device=real.device) < 0.5
                real = torch.where(heads, real.flip(3), real)
            judge = self.discriminator.network
            if self.one_pass:
                logits = judge(torch.cat([real, fake])).chunk(2)
            else:
                logits = judge(real), judge(fake)
        return DISCRIMINATOR_LOSSES[self.config.loss](*logits)

    def _generator_loss(self, z: Tensor) -> Tensor:
        """G's loss on z, [batch, latent]."""
        with self._autocast():
            logits = self.discriminator.network(self.generator.network(z))
        return GENERATOR_LOSSES[self.config.loss](logits)

    def run(self, images: Tensor, draw: Draw) -> Losses:
        """One step without a graph.

        Args:
          images: from `place`; each update of D takes every k-th.
          draw: called once an update.

        Returns:
          Losses of D's last update and of G's.
        """
        d_network = self.discriminator.network
        updates = self.config.discriminator_updates
        for update in range(updates):
            d_loss = self.discriminator_loss(images[update::updates], draw())
            self.discriminator.update(d_loss)
            if self.iterate:
                self.power_iteration(d_network)
        d_network.requires_grad_(False)
        g_loss = self.generator_loss(draw())
        self.generator.update(g_loss)
        d_network.requires_grad_(True)
        return d_loss.detach(), g_loss.detach()

    def prepare(self, images: Tensor) -> None:
        """Captures the step as a CUDA graph where the mode has one."""
        if not self.mode.graph:
            return
        draw, static = self._draw(images), images.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self.run(static, draw)
        torch.cuda.current_stream().wait_stream(side)
        # Gradients must come from the graph's own memory.
        for player in (self.generator, self.discriminator):
            player.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            losses = self.run(static, draw)

        def replay(images: Tensor) -> Losses:
            static.copy_(images)
            graph.replay()
            return losses

        self.replay = replay

    def _draw(self, images: Tensor) -> Draw:
        size = len(images) // self.config.discriminator_updates, self.config.latent
        return lambda: torch.randn(size, device=self.device)

    def synchronize(self) -> None:
        """Waits for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def __call__(self, images: Tensor) -> Losses:
        """One whole step on images from `place`, to its end; returns both losses."""
        losses = self.replay(images) if self.replay else self.run(images, self._draw(images))
        self.synchronize()
        return losses
