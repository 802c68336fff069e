"""What runs begin with: a folder, and a state of their own, of another run or of a checkpoint."""

import contextlib
from collections.abc import Mapping
from functools import partial

import jax

from genjax.core.frozen import with_frozen
from genjax.core.parallel import copy_to
from genjax.core.schema import Source
from genjax.core.types import Key, State
from genjax.run import checkpoint
from genjax.run import directory as run_directory
from genjax.run.console import print_line
from genjax.run.initial import Initial, begin_with, read_initial
from genjax.run.training import Member, Training


def claim_folder(
    stack: contextlib.ExitStack,
    member: Member,
    source: Source,
    together: str | None,
    initial: Initial | None,
) -> None:
    """Claims the folder of a run, and makes it if it is new.

    Args:
      stack: which the claim lasts as long as.
      member: the run.
      source: the examples that it learns from.
      together: with what it is compiled; None for a run alone.
      initial: another run's networks that it begins with, if it does.

    Raises:
      UserError: the folder is taken or another process's, or is of other data.
    """
    directory = member.directory
    if not member.resume:
        run_directory.check_new(directory)
    stack.enter_context(run_directory.claim(directory))
    if member.resume:
        run_directory.check_data(directory, source)
    else:
        described = None if initial is None else initial.describe()
        data = run_directory.describe_data(source)
        run_directory.create(directory, member.experiment, data, together, described)


def latest_states(training: Training, keys: Mapping[int, Key]) -> tuple[int, dict[int, State]]:
    """Reads the latest checkpoints of the same step, or makes the states that runs begin with.

    Args:
      training: the runs.
      keys: of each that is trained, by its place.

    Returns:
      The steps made, and the state of each run, with the networks of other runs that it uses.

    Raises:
      UserError: checkpoints that are of no use, or another run that is none to begin with.
    """
    program = training.program
    found = checkpoint.restore_common(
        training.managers,
        program.algorithm.init,
        program.sharding,
        partial(print_line, training.console),
    )
    if found is None:
        return 0, {place: _first_state(training, place, key) for place, key in keys.items()}
    first, states = found
    place_frozen = partial(copy_to, program.sharding) if program.sharding else jax.device_put
    return first, {
        place: with_frozen(state, program.algorithm.frozen, place_frozen)
        for place, state in states.items()
    }


def _first_state(training: Training, place: int, key: Key) -> State:
    """What a run begins with: weights of its own, or another run's."""
    state = training.program.init(key)
    name = training.members[place].experiment.init_from
    if name is None:
        return state
    # A run that was killed before its first checkpoint reads them again.
    initial = training.initials.get(place) or read_initial(name, training.program.algorithm)
    print_line(
        training.console,
        f"begins with the {' and '.join(initial.networks)} of {initial.run} at step {initial.step}",
    )
    return begin_with(initial, state)
