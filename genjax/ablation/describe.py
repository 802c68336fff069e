"""What the numbers of an ablation's table are and what they were made with, in words."""

import json
from collections.abc import Sequence

from genjax.ablation.results import Record, differences, directions, flatten, succeeded
from genjax.ablation.rows import Row
from genjax.ablation.statistics import RESAMPLES


def describe(rows: Sequence[Row], records: Sequence[Record]) -> str:
    """Says in one line what the numbers of a table are and what they were made with.

    Args:
      rows: of `make_rows`.
      records: what the rows were made of.

    Returns:
      Sentences without a line break.
    """
    first, better = records[0], directions(records)
    counts = sorted({len(row.seeds) for row in rows})
    sides = [
        f"{side} is better for {', '.join(name for name in better if better[name] == side)}"
        for side in dict.fromkeys(better.values())
    ]
    compared = max(
        (sum(row.summaries["last", name].p_holm is not None for row in rows) for name in better),
        default=0,
    )
    steps = sorted({record["steps"] for record in records})
    against = (
        f"differences are from {first['baseline']} at the last checkpoint, paired by seed, with p "
        "of a two-sided paired t test after Holm's correction over all comparisons of one score "
        f"({compared})"
    )
    parts = [
        f"Ablation {first['ablation']}; seeds of a variant: {_range(counts)}; steps: "
        f"{_range(steps)}",
        "mean over the seeds that did not fail, at the last checkpoint unless it says best, with "
        f"its 95 % percentile bootstrap interval ({RESAMPLES:,} resamples of the seeds)",
        *sides,
        *([against] if compared else []),
        "the column s/run is the mean training time of the runs that did not fail",
        *_missing(rows),
        *_protocol(records),
        *_facts(records),
    ]
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


def name_seeds(seeds: Sequence[int]) -> str:
    """Names seeds.

    Args:
      seeds: at least one.

    Returns:
      For example ``seeds 0, 3``.
    """
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _range(values: Sequence[int]) -> str:
    """Of sorted numbers."""
    return " to ".join(f"{value:,}" for value in sorted({values[0], values[-1]}))


def _missing(rows: Sequence[Row]) -> list[str]:
    every = {seed for row in rows for seed in row.seeds}
    lacking = [
        f"{row.variant}, {name_seeds(sorted(every - set(row.seeds)))}"
        for row in rows
        if every - set(row.seeds)
    ]
    missing = [f"without a result: {'; '.join(lacking)}"] if lacking else []
    if not any(row.baseline for row in rows):
        missing.append("the baseline has no result")
    return missing


def _facts(records: Sequence[Record]) -> list[str]:
    commits = dict.fromkeys(record["commit"] or "unknown" for record in records)
    names = dict.fromkeys(name for record in records for name in record["versions"])
    differing = differences([record["versions"] for record in records])
    versions = [
        f"{name} {' and '.join(map(str, differing.get(name, [records[0]['versions'].get(name)])))}"
        for name in names
    ]
    devices = dict.fromkeys(record["device"] for record in records)
    modes = dict.fromkeys(record["seed_mode"] for record in records)
    moments = [r["times"].get("started", r["times"].get("finished")) for r in records]
    days = sorted({str(moment)[:10] for moment in moments if moment})
    facts = [f"commit {', '.join(commits)}; {', '.join(versions)}; {', '.join(devices)}"]
    facts.append(f"seed mode {', '.join(modes)}")
    if len(modes) > 1:
        facts[-1] += ", whose seconds do not compare"
    if days:
        facts.append(f"run on {' to '.join(dict.fromkeys((days[0], days[-1])))}")
    return facts


def _protocol(records: Sequence[Record]) -> list[str]:
    """What the scores depend on; what holds for all of them is said once."""
    fields: dict[str, dict[str, list[str]]] = {}
    better = directions(records)
    for record in succeeded(records)[:1]:
        for name, value in flatten(record["protocol"]):
            score, _, field = name.partition(".")
            if score not in better:
                score, field = "", name
            if value not in (None, {}):
                text = value if isinstance(value, str) else json.dumps(value)
                fields.setdefault(field, {}).setdefault(text, []).append(score)
    parts = []
    for field, values in fields.items():
        for text, scores in values.items():
            every = scores == [""] or len(scores) == len(better)
            parts.append(f"{field} {text}" + ("" if every else f" ({', '.join(scores)})"))
    return [f"protocol: {', '.join(parts)}"] if parts else []
