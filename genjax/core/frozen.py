"""Networks of other runs, which a model uses as they are."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.struct
import jax
import numpy as np

from genjax.config import Model
from genjax.core.algorithm import Algorithm
from genjax.core.schema import Spec
from genjax.core.types import State, Variables


class Frozen(NamedTuple):
    """What another run has learnt.

    Attributes:
      model: its configuration.
      spec: of the data that it learnt from.
      variables: by player, what its samples come from; on the host.
    """

    model: Model
    spec: Spec
    variables: Mapping[str, Variables]


Networks = Mapping[str, Frozen]
"""By the name of the field that names the run."""
NO_NETWORKS: Networks = MappingProxyType({})


def with_frozen(
    state: State, networks: Networks, place: Callable[[Any], Any] = jax.device_put
) -> State:
    """Gives a state the networks of other runs, which no checkpoint has.

    Args:
      state: from an algorithm's `init`, or of a checkpoint.
      networks: those that the algorithm was made with.
      place: brings arrays to where the state is.

    Returns:
      A state that has the field ``frozen`` beside its own, variables by player by network, which
      steps leave as it is; the same state where there are no networks.
    """
    if not networks:
        return state
    # Copies, since steps are given the memory of their state.
    placed = {
        name: place(jax.tree.map(np.array, network.variables)) for name, network in networks.items()
    }
    kind: type = type(state)
    return _equipped(kind)(**_fields(state), frozen=placed)


def without_frozen(state: State) -> State:
    """A state as its checkpoint has it."""
    fields = _fields(state)
    if fields.pop("frozen", None) is None:
        return state
    [kind] = type(state).__bases__
    return kind(**fields)


@functools.cache
def _equipped(kind: type) -> type:
    """The class of a family's states with networks beside them."""
    members = {"__annotations__": {"frozen": Mapping[str, Any]}, "__module__": __name__}
    made: type = flax.struct.dataclass(type(f"Equipped{kind.__name__}", (kind,), members))
    return made


def _fields(state: State) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}


def state_shapes(algorithm: Algorithm) -> State:
    """Types and shapes of a whole state, of which nothing is made."""
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    return with_frozen(state, algorithm.frozen, lambda tree: jax.eval_shape(lambda: tree))
