"""Where metrics go: JSON lines, TensorBoard events and, if asked for, Weights & Biases."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from genjax.config import Experiment
from genjax.config.json import to_dict
from genjax.distribution import install_extra
from genjax.domains.domain import Preview
from genjax.errors import UserError
from genjax.run.events import EventFile
from genjax.run.processes import is_first


class Log(Protocol):
    """Takes the metrics of one run; to be closed at its end."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes one line of metrics."""

    def show(self, step: int, previews: Sequence[Preview]) -> None:
        """Takes what a person sees of the samples of a step."""

    def close(self) -> None:
        """Ends it."""


def open_log(directory: Path, experiment: Experiment, resumed_at: int | None) -> Log:
    """Opens the logs of a run; of several processes, only the first has any.

    Args:
      directory: of the run.
      experiment: its configuration.
      resumed_at: step at which the run is taken up again; None for a new one.

    Returns:
      The log.
    """
    return MetricLog(directory, experiment, resumed_at) if is_first() else _Silence()


class _Silence:
    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        pass

    def show(self, step: int, previews: Sequence[Preview]) -> None:
        pass

    def close(self) -> None:
        pass


class MetricLog:
    """Writes the metrics of one run; to be closed at its end."""

    def __init__(self, directory: Path, experiment: Experiment, resumed_at: int | None) -> None:
        """Opens the logs.

        Args:
          directory: of the run.
          experiment: its configuration.
          resumed_at: step at which the run is taken up again; None for a new one.

        Raises:
          UserError: Weights & Biases is asked for but not installed.
        """
        self._wandb = import_wandb() if experiment.wandb else None
        self._lines = (directory / "metrics.jsonl").open("a", encoding="utf-8")
        self._events = EventFile(directory, resumed_at)
        described = json.dumps(to_dict(experiment), indent=2)
        self._events.note(resumed_at or 0, "configuration", described)
        if self._wandb is not None:
            # The path names the run, so a resumed one continues the same curves.
            identity = directory.absolute().as_posix().replace("/", "-").strip("-")[-64:]
            self._wandb.init(
                project="genjax",
                id=identity,
                name=experiment.name,
                config=to_dict(experiment),
                resume="allow",
                dir=str(directory),
            )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes one line of metrics, at once."""
        self._lines.write(json.dumps({"step": step, **metrics}) + "\n")
        self._lines.flush()
        self._events.write(step, metrics)
        if self._wandb is not None:
            self._wandb.log(dict(metrics), step=step)

    def show(self, step: int, previews: Sequence[Preview]) -> None:
        """Adds what a person sees of the samples of a step, for TensorBoard."""
        self._events.show(step, previews)

    def close(self) -> None:
        """Closes all files."""
        self._lines.close()
        self._events.close()
        if self._wandb is not None:
            self._wandb.finish()


def import_wandb() -> ModuleType | Any:
    """Imports the optional package; raises UserError with the command that installs it."""
    try:
        import wandb
    except ImportError:
        raise UserError(
            f"--wandb needs the package wandb: {install_extra('wandb')}, or leave it out"
        ) from None
    return wandb
