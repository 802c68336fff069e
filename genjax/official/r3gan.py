"""The names of R3GAN's networks in the authors' PyTorch code (R3GAN/Networks.py)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genjax.config import R3GAN
from genjax.nn.r3gan import stages
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
    then,
    turned,
)

_TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
_BASIS = turned(1, 2, 0)
"""A map ``[channels, height, width]``, here with the channels last."""
_MAPS = then(turned(2, 3, 0, 1), Layout(lambda x: x[..., 0], lambda x: x[..., None]))
"""One kernel a channel, ``[channels, 1, height, width]``, here as `_BASIS`."""


def infer_generator(shapes: Shapes) -> Inferred:
    """Finds what a generator of R3GAN/Networks.py is; see `genjax.official.biggan`."""
    count = _count_stages(shapes)
    side = shapes.of("MainLayers.0.Layers.0.Basis", 3)[-1] * 2 ** (count - 1)
    inputs = shapes.of("MainLayers.0.Layers.0.LinearLayer.weight", 2)[1]
    embedding, classes = shapes.embedding("EmbeddingLayer.weight")
    channels = shapes.of("AggregationLayer.Layer.weight", 4)[0]
    network = _infer(shapes, range(count), first=1)
    return Inferred(network, (side, side, channels), max(1, inputs - embedding), classes)


def infer_discriminator(shapes: Shapes, image: Image) -> Mapping[str, Any]:
    """Finds what a discriminator is, likewise: fields of its configuration."""
    return _infer(shapes, range(_count_stages(shapes))[::-1], first=0)


def counterpart(network: Mapping[str, Any], image: Image) -> Mapping[str, Any]:
    """Fields of the discriminator that usually goes with a generator: the same."""
    return network


def _count_stages(shapes: Shapes) -> int:
    return max(
        shapes.count("MainLayers.{}.Layers.0.LinearLayer1.Layer.weight"),
        shapes.count("MainLayers.{}.Layers.1.LinearLayer1.Layer.weight"),
    )


def _infer(shapes: Shapes, numbers: Sequence[int], first: int) -> Mapping[str, Any]:
    """Fields of a configuration, by the stages' numbers from the smallest map on."""
    widths, blocks = [], []
    for number in numbers:
        name = f"MainLayers.{number}.Layers.{first}"
        inner, width = shapes.of(f"{name}.LinearLayer1.Layer.weight", 4)[:2]
        group = shapes.of(f"{name}.LinearLayer2.Layer.weight", 4)[1]
        widths.append(width)
        later = range(first, len(shapes.shapes))
        found = (f"MainLayers.{number}.Layers.{n}.LinearLayer1.Layer.weight" for n in later)
        blocks.append(next(n for n, name in enumerate(found) if name not in shapes))
    if not widths:
        shapes.of(f"MainLayers.0.Layers.{first}.LinearLayer1.Layer.weight", 4)
    return {
        "widths": tuple(widths),
        "blocks": tuple(blocks),
        "expansion": max(1, inner // width),
        "group": group,
    }


def generator(config: R3GAN, image: Image, conditional: bool) -> Table:
    """The tensors of a generator of R3GAN/Networks.py.

    Args:
      config: of ours.
      image: what it makes.
      conditional: whether it is given labels.

    Returns:
      The table.
    """
    widths, blocks = stages(config, image[0])
    found: Table = {}
    number = 0
    for stage, width in enumerate(widths):
        name = f"MainLayers.{stage}.Layers"
        if not stage:
            found[f"{name}.0.Basis"] = Tensor(("params", "decoder", "basis"), _BASIS)
            place: Place = ("decoder", "Dense_0")
            found |= layer(f"{name}.0.LinearLayer", place, DENSE, False, False)
        else:
            changes = width != widths[stage - 1]
            found |= _transition(f"{name}.0", "decoder", number, changes)
            number += changes
        found |= _stage(name, 1, "decoder", stage, blocks[stage])
    found |= _convolution("AggregationLayer.Layer", ("decoder", f"Conv_{number}"))
    if conditional:
        found |= layer("EmbeddingLayer", ("embedding",), DENSE, False, False)
    return found


def discriminator(config: R3GAN, image: Image, conditional: bool) -> Table:
    """The tensors of a discriminator of R3GAN/Networks.py; arguments as of `generator`."""
    widths, blocks = (values[::-1] for values in stages(config, image[0]))
    found = _convolution("ExtractionLayer.Layer", ("encoder", "Conv_0"))
    number = 1
    for stage, count in enumerate(blocks):
        name = f"MainLayers.{stage}.Layers"
        found |= _stage(name, 0, "encoder", stage, count)
        if stage + 1 < len(widths):
            changes = widths[stage + 1] != widths[stage]
            found |= _transition(f"{name}.{count}", "encoder", number, changes)
            number += changes
            continue
        found[f"{name}.{count}.Basis.weight"] = Tensor(("params", "encoder", "basis"), _MAPS)
        found |= layer(f"{name}.{count}.LinearLayer", ("logit",), DENSE, False, False)
    if conditional:
        found |= layer("EmbeddingLayer", ("embedding",), DENSE, False, False)
    return found


def _convolution(name: str, place: Place) -> Table:
    return layer(name, place, CONV, False, False)


def _transition(name: str, network: str, number: int, changes: bool) -> Table:
    """From one stage to the next: a filter that is always the same, and perhaps a convolution."""
    found = fixed(f"{name}.Resampler.Kernel", _TAPS)
    if changes:
        found |= _convolution(f"{name}.LinearLayer.Layer", (network, f"Conv_{number}"))
    return found


def _stage(name: str, first: int, network: str, stage: int, blocks: int) -> Table:
    found: Table = {}
    for block in range(blocks):
        for number in range(3):
            place = (network, f"Stage_{stage}", f"Conv_{3 * block + number}")
            own = f"{name}.{first + block}"
            found |= _convolution(f"{own}.LinearLayer{number + 1}.Layer", place)
            if number < 2:
                bias = Tensor(("params", *place, "bias"), SAME)
                found[f"{own}.NonLinearity{number + 1}.Bias"] = bias
    return found
