"""From the records of an ablation to one row of numbers for each variant."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from genjax.ablation.results import CHECKPOINTS, Record, by_variant, directions, succeeded
from genjax.ablation.statistics import (
    Difference,
    Interval,
    holm,
    mean_interval,
    paired_difference,
)
from genjax.errors import lookup


class Summary(NamedTuple):
    """One score of one variant at one checkpoint, over its seeds.

    Attributes:
      interval: mean and interval, or None where all seeds failed.
      worst: the worst value, or None.
      worst_seed: the seed that has it, the lowest of several, or None.
      difference: from the baseline, or None for the baseline itself and without a common seed.
      p_holm: its p after Holm's correction over all variants at this checkpoint, or None.
    """

    interval: Interval | None
    worst: float | None
    worst_seed: int | None
    difference: Difference | None
    p_holm: float | None


class Row(NamedTuple):
    """A variant.

    Attributes:
      variant: its name.
      baseline: whether it is what the others are compared with.
      seeds: those that ran, failed or not.
      failures: from each seed that failed to the reason.
      train_s: mean training time of the runs that did not fail, in seconds, or None.
      summaries: from checkpoint and score to its numbers.
    """

    variant: str
    baseline: bool
    seeds: tuple[int, ...]
    failures: dict[int, str]
    train_s: float | None
    summaries: dict[tuple[str, str], Summary]


def make_rows(records: Sequence[Record], sort: str | None = None) -> list[Row]:
    """Summarises an ablation.

    Args:
      records: of one ablation, as `read_results` returns them; at least one.
      sort: score to sort by, at the last checkpoint, the best variant first and those without a
        score last; None keeps the order of the records.

    Returns:
      A row for each variant.

    Raises:
      UserError: no such score.
    """
    better = directions(records)
    if sort is not None:
        lookup(better, sort, "score")
    groups = by_variant(records)
    baseline = records[0]["baseline"]
    keys = [(checkpoint, score) for checkpoint in CHECKPOINTS for score in better]
    summaries = {
        (checkpoint, score): _summarise(groups, baseline, better[score], checkpoint, score)
        for checkpoint, score in keys
    }
    rows = []
    for variant, group in groups.items():
        seconds = [record["times"]["train_s"] for record in succeeded(group)]
        row = Row(
            variant,
            variant == baseline,
            tuple(record["seed"] for record in group),
            {r["seed"]: " ".join(r["reason"].split()) for r in group if r["status"] == "failed"},
            float(np.mean(seconds)) if seconds else None,
            {key: summaries[key][variant] for key in keys},
        )
        rows.append(row)
    if sort is None:
        return rows
    sign = -1 if better[sort] == "higher" else 1

    def place(row: Row) -> float:
        interval = row.summaries["last", sort].interval
        return float("inf") if interval is None else sign * interval.mean

    return sorted(rows, key=place)


def _summarise(
    groups: dict[str, list[Record]], baseline: str, side: str, checkpoint: str, score: str
) -> dict[str, Summary]:
    values = {
        variant: {r["seed"]: float(r["scores"][checkpoint][score]) for r in succeeded(group)}
        for variant, group in groups.items()
    }
    compared = {
        variant: paired_difference(scores, values.get(baseline, {}))
        for variant, scores in values.items()
        if variant != baseline
    }
    tested = {
        variant: difference.p
        for variant, difference in compared.items()
        if difference is not None and difference.p is not None
    }
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    pick = min if side == "higher" else max
    found = {}
    for variant, scores in values.items():
        worst = pick(scores, key=lambda seed: scores[seed]) if scores else None
        found[variant] = Summary(
            mean_interval(list(scores.values())) if scores else None,
            None if worst is None else scores[worst],
            worst,
            compared.get(variant),
            corrected.get(variant),
        )
    return found
