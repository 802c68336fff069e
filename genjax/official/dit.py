"""The names of DiT's networks in the authors' PyTorch code (models.py)."""

import math
from collections.abc import Mapping

import numpy as np

from genjax.config import DiT
from genjax.errors import UserError
from genjax.nn.dit import patches_of
from genjax.official.shapes import Image, Inferred, Shapes
from genjax.official.tensors import (
    DENSE,
    SAME,
    Layout,
    Table,
    Tensor,
    fixed,
    layer,
    then,
)

HEADS: Mapping[int, int] = {384: 6, 768: 12, 1024: 16, 1152: 16}
"""Of the published DiT-S, B, L and XL by their widths: tensors do not say it."""
_LAST = "final_layer.linear"


def infer(shapes: Shapes) -> Inferred:
    """Finds what a DiT is, but for its heads; see `genjax.official.biggan`."""
    width, channels, patch, _ = shapes.of("x_embedder.proj.weight", 4)
    _, patches, wide = shapes.of("pos_embed", 3)
    if wide != width:
        raise UserError(
            f"{shapes.file} has pos_embed of {wide} numbers a patch, but x_embedder.proj makes "
            f"{width}"
        )
    side = patch * math.isqrt(patches)
    classes = shapes.of("y_embedder.embedding_table.weight", 2)[0] - 1
    if not classes:
        raise UserError(f"{shapes.file} has y_embedder.embedding_table.weight of no class")
    network = {"patch": patch, "width": width, "depth": shapes.count("blocks.{}.attn.qkv.weight")}
    return Inferred(network, (side, side, channels), side * side * channels, classes)


def table(config: DiT, image: Image, conditional: bool) -> Table:
    """The tensors of a DiT without learned variances; see `genjax.official.biggan`."""
    if not conditional:
        raise UserError("the official DiT is always given labels; train one with conditional")
    patch = config.patch
    found = fixed("pos_embed", _positions(patches_of(image[0], config), config.width)[None])
    found |= layer("x_embedder.proj", ("patches",), _patches(patch), True, False)
    for number, name in enumerate(("t_embedder.mlp.0", "t_embedder.mlp.2")):
        found |= layer(name, (f"noise_{number}",), DENSE, True, False)
    found["y_embedder.embedding_table.weight"] = Tensor(("params", "labels"), SAME)
    parts = {
        "adaLN_modulation.1": "modulation",
        "attn.qkv": "attention_qkv",
        "attn.proj": "attention_out",
        "mlp.fc1": "mlp_in",
        "mlp.fc2": "mlp_out",
    }
    for block in range(config.depth):
        for name, place in parts.items():
            own = (f"block_{block}", place)
            found |= layer(f"blocks.{block}.{name}", own, DENSE, True, False)
    found |= layer("final_layer.adaLN_modulation.1", ("last_modulation",), DENSE, True, False)
    return found | layer(_LAST, ("last",), DENSE, True, False)


def of_file(made: Table, shapes: Shapes) -> tuple[Table, list[str]]:
    """What a file has beside the network; see `genjax.official.edm`."""
    _, channels, patch, _ = shapes.of("x_embedder.proj.weight", 4)
    if shapes.of(f"{_LAST}.weight", 2)[0] != 2 * channels * patch**2:
        return made, []
    half = _first_half(patch**2)
    last = layer(_LAST, ("last",), then(half, DENSE), True, False, half)
    note = f"left out half of {_LAST}, the learned variances (learn_sigma), which a dit here lacks"
    return made | last, [note]


def _positions(count: int, width: int) -> np.ndarray:
    """As `genjax.nn.dit.positions`, in float64 until the end, as the official code has it."""
    steps = np.arange(width // 4) / (width / 4)
    angles = np.outer(np.arange(count), 1 / 10_000**steps)
    waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    columns, rows = np.tile(waves, (count, 1)), np.repeat(waves, count, axis=0)
    return np.concatenate([columns, rows], axis=1).astype(np.float32)


def _patches(side: int) -> Layout:
    """A kernel ``[out, in, side, side]``, here ``[side * side * in, out]``."""

    def write(x: np.ndarray) -> np.ndarray:
        return x.reshape(side, side, -1, x.shape[-1]).transpose(3, 2, 0, 1)

    return Layout(lambda x: x.transpose(2, 3, 1, 0).reshape(-1, len(x)), write)


def _first_half(places: int) -> Layout:
    """Of the rows of each place."""

    def read(x: np.ndarray) -> np.ndarray:
        return x.reshape(places, 2, -1, *x.shape[1:])[:, 0].reshape(-1, *x.shape[1:])

    def write(x: np.ndarray) -> np.ndarray:
        rows = x.reshape(places, 1, -1, *x.shape[1:])
        return np.concatenate([rows, np.zeros_like(rows)], axis=1).reshape(-1, *x.shape[1:])

    return Layout(read, write)
