"""Runs that are trained together, and what stays the same while they are."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from genjax.config import Experiment
from genjax.core.schema import Source
from genjax.run.checkpoint_store import Checkpoints
from genjax.run.initial import Initial
from genjax.run.monitor import Diverged
from genjax.run.program import Program
from genjax.run.sampling import Previewer
from genjax.run.scoring import Evaluation

Fail = Callable[[int, str], Any]
"""``(place, reason)``, told of a run that can't go on."""


class Member(NamedTuple):
    """One of the runs that are trained.

    Attributes:
      experiment: its configuration.
      directory: its folder; new, or that of the run to resume.
      resume: whether it goes on from what is in its folder.
      left: whether it is only there because the program was compiled for it, too.
    """

    experiment: Experiment
    directory: Path
    resume: bool
    left: bool = False


class Training(NamedTuple):
    """What stays the same while runs go on, but for `lost`: those that can't."""

    members: Sequence[Member]
    source: Source
    program: Program
    managers: dict[int, Checkpoints]
    evaluations: dict[int, Evaluation]
    preview: Previewer
    console: Console
    fail: Fail | None
    stop: Callable[[int], Any]
    together: str | None
    initials: Mapping[int, Initial]
    profile: int | None
    lost: set[int]

    @property
    def living(self) -> list[int]:
        """The runs that go on."""
        return [place for place in self.managers if place not in self.lost]

    def each(self, action: Callable[[int], Any]) -> None:
        """Lets every run that is still well do something."""
        for place in self.living:
            try:
                action(place)
            except Diverged as diverged:
                if self.fail is None:
                    raise
                self.lost.add(place)
                self.fail(place, str(diverged))
