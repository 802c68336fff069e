"""Directions in the latents of a run along which its samples change."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from safetensors import SafetensorError, safe_open

from genjax.core.algorithm import Latent
from genjax.core.compiler import jit
from genjax.core.tensors import save_tensors
from genjax.core.types import State
from genjax.domains import domain_of
from genjax.domains.domain import Samples
from genjax.errors import UserError, lookup
from genjax.run.latents import draw_codes, latent_of
from genjax.run.opening import Run
from genjax.run.sampling import condition_of

_IN_TURN = 500

Vectors = Float[np.ndarray, "count size"]


class Direction(NamedTuple):
    """A way to change a code.

    Attributes:
      name: what people call it.
      vector: float32 [size], of length one.
      spread: standard deviation of codes along it.
      layers: first and last layer whose code it changes, from 0; a z has one layer.
    """

    name: str
    vector: Float[np.ndarray, "size"]
    spread: float
    layers: tuple[int, int]


def sefa(kernels: Sequence[Float[np.ndarray, "size outputs"]]) -> Vectors:
    """Directions of which the first layers make most: eigenvectors of ``A A^T``.

    A has the kernels' columns, each of length one, side by side.

    Args:
      kernels: what codes are first multiplied by.

    Returns:
      float32 [size, size], all directions, of which the first matters most.

    Reference: Shen & Zhou 2021, section 3.2, with the authors' scaling of columns.
    """
    joined: Any = np.concatenate(kernels, axis=1).astype(np.float64)
    joined = joined / np.maximum(np.linalg.norm(joined, axis=0, keepdims=True), 1e-12)
    values, vectors = np.linalg.eigh(joined @ joined.T)
    return vectors[:, np.argsort(-values)].T.astype(np.float32)


def principal_components(codes: Float[np.ndarray, "n size"]) -> Vectors:
    """Directions along which codes vary most.

    Args:
      codes: of many samples, as many as dimensions at least.

    Returns:
      float32 [size, size], all components, of falling variance.

    Reference: Härkönen et al. 2020 (GANSpace), section 2.1.
    """
    wide = codes.astype(np.float64)
    centred: Any = wide - wide.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return vectors[:, ::-1].T.astype(np.float32)


def _by_sefa(run: Run, latent: Latent, layers: tuple[int, int], codes: Any) -> Vectors:
    assert latent.kernels is not None
    kernels = latent.kernels(run.state)
    return sefa([np.asarray(kernel) for kernel in kernels[layers[0] : layers[1] + 1]])


METHODS: dict[str, Callable[[Run, Latent, tuple[int, int], Any], Vectors]] = {
    "ganspace": lambda run, latent, layers, codes: principal_components(codes),
    "sefa": _by_sefa,
}
"""From a run, the layers to change, and codes of many samples to all directions."""


def find_directions(
    run: Run, method: str, count: int, layers: tuple[int, int] | None, names: Sequence[str]
) -> list[Direction]:
    """Finds directions in which a run's samples change.

    Args:
      run: from `genjax.run.sampling.open_run`.
      method: an entry of `METHODS`.
      count: how many.
      layers: first and last layer that they change; None for all.
      names: of the first of them; the others are called by method and number.

    Returns:
      The directions.

    Raises:
      UserError: an unknown method, one that the model has no use for, layers that it lacks, or
        names that can't be told apart.
    """
    find = lookup(METHODS, method, "method")
    titles = [*names, *(f"{method}-{number}" for number in range(len(names), count))]
    if "" in titles or len(set(titles)) < count:
        raise UserError(
            f"--names is {' '.join(map(repr, names))}; each of the {count} directions needs a name "
            f"of its own, and without one is called by its number, such as {method}-0"
        )
    latent = latent_of(run)
    if latent.kernels is None:
        raise UserError(
            f"{run.experiment.name!r} is of family {run.experiment.model.family}, and directions "
            "are those of GANs; genjax interpolate draws what lies between its latents"
        )
    if method == "ganspace" and not latent.styled:
        raise UserError(
            "--method is ganspace, the principal components of w, which this model does not have; "
            "choices: sefa"
        )
    chosen = _check_layers(run, latent, layers)
    codes = draw_codes(run, condition_of(run, _IN_TURN, None))
    vectors = find(run, latent, chosen, codes)
    if count > len(vectors):
        raise UserError(f"--count is {count}; there are {len(vectors)} directions")
    return [
        Direction(name, vector, float(np.std(np.float64(codes) @ vector)), chosen)
        for name, vector in zip(titles, vectors[:count], strict=True)
    ]


def _check_layers(run: Run, latent: Latent, layers: tuple[int, int] | None) -> tuple[int, int]:
    if not latent.styled:
        if layers not in (None, (0, 0)):
            raise UserError("--layers is for a generator of styles, which this model is not")
        return 0, 0
    assert latent.kernels is not None
    last = len(latent.kernels(run.state)) - 1
    first, final = layers or (0, last)
    if not 0 <= first <= final <= last:
        raise UserError(f"--layers is {first} {final}; this generator has the layers 0 to {last}")
    return first, final


def traverse(
    run: Run,
    directions: Sequence[Direction],
    strengths: Sequence[float],
    seed: int,
    number: int,
    label: int | str | None = None,
) -> Samples:
    """Changes one sample along directions.

    Args:
      run: from `genjax.run.sampling.open_run`.
      directions: to go along.
      strengths: how far, in standard deviations of codes along them.
      seed: of the series of samples.
      number: of the sample.
      label: its class, see `genjax.run.sampling.condition_of`; None is that of this sample in the
        series.

    Returns:
      Samples as they are stored, [directions, strengths, ...].

    Raises:
      UserError: directions that are not of this model, or no such class.
    """
    latent, domain = latent_of(run), domain_of(run.schema.domain)
    key, count = jax.random.key(seed), len(strengths)
    index = jnp.full(count, number, jnp.int32)
    labels = run.algorithm.spec.labels
    # Classes that are taken in turn come again after as many samples.
    turn = (number % len(labels) if labels else number) + 1
    condition = condition_of(run, turn, label)
    given = {name: jnp.repeat(jnp.asarray(x[-1:]), count, axis=0) for name, x in condition.items()}

    def start(state: State) -> Array:
        return latent.encode(state, latent.draw(key, index), key, index, given)

    def paint(state: State, code: Array, change: Array) -> Array:
        return domain.to_stored(latent.decode(state, code + change, key, index, given))

    code, made = jit(start)(run.state), jit(paint)
    rows = []
    for direction in directions:
        if direction.vector.shape != code.shape[-1:]:
            raise UserError(
                f"direction {direction.name!r} has {len(direction.vector)} dimensions, but latents "
                f"of this model have {code.shape[-1]}"
            )
        steps = np.outer(np.multiply(strengths, direction.spread), direction.vector)
        if latent.styled:
            first, last = direction.layers
            change = np.zeros(code.shape, np.float32)
            change[:, first : last + 1] = steps[:, None]
        else:
            change = steps.astype(np.float32)
        rows.append(np.asarray(made(run.state, code, jnp.asarray(change))))
    return np.stack(rows)


def save_directions(path: Path, directions: Sequence[Direction]) -> None:
    """Writes directions; each is a tensor of its name, ``[spread, first, last, *vector]``."""
    tensors = {d.name: np.array([d.spread, *d.layers, *d.vector], np.float32) for d in directions}
    part = path.with_suffix(".part")
    save_tensors(tensors, part)
    part.replace(path)


def load_directions(path: Path, names: Sequence[str] = ()) -> list[Direction]:
    """Reads directions that `save_directions` wrote.

    Args:
      path: of the file.
      names: of those to read, in order; all if there are none.

    Returns:
      The directions.

    Raises:
      UserError: no such file, or a name that it does not have.
    """
    try:
        with safe_open(path, "numpy") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} holds no directions: {error}") from None
    chosen = []
    for name in names or sorted(found):
        numbers = lookup(found, name, f"direction of {path}")
        if numbers.ndim != 1 or len(numbers) < 4:
            raise UserError(f"{path} holds no directions: {name!r} is {list(numbers.shape)}")
        layers = int(numbers[1]), int(numbers[2])
        chosen.append(Direction(name, numbers[3:], float(numbers[0]), layers))
    return chosen
