"""Where each tensor of an official network lies in ours, and how its axes are turned."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

Place = tuple[str, ...]
"""Of an array in a network's collections: the names on its path."""
Tree = dict[str, Any]

_SINGULAR = "singular value"
_FIXED = "fixed"
LEFT_OUT = "left out"
_VECTORS = ("u", "v")


class Layout(NamedTuple):
    """Two orders of the same numbers.

    Attributes:
      read: from PyTorch's order to ours.
      write: back.
    """

    read: Callable[[np.ndarray], np.ndarray]
    write: Callable[[np.ndarray], np.ndarray]


class Tensor(NamedTuple):
    """An official tensor in ours.

    Attributes:
      place: where it lies.
      layout: of it.
      value: of what is no part of our network, since it is always the same, as the official one.
    """

    place: Place
    layout: Layout
    value: np.ndarray | None = None


Table = dict[str, Tensor]
"""The tensors of a network by their official names."""


def turned(*axes: int) -> Layout:
    """Our axes by their numbers in PyTorch's."""
    back = tuple(int(axis) for axis in np.argsort(axes))
    return Layout(lambda x: x.transpose(axes), lambda x: x.transpose(back))


SAME = Layout(lambda x: x, lambda x: x)
DENSE = turned(1, 0)
"""A matrix of one row an output in PyTorch, of one column an output here."""
CONV = turned(2, 3, 1, 0)
"""A kernel ``[out, in, height, width]``, here ``[height, width, in, out]``."""
_ROW = Layout(lambda x: x[0], lambda x: x[None])


def map_rows(side: int) -> Layout:
    """The first axis holds the units of a map, by channel and place; here by place and channel."""
    places = side * side

    def read(x: np.ndarray) -> np.ndarray:
        return x.reshape(-1, places, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)

    def write(x: np.ndarray) -> np.ndarray:
        return x.reshape(places, -1, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)

    return Layout(read, write)


def then(first: Layout, second: Layout) -> Layout:
    """One layout after another, as they are read."""
    return Layout(
        lambda x: second.read(first.read(x)),
        lambda x: first.write(second.write(x)),
    )


def layer(
    name: str,
    place: Place,
    weight: Layout,
    bias: bool,
    spectral_norm: bool,
    outputs: Layout = SAME,
    vector: str = "u",
) -> Table:
    """A layer of weights.

    Args:
      name: of the official module.
      place: of ours in a collection.
      weight: layout of its kernel.
      bias: whether it has one.
      spectral_norm: whether its kernel is divided by its largest singular value. The official
        buffer ``u0`` is one of our two vectors; ``sv0`` is a note of the singular value, which the
        official code never reads.
      outputs: layout of one number an output.
      vector: which of the two.

    Returns:
      Its tensors.
    """
    found = {f"{name}.weight": Tensor(("params", *place, "kernel"), weight)}
    if bias:
        found[f"{name}.bias"] = Tensor(("params", *place, "bias"), outputs)
    if spectral_norm:
        own = ("spectral", *place, "vectors", vector)
        found[f"{name}.u0"] = Tensor(own, then(_ROW, outputs))
        found[f"{name}.sv0"] = Tensor((_SINGULAR, *place), SAME)
    return found


def fixed(name: str, value: np.ndarray) -> Table:
    """A tensor that always has the same value."""
    return {name: Tensor((_FIXED,), SAME, value)}


def norm(name: str, place: Place) -> Table:
    """A norm's gains and biases."""
    return {
        f"{name}.weight": Tensor(("params", *place, "scale"), SAME),
        f"{name}.bias": Tensor(("params", *place, "bias"), SAME),
    }


def left_out(name: str) -> Table:
    """A tensor of a file that is not read, of any shape."""
    return {name: Tensor((LEFT_OUT,), SAME)}


