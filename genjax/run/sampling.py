"""Samples and previews of a training state, on the host."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from genjax.config import MOST_SAMPLES
from genjax.core.algorithm import Algorithm
from genjax.core.captions import CAPTION
from genjax.core.compiler import jit
from genjax.core.embeddings import EMBEDDING
from genjax.core.parallel import spread
from genjax.core.schema import Schema, Source, Spec
from genjax.core.types import Condition, Index, Key, State
from genjax.data.classes import find_class, list_names, names_of
from genjax.data.digest import content_digest
from genjax.domains import domain_of
from genjax.domains.captions import decode_caption, encode_prompts
from genjax.domains.derivations import shown
from genjax.domains.domain import Domain, Layout, Preview, Samples
from genjax.errors import UserError
from genjax.run import checkpoint
from genjax.run.conditions import (
    conditions_in_turn,
    conditions_of_rows,
    examples_alone,
    known_to_data,
)
from genjax.run.opening import Run, open_run

# Samples that are made at once. A CPU is busy with as few, and a person who wants eight does not
# wait for more; fewer make the smaller networks of images slower.
_ON_CPU, _ELSEWHERE = 16, 256
_CLASSES = 16
_COLUMNS = 8
_SHOWN = 16

HostCondition: TypeAlias = Mapping[str, np.ndarray]
"""The `given` fields of a number of samples, on the host."""
Sampler: TypeAlias = Callable[[State, Key, int, HostCondition], Samples]
Embed: TypeAlias = Callable[[Run, np.ndarray, int], np.ndarray]
"""``(decoder, captions, seed) -> embeddings``, such as `genjax.run.cascade.Prior.embed`."""
Previewer: TypeAlias = Callable[[State, Key], Sequence[Preview]]


def make_sampler(algorithm: Algorithm, domain: Domain) -> Sampler:
    """Compiles an algorithm's sampler.

    Args:
      algorithm: its `sample` is used.
      domain: of what it makes.

    Returns:
      A function ``(state, key, n, condition) -> samples`` on the host, as they are stored,
      [n, ...]. Sample i is the same whatever n. Of a family that makes none it raises UserError.
    """
    make = algorithm.sample
    if make is None:
        return _no_samples

    def draw(state: State, key: Key, index: Index, condition: Condition) -> Array:
        return domain.to_stored(make(state, key, index, condition))

    sample = jit(draw)
    size = _ON_CPU if jax.default_backend() == "cpu" else _ELSEWHERE

    def sampler(state: State, key: Key, count: int, condition: HostCondition) -> Samples:
        parts = []
        for start in range(0, count, size):
            # All chunks have one size, so that the sampler is compiled once and a sample has the
            # same bits whatever their number.
            index = jnp.arange(start, start + size, dtype=jnp.int32)
            own = {
                name: jnp.asarray(pad_rows(rows[start : start + size], size))
                for name, rows in condition.items()
            }
            parts.append(sample(state, key, index, own))
        return np.concatenate([np.asarray(part) for part in parts])[:count]

    return sampler


def _no_samples(state: State, key: Key, count: int, condition: HostCondition) -> Samples:
    raise UserError("a joint embedding makes no samples")


def pad_rows(rows: np.ndarray, size: int) -> np.ndarray:
    """Adds rows of zeros up to a size."""
    missing = [(0, size - len(rows)), *[(0, 0)] * (rows.ndim - 1)]
    return np.pad(rows, missing)


def make_previewer(algorithm: Algorithm, sampler: Sampler, source: Source) -> Previewer:
    """Compiles what draws the previews of a run.

    Args:
      algorithm: of the run. A conditional one shows a class a row; what it has to show beside its
        samples stands above them. One that is given what is derived of images shows that of the
        first examples, as large as these, and below it the examples.
      sampler: from `make_sampler`.
      source: its first examples are shown, too.

    Returns:
      A function ``(state, key) -> previews``; there are none of a family that makes no samples, or
      none that could be looked at.
    """
    domain = domain_of(source.schema.domain)
    if algorithm.sample is None or not domain.pictured:
        return lambda state, key: []
    first = np.arange(min(_SHOWN, source.count))
    show = None if algorithm.show is None else jit(algorithm.show)
    batch = None if show is None else source.read(first)

    def draw(state: State, key: Key) -> Sequence[Preview]:
        columns = _COLUMNS if show is None else _SHOWN
        count = domain.pictured
        if examples_alone(algorithm.spec):
            columns = count = len(first)
            condition = conditions_of_rows(algorithm.spec, source, first)
        elif algorithm.spec.given == ("label",) and source.schema.domain == "image":
            labels = class_rows(algorithm.spec.labels[:_CLASSES], columns)
            count = len(labels)
            condition = {"label": labels}
        else:
            condition = conditions_in_turn(algorithm.spec, count)
        captions = captions_in(algorithm.spec, condition)
        samples = sampler(state, key, count, condition)
        above = {} if show is None else show(state, batch, key)
        stored = {name: np.asarray(domain.to_stored(rows)) for name, rows in above.items()}
        if examples_alone(algorithm.spec):
            stored |= maps_in(algorithm.spec, condition)
            stored |= {"examples": np.asarray(source.read(first)[algorithm.spec.target])}
        return domain.render(samples, source.schema.facts, Layout(columns, stored, captions))

    return draw


def class_rows(labels: Sequence[int], each: int) -> np.ndarray:
    """Puts one class in each row: ``0, 0, ..., 1, 1, ...``; int32 [classes * each]."""
    return np.repeat(np.array(labels, np.int32), each)


class RunSamples(NamedTuple):
    """Samples of a run.

    Attributes:
      samples: as their domain stores them, [n, ...].
      labels: int32 [n], or None for a model without classes.
      names: of the classes, in the order of the labels; empty where they have none.
      prompts: what each was made from, as the model reads it; empty for a model without captions.
      step: of the checkpoint.
      schema: of the data.
      given: the pictures that each was made from, as large as it, uint8 [n, ...] by field.
    """

    samples: Samples
    labels: np.ndarray | None
    names: tuple[str, ...]
    prompts: tuple[str, ...]
    step: int
    schema: Schema
    given: Mapping[str, Samples] = MappingProxyType({})


def captions_in(spec: Spec, condition: HostCondition) -> tuple[str, ...]:
    """The captions that samples are made from, as a model reads them; none where there are none."""
    if CAPTION not in spec.given:
        return ()
    return tuple(decode_caption(spec.facts, rows[0]) for rows in condition[CAPTION])


def maps_in(spec: Spec, condition: HostCondition) -> dict[str, np.ndarray]:
    """What is derived and samples are made from, as pictures of their size, uint8, by field."""
    return {name: shown(condition[name], spec.shape) for name in spec.derived}


def condition_of(
    run: Run,
    count: int,
    label: int | str | None,
    prompts: Sequence[str] = (),
    embed: Embed | None = None,
    seed: int = 0,
    given: HostCondition = MappingProxyType({}),
) -> dict[str, np.ndarray]:
    """What samples of a run are made from.

    Args:
      run: from `open_run`.
      count: number of samples.
      label: class of all of them, by its name or, as a number, by its label; None takes the classes
        in turn.
      prompts: that are taken in turn; none takes those that the data came with.
      embed: makes embeddings of the captions, for a model that is given both; None takes those that
        the data came with.
      seed: of these.
      given: fields that are known, [n, ...] each, such as what is derived of images; taken in turn.

    Returns:
      The given fields, [count, ...] each.

    Raises:
      UserError: no such class, or the model makes no samples, or takes no prompts, or no
        embeddings.
    """
    name = run.experiment.name
    if run.algorithm.sample is None:
        raise UserError(
            f"{name!r} is of family {run.experiment.model.family}, which makes no samples; genjax "
            "evaluate says how well it tells captions apart"
        )
    spec = run.algorithm.spec
    if prompts and CAPTION not in spec.given:
        raise UserError(f"{name!r} is given no captions; leave the prompts out")
    if embed is not None and not {CAPTION, EMBEDDING} <= set(spec.given):
        raise UserError(
            f"{name!r} is not given both captions and embeddings of images, between which there "
            "is a prior; leave it out"
        )
    if prompts and EMBEDDING in spec.given and embed is None:
        raise UserError(
            f"{name!r} is given embeddings of images, too; name what makes them of prompts: "
            "--prior RUN"
        )
    if missing := [field for field in examples_alone(spec) if field not in given]:
        raise UserError(
            f"{name!r} makes its samples from {missing[0]!r}, which must be given; genjax sample "
            "takes --examples NUMBER ..., or files"
        )
    # What is said here in words or by a class takes the place of what is known of examples.
    made = [field for field, by in ((CAPTION, prompts), (EMBEDDING, embed)) if by]
    rest = tuple(field for field in spec.given if field not in (*given, *made))
    condition = conditions_in_turn(spec._replace(given=rest), count)
    condition |= {field: rows[np.arange(count) % len(rows)] for field, rows in given.items()}
    if prompts:
        rows, _ = encode_prompts(spec.facts, spec.fields[CAPTION], prompts)
        condition[CAPTION] = rows[np.arange(count) % len(rows)]
    if embed is not None:
        condition[EMBEDDING] = embed(run, condition[CAPTION], seed)
    if label is None:
        return condition
    if not spec.classes:
        raise _unconditional(run)
    names = class_names_of(run) or tuple(map(str, range(spec.classes)))
    found = find_class(names, label) if isinstance(label, str) else label
    if found is None or not 0 <= found < spec.classes:
        raise UserError(f"--label is {label}; classes of this model: {list_names(names)}")
    if found not in spec.labels:
        raise UserError(f"--label is {label}; the data have no example of that class")
    return {**condition, "label": np.full(count, found, np.int32)}


def class_names_of(run: Run) -> tuple[str, ...]:
    """Names of the classes that samples can be asked for; a model's own categories have none."""
    spec = run.algorithm.spec
    return names_of(run.schema) if spec.classes and not spec.categories else ()


