"""The names of EDM's networks in the authors' PyTorch code (training/networks.py)."""

import re

import numpy as np

from genjax.config import UNet
from genjax.errors import UserError
from genjax.nn.unet import stage_sides
from genjax.official.shapes import Image, Inferred, Shapes
from genjax.official.tensors import (
    CONV,
    DENSE,
    Layout,
    Table,
    Tensor,
    fixed,
    layer,
    left_out,
    norm,
    then,
)

_HEAD = 64
"""Channels of a head of the official ADM."""
_TAPS = np.full((1, 1, 2, 2), 0.25, np.float32)
_AUGMENTED = "map_augment.weight"
AUGMENTED: Table = {_AUGMENTED: Tensor(("params", "embed_changes", "kernel"), DENSE)}
"""What is told of augmentation, of a network that learnt from augmented images."""


def _split(x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:-1], -1, 3).swapaxes(-1, -2).reshape(x.shape)


def _join(x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:-1], 3, -1).swapaxes(-1, -2).reshape(x.shape)


_PARTS = Layout(_split, _join)
"""A query, a key and a value by turns; here all queries, keys and values of all heads."""


def infer(shapes: Shapes) -> Inferred:
    """Finds what a SongUNet of DDPM++ or a DhariwalUNet is; see `genjax.official.biggan`."""
    if "map_noise.freqs" in shapes:
        raise UserError(
            f"{shapes.file} is of NCSN++, by map_noise.freqs; the unet here is DDPM++ or ADM"
        )
    width = shapes.of("map_layer0.weight", 2)[1]
    found = (re.fullmatch(r"enc\.(\d{1,5})x\1_conv\.weight", name) for name in shapes.shapes)
    side = max((int(match[1]) for match in found if match), default=32)
    channels = shapes.of(f"enc.{side}x{side}_conv.weight", 4)[1]
    sides: list[int] = []
    while (half := side >> len(sides)) and f"{_stage(half)}_block0.conv0.weight" in shapes:
        sides.append(half)
    outputs = [shapes.of(f"{_stage(side)}_block0.conv0.weight", 4)[0] for side in sides]
    network = {
        "variant": "adm" if "out_norm.weight" in shapes else "ddpmpp",
        "width": width,
        "widths": tuple(max(1, count // width) for count in outputs),
        "blocks": max(1, shapes.count(f"{_stage(side)}_block{{}}.conv0.weight")),
        "attention": tuple(s for s in sides if f"{_stage(s)}_block0.qkv.weight" in shapes),
        "head": _HEAD,
    }
    _, classes = shapes.embedding("map_label.weight")
    return Inferred(network, (side, side, channels), side * side * channels, classes)


def _stage(side: int, way: str = "enc") -> str:
    return f"{way}.{side}x{side}"


def table(config: UNet, image: Image, conditional: bool) -> Table:
    """The tensors of a SongUNet of DDPM++ or a DhariwalUNet.

    Args:
      config: of ours.
      image: what it is given.
      conditional: whether it is given labels.

    Returns:
      The table.

    Raises:
      UserError: the official code has no such network.
    """
    if config.variant == "edm2":
        raise UserError("the official edm has DDPM++ and ADM, and this unet is of EDM2")
    adm = config.variant == "adm"
    sides = stage_sides(image[0], config)
    stages = list(zip(sides, (config.width * multiple for multiple in config.widths), strict=True))
    found: Table = {}
    for number in (0, 1):
        found |= layer(f"map_layer{number}", (f"embed_{number}",), DENSE, True, False)
    if conditional:
        found |= layer("map_label", ("embed_label",), DENSE, not adm, False)
    x = stages[0][1] if adm else config.width
    found |= _convolution(f"{_stage(sides[0])}_conv", ("first",))
    kept = [x]

    def block(
        name: str, place: str, features: int, attends: bool = False, resampled: bool = False
    ) -> int:
        nonlocal found
        if attends and adm:
            _check_heads(config, features)
        widens = x + (kept.pop() if place.startswith("decoder") else 0) != features
        found |= _block(name, place, widens or (resampled and not adm), attends, resampled)
        return features

    for stage, (side, width) in enumerate(stages):
        name = _stage(side)
        if stage:
            x = block(f"{name}_down", f"down_{stage}", x, resampled=True)
            kept.append(x)
        for number in range(config.blocks):
            attends = side in config.attention
            x = block(f"{name}_block{number}", f"encoder_{stage}_{number}", width, attends)
            kept.append(x)
    name = _stage(sides[-1], "dec")
    x = block(f"{name}_in0", "middle_0", x, attends=True)
    x = block(f"{name}_in1", "middle_1", x)
    for stage, (side, width) in reversed(list(enumerate(stages))):
        name = _stage(side, "dec")
        if stage + 1 < len(stages):
            x = block(f"{name}_up", f"up_{stage}", x, resampled=True)
        for number in range(config.blocks + 1):
            attends = side in config.attention and (adm or number == config.blocks)
            x = block(f"{name}_block{number}", f"decoder_{stage}_{number}", width, attends)
    last = "out" if adm else f"{_stage(sides[0], 'dec')}_aux"
    return found | norm(f"{last}_norm", ("last_norm",)) | _convolution(f"{last}_conv", ("last",))


def of_file(made: Table, shapes: Shapes) -> tuple[Table, list[str]]:
    """What a file has beside the network.

    Args:
      made: the network's table.
      shapes: of the file.

    Returns:
      The table of the file, and what is not read, in words.
    """
    if _AUGMENTED not in shapes or _AUGMENTED in made:
        return made, []
    note = f"left out {_AUGMENTED}: samples are those without augmentation, whose labels are 0"
    return made | left_out(_AUGMENTED), [note]


def _check_heads(config: UNet, channels: int) -> None:
    if config.head != _HEAD or channels < _HEAD:
        raise UserError(
            f"the official ADM has attention in heads of {_HEAD} channels, and this unet in heads "
            f"of {min(config.head, channels)}"
        )


def _convolution(name: str, place: tuple[str, ...]) -> Table:
    return layer(name, place, CONV, True, False)


def _block(name: str, place: str, projects: bool, attends: bool, resampled: bool) -> Table:
    """A block: its branch, what is beside it, and attention."""
    found = norm(f"{name}.norm0", (place, "norm_0")) | norm(f"{name}.norm1", (place, "norm_1"))
    for part in ("0", "1"):
        found |= _convolution(f"{name}.conv{part}", (place, f"conv_{part}"))
    found |= layer(f"{name}.affine", (place, "affine"), DENSE, True, False)
    if projects:
        found |= _convolution(f"{name}.skip", (place, "skip"))
    if resampled:
        for part in ("conv0", "skip"):
            found |= fixed(f"{name}.{part}.resample_filter", _TAPS)
    if attends:
        own = (place, "attention")
        found |= norm(f"{name}.norm2", (*own, "norm"))
        found |= layer(f"{name}.qkv", (*own, "qkv"), then(CONV, _PARTS), True, False, _PARTS)
        found |= _convolution(f"{name}.proj", (*own, "out"))
    return found
