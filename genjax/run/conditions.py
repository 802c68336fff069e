"""What samples are made from: in turn, as a reference has it, or of chosen examples."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from genjax.core.captions import CAPTION
from genjax.core.embeddings import EMBEDDING, shown_embeddings
from genjax.core.schema import Source, Spec
from genjax.data.order import permute
from genjax.domains.captions import encode_prompts
from genjax.domains.derivations import derive_stored
from genjax.errors import UserError

AS_IN_REFERENCE = "shares of the reference"
"""What a record says of labels from `conditions_as_in`."""

_BATCH = 1024


def conditions_in_turn(spec: Spec, count: int) -> dict[str, np.ndarray]:
    """What samples are made from where nobody says: the values of a label, or captions, in turn.

    Args:
      spec: of the algorithm.
      count: number of samples.

    Returns:
      For each given field, int32 [count], ``i % levels``; empty for an unconditional model.
      Classes of which the data have no example are passed over. Of captions int32
      [count, 1, length], the prompts of the data; a label is then that of the prompt. Of embeddings
      float32 [count, size], those of images of the prompts.

    Raises:
      UserError: a given field has no levels that could be taken in turn, or there are no prompts,
        or no embeddings of their images.
    """
    _check_levels(spec)
    values: dict[str, Sequence[int]] = {
        name: spec.labels if name == "label" else range(spec.fields[name].levels)
        for name in spec.given
        if name not in (CAPTION, EMBEDDING)
    }
    prompts = _prompts(spec) if CAPTION in spec.given else None
    if prompts is not None:
        values |= _labels_of_prompts(spec, len(prompts))
    found = {name: np.resize(np.array(some, np.int32), count) for name, some in values.items()}
    if prompts is not None:
        found[CAPTION] = prompts[np.arange(count) % len(prompts)]
    if EMBEDDING in spec.given:
        shown = _embeddings(spec, None if prompts is None else len(prompts))
        found[EMBEDDING] = shown[np.arange(count) % len(shown)]
    return {name: found[name] for name in spec.given}


def conditions_as_in(spec: Spec, reference: Source, count: int) -> dict[str, np.ndarray]:
    """What samples are made from that are compared with a reference as a whole.

    Values of several given fields are drawn together, as the reference has them. Captions,
    embeddings, and what else only single examples have or is derived of them, are those of its
    examples in an order of its own, see `order_in`.
    Categories that the model finds by itself come in turn, as it learns them.

    Args:
      spec: of the algorithm.
      reference: the real examples.
      count: number of samples.

    Returns:
      For each given field, int32 [count], see `in_proportion`; of what single examples have that of
      the same examples, see `conditions_of_rows`; empty for an unconditional model.

    Raises:
      UserError: a given field has no levels.
    """
    if not spec.given or spec.categories:
        return conditions_in_turn(spec, count)
    if follows_examples(spec):
        turns = np.arange(count) // reference.count
        return conditions_of_rows(spec, reference, order_in(reference, count), turns)
    _check_levels(spec)
    every = np.arange(reference.count)
    rows = np.stack([_column(reference, name, every) for name in spec.given], axis=1)
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    chosen = kinds[in_proportion(counts, count)].astype(np.int32)
    return {name: chosen[:, place] for place, name in enumerate(spec.given)}


def follows_examples(spec: Spec) -> bool:
    """Whether what is given is that of one example each, and no class that many have."""
    return any(spec.fields[name].shape for name in spec.given)


def examples_alone(spec: Spec) -> tuple[str, ...]:
    """The given fields that nobody but an example tells: no label, prompt or fact of the data."""
    told = (CAPTION, EMBEDDING)
    return tuple(name for name in spec.given if spec.fields[name].shape and name not in told)


def order_in(reference: Source, count: int) -> Int[np.ndarray, "count"]:
    """The examples of a reference whose captions and derived fields `conditions_as_in` takes.

    All of them come once, in a mixed order, before any comes twice.
    """
    # A beginning is as varied as the whole, in whatever order the reference is stored.
    places = np.arange(count) % reference.count
    return permute(places, reference.count, seed=0, epoch=0)


def conditions_of_rows(
    spec: Spec,
    source: Source,
    rows: Int[np.ndarray, "n"],
    turns: Int[np.ndarray, "n"] | None = None,
) -> dict[str, np.ndarray]:
    """What the examples with some numbers are made from.

    Args:
      spec: of the algorithm.
      source: the examples.
      rows: their numbers.
      turns: how often each came before, by which and by its place one of its captions is chosen;
        None takes the first, so that what an example is made from depends on it alone.

    Returns:
      For each given field, int32 [n]; of captions one of each, int32 [n, 1, length]; of others, and
      of what is derived, float32 [n, ...].

    Raises:
      UserError: another given field has no levels.
    """
    plain = [name for name in spec.given if name not in spec.derived]
    real = [name for name in plain if spec.fields[name].dtype == "float32"]
    _check_levels(spec._replace(given=tuple(name for name in plain if name not in real)))
    types = {name: np.float32 if name in real else np.int32 for name in plain}
    found = {name: np.asarray(_column(source, name, rows), types[name]) for name in plain}
    if CAPTION in found:
        captions = found[CAPTION]
        found[CAPTION] = captions[:, :1] if turns is None else _one_each(captions, turns)
    found |= _derived(spec, source, rows)
    return {name: found[name] for name in spec.given}


def labels_of_rows(spec: Spec, source: Source, rows: Int[np.ndarray, "n"]) -> dict[str, np.ndarray]:
    """What samples should be of that are made from examples, where the data say it.

    Args:
      spec: of the algorithm.
      source: the examples.
      rows: their numbers.

    Returns:
      Their labels, int32 [n]; nothing where the model is given them, or words, or there are none.
    """
    told = "label" in spec.given or not examples_alone(spec)
    if told or "label" not in source.schema.fields:
        return {}
    return {"label": np.asarray(_column(source, "label", rows), np.int32)}


def known_to_data(spec: Spec, condition: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those fields of a condition that the data have too, captions and embeddings with them.

    There are none of a model's own categories.
    """
    return {} if spec.categories else dict(condition)


