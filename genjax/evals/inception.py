"""The Inception network of the FID, with the weights that pytorch-fid publishes."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax.core.types import Images, RawImages, Variables
from genjax.errors import UserError, lookup
from genjax.evals import resize as resizing
from genjax.evals.classifier import hash_variables
from genjax.evals.features import FeatureNetwork, Output
from genjax.evals.torch_weights import find_weights, read_state_dict

CLASSES = 1008
"""Number of logits."""

SIDE = 299
"""Pixels a side of what the network sees."""

_EPSILON = 1e-3
_HIGHEST = jax.lax.Precision.HIGHEST

FeatureMap = Float[Array, "batch _ _ _"]


class _Conv(NamedTuple):
    """A convolution, batch norm and ReLU."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


class _Pool(NamedTuple):
    """A pool over 3x3 pixels; averages leave out what lies outside the map."""

    kind: str
    stride: int = 1
    padding: str = "SAME"


class _Block(NamedTuple):
    """Rows of layers side by side, whose outputs are concatenated; named, or part of a block."""

    name: str
    rows: "tuple[tuple[_Layer, ...], ...]"


_Layer = _Conv | _Pool | _Block
_FLAT, _TALL, _SQUARE, _WIDE, _HALVING = (1, 7), (7, 1), (3, 3), (5, 5), ((3, 3), 2, "VALID")


def _row(names: str, *convs: tuple[Any, ...]) -> tuple[_Layer, ...]:
    """Convolutions in a row: NAMES_1, NAMES_2 and so on."""
    return tuple(_Conv(f"{names}_{i}", *conv) for i, conv in enumerate(convs, 1))


def _one(name: str, width: int) -> tuple[_Layer, ...]:
    return (_Conv(name, width),)


def _pooled(kind: str, width: int) -> tuple[_Layer, ...]:
    return (_Pool(kind), _Conv("branch_pool", width))


def _fork(names: str) -> _Block:
    return _Block("", ((_Conv(f"{names}a", 384, (1, 3)),), (_Conv(f"{names}b", 384, (3, 1)),)))


def _block_a(name: str, width: int) -> _Block:
    wide = _row("branch5x5", (48,), (64, _WIDE))
    double = _row("branch3x3dbl", (64,), (96, _SQUARE), (96, _SQUARE))
    return _Block(name, (_one("branch1x1", 64), wide, double, _pooled("average", width)))


def _block_b(name: str) -> _Block:
    double = _row("branch3x3dbl", (64,), (96, _SQUARE), (96, *_HALVING))
    return _Block(name, ((_Conv("branch3x3", 384, *_HALVING),), double, (_HALVING_POOL,)))


def _block_c(name: str, w: int) -> _Block:
    single = _row("branch7x7", (w,), (w, _FLAT), (192, _TALL))
    double = _row("branch7x7dbl", (w,), (w, _TALL), (w, _FLAT), (w, _TALL), (192, _FLAT))
    return _Block(name, (_one("branch1x1", 192), single, double, _pooled("average", 192)))


def _block_d(name: str) -> _Block:
    single = _row("branch3x3", (192,), (320, *_HALVING))
    double = _row("branch7x7x3", (192,), (192, _FLAT), (192, _TALL), (192, *_HALVING))
    return _Block(name, (single, double, (_HALVING_POOL,)))


def _block_e(name: str, pool: str) -> _Block:
    single = (*_row("branch3x3", (384,)), _fork("branch3x3_2"))
    double = (*_row("branch3x3dbl", (448,), (384, _SQUARE)), _fork("branch3x3dbl_3"))
    return _Block(name, (_one("branch1x1", 320), single, double, _pooled(pool, 192)))


_HALVING_POOL = _Pool("max", 2, "VALID")
_LAYERS: tuple[_Layer, ...] = (
    _Conv("Conv2d_1a_3x3", 32, *_HALVING),
    _Conv("Conv2d_2a_3x3", 32, _SQUARE, padding="VALID"),
    _Conv("Conv2d_2b_3x3", 64, _SQUARE),
    _HALVING_POOL,
    _Conv("Conv2d_3b_1x1", 80),
    _Conv("Conv2d_4a_3x3", 192, _SQUARE, padding="VALID"),
    _HALVING_POOL,
    *(_block_a(f"Mixed_5{name}", width) for name, width in (("b", 32), ("c", 64), ("d", 64))),
    _block_b("Mixed_6a"),
    *(_block_c(f"Mixed_6{name}", w) for name, w in zip("bcde", (128, 160, 160, 192), strict=True)),
    _block_d("Mixed_7a"),
    _block_e("Mixed_7b", "average"),
    # The published network pools by maximum here, unlike the paper's.
    _block_e("Mixed_7c", "max"),
)


class _Rows(nn.Module):
    """Rows of layers side by side, whose outputs are concatenated."""

    rows: tuple[tuple[_Layer, ...], ...]

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        return _side_by_side(self.rows, x)


def _side_by_side(rows: tuple[tuple[_Layer, ...], ...], x: FeatureMap) -> FeatureMap:
    return jnp.concatenate([functools.reduce(_apply, row, x) for row in rows], axis=-1)


def _apply(x: FeatureMap, layer: _Layer) -> FeatureMap:
    match layer:
        case _Conv(name, width, kernel, stride, padding):
            conv = nn.Conv(width, kernel, stride, padding, precision=_HIGHEST, name=name)
            return nn.relu(conv(x))
        case _Pool("max", stride, padding):
            return _pool(x, -jnp.inf, jax.lax.max, stride, padding)
        case _Pool(_, stride, padding):
            ones = jnp.ones((1, *x.shape[1:3], 1))
            sums, counts = (_pool(y, 0.0, jax.lax.add, stride, padding) for y in (x, ones))
            return sums / counts
        case _Block("", rows):
            return _side_by_side(rows, x)
        case _Block(name, rows):
            return _Rows(rows, name=name)(x)


