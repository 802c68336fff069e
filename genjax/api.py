"""What scripts and notebooks need: train a configuration, open a run, sample from it, score it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from genjax.config import Experiment
from genjax.core.schema import Schema
from genjax.data.sources import load as load_source
from genjax.data.sources import load_held_out
from genjax.domains import domain_of
from genjax.domains.domain import Samples
from genjax.errors import UserError
from genjax.evals.classifier import load_classifier
from genjax.families.registry import FAMILIES
from genjax.presets import preset
from genjax.run.cascade import Prior, PriorChoice
from genjax.run.checkpoint import Which
from genjax.run.directory import read_config
from genjax.run.evaluation import Protocol, evaluate_run
from genjax.run.loop import train as train_run
from genjax.run.opening import Run, open_run
from genjax.run.sampling import condition_of, make_sampler
from genjax.run.stages import maps_of

__all__ = ["LoadedRun", "evaluate", "load", "preset", "sample", "train"]


class LoadedRun:
    """A run at one of its checkpoints.

    Attributes:
      directory: of the run.
      experiment: its configuration.
      schema: of the data that it learnt from.
      step: of the checkpoint.
    """

    def __init__(self, directory: Path, run: Run) -> None:
        """Keeps an opened run; use `load`."""
        self.directory = directory
        self.experiment: Experiment = run.experiment
        self.schema: Schema = run.schema
        self.step: int = run.step
        self._run = run
        self._sampler = make_sampler(run.algorithm, domain_of(run.schema.domain))
        self._priors: dict[str, Prior] = {}

    def sample(
        self,
        n: int = 64,
        seed: int = 0,
        label: int | str | None = None,
        prompts: Sequence[str] = (),
        prior: str | Path | None = None,
        given: Sequence[Samples] = (),
    ) -> Samples:
        """Draws samples; sample i of a seed is the same whatever n.

        Args:
          n: how many, at least 1.
          seed: of the series.
          label: class of all samples, by its name or, as a number, by its label; None takes the
            classes in turn.
          prompts: what to generate, in words, of a run that learnt from captions; several are taken
            in turn, and none takes captions that the data hold out.
          prior: run that makes embeddings of images of them, of a run that is given both.
          given: images, uint8 [height, width, channels] each, of a run that makes images of others,
            such as of smaller ones; of the size that it is given, or that it makes; taken in turn.

        Returns:
          As the data are stored, such as uint8 [n, height, width, channels].

        Raises:
          UserError: no such class, or the run takes no prompts or no images.
        """
        embed = None
        if prior is not None:
            # Opening one compiles its sampler.
            name = str(prior)
            if name not in self._priors:
                self._priors[name] = Prior(PriorChoice(name))
            embed = self._priors[name].embed
        spec = self._run.algorithm.spec
        maps = maps_of(spec, given, [f"image {i}" for i in range(len(given))]) if len(given) else {}
        condition = condition_of(self._run, n, label, prompts, embed, seed, maps)
        return self._sampler(self._run.state, jax.random.key(seed), n, condition)


def load(
    directory: str | Path, checkpoint: Which = "last", average: bool = True, **sampling: Any
) -> LoadedRun:
    """Opens a run, without the data that it was trained on.

    Args:
      directory: of the run.
      checkpoint: last, best, or the step of a checkpoint.
      average: sample from the moving average of the parameters where the run keeps one.
      sampling: what the samples of its family depend on, such as ``temperature=0.8``.

    Returns:
      The run.

    Raises:
      UserError: not a run, no such checkpoint, or no such option.
    """
    path = Path(directory)
    options = FAMILIES[type(read_config(path).model)].sampling
    known = [] if options is None else [field.name for field in dataclasses.fields(options)]
    for name in sampling:
        if name not in known:
            raise UserError(
                f"samples of {path} have no option {name!r}; choices: {', '.join(known) or 'none'}"
            )
    chosen = None if options is None else options(**sampling)
    return LoadedRun(path, open_run(path, checkpoint, average, chosen))


def train(
    experiment: Experiment | str, directory: str | Path, resume: bool = False, quiet: bool = False
) -> LoadedRun:
    """Trains a configuration to its last step.

    Args:
      experiment: the configuration, perhaps of `preset` by `dataclasses.replace`; or the name of a
        preset.
      directory: of the run; new, or that of the run to resume.
      resume: go on from the latest checkpoint in `directory`.
      quiet: print nothing.

    Returns:
      The run at its end.

    Raises:
      UserError: the configuration does not fit the data or the devices, or the folder is taken.
      RunFailed: it can't go on.
    """
    config = preset(experiment) if isinstance(experiment, str) else experiment
    path = Path(directory)
    console = Console(markup=False, quiet=quiet)
    source, held_out = load_source(config.data), load_held_out(config.data)
    train_run(config, path, source, console, resume, held_out=held_out)
    return load(path)


def sample(
    directory: str | Path,
    n: int = 64,
    seed: int = 0,
    label: int | str | None = None,
    checkpoint: Which = "last",
    **sampling: Any,
) -> Samples:
    """Draws samples of a run; the arguments are those of `load` and `LoadedRun.sample`."""
    return load(directory, checkpoint, **sampling).sample(n, seed, label)


def evaluate(
    directory: str | Path,
    metrics: Sequence[str] = (),
    samples: int = 10_000,
    seed: int = 0,
    checkpoint: Which = "last",
) -> dict[str, float]:
    """Scores samples of a run against the split that it learnt from.

    Args:
      directory: of the run.
      metrics: names as `genjax evaluate` has them; if empty the usual ones that can be had, which
        without a feature network are few: ask for those that you need.
      samples: how many are drawn.
      seed: of the samples and of all random choices.
      checkpoint: last, best, or the step of a checkpoint.

    Returns:
      From score to value. `genjax evaluate` also records the protocol.

    Raises:
      UserError: not a run, its data are not there, or a metric does not apply.
    """
    protocol = Protocol(load_classifier, tuple(metrics), samples, seed)
    found = evaluate_run(Path(directory), checkpoint, protocol)
    return {record["metric"]: record["value"] for record in found.records}