def _unconditional(run: Run) -> UserError:
    given = " and ".join(run.algorithm.spec.given)
    why = f"is given {given}, but no labels" if given else "is not conditional"
    return UserError(f"{run.experiment.name!r} {why}: its samples have no class to ask for")


def sample_run(
    directory: str | Path,
    seed: int,
    which: checkpoint.Which,
    count: int,
    label: int | str | None = None,
    per_class: int | None = None,
    sampling: Any = None,
    average: bool = True,
    prompts: Sequence[str] = (),
    embed: Embed | None = None,
    given: HostCondition = MappingProxyType({}),
) -> RunSamples:
    """Draws samples from a checkpoint of a run, without the data it was trained on.

    Args:
      directory: of the run.
      seed: of the series.
      which: the checkpoint: last, best, or a step.
      count: how many samples; not used with `per_class`.
      label: class of all samples, see `condition_of`; None takes the classes in turn.
      per_class: samples of each class, class after class; of each given picture, or of each prompt,
        where there are some.
      sampling: how they are drawn, see `genjax.families.registry.make_algorithm`.
      average: as of `open_run`.
      prompts: see `condition_of`.
      embed: likewise.
      given: likewise.

    Returns:
      The samples.

    Raises:
      UserError: not a run, no such checkpoint, or no such class; more prompts than pictures.
    """
    directory = Path(directory)
    run = open_run(directory, which, average, sampling)
    labels = run.algorithm.spec.labels
    if per_class is not None:
        kinds, what = (len(prompts), "prompts") if prompts else (len(labels), "classes")
        if given:
            kinds, what = len(next(iter(given.values()))), "pictures"
            if len(prompts) > kinds:
                raise UserError(
                    f"there are {len(prompts)} prompts, and {kinds} pictures, each with one of "
                    "them; leave the others out, or give as many pictures"
                )
            prompts = [prompts[place % len(prompts)] for place in range(kinds)] if prompts else ()
        if not kinds:
            raise _unconditional(run)
        count = per_class * kinds
        if count > MOST_SAMPLES:
            raise UserError(
                f"--per-class is {per_class}; with {kinds} {what} it must be at most "
                f"{MOST_SAMPLES // kinds:,}"
            )
        prompts = [prompt for prompt in prompts for _ in range(per_class)]
        given = {name: np.repeat(rows, per_class, axis=0) for name, rows in given.items()}
    condition = condition_of(run, count, label, prompts, embed, seed, given)
    if per_class is not None and not prompts and not given:
        condition["label"] = class_rows(labels, per_class)
    sampler = make_sampler(run.algorithm, domain_of(run.schema.domain))
    samples = sampler(run.state, jax.random.key(seed), count, condition)
    names = class_names_of(run)
    read = captions_in(run.algorithm.spec, condition)
    pictures = maps_in(run.algorithm.spec, condition)
    return RunSamples(samples, condition.get("label"), names, read, run.step, run.schema, pictures)


