"""How many calls of its network does a model need for a sample: solvers, MeanFlow, consistency.

Command:   genjax evaluate --train-features digits
           python experiments/few_steps.py
Needs:     two CPU cores, the extra plot
Writes:    runs/experiments/few_steps/, one folder a run; a second call goes on
           experiments/results/few_steps.jsonl, the records; few_steps.md, a table; and
           few_steps.png, the plot

On digits, 2,000 steps of 64 images: the preset diffusion-digits sampled by each solver, and models
that are made for few calls: meanflow-digits, consistency-digits, which learns from data alone, and
a consistency model distilled from the diffusion run, with whose weights it begins, in 17 intervals
of noise. Their networks are the same. FID of 2,000 samples against the 1,500 training images,
through the classifier of the data set; mean over seeds of training.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from genjax.ablation.style import COLOURS, log_scale, new_figure, save_figure, settings
from genjax.commands.arguments import progress
from genjax.config import (
    ConsistencyConfig,
    ConsistencySampling,
    DiffusionSampling,
    Experiment,
    MeanFlowSampling,
)
from genjax.data.sources import load
from genjax.evals.classifier import load_classifier
from genjax.evals.records import Record, append_records, read_records
from genjax.presets import preset
from genjax.run.evaluation import Protocol, evaluate_run
from genjax.run.loop import train
from genjax.run.startup import prepare_process

DIRECTORY = Path("runs/experiments/few_steps")
RESULTS = Path(__file__).parent / "results"
SEEDS = 3
CALLS = (1, 2, 4, 8, 16, 32)
SAMPLES = 2000


def configuration(name: str, seed: int) -> Experiment:
    """Of a run; that of a distilled one names its teacher."""
    base = preset("consistency-digits" if name == "distilled" else f"{name}-digits")
    changes: dict[str, Any] = {"seed": seed}
    if name == "distilled":
        teacher = str(DIRECTORY / f"diffusion-{seed}")
        assert isinstance(base.model, ConsistencyConfig)
        changes["model"] = dataclasses.replace(
            base.model, teacher=teacher, intervals=17, doubled_every=None, most_intervals=17
        )
        changes["init_from"] = teacher
    # What comes of it is scored at the end.
    scored = dataclasses.replace(base.eval, rank="none")
    return dataclasses.replace(base, eval=scored, **changes)


def ways(name: str) -> Iterator[tuple[str, int, Any]]:
    """How the samples of a run are drawn: a title, calls of the network, and the options."""
    few = {"meanflow": MeanFlowSampling, "consistency": ConsistencySampling}
    for calls in CALLS:
        if name != "diffusion":
            if calls <= 8:
                kind = few.get(name, ConsistencySampling)
                yield name, calls, kind(steps=calls)
            continue
        for solver in ("euler", "ddim", "ddpm", "dpmpp_2m"):
            yield solver, calls, DiffusionSampling(solver=solver, steps=calls)
        # Two calls a step, but one in the last.
        yield "heun", calls, DiffusionSampling(solver="heun", steps=calls // 2 + 1)


def train_run(name: str, seed: int, console: Console) -> Path:
    """Trains a run, or goes on with it; returns its folder."""
    directory = DIRECTORY / f"{name}-{seed}"
    if not list(directory.glob("*.safetensors")):
        experiment = configuration(name, seed)
        train(experiment, directory, load(experiment.data), console, directory.exists())
    return directory


def score(console: Console) -> list[Record]:
    """Trains and scores what isn't yet, each way of sampling it; returns all records."""
    protocol = Protocol(load_classifier, ("fid", "prdc"), SAMPLES)
    records = []
    for seed in range(SEEDS):
        for name in ("diffusion", "meanflow", "consistency", "distilled"):
            directory = train_run(name, seed, console)
            for title, calls, options in ways(name):
                # One step of heun's is one of euler's.
                if title == "heun" and calls == 1:
                    continue
                file = directory / f"{title}-{calls}.jsonl"
                if not file.exists():
                    found = evaluate_run(directory, "last", protocol, True, progress, options)
                    append_records(file, found.records)
                spent = 2 * options.steps - 1 if title == "heun" else calls
                own = {"way": title, "calls": spent, "training_seed": seed}
                records += [{**record, **own} for record in read_records(file)]
                console.print(f"{directory.name}, {title}, {spent} calls", highlight=False)
    return records


def means(records: list[Record], metric: str) -> dict[str, dict[int, list[float]]]:
    """Values by way of sampling and calls."""
    found: dict[str, dict[int, list[float]]] = {}
    for record in records:
        if record["metric"] == metric:
            calls = found.setdefault(record["way"], {})
            calls.setdefault(record["calls"], []).append(record["value"])
    return found


def tabulate(records: list[Record]) -> list[str]:
    """A table with a row a way and a column a number of calls."""
    ways = means(records, "fid")
    counts = sorted({calls for way in ways.values() for calls in way})
    lines = ["| FID by calls | " + " | ".join(map(str, counts)) + " |"]
    lines.append("| --- " * (len(counts) + 1) + "|")
    for way, values in ways.items():
        cells = []
        for count in counts:
            own = values.get(count, [])
            cell = f"{math.fsum(own) / len(own):.3g}" if own else ""
            cells.append(f"{cell} ({min(own):.3g} to {max(own):.3g})" if len(own) > 1 else cell)
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def draw(records: list[Record]) -> None:
    """Draws FID against calls: the mean over seeds, and a band from least to most."""
    with settings():
        figure = new_figure(5.6, 3.4)
        axes = figure.subplots()
        for (way, values), colour in zip(means(records, "fid").items(), COLOURS, strict=False):
            counts = sorted(values)
            low, high = ([pick(values[count]) for count in counts] for pick in (min, max))
            mean = [math.fsum(values[count]) / len(values[count]) for count in counts]
            axes.fill_between(counts, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(counts, mean, color=colour, linewidth=1.4, marker="o", ms=3, label=way)
        axes.set_xscale("log", base=2)
        log_scale(axes, "y")
        axes.set_xticks(CALLS, [str(count) for count in CALLS])
        axes.set_xlabel("calls of the network")
        axes.set_ylabel("FID (classifier)")
        figure.legend(loc="outside right upper")
        save_figure(figure, RESULTS, "few_steps")


def main() -> None:
    """Trains, scores, and writes records, the table and the plot."""
    prepare_process()
    console = Console()
    RESULTS.mkdir(exist_ok=True)
    records = score(console)
    (RESULTS / "few_steps.jsonl").unlink(missing_ok=True)
    append_records(RESULTS / "few_steps.jsonl", records)
    lines = tabulate(records)
    (RESULTS / "few_steps.md").write_text("\n".join([*lines, ""]))
    draw(records)
    console.print("\n".join(lines), markup=False)


if __name__ == "__main__":
    main()
