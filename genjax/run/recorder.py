"""What one run writes while it goes on: metrics, previews, scores and checkpoints."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax

from genjax.config import Experiment
from genjax.core.rng import stream
from genjax.core.types import Key, State
from genjax.domains.previews import save_previews
from genjax.run import averages, checkpoint
from genjax.run.checkpoint_store import Checkpoints
from genjax.run.logs import Log
from genjax.run.monitor import Diverged, Monitor
from genjax.run.patience import SCORE, Patience
from genjax.run.processes import agree, is_first, local
from genjax.run.sampling import Previewer
from genjax.run.scoring import NO_SCORE, Evaluation


def sample_key(experiment: Experiment) -> Key:
    """Of the samples that a run shows and scores while it goes on."""
    return stream(jax.random.key(experiment.seed), "grid")


class Recorder:
    """Writes the files of one run, and follows whether it is still well."""

    def __init__(
        self,
        experiment: Experiment,
        directory: Path,
        manager: Checkpoints,
        log: Log,
        monitor: Monitor,
        patience: Patience,
        evaluate: Evaluation,
        preview: Previewer,
        say: Callable[[str], None],
    ) -> None:
        """Keeps what it writes with.

        Args:
          experiment: says when something is due.
          directory: of the run.
          manager: of its checkpoints.
          log: takes its metrics.
          monitor: has seen the metrics so far.
          patience: likewise.
          evaluate: from a state to its score, lower is better, and metrics.
          preview: from a state to what a person sees of its samples.
          say: prints a warning.
        """
        self._experiment = experiment
        self._directory = directory
        self._manager = manager
        self._log = log
        self._monitor = monitor
        self._patience = patience
        self._evaluate = evaluate
        self._preview = preview
        self._say = say
        self._key = sample_key(experiment)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Logs the metrics of a step.

        Raises:
          Diverged: the run has collapsed, and its configuration does not only warn of that.
        """
        self._log.write(step, metrics)
        self._patience.observe(metrics)
        words = self._monitor.observe(metrics)
        if words is None:
            return
        if self._experiment.on_collapse != "warn":
            raise Diverged(f"step {step}: collapsed: {words}", collapsed=True)
        self._say(f"warning: step {step}: perhaps collapsed: {words}")

    def due(self, step: int) -> bool:
        """Whether there is something to write of the state after a step."""
        return self._pictured(step) or self._saved(step) or self._evaluated(step)

    def visit(self, step: int, state: State) -> None:
        """Shows, scores and saves what is due of a state.

        Raises:
          Diverged: as `write` does.
        """
        own = local(state)
        if self._pictured(step):
            self._show(step, own)
        score = NO_SCORE
        if self._evaluated(step):
            # Every process does this: to wait for one of them would take as long.
            score, evaluation = self._evaluate(own)
            score, evaluation = agree(score), {k: agree(v) for k, v in evaluation.items()}
            own_score = {SCORE: score} if self._patience.logged else {}
            self.write(step, {**evaluation, **own_score})
        if self._patience.spent and not self._pictured(step):
            self._show(step, own)
        if self._saved(step) or self._patience.spent:
            self._save(step, state, score)

    @property
    def ended(self) -> bool:
        """Whether the run ends at the step of the last visit, since its score improves no more."""
        return self._patience.spent

    def _show(self, step: int, own: State) -> None:
        if not is_first():
            return
        previews = self._preview(own, self._key)
        save_previews(self._directory / "samples" / f"step_{step:08d}", previews)
        self._log.show(step, previews)

    def save(self, step: int, state: State) -> None:
        """Saves a state that may not be due, without a score, so that it is never the best one."""
        if not self._saved(step):
            self._save(step, state, NO_SCORE)

    def _save(self, step: int, state: State, score: float) -> None:
        widths = getattr(self._experiment.model, "ema_profiles", ())
        if widths and is_first():
            averages.store(self._directory, step, local(state), widths)
        checkpoint.save(self._manager, step, state, score, self._monitor.healthy)

    def _pictured(self, step: int) -> bool:
        return self._ends(step) or step % self._experiment.sample_every == 0

    def _saved(self, step: int) -> bool:
        return self._ends(step) or step % self._experiment.checkpoint_every == 0

    def _evaluated(self, step: int) -> bool:
        every = self._experiment.eval.every or self._experiment.checkpoint_every
        return self._ends(step) or step % every == 0

    def _ends(self, step: int) -> bool:
        return step == self._experiment.steps
