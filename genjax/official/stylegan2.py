"""The names of StyleGAN2's networks in the authors' PyTorch code (training/networks.py)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from genjax.config import StyleGAN2
from genjax.nn.stylegan2 import map_sides
from genjax.official.shapes import Image, Inferred, Shapes
from genjax.official.tensors import (
    CONV,
    DENSE,
    SAME,
    Layout,
    Place,
    Table,
    Tensor,
    fixed,
    layer,
    map_rows,
    then,
    turned,
)

_TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
# The official code turns the kernels of what doubles a map.
_turn = Layout(lambda x: x[::-1, ::-1], lambda x: x[::-1, ::-1])
_TURNED = then(CONV, _turn)
_CONST = turned(1, 2, 0)


def infer_generator(shapes: Shapes) -> Inferred:
    """Finds what a generator of training/networks.py is; see `genjax.official.biggan`."""
    sides = _sides(shapes, "synthesis.b{}.conv1.weight")
    channels = [shapes.of(f"synthesis.b{side}.conv1.weight", 4)[0] for side in sides]
    style = shapes.of("synthesis.b4.conv1.affine.weight", 2)[1]
    depth = shapes.count("mapping.fc{}.weight")
    inputs = shapes.of("mapping.fc0.weight", 2)[1]
    embedding, classes = shapes.embedding("mapping.embed.weight")
    architecture = "plain"
    if "synthesis.b8.skip.weight" in shapes:
        architecture = "residual"
    elif "synthesis.b4.torgb.weight" in shapes:
        architecture = "usual"
    network = {
        **_channels(sides, channels),
        "architecture": architecture,
        "style": style,
        "mapping": depth,
        "noise": "synthesis.b4.conv1.noise_strength" in shapes,
    }
    colours = shapes.of(f"synthesis.b{sides[-1]}.torgb.weight", 4)[0]
    image = sides[-1], sides[-1], colours
    return Inferred(network, image, max(1, inputs - embedding), classes)


def infer_discriminator(shapes: Shapes, image: Image) -> Mapping[str, Any]:
    """Finds what a discriminator is, likewise: fields of its configuration."""
    sides = map_sides(image[0])
    channels = [shapes.of(f"b{side}.conv0.weight", 4)[0] for side in sides[1:]]
    channels.insert(0, shapes.of("b4.conv.weight", 4)[0])
    architecture = "plain"
    if f"b{sides[-1]}.skip.weight" in shapes:
        architecture = "usual"
    elif "b4.fromrgb.weight" in shapes:
        architecture = "skip"
    depth = shapes.count("mapping.fc{}.weight")
    mapping = {"mapping": depth} if depth else {}
    return {**_channels(sides, channels), **mapping, "architecture": architecture}


def counterpart(network: Mapping[str, Any], image: Image) -> Mapping[str, Any]:
    """Fields of the discriminator that usually goes with a generator."""
    return {name: network[name] for name in ("channel_base", "channel_max", "mapping")}


def _sides(shapes: Shapes, pattern: str) -> list[int]:
    shapes.of(pattern.format(4), 4)
    sides = [4]
    while pattern.format(2 * sides[-1]) in shapes:
        sides.append(2 * sides[-1])
    return sides


def _channels(sides: list[int], channels: list[int]) -> dict[str, int]:
    """What decides the channels: at most ``channel_max``, ``channel_base`` divided by the side."""
    most = channels[0]
    products = [side * count for side, count in zip(sides, channels, strict=True) if count < most]
    return {"channel_base": products[0] if products else most * sides[-1], "channel_max": most}


def generator(config: StyleGAN2, image: Image, conditional: bool) -> Table:
    """The tensors of a generator of training/networks.py.

    Args:
      config: of ours.
      image: what it makes.
      conditional: whether it is given labels.

    Returns:
      The table.
    """
    found = _mapping(config, ("decoder", "mapping"), conditional)
    found["mapping.w_avg"] = Tensor(("batch_stats", "decoder", "mean"), SAME)
    own: Place = ("decoder", "synthesis")
    found["synthesis.b4.const"] = Tensor(("params", *own, "const"), _CONST)
    sides = map_sides(image[0])
    for side in sides:
        name = f"synthesis.b{side}"
        found |= fixed(f"{name}.resample_filter", _TAPS)
        if side > sides[0]:
            found |= _synthesis(config, f"{name}.conv0", (*own, f"conv{side}_up"), _TURNED)
        found |= _synthesis(config, f"{name}.conv1", (*own, f"conv{side}"), CONV)
        if side == sides[-1] or config.architecture in ("usual", "skip"):
            found |= _modulated(f"{name}.torgb", (*own, f"to_image{side}"), CONV)
        if side > sides[0] and config.architecture == "residual":
            found |= _convolution(f"{name}.skip", (*own, f"skip{side}"), bias=False)
    return found


def discriminator(config: StyleGAN2, image: Image, conditional: bool) -> Table:
    """The tensors of a discriminator of training/networks.py; arguments as of `generator`."""
    found: Table = _mapping(config, ("mapping",), True) if conditional else {}
    sides = map_sides(image[0])
    for side in sides[::-1]:
        if side == sides[-1] or config.architecture == "skip":
            found |= _convolution(f"b{side}.fromrgb", ("encoder", f"from_image{side}"))
        if side == sides[0]:
            break
        found |= fixed(f"b{side}.resample_filter", _TAPS)
        found |= _convolution(f"b{side}.conv0", ("encoder", f"conv{side}"))
        found |= _convolution(f"b{side}.conv1", ("encoder", f"conv{side}_down"))
        if config.architecture in ("usual", "residual"):
            found |= _convolution(f"b{side}.skip", ("encoder", f"skip{side}"), bias=False)
    found |= _convolution("b4.conv", ("encoder", "conv4"))
    found |= layer("b4.fc", ("encoder", "fc"), then(DENSE, map_rows(sides[0])), True, False)
    return found | layer("b4.out", ("logit",), DENSE, True, False)


def _mapping(config: StyleGAN2, place: Place, conditional: bool) -> Table:
    names = [f"fc{number}" for number in range(config.mapping)]
    names += ["embed"] if conditional else []
    found: Table = {}
    for name in names:
        found |= layer(f"mapping.{name}", (*place, name), DENSE, True, False)
    return found


def _synthesis(config: StyleGAN2, name: str, place: Place, kernel: Layout) -> Table:
    found = _modulated(name, place, kernel) | fixed(f"{name}.resample_filter", _TAPS)
    if config.noise:
        found[f"{name}.noise_strength"] = Tensor(("params", *place, "strength"), SAME)
        found[f"{name}.noise_const"] = Tensor(("noise", *place, "const"), SAME)
    return found


def _modulated(name: str, place: Place, kernel: Layout) -> Table:
    """A convolution whose inputs are scaled by a style."""
    return {
        **layer(name, (*place, "conv"), kernel, False, False),
        f"{name}.bias": Tensor(("params", *place, "bias"), SAME),
        **layer(f"{name}.affine", (*place, "conv", "affine"), DENSE, True, False),
    }


def _convolution(name: str, place: Place, bias: bool = True) -> Table:
    found = layer(name, place, CONV, bias, False)
    return found | fixed(f"{name}.resample_filter", _TAPS)