def shape_of(tensor: Tensor, shapes: Mapping[Place, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The official shape of a tensor.

    Args:
      tensor: of a table.
      shapes: of our arrays.

    Returns:
      The shape; None where ours has no such array.
    """
    if tensor.value is not None:
        return tensor.value.shape
    if tensor.place[0] == _SINGULAR:
        return (1,)
    if tensor.place not in shapes:
        return None
    shape: tuple[int, ...] = tensor.layout.write(np.empty(shapes[tensor.place], np.bool_)).shape
    return shape


def left_over(table: Table, places: Iterable[Place]) -> list[Place]:
    """Our arrays that no official tensor says anything of."""
    known = {tensor.place for tensor in table.values()}
    pairs = {(*place[:-1], other) for place in known for other in _VECTORS if _is_vector(place)}
    return [place for place in places if place not in known | pairs]


def needed(table: Table) -> list[Place]:
    """Our arrays that official tensors are made of."""
    own = [tensor.place for tensor in table.values() if tensor.value is None]
    return [place for place in own if place[0] not in (_SINGULAR, LEFT_OUT)]


def read_tensors(table: Table, tensors: Callable[[str], np.ndarray]) -> Tree:
    """Brings official tensors into our order.

    Args:
      table: of the network.
      tensors: the official ones by name, of the right shapes.

    Returns:
      Our collections by name, as nested dicts of arrays.
    """
    tree: Tree = {}
    for name, tensor in table.items():
        if tensor.value is None and tensor.place[0] not in (_SINGULAR, LEFT_OUT):
            array = tensor.layout.read(tensors(name))
            _branch(tree, tensor.place)[tensor.place[-1]] = np.asarray(array, order="C")
    if "spectral" in tree:
        _complete(tree["params"], tree["spectral"])
    return tree


def write_tensors(table: Table, tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The official tensors of our collections; back from `read_tensors`, but for ``sv0``."""
    found = {}
    for name, tensor in table.items():
        if tensor.value is not None:
            array = tensor.value
        elif tensor.place[0] == _SINGULAR:
            place = tensor.place[1:]
            array = _singular_value(
                _at(tree, ("params", *place))["kernel"], _at(tree, ("spectral", *place))["vectors"]
            )
        else:
            array = tensor.layout.write(np.asarray(_at(tree, tensor.place)))
        found[name] = np.asarray(array, order="C")
    return found


def flatten(tree: Mapping[str, Any], above: Place = ()) -> dict[Place, Any]:
    """The leaves of nested dicts by their places."""
    found: dict[Place, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, Mapping)
        found |= flatten(value, (*above, name)) if inner else {(*above, name): value}
    return found


def _is_vector(place: Place) -> bool:
    return place[0] == "spectral" and place[-1] in _VECTORS


def _branch(tree: Tree, place: Place) -> Tree:
    for name in place[:-1]:
        tree = tree.setdefault(name, {})
    return tree


def _at(tree: Any, place: Place) -> Any:
    for name in place:
        tree = tree[name]
    return tree


def _matrix(kernel: Any) -> np.ndarray:
    """Of one row an input and one column an output."""
    return np.asarray(kernel).reshape(-1, np.shape(kernel)[-1])


def _singular_value(kernel: Any, vectors: Mapping[str, Any]) -> np.ndarray:
    u, v = (np.asarray(vectors[name]) for name in _VECTORS)
    return np.asarray([v @ _matrix(kernel) @ u], np.float32)


def _complete(params: Tree, spectral: Tree) -> None:
    """Gives each layer the vector that the official code makes anew in each use.

    In evaluation it goes on from its u by one iteration whose vectors it forgets, ``v = W^T u`` and
    ``u' = W v``, normalised, and divides by ``u' . W v``. Ours divides by ``u . W v``: v is scaled
    so that the two are the same, by next to nothing after a training.
    """
    for name, value in spectral.items():
        if name != "vectors":
            _complete(params[name], value)
            continue
        matrix = _matrix(params["kernel"]).astype(np.float64)
        [(own, vector)] = value.items()
        # From the official vector's side.
        matrix = matrix if own == "v" else matrix.T
        other = vector @ matrix
        other /= np.linalg.norm(other)
        onwards = matrix @ other
        other *= np.linalg.norm(onwards) / (vector @ onwards)
        value["u" if own == "v" else "v"] = other.astype(np.float32)
