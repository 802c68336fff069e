"""The host's side of training: feeds the compiled step and writes what it reports.

It knows nothing of any family of models, and trains one run or several of one structure in the same
way.
"""

import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from genjax.config import Experiment
from genjax.config.json import as_written
from genjax.core.parallel import copy_to
from genjax.core.rng import stream
from genjax.core.schema import Source
from genjax.core.types import State
from genjax.data.order import batch_indices
from genjax.domains import domain_of
from genjax.errors import RunFailed, UserError
from genjax.run import averages, checkpoint
from genjax.run import directory as run_directory
from genjax.run.beginning import claim_folder, latest_states
from genjax.run.console import TrainingDisplay, print_line
from genjax.run.feed import make_feeder
from genjax.run.initial import read_initial
from genjax.run.interrupts import Stopped
from genjax.run.logs import import_wandb, open_log
from genjax.run.metrics import MetricReader
from genjax.run.monitor import Diverged, Monitor, check_finite, slow_average
from genjax.run.opening import pinned
from genjax.run.patience import Patience, has_ended
from genjax.run.processes import end_if_several, first_does, is_first, local
from genjax.run.program import Grouping, compile_runs
from genjax.run.recorder import Recorder, sample_key
from genjax.run.sampling import make_previewer, make_sampler
from genjax.run.scoring import make_evaluation
from genjax.run.trace import Trace, check_traced
from genjax.run.training import Fail, Member, Training
from genjax.run.weights import describe_weights, export_weights

_ROLLBACKS = 3


def train(
    experiment: Experiment,
    directory: str | Path,
    source: Source,
    console: Console,
    resume: bool = False,
    stop: Callable[[int], Any] = lambda step: None,
    held_out: Source | None = None,
    profile: int | None = None,
) -> None:
    """Runs an experiment to its last step.

    Args:
      experiment: the configuration.
      directory: of the run; new, or that of the run to resume.
      source: the examples to learn from.
      console: where progress is shown.
      resume: go on from the latest checkpoint in `directory`, or from the start without one.
      stop: asked after each call with the steps made; if it returns something true, the state is
        saved.
      held_out: examples to measure the loss on, where the family has one.
      profile: steps of a new run to record in an XLA trace; None for none.

    Raises:
      Stopped: after that.
      UserError: the configuration does not fit the data or the devices, or the folder is taken, if
        only by another process that is at work on the run.
      RunFailed: a metric is no longer finite, or the run has collapsed, and the configuration says
        to stop, or three times of going back did not help.
    """
    directory = Path(directory)
    runs = [Member(experiment, directory, resume)]
    train_runs(runs, source, console, "single", stop=stop, held_out=held_out, profile=profile)


def train_runs(
    members: Sequence[Member],
    source: Source,
    console: Console,
    grouping: Grouping,
    fail: Fail | None = None,
    stop: Callable[[int], Any] = lambda step: None,
    held_out: Source | None = None,
    profile: int | None = None,
) -> None:
    """Trains runs of one structure to their last step, from the last step that all of them have.

    Args:
      members: the runs.
      source: the examples that all learn from.
      console: where progress is shown.
      grouping: how they are compiled; ``single`` is for one.
      fail: told which run can't go on, and why; the others do. None raises instead.
      stop: as of `train`.
      held_out: as of `train`.
      profile: as of `train`; the trace lies in the folder of the first run.

    Raises:
      Stopped, UserError, RunFailed: as `train` does.
    """
    members = [
        member._replace(experiment=pinned(as_written(member.experiment))) for member in members
    ]
    experiments = [member.experiment for member in members]
    first = experiments[0]
    check_traced(profile, first)
    program = compile_runs(experiments, source.schema, grouping, jax.devices())
    algorithm = program.algorithm
    batch_indices(0, algorithm.examples, source.count, first.seed)
    # What can't work shows before anything is written.
    jax.eval_shape(algorithm.init, jax.random.key(first.seed))
    initials = {
        place: read_initial(member.experiment.init_from, algorithm)
        for place, member in enumerate(members)
        if member.experiment.init_from is not None and not member.resume and not member.left
    }
    if any(experiment.wandb for experiment in experiments):
        import_wandb()
    sampler = make_sampler(algorithm, domain_of(source.schema.domain))
    evaluations = {
        place: make_evaluation(
            member.experiment, algorithm, source, held_out, sampler, sample_key(member.experiment)
        )
        for place, member in enumerate(members)
        if not member.left
    }
    warnings = {warning for experiment in experiments if (warning := slow_average(experiment))}
    for warning in sorted(warnings):
        print_line(console, warning)
    together = None if len(members) == 1 else f"{grouping} of {len(members)} runs"
    with contextlib.ExitStack() as stack:
        managers = {}
        for place, member in enumerate(members):
            if not member.left:
                first_does(
                    partial(claim_folder, stack, member, source, together, initials.get(place))
                )
                managers[place] = stack.enter_context(
                    checkpoint.open_checkpoints(
                        member.directory / "checkpoints", member.experiment.keep_checkpoints
                    )
                )
        preview = make_previewer(algorithm, sampler, source)
        training = Training(
            members,
            source,
            program,
            managers,
            evaluations,
            preview,
            console,
            fail,
            stop,
            together,
            initials,
            profile,
            set(),
        )
        failure = None
        while managers:
            try:
                states = _continue(training, failure)
                _export(training, states)
                break
            except Diverged as diverged:
                failure = _go_back(training, diverged)
            except (Stopped, UserError):
                raise
            except BaseException as error:
                directory = members[0].directory
                again = f"genjax resume {shlex.quote(str(directory))}"
                end_if_several(error, again)
                if isinstance(error, OSError):
                    left = f"make room if the disk is full; `{again}` continues"
                    raise RunFailed(f"cannot write into {directory}: {error}", left) from error
                raise


