"""What a family of models is to the rest of genjax: a few pure functions."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax.config import MonitorConfig, Precision
from genjax.core.compiler import with_precision
from genjax.core.schema import Spec
from genjax.core.types import Batch, Condition, Index, Key, Metrics, PerExample, State

Tree = TypeVar("Tree")


class Sign(NamedTuple):
    """What may show that a run can't come to anything any more.

    Attributes:
      name: of the sign.
      lines: logged lines in a row on which it must show.
      look: from the metrics of a line to whether it shows, and in words what is then seen; None
        where the line says nothing of it.
    """

    name: str
    lines: int
    look: Callable[[Mapping[str, float]], tuple[bool, str] | None]


def no_signs(config: MonitorConfig) -> list[Sign]:
    """The signs of a family that has none of its own."""
    return []


class Algorithm(NamedTuple):
    """A family of models, ready to be compiled.

    Attributes:
      spec: what is generated, and from what: the fields `given` are what `sample` takes.
      examples: examples that one step consumes, over all devices.
      init: ``(key) -> state``; everything that training changes, as one pytree.
      step: ``(state, batch) -> (state, metrics)``; one training step, pure and not yet compiled.
      sample: ``(state, key, index, condition) -> samples``; sample number `index[i]` of the series
        that `key` names, from the i-th entry of each array of `condition`, as a model sees its
        target: [batch, *spec.shape]. A sample does not depend on the others in its batch.
      evaluate: ``(state, batch, key) -> values`` of held-out data, or None; each value is of one
        example, float32 [batch], and is named ``evaluation/quantity``. ``evaluation/loss`` is one
        of them, by which checkpoints can be ranked.
      show: ``(state, batch, key) -> samples by name``, to be shown beside samples in the order of
        their names, or None. `batch` is as `step` takes it.
      updates: the updates that `step` makes one after the other, by player, each
        ``(state, batch) -> (state, metrics)``, to be measured apart; may be empty.
      signs: ``(config) -> signs`` of collapse that the family's metrics have.
    """

    spec: Spec
    examples: int
    init: Callable[[Key], State]
    step: Callable[[State, Batch], tuple[State, Metrics]]
    sample: Callable[[State, Key, Index, Condition], Array]
    evaluate: Callable[[State, Batch, Key], Mapping[str, PerExample]] | None = None
    show: Callable[[State, Batch, Key], Mapping[str, Array]] | None = None
    updates: Mapping[str, Callable[[State, Batch], tuple[State, Metrics]]] = MappingProxyType({})
    signs: Callable[[MonitorConfig], list[Sign]] = no_signs


def at_precision(algorithm: Algorithm, precision: Precision) -> Algorithm:
    """An algorithm all of whose functions are traced with a precision, see `with_precision`."""
    changed: dict[str, Any] = {
        name: with_precision(precision, function)
        for name in ("init", "step", "sample", "evaluate", "show")
        if (function := getattr(algorithm, name)) is not None
    }
    updates = {name: with_precision(precision, x) for name, x in algorithm.updates.items()}
    return algorithm._replace(updates=updates, **changed)


def pmean(tree: Tree, axis_name: str | None) -> Tree:
    """Averages over the devices of a mapped axis; the identity without one."""
    if axis_name is None:
        return tree
    result: Tree = jax.lax.pmean(tree, axis_name)
    return result


def ema_update(average: Tree, new: Tree, decay: float | Float[Array, ""]) -> Tree:
    """Moves an exponential average: ``decay * average + (1 - decay) * new``, leaf by leaf."""
    result: Tree = jax.tree.map(lambda a, n: decay * a + (1 - decay) * n, average, new)
    return result


def global_norm(tree: Any) -> Float[Array, ""]:
    """Euclidean norm of all leaves together, summed in float32."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)))
