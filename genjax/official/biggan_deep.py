"""The names of BigGAN-deep's networks in the authors' PyTorch code (BigGANdeep.py, layers.py)."""

from collections.abc import Mapping
from typing import Any

from genjax.config import BigGAN, BigGANDeep
from genjax.errors import UserError
from genjax.nn.biggan import decoder_widths, encoder_widths
from genjax.official.biggan import (
    attention,
    base_side,
    conditional_norm,
    convolution,
    heads,
    labels_of,
    outer,
    plain_norm,
)
from genjax.official.shapes import Image, Inferred, Shapes
from genjax.official.tensors import Table

_ONE = BigGAN(width=1)
_CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4")


def infer_generator(shapes: Shapes) -> Inferred:
    """Finds what a generator of BigGANdeep.py is; see `genjax.official.biggan`."""
    if "blocks.0.0.conv_sc.weight" in shapes:
        raise UserError(f"{shapes.file} is of BigGAN; name biggan instead of biggan_deep")
    blocks = shapes.count("blocks.{}.0.conv4.weight")
    first = shapes.of("blocks.0.0.conv1.weight", 4)[1]
    base, inputs = base_side(shapes, first)
    outputs = [shapes.of(f"blocks.{block}.0.conv4.weight", 4)[0] for block in range(blocks)]
    groups, width = _split(shapes, base, [first, *outputs])
    depth = blocks // groups
    last = [depth * (group + 1) - 1 for group in range(groups)]
    seen = [g for g in range(groups) if f"blocks.{last[g]}.1.gamma" in shapes]
    classes, embedding, part = labels_of(shapes)
    network = {
        "width": width,
        "depth": depth,
        "attention": tuple(base * 2 ** (group + 1) for group in seen),
        "embedding": embedding,
        "hierarchical": part > 0,
        "norm": "batch",
        "spectral_norm": "linear.u0" in shapes,
    }
    channels = shapes.of("output_layer.2.weight", 4)[0]
    side = base * 2**groups
    return Inferred(network, (side, side, channels), part or inputs, classes)


def _split(shapes: Shapes, base: int, channels: list[int]) -> tuple[int, int]:
    """How many groups the blocks are, and the width, by the channels of the maps.

    Where all have as many, a whole number of groups may fit in two ways; published are the largest
    images, of groups of two.
    """
    blocks = len(channels) - 1
    for groups in range(blocks, 0, -1):
        depth, rest = divmod(blocks, groups)
        try:
            own, multiples = decoder_widths(base * 2**groups, _ONE)
        except UserError:
            continue
        if rest or own != base:
            continue
        width = channels[-1] // multiples[-1]
        # The last block of a group narrows.
        wanted = [multiples[0], *(multiples[(k + 1) // depth] for k in range(blocks))]
        if channels == [width * multiple for multiple in wanted]:
            return groups, width
    raise UserError(
        f"{shapes.file} has blocks of {', '.join(map(str, channels[1:]))} channels, which no "
        "BigGAN-deep of 8 to 256 pixels has"
    )


def infer_discriminator(shapes: Shapes, image: Image) -> Mapping[str, Any]:
    """Finds what a discriminator of BigGANdeep.py is; see `genjax.official.biggan`."""
    halving, multiples = encoder_widths(image[0], _ONE)
    width = shapes.of("input_conv.weight", 4)[0] // multiples[0]
    depth = max(1, shapes.count("blocks.{}.{}.conv4.weight", 0))
    seen = [group for group in range(halving) if f"blocks.{group}.{depth}.gamma" in shapes]
    return {
        "width": width,
        "depth": depth,
        "attention": tuple(image[0] // 2 ** (group + 1) for group in seen),
        "norm": "none",
        "spectral_norm": "linear.u0" in shapes,
    }


def generator(config: BigGANDeep, image: Image, conditional: bool) -> Table:
    """The tensors of a generator of BigGANdeep.py; see `genjax.official.biggan`."""
    if not config.hierarchical or not config.embedding:
        raise UserError(
            "the official BigGAN-deep has an embedding of labels, and norms that see all of z "
            "(hierarchical)"
        )
    base, widths = decoder_widths(image[0], config)
    groups = len(widths) - 1
    found = outer(config, base, groups)
    sided = 0
    for group in range(groups):
        for place in range(config.depth):
            block = config.depth * group + place
            for number, conv in enumerate(_CONVOLUTIONS):
                name, own = f"blocks.{block}.0", 4 * block + number
                found |= convolution(config, f"{name}.{conv}", "decoder", own)
                found |= conditional_norm(config, f"{name}.bn{number + 1}", own)
        if base * 2 ** (group + 1) in config.attention:
            last = config.depth * (group + 1) - 1
            found |= attention(config, f"blocks.{last}.1", "decoder", sided)
            sided += 1
    number = 4 * config.depth * groups
    found |= convolution(config, "output_layer.2", "decoder", number)
    return found | plain_norm("output_layer.0", number)


def discriminator(config: BigGANDeep, image: Image, conditional: bool) -> Table:
    """The tensors of a discriminator of BigGANdeep.py; see `genjax.official.biggan`."""
    halving, widths = encoder_widths(image[0], config)
    found = convolution(config, "input_conv", "encoder", 0)
    number, sided = 1, 0
    before = widths[0]
    for group, width in enumerate(widths[1:]):
        for place in range(config.depth):
            shortcut = ("conv_sc",) if width > before else ()
            for conv in (*_CONVOLUTIONS, *shortcut):
                found |= convolution(config, f"blocks.{group}.{place}.{conv}", "encoder", number)
                number += 1
            before = width
        if group < halving and image[0] // 2 ** (group + 1) in config.attention:
            found |= attention(config, f"blocks.{group}.{config.depth}", "encoder", sided)
            sided += 1
    return found | heads(config)
