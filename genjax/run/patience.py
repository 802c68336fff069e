"""Ends a run whose score no longer improves."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from genjax.config import EvalConfig

SCORE = "evaluation/score"
"""Of a run with patience: by what it ranks checkpoints, lower is better."""


class Patience:
    """Counts a run's evaluations since its best one.

    It sees logged metrics alone, so that a resumed run ends where an undisturbed one does.
    """

    def __init__(self, config: EvalConfig) -> None:
        """Begins without an evaluation.

        Args:
          config: says how many there may be.
        """
        self._most = config.patience
        self._best = math.inf
        self._waited = 0

    @property
    def logged(self) -> bool:
        """Whether the run logs its score for this."""
        return self._most is not None

    @property
    def spent(self) -> bool:
        """Whether the run ends here."""
        return self._most is not None and self._waited >= self._most

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Takes a logged line; most have no score."""
        score = metrics.get(SCORE)
        if score is None:
            return
        self._waited = 0 if score < self._best else self._waited + 1
        self._best = min(score, self._best)


def has_ended(config: EvalConfig, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a run that logged these lines has come to its end before its last step."""
    patience = Patience(config)
    for row in rows:
        patience.observe(row)
    return patience.spent
