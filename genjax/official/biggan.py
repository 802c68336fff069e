"""The names of BigGAN's networks in the authors' PyTorch code (BigGAN.py, layers.py)."""

import math
from collections.abc import Mapping
from typing import Any

from genjax.config import BigGAN
from genjax.errors import UserError
from genjax.nn.biggan import decoder_widths, encoder_widths
from genjax.official.shapes import Image, Inferred, Shapes
from genjax.official.tensors import CONV, DENSE, SAME, Place, Table, Tensor, layer, map_rows, then

_ONE = BigGAN(width=1)


def infer_generator(shapes: Shapes) -> Inferred:
    """Finds what a generator of BigGAN.py is.

    Args:
      shapes: of its tensors.

    Returns:
      Its configuration, except for what its weights do not say.

    Raises:
      UserError: a tensor that decides it is missing or odd, or there is no network of this size.
    """
    if "blocks.0.0.conv4.weight" in shapes:
        raise UserError(f"{shapes.file} is of BigGAN-deep; name biggan_deep instead of biggan")
    blocks = shapes.count("blocks.{}.0.conv1.weight")
    first = shapes.of("blocks.0.0.conv1.weight", 4)[1]
    base, inputs = base_side(shapes, first)
    side = base * 2**blocks
    last = shapes.of(f"blocks.{blocks - 1}.0.conv1.weight", 4)[0]
    width = last // _multiples(shapes, side)[-1]
    attention = [base * 2 ** (i + 1) for i in range(blocks) if f"blocks.{i}.1.gamma" in shapes]
    classes, embedding, part = labels_of(shapes)
    network = {
        "width": width,
        "attention": tuple(attention),
        "embedding": embedding,
        "hierarchical": part > 0,
        "norm": "batch",
        "spectral_norm": "linear.u0" in shapes,
    }
    channels = shapes.of("output_layer.2.weight", 4)[0]
    latent = inputs * (blocks + 1) if part else inputs
    return Inferred(network, (side, side, channels), latent, classes)