def render_samples(drawn: RunSamples, columns: int | None) -> Sequence[Preview]:
    """What a person sees of the samples of a run, behind the pictures that they were made from.

    Args:
      drawn: the samples.
      columns: samples in a row, all of one picture where there are such; None takes one of each.

    Returns:
      The previews.
    """
    domain: Any = domain_of(drawn.schema.domain)
    samples, captions = drawn.samples, drawn.prompts
    if drawn.given:
        each = columns or 1
        first = [pictures[::each] for pictures in drawn.given.values()]
        rows = [*first, *(samples[number::each] for number in range(each))]
        if captions:
            blank = [""] * len(first)
            starts = range(0, len(samples), each)
            captions = tuple(x for at in starts for x in (*blank, *captions[at : at + each]))
        samples = np.stack(rows, axis=1).reshape(-1, *samples.shape[1:])
        many = 1 if columns else max(1, min(len(samples), _COLUMNS) // len(rows))
        columns = many * len(rows)
    layout = Layout(columns, captions=captions)
    previews: Sequence[Preview] = domain.render(samples, drawn.schema.facts, layout)
    return previews


def samples_of(
    run: Run, name: str, condition: HostCondition, count: int, seed: int, chunk: int
) -> Source:
    """The samples of a run as a source; sample i depends on the seed and on i alone.

    Args:
      run: from `open_run`.
      name: what people call it.
      condition: what they are made from, [count, ...] each.
      count: how many samples.
      seed: of the series.
      chunk: samples made at once, on all devices.

    Returns:
      The samples, made when they are read; they stay on the devices.
    """
    key = jax.random.key(seed)
    make, spec = run.algorithm.sample, run.algorithm.spec
    assert make is not None
    domain = domain_of(run.schema.domain)
    labels = known_to_data(spec, condition)
    devices, whole, split = spread(jax.local_devices())
    size = -(-chunk // devices) * devices

    def sample(state: State, index: Array, given: Condition) -> Array:
        return domain.to_stored(make(state, key, index, given))

    compiled = jit(sample, in_shardings=(whole, split, split), out_shardings=split)
    state = jax.device_put(run.state, whole)

    def read(numbers: np.ndarray) -> dict[str, Any]:
        parts = []
        for start in range(0, len(numbers), size):
            some = numbers[start : start + size]
            # All chunks have one size, so that the sampler is compiled once.
            index = pad_rows(some.astype(np.int32), size)
            given = {field: rows[index] for field, rows in condition.items()}
            parts.append(compiled(state, index, given)[: len(some)])
        drawn = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
        return {spec.target: drawn} | {field: rows[numbers] for field, rows in labels.items()}

    fields = {spec.target: run.schema.fields[spec.target]}
    fields |= {field: spec.fields[field] for field in labels}
    schema = run.schema._replace(fields=fields)
    source = Source(name, "", count, schema, read, labels, lambda: content_digest(source))
    return source
