"""Notices a run that can't come to anything any more: not finite, or collapsed.

The signs are read from logged metrics alone, so that a resumed run sees what an undisturbed one
does.
"""

import math
from collections.abc import Mapping, Sequence

from genjax.config import Experiment, MonitorConfig
from genjax.core.algorithm import Sign
from genjax.errors import RunFailed

_EVALUATIONS = 2
"""Evaluations in a row at which samples must be alike."""

_LONGEST_HALF_LIFE = 0.1
"""Of a moving average, as a share of a run."""

_USUAL_RAMP = 0.05


class Diverged(RunFailed):
    """A metric is not finite, or the run has collapsed.

    Attributes:
      collapsed: whether it is the second.
    """

    def __init__(self, message: str, collapsed: bool) -> None:
        """Keeps which of the two it is.

        Args:
          message: one line that names the step and the metric.
          collapsed: whether all metrics are finite.
        """
        super().__init__(message)
        self.collapsed = collapsed


def check_finite(step: int, metrics: Mapping[str, float]) -> None:
    """Looks for a metric that is not finite.

    Raises:
      Diverged: there is one; the message names its step, its player and its value.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            player, quantity = name.split("/")
            raise Diverged(f"step {step}: the {player}'s {quantity} is {value}", collapsed=False)


def slow_average(experiment: Experiment) -> str | None:
    """Looks for a moving average that outlasts the run: its samples lag behind to the end.

    Args:
      experiment: the configuration.

    Returns:
      One line with what to set, where the half-life of the average is more than a tenth of the
      run; None otherwise.
    """
    model, steps = experiment.model, experiment.steps
    decay, ramp = getattr(model, "ema_decay", None), getattr(model, "ema_ramp", None)
    if not decay:
        return None
    half_life = math.log(0.5) / math.log(decay)
    if min(half_life, steps * (ramp or math.inf)) <= steps * _LONGEST_HALF_LIFE:
        return None
    shorter = 0.5 ** (1 / (_USUAL_RAMP * steps))
    choices = f"set --model.ema-decay {shorter:.4g}"
    if hasattr(model, "ema_ramp"):
        choices += f", or --model.ema-ramp {_USUAL_RAMP}"
    return (
        f"warning: the moving average of decay {decay} has a half-life of {half_life:,.0f} steps, "
        f"long against {steps:,} steps: its samples will lag behind; {choices}"
    )


def common_signs(config: MonitorConfig) -> list[Sign]:
    """The signs that any family can show.

    The samples are alike: the variance of their features, over that of the data, is below a bound
    at two evaluations in a row. Of a player whose gradient is 0, or explodes, one line is enough.

    Args:
      config: the thresholds.

    Returns:
      The signs; those of players are looked for in `Monitor`, which sees their names.
    """

    def alike(metrics: Mapping[str, float]) -> tuple[bool, str] | None:
        value = metrics.get("evaluation/diversity")
        if value is None:
            return None
        words = (
            f"samples have {value:.2g} of the variance of real examples, less than "
            f"{config.diversity:g}"
        )
        return value < config.diversity, words

    return [Sign("diversity", _EVALUATIONS, alike)]


class Monitor:
    """Follows the logged metrics of one run."""

    def __init__(self, config: MonitorConfig, signs: Sequence[Sign] = ()) -> None:
        """Begins without any sign.

        Args:
          config: the thresholds.
          signs: of the family, beside those that any has.
        """
        self._config = config
        self._signs = (*signs, *common_signs(config))
        self._in_a_row: dict[str, int] = {}
        self._warned: set[str] = set()

    def observe(self, metrics: Mapping[str, float]) -> str | None:
        """Takes a logged line.

        Args:
          metrics: from name to value; those that are not there are left out of account.

        Returns:
          What has collapsed, in words, when a sign has just become certain; None otherwise. The
          same sign is reported again only after it was gone.
        """
        found = []
        for sign in self._signs:
            seen = sign.look(metrics)
            if seen is not None:
                found.append(self._note(sign.name, seen[0], sign.lines, seen[1]))
        for name, value in metrics.items():
            player, _, quantity = name.partition("/")
            if quantity != "gradient_norm":
                continue
            words = f"the {player}'s gradient is 0, so it learns nothing"
            found.append(self._note(f"{player} dead", value == 0, 1, words))
            words = f"the {player}'s gradient has a norm of {value:.3g}"
            found.append(self._note(f"{player} explodes", value >= self._config.gradient, 1, words))
        return "; ".join(words for words in found if words) or None

    @property
    def healthy(self) -> bool:
        """Whether no sign shows at present, certain or not."""
        return not any(self._in_a_row.values())

    def _note(self, sign: str, shows: bool, needed: int, words: str) -> str | None:
        if not shows:
            self._in_a_row[sign] = 0
            self._warned.discard(sign)
            return None
        self._in_a_row[sign] = self._in_a_row.get(sign, 0) + 1
        if self._in_a_row[sign] < needed or sign in self._warned:
            return None
        self._warned.add(sign)
        return words