def in_proportion(counts: Int[np.ndarray, "k"], size: int) -> Int[np.ndarray, "size"]:
    """Deals out classes so that every beginning has the shares of a population.

    Of the first n numbers ``floor(n c_j / sum c)`` or one more are j, for every n, so that as many
    numbers as the population has are the population; equal counts give ``i % k``. Class j is due
    for the m-th time after place ``floor((m - 1) sum c / c_j)`` and before ``ceil(m sum c / c_j)``,
    and the earliest deadline goes first.

    Args:
      counts: of each class, int [k], at least one of which isn't 0; a class without is never dealt.
      size: how many numbers.

    Returns:
      int64 [size], in [0, k). Entry i depends on the shares and on i alone.

    Reference: Baruah, Cohen, Plaxton & Varvel 1996 (proportionate progress); Steiner & Yeomans
    1993 for the deadlines.

    Example:
      >>> in_proportion(np.array([2, 0, 1]), 6)
      array([0, 0, 2, 0, 0, 2])
    """
    classes = np.flatnonzero(counts)
    shares = (counts[classes] // np.gcd.reduce(counts)).tolist()
    period = sum(shares)
    release = np.zeros(len(shares), np.int64)
    deadline = np.array([-(-period // share) for share in shares])
    dealt = [0] * len(shares)
    found = np.empty(min(size, period), np.int64)
    for place in range(len(found)):
        chosen = int(np.where(release <= place, deadline, period + 1).argmin())
        found[place] = chosen
        dealt[chosen] += 1
        release[chosen] = dealt[chosen] * period // shares[chosen]
        deadline[chosen] = -(-(dealt[chosen] + 1) * period // shares[chosen])
    return classes[np.resize(found, size)]


def _prompts(spec: Spec) -> np.ndarray:
    """The prompts of the data as tokens, int32 [n, 1, length]."""
    texts = spec.facts.get("prompts")
    # A manifest may say anything.
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts) or not texts:
        raise UserError("samples are made from captions, of which the data name none; give prompts")
    return encode_prompts(spec.facts, spec.fields[CAPTION], texts)[0]


def _embeddings(spec: Spec, prompts: int | None) -> np.ndarray:
    """The embeddings that the data name, one for each prompt, float32 [n, size]."""
    found = shown_embeddings(spec.facts, spec.fields[EMBEDDING].shape[0])
    if found is None or prompts not in (None, len(found)):
        raise UserError(
            "samples are made from embeddings of images, of which the data name none; make the "
            "data by genjax data embed, or name a run that makes embeddings: --prior RUN"
        )
    return found


def _labels_of_prompts(spec: Spec, count: int) -> dict[str, list[int]]:
    """The classes of the examples that prompts are of; nothing where they aren't asked for."""
    labels = spec.facts.get("prompt_labels")
    if "label" not in spec.given or not isinstance(labels, list) or len(labels) != count:
        return {}
    usable = all(isinstance(label, int) and 0 <= label < spec.classes for label in labels)
    return {"label": labels} if usable else {}


def _check_levels(spec: Spec) -> None:
    for name in spec.given:
        field = spec.fields[name]
        axes = {CAPTION: 2, EMBEDDING: 1}.get(name, 0)
        if bool(field.levels) == (name == EMBEDDING) or len(field.shape) != axes:
            raise UserError(f"samples are made from {name!r}, which must be given")


def _one_each(
    captions: Int[np.ndarray, "n candidates length"], turn: Int[np.ndarray, "n"]
) -> np.ndarray:
    """A candidate of each example: another one in each of its turns, as long as there are some."""
    counts = np.maximum((captions >= 0).any(axis=2).sum(axis=1), 1)
    # Examples with as many candidates do not all begin with the first.
    chosen = (turn + np.arange(len(captions))) % counts
    return np.take_along_axis(captions, chosen[:, None, None], axis=1)


def _derived(spec: Spec, source: Source, rows: Int[np.ndarray, "n"]) -> dict[str, np.ndarray]:
    """What is made of the images of some examples, in parts: they may not all fit into memory."""
    if not spec.derive:
        return {}
    starts = range(0, max(len(rows), 1), _BATCH)
    parts = [
        derive_stored(spec, _column(source, spec.target, rows[start : start + _BATCH]))
        for start in starts
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in spec.derived}


def _column(source: Source, name: str, rows: Int[np.ndarray, "n"]) -> np.ndarray:
    """A field of some examples, wherever they lie."""
    if name in source.arrays:
        return np.asarray(source.arrays[name])[rows]
    starts = range(0, len(rows), _BATCH)
    return np.concatenate(
        [np.asarray(source.read(rows[start : start + _BATCH])[name]) for start in starts]
    )
