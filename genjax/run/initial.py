"""The weights that a run begins with where it takes them from another run."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax.core.algorithm import Algorithm
from genjax.core.parallel import copy_to
from genjax.core.players import players
from genjax.core.types import NetState, State, Variables
from genjax.errors import UserError
from genjax.run.opening import open_named, weights_digest

_PARTS = ("params", "variables", "ema")
_OF_CHANGES = ("changes", "changes_gain", "embed_changes")


class Initial(NamedTuple):
    """Networks of another run.

    Attributes:
      run: its folder, as it was named.
      step: of the checkpoint.
      networks: by the name of the player.
    """

    run: str
    step: int
    networks: Mapping[str, NetState]

    def describe(self) -> dict[str, Any]:
        """What a manifest says of them: the run, the step, and a SHA-256 of all weights."""
        parts = {
            player: {part: getattr(network, part) for part in _PARTS}
            for player, network in self.networks.items()
        }
        return {"run": self.run, "step": self.step, "digest": weights_digest(parts)}


def read_initial(name: str, algorithm: Algorithm) -> Initial:
    """Reads the networks that a run begins with.

    A moving average is taken over where both have one. Where only the new run has one, it begins
    with the other's weights.

    Args:
      name: ``FOLDER``, ``FOLDER@best`` or ``FOLDER@STEP``.
      algorithm: of the run that begins.

    Returns:
      The networks that both runs have.

    Raises:
      UserError: not a run, no such checkpoint, or its networks are others.
    """
    other = open_named(name, "init_from").run
    theirs = players(other.state)
    ours = players(jax.eval_shape(algorithm.init, jax.random.key(0)))
    shared = [player for player in ours if player in theirs]
    if not shared:
        raise UserError(
            f"init_from {name} has the networks {', '.join(theirs)}, but this model has "
            f"{', '.join(ours)}"
        )
    found = {}
    for player in shared:
        wanted = {"params": ours[player].params, **ours[player].variables}
        network = _plain(theirs[player], wanted)
        whole = {"params": network.params, **network.variables}
        if ours[player].ema is None:
            network = dataclasses.replace(network, ema=None)
        elif network.ema is None:
            network = dataclasses.replace(network, ema=whole)
        _check_same(name, player, _shapes(whole), _shapes(wanted))
        found[player] = network
    return Initial(name, other.step, found)


def begin_with(initial: Initial, state: State) -> State:
    """Puts the networks of another run into the first state of a run.

    Args:
      initial: from `read_initial` for this run.
      state: its first state.

    Returns:
      The state, whose optimizers are as they were.
    """
    own = players(state)
    changed = {}
    for name, network in initial.networks.items():
        parts = {part: getattr(network, part) for part in _PARTS}
        placed = jax.tree.map(
            lambda old, new: copy_to(old.sharding, np.array(new)),
            {part: getattr(own[name], part) for part in _PARTS},
            parts,
        )
        changed[name] = dataclasses.replace(own[name], **placed)
    return dataclasses.replace(state, **changed)


def _plain(network: NetState, wanted: Variables) -> NetState:
    """A denoising network without what only its training needed, where another has no place for it.

    That is how uncertain it is, beside it, and what it is told of changes of images.
    """

    def plain(tree: Variables) -> Variables:
        if "network" in tree["params"] and "network" not in wanted["params"]:
            tree = {name: part["network"] for name, part in tree.items() if "network" in part}
        return {
            name: {
                key: value
                for key, value in part.items()
                if key not in _OF_CHANGES or key in wanted.get(name, {})
            }
            for name, part in tree.items()
        }

    whole = plain({"params": network.params, **network.variables})
    others = {name: part for name, part in whole.items() if name != "params"}
    ema = None if network.ema is None else plain(network.ema)
    return dataclasses.replace(network, params=whole["params"], variables=others, ema=ema)


def _shapes(tree: Any) -> dict[str, str]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _check_same(name: str, player: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    for tensor in {**ours, **theirs}:
        if ours.get(tensor) != theirs.get(tensor):
            there, here = (kinds.get(tensor, "nothing") for kinds in (theirs, ours))
            raise UserError(
                f"init_from {name} has another {player}: {there} as {tensor}, where this model has "
                f"{here}; use the same network"
            )
