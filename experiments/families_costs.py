"""What the models of the ablation families cost, beside how good they are.

Command:   genjax ablate experiments/ablations/families.py --seed-mode single
           python experiments/families_costs.py runs/ablations/families
Needs:     one CPU core for ten minutes, the extra plot
Writes:    experiments/results/families_costs.jsonl, a line a model; families_costs.md, a table;
           families_costs.png, FID against seconds and against operations; and families.png, the
           first samples of the first run of each, a row a model

Of each model: floating-point operations of an image in a step, by the formulas of
genjax/targets/flops.py; seconds for 1,000 samples, which are four times those for 250 at once from
a model of its size with random weights, the median of three by turns; and joules of as many where
the machine has a meter. Seconds of training are steps by the rates in the ablation's file.

Measured on 2026-11-29 on one of two cores of an AMD EPYC (family 25), jax 0.10.2, the other core
with short work at times.
"""

import dataclasses
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.energy import joules_of_a_call, open_meter
from benchmarks.timing import alternate, timed
from genjax.ablation.grid import load_ablation, make_cells
from genjax.ablation.results import Record, by_variant, read_results, succeeded
from genjax.ablation.style import COLOURS, log_scale, new_figure, save_figure, settings
from genjax.config import Experiment
from genjax.config.plugins import run_file
from genjax.core.compiler import jit
from genjax.data.sources import known_schema
from genjax.domains.domain import Picture
from genjax.domains.grid import image_grid
from genjax.domains.previews import save_previews
from genjax.families.registry import make_algorithm
from genjax.run.sampling import sample_run
from genjax.run.startup import prepare_process
from genjax.targets.flops import count_flops

RESULTS = Path(__file__).parent / "results"
FILE = Path(__file__).parent / "ablations" / "families.py"
DRAWN = 250
TURNS = 3
SHOWN = 16


def sampler(experiment: Experiment) -> Any:
    """A call that draws samples."""
    algorithm = make_algorithm(experiment, known_schema(experiment.data.name))
    state = jit(algorithm.init)(jax.random.key(0))
    sample = jit(algorithm.sample)
    index = jnp.arange(DRAWN, dtype=jnp.int32)

    def call() -> None:
        jax.block_until_ready(sample(state, jax.random.key(1), index, {}))

    return call


def measure(variants: dict[str, Experiment]) -> list[dict[str, Any]]:
    """Costs of each model, by turns where they are times."""
    unconditional = {
        name: dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, given=()))
        for name, experiment in variants.items()
    }
    calls = {name: sampler(experiment) for name, experiment in unconditional.items()}
    for call in calls.values():
        timed(call)
    turns = alternate(list(calls.values()), TURNS)
    seconds = {
        name: [1000 / DRAWN * time for time in own] for name, own in zip(calls, turns, strict=True)
    }
    meter = open_meter(jax.local_devices())
    found = []
    for name, experiment in variants.items():
        flops = count_flops(experiment, known_schema(experiment.data.name))
        joules = None
        if not isinstance(meter, str):
            joules = 1000 / DRAWN * joules_of_a_call(meter, calls[name])
        found.append(
            {
                "variant": name,
                "batch_size": experiment.batch_size,
                "steps": experiment.steps,
                "flops_per_step": flops,
                "sampling_s": seconds[name],
                "sampling_j": joules,
                "no_meter": meter if isinstance(meter, str) else None,
            }
        )
    return found


def tabulate(costs: list[dict[str, Any]], records: list[Record]) -> list[str]:
    """A row a model: what it costs, and its scores with their range over seeds."""
    groups = by_variant(succeeded(records))
    scores = list(records[0]["better"])
    heads = ["model", "steps x images", "GFLOP an image", "s for 1,000 samples", *scores]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for cost in costs:
        group = groups.get(cost["variant"], [])
        cells = []
        for score in scores:
            values = [record["scores"]["last"][score] for record in group]
            cells.append(
                f"{statistics.fmean(values):.3g} ({min(values):.3g} to {max(values):.3g})"
                if values
                else ""
            )
        images = cost["flops_per_step"] / cost["batch_size"] / 1e9
        lines.append(
            f"| {cost['variant']} | {cost['steps']:,} x {cost['batch_size']} | {images:.3f} "
            f"| {statistics.median(cost['sampling_s']):.2f} | {' | '.join(cells)} |"
        )
    return lines


def draw(costs: list[dict[str, Any]], records: list[Record], seconds: float, quantity: str) -> None:
    """Draws what was scored along the way: the mean over seeds, and a band from least to most."""
    groups = by_variant(succeeded(records))
    with settings():
        figure = new_figure(7.6, 3.2)
        left, right = figure.subplots(1, 2, sharey=True)
        for cost, colour in zip(costs, COLOURS, strict=False):
            group = groups.get(cost["variant"], [])
            if not group:
                continue
            curves = np.array([record["curve"][quantity] for record in group])
            steps = np.array(group[0]["curve"]["step"])
            spent = steps * seconds / cost["steps"], steps * cost["flops_per_step"] / 1e12
            for panel, x in zip((left, right), spent, strict=True):
                low, high = curves.min(0), curves.max(0)
                panel.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
                label = cost["variant"] if panel is left else None
                panel.plot(x, curves.mean(0), color=colour, marker="o", ms=3, label=label)
        for panel, what in ((left, "seconds of one core"), (right, "TFLOP")):
            panel.set_xlabel(what)
            log_scale(panel, "y")
        log_scale(right, "x")
        left.set_ylabel("FID (classifier), 500 samples")
        figure.legend(loc="outside right upper")
        save_figure(figure, RESULTS, "families_costs")


def show_samples(variants: dict[str, Experiment], folder: Path) -> None:
    """Draws samples of a run of each model, a row each."""
    cells = make_cells(load_ablation(FILE), folder, None, variants)
    first = {cell.variant: cell.directory for cell in reversed(cells)}
    rows = [sample_run(first[name], 0, "last", SHOWN).samples for name in variants]
    picture = Picture(image_grid(np.concatenate(rows), SHOWN))
    save_previews(RESULTS / "families.png", [picture])


def main() -> None:
    """Measures, and writes the records, the table, the plot and samples."""
    prepare_process()
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/ablations/families")
    records = list(read_results([folder]).records)
    variants = dict(load_ablation(FILE).variants)
    costs = measure(variants)
    lines = "".join(json.dumps(cost) + "\n" for cost in costs)
    (RESULTS / "families_costs.jsonl").write_text(lines)
    table = tabulate(costs, records)
    (RESULTS / "families_costs.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))
    draw(costs, records, run_file(FILE, "families").SECONDS, "evaluation/fid_classifier")
    show_samples(variants, folder)


if __name__ == "__main__":
    main()
