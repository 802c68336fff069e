"""Given data, changed by a model of data like them without more training.

All is done by the estimate ``D(x_t, t)`` that solvers are told by, so that it holds for every path,
prediction and guidance. Which numbers of the data x stay is told by `known`, a bool array that
broadcasts to x.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from genjax.config import DiffusionSampling
from genjax.core.algorithm import Editing
from genjax.core.rng import example_index
from genjax.core.types import Condition, Examples, Index, Key, State
from genjax.errors import UserError
from genjax.families.diffusion.paths import Course
from genjax.families.diffusion.solvers import SOLVERS, Problem, solve

Scalar = Float[Array, ""]
Known = Bool[Array, "..."]

_FITTING = {
    # An estimate of before a jump says nothing of the step after it, which dpmpp_2m needs.
    "repaint": ("ddim", "ddpm", "euler", "heun"),
    # Others divide by what is left of the data, or add noise.
    "inversion": ("ddim", "euler", "heun"),
}
_MOST_MOVES = 1_000_000
_UNCHANGED = 1e-3
"""Strength below which times would not differ in float32."""


def sdedit(problem: Problem, x: Examples, e: Examples) -> Examples:
    """SDEdit: noises data to the grid's first time, ``alpha x + sigma e``, and solves from there.

    Args:
      problem: what is solved.
      x: data, [batch, ...].
      e: N(0, I) in their shape.

    Returns:
      Data, [batch, ...]; of a grid that begins where none of x is left, samples.

    Reference: Meng et al. 2022, algorithm 2.
    """
    return solve(problem, _noised(problem.course, x, jnp.asarray(problem.grid[0], x.dtype), e))


def walk(steps: int, jump: int, resamplings: int) -> Int[np.ndarray, "moves 2"]:
    """The moves of RePaint between the times of a grid.

    From the last time but one backwards, each `jump`-th is reached `resamplings` times: after all
    but the last of them the walk goes back by `jump` at once.

    Args:
      steps: of the grid, from place 0 to place `steps`.
      jump: how far it goes back, from 1 to steps - 1.
      resamplings: at least 1; with 1 it never does.

    Returns:
      The places before and after each move.

    Raises:
      UserError: the jump is as long as the grid.

    Reference: Lugmayr et al. 2022, appendix B.
    """
    if not 1 <= jump < steps:
        raise UserError(
            f"jump is {jump}, which with {steps} steps must be at least 1, at most {steps - 1}; "
            "choose another, or more steps"
        )
    places = range(steps - 1, jump - 1, -jump)
    count = steps + len(places) * (resamplings - 1) * (1 + jump)
    if count > _MOST_MOVES:
        raise UserError(
            f"resamplings is {resamplings}, which with {steps} steps makes {count:,} moves, more "
            f"than {_MOST_MOVES:,}; choose fewer"
        )
    left = dict.fromkeys(places, resamplings - 1)
    moves, place = [], 0
    while place < steps:
        moves.append((place, place + 1))
        place += 1
        if left.get(place):
            left[place] -= 1
            moves.append((place, place - jump))
            place -= jump
    return np.array(moves, np.int32)


def repaint(
    problem: Problem, x: Examples, known: Known, e: Examples, jump: int, resamplings: int
) -> Examples:
    """RePaint: samples of which, after each step, what is known is replaced by data noised anew.

    Jumps of `walk` back to more noise, ``x_t' = a x_t + sqrt(sigma'^2 - a^2 sigma^2) e`` with
    ``a = alpha' / alpha``, bring what is made into agreement with what is known.

    Args:
      problem: what is solved, by a solver of one step; the paper's is ddpm.
      x: data, [batch, ...].
      known: which of their numbers stay.
      e: N(0, I) in their shape, that samples begin with.
      jump: see `walk`.
      resamplings: likewise.

    Returns:
      Data, [batch, ...]; x where it is known.

    Raises:
      UserError: another solver, or a jump that is too long.

    Reference: Lugmayr et al. 2022, algorithm 1.
    """
    _check_solver(problem.options, "repaint")
    step, last = SOLVERS[problem.options.solver]
    course, nothing = problem.course, jnp.zeros_like(x)
    grid = jnp.asarray(problem.grid, x.dtype)
    problem = problem._replace(grid=grid)

    def down(y: Examples, number: Int[Array, ""], t: Scalar, to: Scalar) -> Examples:
        made, _ = step(problem, (y, nothing), 2 * number, t, to)
        return jnp.where(known, _noised(course, x, to, problem.noise(2 * number + 1)), made)

    def up(y: Examples, number: Int[Array, ""], t: Scalar, to: Scalar) -> Examples:
        (alpha, sigma), (alpha_to, sigma_to) = course.scales(t), course.scales(to)
        kept = alpha_to / alpha
        fresh = jnp.sqrt(jnp.maximum(sigma_to**2 - (kept * sigma) ** 2, 0))
        return kept * y + fresh * problem.noise(2 * number)

    def move(y: Examples, along: tuple[Int[Array, ""], Int[Array, "2"]]) -> tuple[Examples, None]:
        number, (here, there) = along
        moved: Examples = jax.lax.cond(there > here, down, up, y, number, grid[here], grid[there])
        return moved, None

    moves = walk(len(grid) - 1, jump, resamplings)
    numbers = jnp.arange(len(moves))
    y, _ = jax.lax.scan(
        move, _begin(course, x, known, grid[0], e), (numbers[:-1], jnp.asarray(moves[:-1]))
    )
    made, _ = last(problem, (y, nothing), 2 * numbers[-1], grid[-2], grid[-1])
    return jnp.where(known, x, made)


def guide(problem: Problem, x: Examples, known: Known, e: Examples, weight: float) -> Examples:
    """Reconstruction guidance: samples whose estimates are moved towards what is known.

    The solver is told x where it is known, and elsewhere ``D - weight alpha / 2 grad_x_t sum_known
    (x - D)^2``. With a weight of 1 that is the mean of the data given x_t and what is known, if
    the latter errs from D as N(0, s^2).

    Args:
      problem: what is solved, by any solver.
      x: data, [batch, ...].
      known: which of their numbers stay.
      e: N(0, I) in their shape, that samples begin with.
      weight: at least 0.

    Returns:
      Data, [batch, ...]; x where it is known, and samples where nothing is.

    Reference: Ho et al. 2022 (video diffusion models), equations 7 and 8.
    """
    course = problem.course

    def estimate(noisy: Examples, t: Scalar) -> Examples:
        def error(noisy: Examples) -> tuple[Scalar, Examples]:
            data = problem.estimate(noisy, t)
            return jnp.sum(jnp.where(known, x - data, 0) ** 2), data

        slope, data = jax.grad(error, has_aux=True)(noisy)
        return jnp.where(known, x, data - weight * course.scales(t)[0] / 2 * slope)

    begin = _begin(course, x, known, jnp.asarray(problem.grid[0], x.dtype), e)
    return jnp.where(known, x, solve(problem._replace(estimate=estimate), begin))


def invert(problem: Problem, x: Examples) -> Examples:
    """The noise that a solver comes from data to, going back through all times of its grid.

    The first step, to the least time, where the slope at no noise is not told, is one iteration
    towards that of which the solver's last step makes x: ``x_t = alpha x + x - last(alpha x)``.

    Args:
      problem: what is solved, by a solver of one step without noise.
      x: data, [batch, ...].

    Returns:
      e, near N(0, I); from ``sigma e`` the solver comes back to x, but for errors of its order.

    Raises:
      UserError: another solver, or one that adds noise.

    Reference: Song et al. 2021 (DDIM), section 5.4.
    """
    options = problem.options
    _check_solver(options, "inversion")
    for name in ("churn", "eta"):
        if getattr(options, name):
            raise UserError(
                f"{name} is {getattr(options, name):g}, but inversion follows an equation without "
                "noise; leave it out"
            )
    step, last = SOLVERS[options.solver]
    course = problem.course
    grid = jnp.asarray(problem.grid[-2::-1], x.dtype)
    problem = problem._replace(grid=grid)

    def move(y: Examples, i: Int[Array, ""]) -> tuple[Examples, None]:
        return step(problem, (y, y), i, grid[i], grid[i + 1])[0], None

    guess = course.scales(grid[0])[0] * x
    made, _ = last(problem, (guess, guess), jnp.asarray(0), grid[0], jnp.zeros_like(grid[0]))
    y, _ = jax.lax.scan(move, guess + x - made, jnp.arange(len(grid) - 1))
    return y / course.scales(grid[-1])[1]


def make_editing(
    problem: Callable[[State, Key, Index, Condition, float], Problem],
    finish: Callable[[Examples], Examples],
) -> Editing:
    """Makes what a family has for given examples of functions of a problem.

    Args:
      problem: from a state, a key, an index, a condition and a strength to what is solved: of
        strength 1 from where samples begin, of less from as much less noise as the path counts.
      finish: what is done with samples at last, such as clipping.

    Returns:
      The functions.
    """

    def changed(by: Callable[..., Examples]) -> Callable[..., Examples]:
        def change(
            state: State,
            z: Array,
            x: Examples,
            known: Known,
            key: Key,
            index: Index,
            given: Condition,
            *settings: float,
        ) -> Examples:
            solved = problem(state, key, index, given, 1.0)
            return finish(by(solved, x, known, z.reshape(x.shape), *settings))

        return change

    def vary(
        state: State,
        z: Array,
        x: Examples,
        key: Key,
        index: Index,
        given: Condition,
        strength: float,
    ) -> Examples:
        if strength < _UNCHANGED:
            return x
        return finish(sdedit(problem(state, key, index, given, strength), x, z.reshape(x.shape)))

    def back(state: State, x: Examples, given: Condition) -> Array:
        index = example_index(len(x), None)
        solved = problem(state, jax.random.key(0), index, given, 1.0)
        return invert(solved, x).reshape(len(x), -1)

    return Editing(vary, changed(repaint), changed(guide), back)


def _noised(course: Course, x: Examples, t: Scalar, e: Examples) -> Examples:
    alpha, sigma = course.scales(t)
    return alpha * x + sigma * e


def _begin(course: Course, x: Examples, known: Known, t: Scalar, e: Examples) -> Examples:
    """Where samples begin, but of the data where they are known."""
    return jnp.where(known, _noised(course, x, t, e), course.scales(t)[1] * e)


def _check_solver(options: DiffusionSampling, what: str) -> None:
    if options.solver not in _FITTING[what]:
        raise UserError(
            f"solver is {options.solver!r}, by which {what} is not possible; choices: "
            f"{', '.join(_FITTING[what])}"
        )
