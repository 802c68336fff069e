"""genjax's DCGAN and SNGAN networks as a user of PyTorch would write them.

They see images mirrored along both axes. Where a convolution halves an even map, 'SAME' padding has
its odd zero at the end, and `padding=2` of PyTorch at the start; of mirrored images both are the
same. So no convolution needs a padded copy of its input, on either side.

Initial weights are PyTorch's; `torch_weights.load` replaces all of them.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genjax.config import DCGAN, SNGAN, GANConfig
from genjax.nn.dcgan import halvings

_EPSILON = 1e-5
_LEAK = 0.2
_NORM_EPSILON = 1e-12
ImageShape = tuple[int, int, int]


def as_matrix(weight: Tensor, channels_last: bool) -> Tensor:
    """One row an output, in the order in which the weights lie: [outputs, rest]."""
    if channels_last and weight.ndim == 4:
        weight = weight.permute(0, 2, 3, 1)
    return weight.flatten(1)


def _add_vectors(layer: Any, channels_last: bool) -> None:
    """Gives a layer the singular vectors of its weight, which `normalized` reads."""
    layer.channels_last = channels_last
    layer.register_buffer("u", torch.zeros(len(layer.weight)))
    layer.register_buffer("v", torch.zeros(layer.weight[0].numel()))


def _normalized(layer: Any) -> Tensor:
    """The layer's weight over its largest singular value, in float32."""
    weight: Tensor = layer.weight
    with torch.autocast(weight.device.type, enabled=False):
        sigma = torch.dot(layer.u, torch.mv(as_matrix(weight, layer.channels_last), layer.v))
        return weight / sigma


