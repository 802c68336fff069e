"""What is measured of a state while training goes on, and what makes a checkpoint the best."""

import sys
from collections.abc import Callable, Iterator, Mapping

import chex
import jax
import numpy as np
from jaxtyping import Float

from genjax.config import Experiment
from genjax.core.algorithm import Algorithm
from genjax.core.compiler import jit
from genjax.core.frozen import state_shapes
from genjax.core.rng import stream
from genjax.core.schema import Schema, Source
from genjax.core.types import Batch, Key, PerExample, State
from genjax.data.progress import Progress, no_progress
from genjax.errors import UserError, lookup
from genjax.evals.inputs import Numbers
from genjax.evals.training import make_scorer, score_names
from genjax.run.conditions import conditions_as_in
from genjax.run.sampling import Sampler

NO_SCORE = sys.float_info.max
"""Of a checkpoint that is never the best."""

HIGHER = {"accuracy", "diversity", "elbo", "high_quality", "iwae", "modes_covered"}
"""Quantities of which more is better."""

_BATCH = 250

Evaluation = Callable[[State], tuple[float, dict[str, float]]]


def make_evaluation(
    experiment: Experiment,
    algorithm: Algorithm,
    source: Source,
    held_out: Source | None,
    sampler: Sampler,
    key: Key,
) -> Evaluation:
    """Prepares what a run logs of its state beside its metrics.

    Args:
      experiment: `eval.rank` says what counts: None is how samples compare with the data,
        ``held_out`` the loss on held-out data, ``none`` nothing, and any other name is that of a
        logged quantity ``evaluation/name``. No samples are drawn for the second and the third. Of a
        family that makes none, None is the loss on held-out data where there are some.
      algorithm: of the run.
      source: what it learns from; samples are compared with the whole split, if it is a part.
      held_out: what it does not, or None.
      sampler: from `genjax.run.sampling.make_sampler`.
      key: of the samples.

    Returns:
      From a state to its score, lower is better, and metrics named ``evaluation/quantity``.

    Raises:
      UserError: as `check_rank` does, or the classifier of the data set isn't trained yet.
    """
    config, source = experiment.eval, source.whole
    check_rank(experiment, algorithm, source.schema, held_out)
    rank = config.rank
    if rank is None and algorithm.sample is None:
        rank = "held_out" if held_out is not None and config.held_out else "none"
    evaluate = _held_out_means(algorithm, held_out, config.held_out)
    score = None
    if rank not in ("held_out", "none") and algorithm.sample is not None:
        if source.count < 2:
            raise UserError(
                f"{source.name!r} has one example in {source.split!r}, and samples are compared "
                "with two or more; add examples, or set eval.rank to none"
            )
        score = make_scorer(config, source, algorithm.spec.target, experiment.seed)
        condition = conditions_as_in(algorithm.spec, source, config.samples)

    def evaluation(state: State) -> tuple[float, dict[str, float]]:
        metrics: dict[str, float] = {}
        value = NO_SCORE
        if score is not None:
            value, metrics = score(sampler(state, key, config.samples, condition))
        if evaluate is not None:
            metrics = {**metrics, **evaluate(state)}
        if rank == "held_out":
            value = metrics["evaluation/loss"]
        elif rank not in (None, "none"):
            value = metrics[f"evaluation/{rank}"]
            value = -value if rank in HIGHER else value
        return value, metrics

    return evaluation


def check_rank(
    experiment: Experiment, algorithm: Algorithm, schema: Schema, held_out: Source | None
) -> None:
    """Refuses an `eval.rank` that nothing measures.

    Args:
      experiment: the configuration.
      algorithm: of the run.
      schema: of its data.
      held_out: data that it does not learn from, or None.

    Raises:
      UserError: there is no such quantity, or no held-out data to rank by.
    """
    config = experiment.eval
    missing, names = None, list(score_names(config, schema) if algorithm.sample else ())
    if algorithm.evaluate is None:
        missing = "this model has no loss on held-out data"
    elif held_out is None:
        missing = "there is no other split, test, with an example to hold out"
    elif not config.held_out:
        missing = "eval.held_out is 0"
    else:
        key = jax.random.key(0)
        state = state_shapes(algorithm)
        found = jax.eval_shape(algorithm.evaluate, state, held_out.read(np.arange(1)), key)
        names += [name.removeprefix("evaluation/") for name in found]
    if config.rank == "held_out" and missing is not None:
        raise UserError(f"eval.rank is 'held_out', but {missing}; set it to none")
    if config.rank is None:
        return
    names += ["none"] if missing else ["held_out", "none"]
    try:
        lookup(dict.fromkeys(names), config.rank, "eval.rank")
    except UserError as error:
        why = f"; held_out is no choice, as {missing}" if missing else ""
        raise UserError(f"{error}{why}") from None


def _held_out_means(
    algorithm: Algorithm, held_out: Source | None, most: int
) -> Callable[[State], dict[str, float]] | None:
    if algorithm.evaluate is None or held_out is None or not most:
        return None
    return measure_held_out(algorithm, held_out, min(most, held_out.count), jax.random.key(0))


def measure_held_out(
    algorithm: Algorithm,
    held_out: Source,
    count: int,
    key: Key,
    size: int = _BATCH,
    progress: Progress = no_progress,
) -> Callable[[State], dict[str, float]]:
    """Compiles the means of what an algorithm says of held-out data.

    Args:
      algorithm: it has `evaluate`.
      held_out: the data; its first examples count.
      count: how many.
      key: of the noise; each batch draws its own.
      size: examples at once.
      progress: shows how far it is.

    Returns:
      From a state to the mean over the examples of each quantity.
    """
    assert algorithm.evaluate is not None
    values = held_out_values(algorithm.evaluate, held_out, np.arange(count), key, size, progress)

    def evaluate(state: State) -> dict[str, float]:
        totals: dict[str, float] = {}
        for found in values(state):
            for name, each in found.items():
                totals[name] = totals.get(name, 0.0) + float(np.sum(each))
        return {name: total / count for name, total in totals.items()}

    return evaluate


def held_out_values(
    function: Callable[[State, Batch, Key], Mapping[str, PerExample]],
    held_out: Source,
    numbers: Numbers,
    key: Key,
    size: int,
    progress: Progress,
) -> Callable[[State], Iterator[dict[str, Float[np.ndarray, "batch"]]]]:
    """Compiles what is said of held-out examples, each.

    Args:
      function: says it, with values of each example of a batch.
      held_out: the data.
      numbers: which examples.
      key: of the noise; each batch draws its own.
      size: examples at once.
      progress: shows how far it is.

    Returns:
      From a state to each batch's values by name, in float64.
    """
    compiled = jit(function)

    def values(state: State) -> Iterator[dict[str, Float[np.ndarray, "batch"]]]:
        starts = range(0, len(numbers), size)
        for start in progress(starts, "held-out data", len(starts)):
            chosen = numbers[start : start + size]
            found = compiled(state, held_out.read(chosen), stream(key, "likelihood", start))
            # A family that returned means would be averaged wrongly.
            chex.assert_shape(list(found.values()), (len(chosen),))
            yield {name: np.asarray(each, np.float64) for name, each in found.items()}

    return values