def _pool(x: FeatureMap, start: float, reduce: Any, stride: int, padding: str) -> FeatureMap:
    return jax.lax.reduce_window(x, start, reduce, (1, 3, 3, 1), (1, stride, stride, 1), padding)


class Inception(nn.Module):
    """Inception-v3 as it was published in 2015, and as the FID uses it.

    Its batch norms, whose statistics are fixed, are part of the convolutions. It differs from the
    paper: averages leave out what lies outside the map, and the last block pools by maximum. The
    logits lack the last layer's bias, as in the Inception score's first code and in
    torch-fidelity's ``logits_unbiased``.

    Input: float32 [batch, height, width, 3] in [-1, 1], of 75 pixels a side or more; 299 for
    scores. Output: features [batch, 2048], the means over the map, and logits [batch, 1008].

    Reference: Szegedy et al. 2016, table 1; Heusel et al. 2017, section 4.
    """

    @nn.compact
    def __call__(self, images: Images) -> Output:
        features = functools.reduce(_apply, _LAYERS, images).mean(axis=(1, 2))
        logits = nn.Dense(CLASSES, use_bias=False, precision=_HIGHEST, name="fc")(features)
        return Output(features, logits)


def variables_from_state_dict(state: Mapping[str, np.ndarray]) -> Variables:
    """Takes an `Inception`'s variables from the tensors of PyTorch's network.

    A batch norm becomes part of its convolution, in float64: ``kernel = s * weight`` and ``bias =
    beta - s * mean`` with ``s = gamma / sqrt(variance + 0.001)``.

    Args:
      state: from torchvision's names, such as ``Mixed_5b.branch1x1.conv.weight``, to tensors;
        others than the network's are left out.

    Returns:
      ``{"params": ...}``, float32.

    Raises:
      UserError: a tensor is missing or has another shape.
    """

    def read(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in state:
            raise UserError(f"these aren't the FID's Inception weights: {name!r} is missing")
        if state[name].shape != shape:
            raise UserError(
                f"these aren't the FID's Inception weights: {name!r} has the shape "
                f"{state[name].shape}, not {shape}"
            )
        return state[name].astype(np.float64)

    def convert(tree: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        if "kernel" not in tree:
            return {name: convert(child, (*path, name)) for name, child in tree.items()}
        name, shape = ".".join(path), tree["kernel"].shape
        if "bias" not in tree:
            return {"kernel": read(f"{name}.weight", shape[::-1]).T.astype(np.float32)}
        kernel = read(f"{name}.conv.weight", (shape[3], shape[2], *shape[:2]))
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (read(f"{name}.bn.{part}", shape[3:]) for part in parts)
        scale = gamma / np.sqrt(variance + _EPSILON)
        kernel = kernel.transpose(2, 3, 1, 0) * scale
        return {
            "kernel": kernel.astype(np.float32),
            "bias": (beta - scale * mean).astype(np.float32),
        }

    return {"params": convert(_shapes()["params"], ())}


@functools.cache
def _shapes() -> Any:
    smallest = jnp.zeros((1, 75, 75, 3))
    return jax.eval_shape(lambda: Inception().init(jax.random.key(0), smallest))


def load_inception(source: str | Path, resize: str = "tf") -> FeatureNetwork:
    """Loads the network of the FID and of the Inception score.

    Args:
      source: the file of weights that pytorch-fid publishes, a .safetensors file of the same
        tensors, or an https address of either, which is downloaded once. Where the name has the
        first digits of the file's SHA-256, as pytorch-fid's, they are checked.
      resize: see `make_network`.

    Returns:
      The network.

    Raises:
      UserError: no such file or address, a wrong checksum, not such weights, an unknown resize.
    """
    lookup(resizing.RESIZES, resize, "resize")
    return make_network(variables_from_state_dict(read_state_dict(find_weights(source))), resize)


def make_network(variables: Variables, resize: str) -> FeatureNetwork:
    """Makes a feature network of an `Inception`.

    It resizes images to 299 x 299, makes grey ones three equal channels and scales them, each as
    the code does that `resize` names. Scores of different `resize` don't compare.

    Args:
      variables: of the Inception, float32.
      resize: ``tf`` (the first FID's code and torch-fidelity) or ``clean`` (clean-fid), which scale
        by ``(x - 128) / 128``, or ``torch`` (pytorch-fid), which scales by ``2 x / 255 - 1``.

    Returns:
      The network ``inception``: 2048 features and 1008 logits, without the last layer's bias. It
      raises UserError for images of another number of channels than 1 or 3.

    Raises:
      UserError: the resize is unknown.

    Reference: Heusel et al. 2017, section 4; Salimans et al. 2016, section 4; Parmar et al. 2022,
    section 3.
    """
    lookup(resizing.RESIZES, resize, "resize")

    def apply(variables: Variables, images: RawImages) -> Output:
        if images.shape[3] not in (1, 3):
            raise UserError(f"inception takes 1 or 3 channels, but these have {images.shape[3]}")
        pixels = resizing.resize(images.astype(jnp.float32), resize, SIDE, SIDE)
        scaled = 2 * pixels / 255 - 1 if resize == "torch" else (pixels - 128) / 128
        return _infer(variables, jnp.broadcast_to(scaled, (*scaled.shape[:3], 3)))

    return FeatureNetwork("inception", hash_variables(variables), resize, variables, apply)


# The network alone, so that it is compiled once for images of all sizes.
@jax.jit
def _infer(variables: Variables, images: Images) -> Output:
    output: Any = Inception().apply(variables, images)
    return Output(*output)