class SpectralConv2d(nn.Conv2d):
    """A convolution with spectral normalisation; `power_iteration` moves its vectors."""

    def __init__(self, channels_last: bool, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _add_vectors(self, channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, height, width] to [batch, outputs, ...]."""
        return self._conv_forward(x, _normalized(self), self.bias)


class SpectralLinear(nn.Linear):
    """An affine layer with spectral normalisation; `power_iteration` moves its vectors."""

    def __init__(self, channels_last: bool, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _add_vectors(self, channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs] to [batch, outputs]."""
        return F.linear(x, _normalized(self), self.bias)


@torch.no_grad()
def power_iteration(network: nn.Module) -> None:
    """Moves the singular vectors of all layers one iteration on, once an update."""
    for layer in network.modules():
        if isinstance(layer, SpectralConv2d | SpectralLinear):
            matrix = as_matrix(layer.weight, layer.channels_last)
            layer.v.copy_(_unit(layer.u @ matrix))
            layer.u.copy_(_unit(matrix @ layer.v))


def _unit(vector: Tensor) -> Tensor:
    return vector / (torch.linalg.vector_norm(vector) + _NORM_EPSILON)


class _Network(nn.Module):
    """What all four have in common.

    Attributes:
      channels_last: whether maps lie in memory as [batch, height, width, channels].
      map: (channels, height, width) of the map that the affine layer makes or takes.
    """

    channels_last: bool
    map: tuple[int, int, int]

    def __init__(self, config: DCGAN | SNGAN, channels_last: bool) -> None:
        super().__init__()
        self.batch_norm = config.norm == "batch"
        self.spectral_norm = config.spectral_norm
        self.channels_last = channels_last

    def conv(self, inputs: int, outputs: int, kernel: int, stride: int, bias: bool) -> nn.Module:
        """A convolution that keeps the map, or divides it by the stride."""
        shape = inputs, outputs, kernel, stride, kernel // 2
        if self.spectral_norm:
            return SpectralConv2d(self.channels_last, *shape, bias=bias)
        return nn.Conv2d(*shape, bias=bias)

    def linear(self, inputs: int, outputs: int, bias: bool = True) -> nn.Module:
        """An affine layer."""
        if self.spectral_norm:
            return SpectralLinear(self.channels_last, inputs, outputs, bias)
        return nn.Linear(inputs, outputs, bias)

    def norm(self, channels: int) -> nn.Module:
        """Batch norm, or nothing."""
        # PyTorch's momentum is the weight of the new value, Flax's that of the old one.
        return nn.BatchNorm2d(channels, _EPSILON, 0.1) if self.batch_norm else nn.Identity()

    def to_map(self, x: Tensor) -> Tensor:
        """[batch, channels * height * width] to [batch, channels, height, width], no copy."""
        channels, height, width = self.map
        if self.channels_last:
            return x.view(-1, height, width, channels).permute(0, 3, 1, 2)
        return x.view(-1, channels, height, width)

    def to_vector(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, channels * height * width], no copy."""
        return (x.permute(0, 2, 3, 1) if self.channels_last else x).flatten(1)


class DCGANGenerator(_Network):
    """`genjax.nn.dcgan.DCGANDecoder` with a tanh.

    Args:
      config: width and norm.
      image: (height, width, channels) of what it makes.
      latent: dimensions of z.
      channels_last: see `_Network`.
    """

    def __init__(
        self, config: DCGAN | SNGAN, image: ImageShape, latent: int, channels_last: bool
    ) -> None:
        super().__init__(config, channels_last)
        count = halvings(image[0])
        base = image[0] // 2**count
        features = config.width * 2 ** (count - 1)
        bias = not self.batch_norm
        self.map = features, base, base
        self.project = nn.Linear(latent, features * base * base, bias)
        self.norms = nn.ModuleList(self.norm(features >> i) for i in range(count))
        widths = [features >> i for i in range(count)] + [image[2]]
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(*widths[i : i + 2], 5, 2, 2, 1, bias=bias or i == count - 1)
            for i in range(count)
        )

    def forward(self, z: Tensor) -> Tensor:
        """z, [batch, latent], to float32 [batch, channels, height, width] in [-1, 1]."""
        x = self.to_map(self.project(z))
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = convolution(F.relu(norm(x), inplace=True))
        return torch.tanh(x).float()


class DCGANDiscriminator(_Network):
    """`genjax.nn.dcgan.DCGANEncoder` with a logit.

    Args:
      config: width and norm.
      image: (height, width, channels) of what it judges.
      channels_last: see `_Network`.
    """

    def __init__(self, config: DCGAN | SNGAN, image: ImageShape, channels_last: bool) -> None:
        super().__init__(config, channels_last)
        count = halvings(image[0])
        base = image[0] // 2**count
        widths = [image[2]] + [config.width << i for i in range(count)]
        self.convolutions = nn.ModuleList(
            self.conv(*widths[i : i + 2], 5, 2, not self.batch_norm or i == 0) for i in range(count)
        )
        self.norms = nn.ModuleList(
            self.norm(width) if i else nn.Identity() for i, width in enumerate(widths[1:])
        )
        self.map = widths[-1], base, base
        self.logit = self.linear(widths[-1] * base * base, 1)

    def forward(self, images: Tensor) -> Tensor:
        """[batch, channels, height, width] to logits, float32 [batch]."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.leaky_relu(norm(convolution(x)), _LEAK, inplace=True)
        return self.logit(self.to_vector(x))[:, 0].float()


class SNGANGenerator(_Network):
    """`genjax.nn.sngan.SNGANDecoder` with a tanh.

    Args:
      config: width and norm.
      image: (height, width, channels) of what it makes.
      latent: dimensions of z.
      channels_last: see `_Network`.
    """

    def __init__(
        self, config: DCGAN | SNGAN, image: ImageShape, latent: int, channels_last: bool
    ) -> None:
        super().__init__(config, channels_last)
        count, width = halvings(image[0]), config.width
        base = image[0] // 2**count
        self.map = width, base, base
        self.project = nn.Linear(latent, width * base * base)
        self.norms = nn.ModuleList(self.norm(width) for _ in range(2 * count + 1))
        self.convolutions = nn.ModuleList(
            self.conv(width, width, kernel, 1, True) for _ in range(count) for kernel in (3, 3, 1)
        )
        self.last = self.conv(width, image[2], 3, 1, True)

    def forward(self, z: Tensor) -> Tensor:
        """z, [batch, latent], to float32 [batch, channels, height, width] in [-1, 1]."""
        x = self.to_map(self.project(z))
        for block in range(len(self.convolutions) // 3):
            first, second, beside = self.convolutions[3 * block : 3 * block + 3]
            y = first(_double(self.activate(2 * block, x)))
            y = second(self.activate(2 * block + 1, y))
            x = y + _double(beside(x))
        return torch.tanh(self.last(self.activate(-1, x))).float()

    def activate(self, number: int, x: Tensor) -> Tensor:
        """Norm and ReLU."""
        return F.relu(self.norms[number](x), inplace=self.batch_norm)


def _double(x: Tensor) -> Tensor:
    """Doubles a map by repeating each value twice along both axes."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class SNGANDiscriminator(_Network):
    """`genjax.nn.sngan.SNGANEncoder` with a logit, without norm.

    Args:
      config: width.
      image: (height, width, channels) of what it judges.
      channels_last: see `_Network`.
    """

    def __init__(self, config: DCGAN | SNGAN, image: ImageShape, channels_last: bool) -> None:
        super().__init__(config, channels_last)
        width = config.width
        self.convolutions = nn.ModuleList(
            self.conv(image[2] if layer in (0, 2) else width, width, kernel, 1, True)
            for layer, kernel in enumerate((3, 3, 1, 3, 3, 1, 3, 3, 3, 3))
        )
        self.map = width, 1, 1
        self.logit = self.linear(width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """[batch, channels, height, width] to logits, float32 [batch]."""
        x = images
        for block, start in enumerate((0, 3, 6, 8)):
            first, second = self.convolutions[start : start + 2]
            y = first(F.relu(x) if block else x)
            y = second(F.relu(y, inplace=True))
            if block < 2:
                y = F.avg_pool2d(y, 2)
                x = self.convolutions[start + 2](F.avg_pool2d(x, 2))
            x = x + y
        features = F.relu(x).sum((2, 3))
        return self.logit(features)[:, 0].float()


GENERATORS = {"dcgan": DCGANGenerator, "sngan": SNGANGenerator}
DISCRIMINATORS = {"dcgan": DCGANDiscriminator, "sngan": SNGANDiscriminator}


def make_networks(config: GANConfig, image: ImageShape, channels_last: bool) -> tuple[Any, Any]:
    """Builds both players, in training mode, on the CPU.

    Args:
      config: of a GAN that `torch_step.require_supported` lets through.
      image: (height, width, channels), a square.
      channels_last: whether maps lie in memory as [batch, height, width, channels].

    Returns:
      G and D.
    """
    g = GENERATORS[config.generator.name](config.generator, image, config.latent, channels_last)
    d = DISCRIMINATORS[config.discriminator.name](config.discriminator, image, channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return g.to(memory_format=layout), d.to(memory_format=layout)
