"""Float64 arithmetic for scores, in a program that otherwise computes in float32."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from genjax.errors import UserError

ROWS = 128
"""Rows that meet all points at once: their distances, about 10 MB for 10,000 points, stay in a
CPU's cache."""

# Relative to the squared norms, a hundred million times the rounding of a sum of products: nearer
# points have too few right digits.
_CLOSE = 1e-5
# Of a row; more are faster together.
_FEW = 32


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Lets JAX compute in float64, on the CPU where the accelerator can't.

    Example:
      >>> with float64():
      ...     print(jnp.asarray(np.ones(1)).dtype)
      float64
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(True))
        if jax.default_backend() not in ("cpu", "gpu"):
            stack.enter_context(jax.default_device(jax.local_devices(backend="cpu")[0]))
        yield


def centre(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d"]:
    """A point amid the features, to subtract before distances are computed.

    It is the median of some rows and not the mean of all, since a median has no more digits than
    the data: whole numbers stay whole, and their distances exact.

    Args:
      features: float [n, d].

    Returns:
      float64 [d].
    """
    return np.median(features[:255].astype(np.float64), axis=0)


def squared_norms(points: Float[Array, "n d"]) -> Float[Array, "n"]:
    """The sums of squares that `squared_distances` asks for."""
    return jnp.sum(jnp.square(points), axis=1)


def in_blocks(x: Shaped[Array, "n *rest"]) -> Shaped[Array, "blocks rows *rest"]:
    """Cuts an array into blocks of `ROWS`; the last is filled with its last row."""
    padding = [(0, -len(x) % ROWS)] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, padding, mode="edge").reshape(-1, ROWS, *x.shape[1:])


def squared_distances(
    rows: Float[Array, "m d"],
    points: Float[Array, "n d"],
    norms: Float[Array, "n"],
    own: Int[Array, "m"] | None = None,
) -> Float[Array, "m n"]:
    """Squared Euclidean distances as ``|a|^2 + |b|^2 - 2 a.b``, which a matrix product computes.

    Where that cancels, they are sums over the differences themselves, so that copies are at
    distance 0, and points far from the others have distances as exact as any. It must not be
    mapped by `jax.vmap`, under which all is computed in both ways.

    Args:
      rows: float64 [m, d].
      points: float64 [n, d].
      norms: float64 [n], `squared_norms` of them.
      own: of each row the point that it is itself, int64 [m]; None where it is none.

    Returns:
      float64 [m, n], at least 0; infinite between a row and itself.
    """
    both = squared_norms(rows)[:, None] + norms
    squares = both - 2 * (rows @ points.T)
    close = squares < _CLOSE * both
    if own is not None:
        itself = jnp.arange(len(points)) == own[:, None]
        squares, close = jnp.where(itself, jnp.inf, squares), close & ~itself

    def refine(
        argument: tuple[Float[Array, "d"], Float[Array, "n"], Bool[Array, "n"]],
    ) -> Float[Array, "n"]:
        row, squares, close = argument

        def by_ones() -> Float[Array, "n"]:
            def next_one(
                state: tuple[Float[Array, "n"], Bool[Array, "n"]],
            ) -> tuple[Float[Array, "n"], Bool[Array, "n"]]:
                found, left = state
                place = jnp.argmax(left)
                exact = jnp.sum(jnp.square(points[place] - row))
                return found.at[place].set(exact), left.at[place].set(False)

            state = squares, close
            return jax.lax.while_loop(lambda state: jnp.any(state[1]), next_one, state)[0]

        def together() -> Float[Array, "n"]:
            return jnp.where(close, jnp.sum(jnp.square(points - row), axis=1), squares)

        count = jnp.sum(close)
        way = (count > 0).astype(jnp.int32) + (count > _FEW)
        return jax.lax.switch(way, [lambda: squares, by_ones, together])

    return jax.lax.map(refine, (rows, squares, close))


def require_finite(features: Float[np.ndarray, "n d"], name: str) -> None:
    """Refuses features that have no distances.

    Args:
      features: float [n, d].
      name: what they are features of, for the error.

    Raises:
      UserError: a value is infinite or not a number.
    """
    rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(rows):
        raise UserError(
            f"{len(rows)} of {len(features)} {name} features hold a number that isn't finite, "
            f"first row {rows[0]}; take an earlier checkpoint if the model has diverged"
        )