def infer_discriminator(shapes: Shapes, image: Image) -> Mapping[str, Any]:
    """Finds what a discriminator of BigGAN.py is: fields of its configuration.

    Args:
      shapes: of its tensors.
      image: what it judges.

    Raises:
      UserError: as `infer_generator`.
    """
    halving, multiples = encoder_widths(image[0], _ONE)
    last = shapes.of(f"blocks.{len(multiples) - 1}.0.conv1.weight", 4)[0]
    attention = [i for i in range(halving) if f"blocks.{i}.1.gamma" in shapes]
    return {
        "width": last // multiples[-1],
        "attention": tuple(image[0] // 2 ** (i + 1) for i in attention),
        "norm": "none",
        "spectral_norm": "linear.u0" in shapes,
    }


def counterpart(network: Mapping[str, Any], image: Image) -> Mapping[str, Any]:
    """Fields of the discriminator that usually goes with a generator."""
    halving, _ = encoder_widths(image[0], _ONE)
    sides = [image[0] // 2**k for k in range(1, halving + 1)]
    kept = {name: network[name] for name in ("width", "depth") if name in network}
    attention = tuple(side for side in network["attention"] if side in sides)
    return {**kept, "attention": attention, "norm": "none", "spectral_norm": True}


def generator(config: BigGAN, image: Image, conditional: bool) -> Table:
    """The tensors of a generator of BigGAN.py.

    Args:
      config: of ours.
      image: what it makes.
      conditional: not used: it always is.

    Returns:
      The table.

    Raises:
      UserError: the official code has no such network.
    """
    if config.hierarchical and not config.embedding:
        raise UserError(
            "the official BigGAN has no parts of z for each block (hierarchical) without an "
            "embedding of labels"
        )
    base, widths = decoder_widths(image[0], config)
    found = outer(config, base, len(widths) - 1)
    number = sided = 0
    for block, side in enumerate(base * 2 ** (k + 1) for k in range(len(widths) - 1)):
        name = f"blocks.{block}.0"
        for conv in ("conv1", "conv2", "conv_sc"):
            found |= convolution(config, f"{name}.{conv}", "decoder", number)
            number += 1
        for norm in (0, 1):
            found |= conditional_norm(config, f"{name}.bn{norm + 1}", 2 * block + norm)
        if side in config.attention:
            found |= attention(config, f"blocks.{block}.1", "decoder", sided)
            sided += 1
    found |= convolution(config, "output_layer.2", "decoder", number)
    return found | plain_norm("output_layer.0", 2 * (len(widths) - 1))


def discriminator(config: BigGAN, image: Image, conditional: bool) -> Table:
    """The tensors of a discriminator of BigGAN.py; arguments as of `generator`."""
    halving, widths = encoder_widths(image[0], config)
    found: Table = {}
    number = sided = 0
    before = image[2]
    for block, width in enumerate(widths):
        shortcut = ("conv_sc",) if block < halving or before != width else ()
        for conv in ("conv1", "conv2", *shortcut):
            found |= convolution(config, f"blocks.{block}.0.{conv}", "encoder", number)
            number += 1
        if block < halving and image[0] // 2 ** (block + 1) in config.attention:
            found |= attention(config, f"blocks.{block}.1", "encoder", sided)
            sided += 1
        before = width
    return found | heads(config)


def _multiples(shapes: Shapes, side: int) -> list[int]:
    """Channels of a generator's maps, as multiples of the width."""
    try:
        return decoder_widths(side, _ONE)[1]
    except UserError:
        raise UserError(
            f"{shapes.file} makes images of {side} pixels a side, by linear.weight and its blocks; "
            "BigGAN's networks are known here for 64, 128, 256, and less than 48"
        ) from None


def base_side(shapes: Shapes, channels: int) -> tuple[int, int]:
    """The side of a generator's smallest map, and the inputs of the layer that makes it."""
    rows, inputs = shapes.of("linear.weight", 2)
    return max(1, math.isqrt(rows // channels)), inputs


def labels_of(shapes: Shapes) -> tuple[int, int, int]:
    """A generator's classes, dimensions of their embedding, and values of z that a norm sees."""
    if "shared.weight" not in shapes:
        return shapes.of("blocks.0.0.bn1.gain.weight", 2)[0], 0, 0
    classes, embedding = shapes.of("shared.weight", 2)
    return classes, embedding, shapes.of("blocks.0.0.bn1.gain.weight", 2)[1] - embedding


def outer(config: BigGAN, base: int, blocks: int) -> Table:
    """A generator's first layer, and its embedding of labels."""
    rows, place = map_rows(base), ("decoder", "Dense_0")
    found = layer("linear", place, then(rows, DENSE), True, config.spectral_norm, rows)
    if config.embedding:
        found |= layer("shared", ("decoder", "embedding"), SAME, False, False)
    return found


def convolution(
    config: BigGAN, name: str, network: str, number: int, inner: Place = (), bias: bool = True
) -> Table:
    """A convolution by its number among ours."""
    return layer(name, (network, *inner, f"Conv_{number}"), CONV, bias, config.spectral_norm)


def attention(config: BigGAN, name: str, network: str, number: int) -> Table:
    """Self-attention by its number among ours."""
    inner = f"SelfAttention_{number}"
    found = {f"{name}.gamma": Tensor(("params", network, inner, "gain"), SAME)}
    for place, part in enumerate(("theta", "phi", "g", "o")):
        found |= convolution(config, f"{name}.{part}", network, place, (inner,), bias=False)
    return found


def conditional_norm(config: BigGAN, name: str, number: int) -> Table:
    """A batch norm whose gains and biases come from a condition, by its number among ours."""
    found = _statistics(name, number)
    for part, own in (("gain", "gain"), ("bias", "conditional_bias")):
        place = ("decoder", f"Normalize_{number}", own)
        # Without an embedding the official layer is one itself, and is not normalised.
        weight = DENSE if config.embedding else SAME
        normalized = config.spectral_norm and bool(config.embedding)
        found |= layer(f"{name}.{part}", place, weight, False, normalized)
    return found


def plain_norm(name: str, number: int) -> Table:
    """A batch norm with gains and biases of its own, by its number among ours."""
    place = ("params", "decoder", f"Normalize_{number}")
    return {
        f"{name}.gain": Tensor((*place, "scale"), SAME),
        f"{name}.bias": Tensor((*place, "bias"), SAME),
        **_statistics(name, number),
    }


def _statistics(name: str, number: int) -> Table:
    place = ("batch_stats", "decoder", f"BatchNorm_{number}")
    return {
        f"{name}.stored_mean": Tensor((*place, "mean"), SAME),
        f"{name}.stored_var": Tensor((*place, "var"), SAME),
    }


def heads(config: BigGAN) -> Table:
    """What comes after a discriminator's last map."""
    # An embedding has one row an input, and the official vector is that of its rows.
    normalized = config.spectral_norm
    return {
        **layer("linear", ("logit",), DENSE, True, normalized),
        **layer("embed", ("embedding",), SAME, False, normalized, vector="v"),
    }