def _continue(training: Training, failure: str | None) -> State:
    """Runs from the latest checkpoints, or from the start, to the last step."""
    members, program = training.members, training.program
    experiment, directory = members[0].experiment, members[0].directory
    steps = experiment.steps
    keys = {place: jax.random.key(members[place].experiment.seed) for place in training.managers}
    first, states = latest_states(training, keys)
    if first > steps:
        raise UserError(f"{directory} is already at step {first}; give --steps above {first}")
    # A run that is left out has a place in the program all the same.
    some = states[training.living[0]]
    if first == steps:
        # No mistake: a job may be killed after its last step, perhaps before its weights are
        # written, and be taken up again.
        said = f"{directory} is already at step {first}; --steps above {first} trains further"
        print_line(training.console, said)
        return program.join([states.get(place, some) for place in range(len(members))])
    living = [members[place] for place in training.living]
    if experiment.eval.patience is not None and all(
        has_ended(one.experiment.eval, run_directory.read_metrics(one.directory, first))
        for one in living
    ):
        said = f"{directory} has ended at step {first}: its score improved no more"
        print_line(training.console, said)
        return program.join([states.get(place, some) for place in range(len(members))])
    with contextlib.ExitStack() as stack:
        name = experiment.name
        if len(members) > 1:
            name += f", {len(training.living)} runs"
        display = stack.enter_context(TrainingDisplay(training.console, name, first, steps))
        recorders = {}
        for place in training.living:
            member = members[place]
            resume = member.resume or failure is not None
            monitor = Monitor(
                member.experiment.monitor, program.algorithm.signs(member.experiment.monitor)
            )
            patience = Patience(member.experiment.eval)
            if resume:
                for line in run_directory.read_metrics(member.directory, first):
                    monitor.observe(line)
                    patience.observe(line)
                extend = partial(run_directory.extend, member.directory, member.experiment)
                first_does(partial(extend, first, failure, training.together))
                first_does(partial(averages.drop_after, member.directory, first))
            if failure is not None:
                number = run_directory.count_failures(member.directory)
                other = stream(keys[place], "rollback", number)
                key = copy_to(states[place].key.sharding, other)
                states[place] = dataclasses.replace(states[place], key=key)
            log = open_log(member.directory, member.experiment, first if resume else None)
            stack.callback(log.close)
            recorders[place] = Recorder(
                member.experiment,
                member.directory,
                training.managers[place],
                log,
                monitor,
                patience,
                training.evaluations[place],
                training.preview,
                _speaker(display, member, len(members)),
            )
        where = f"{program.where}, into {directory}"
        if len(members) > 1:
            where = f"{program.where}, into {directory.parent}"
        if jax.process_count() > 1:
            where = f"{jax.process_count()} processes, {where}"
        display.say(f"{name}: steps {first + 1} to {steps} in {where}")
        joined = program.join([states.get(place, some) for place in range(len(members))])
        del states, some
        traced = -(-(training.profile or 0) // experiment.steps_per_call)
        trace = Trace(directory, traced, display.say)
        stack.callback(trace.close)
        joined = _run(training, joined, first, recorders, display, trace)
        if len(members) == 1:
            pictured = domain_of(training.source.schema.domain).pictured
            drawn = program.algorithm.sample is not None and pictured
            display.say(f"done; samples in {directory / 'samples'}" if drawn else "done")
    return joined


def _speaker(display: TrainingDisplay, member: Member, runs: int) -> Callable[[str], None]:
    if runs == 1:
        return display.say
    return lambda words: display.say(f"{member.directory.name}: {words}")


def _run(
    training: Training,
    states: State,
    first: int,
    recorders: dict[int, Recorder],
    display: TrainingDisplay,
    trace: Trace,
) -> State:
    """Makes the steps after `first`, with all that happens in between."""
    program, members = training.program, training.members
    experiment, count = members[0].experiment, len(members)
    examples = program.algorithm.examples
    experiments = [member.experiment for member in members]
    feeder = make_feeder(experiments, training.source, program, examples)

    def check(step: int, metrics: Sequence[dict[str, float]]) -> None:
        training.each(lambda place: check_finite(step, metrics[place]))

    def write(step: int, metrics: Sequence[dict[str, float]]) -> None:
        living = training.living
        if living:
            display.metrics(step, metrics[living[0]])
        training.each(lambda place: recorders[place].write(step, metrics[place]))

    def visit(step: int, states: State) -> None:
        training.each(lambda place: recorders[place].visit(step, program.take(states, place)))

    reader = MetricReader(experiment.log_every, examples, count, check, write, display)
    for before in range(first, experiment.steps, experiment.steps_per_call):
        with trace.before(before, states):
            states, metrics = program.step(states, feeder.data, feeder.batches(before))
        step = before + experiment.steps_per_call
        trace.after(step, states)
        # What is due is read while these steps run.
        if reader.due:
            reader.read()
        reader.add(before, metrics)
        if any(recorder.due(step) for recorder in recorders.values()):
            reader.read()
            with reader.paused():
                visit(step, states)
            if all(recorders[place].ended for place in training.living):
                display.advance(step)
                display.say(f"ends at step {step}: its score improved no more")
                break
        if step < experiment.steps and training.stop(step):
            reader.read()
            for place in training.living:
                recorders[place].save(step, program.take(states, place))
            raise Stopped(step)
        if not training.living:
            break
    for manager in training.managers.values():
        checkpoint.wait(manager)
    return states


def _export(training: Training, states: State) -> None:
    """Writes the weights of the runs that came to their end."""
    for place in training.living if is_first() else ():
        own = local(training.program.take(states, place))
        member = training.members[place]
        described = describe_weights(member.experiment, training.source.schema, int(own.step))
        files = export_weights(own, member.directory, described)
        for path in files if len(training.members) == 1 else ():
            print_line(training.console, f"wrote {path}")


def _go_back(training: Training, diverged: Diverged) -> str:
    """Drops what was written since the run was last well, and says why; or ends the run."""
    [member], [manager] = training.members, training.managers.values()
    experiment = member.experiment
    checkpoint.wait(manager)
    latest = manager.latest_step()
    left = f"the last good checkpoint is {manager.folder / str(latest)}"
    if latest is None:
        left = "no checkpoint was written before"
    if (experiment.on_collapse if diverged.collapsed else experiment.on_nan) == "stop":
        raise RunFailed(str(diverged), left) from None
    number = run_directory.count_failures(member.directory) + 1
    if number > _ROLLBACKS:
        raise RunFailed(
            f"{diverged}; going back ({_ROLLBACKS} of {_ROLLBACKS}) did not help", left
        ) from None
    good = checkpoint.drop_unhealthy(manager) if diverged.collapsed else latest
    if good is None and latest is not None:
        raise RunFailed(str(diverged), "no checkpoint is from before the collapse") from None
    where = "the start" if good is None else f"step {good}"
    again = f"going back to {where} with other noise ({number} of {_ROLLBACKS})"
    print_line(training.console, f"{diverged}; {again}")
    return str(diverged)
