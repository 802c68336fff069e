"""``genjax ablate``."""

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from genjax.commands.arguments import console, fail, parse, progress, say
from genjax.commands.columns import print_rows
from genjax.errors import UserError, lookup

if TYPE_CHECKING:
    from genjax.ablation.grid import Ablation, Cell
    from genjax.ablation.plan import Group
    from genjax.ablation.results import Record


def ablate(arguments: list[str]) -> None:
    """Run an ablation, or what is left of it: genjax ablate FILE [--seeds 8] [--dry-run]."""

    def run(
        file: Positional[Path],
        seeds: tuple[int, ...] = (),
        steps: int | None = None,
        only: tuple[str, ...] = (),
        out: Path | None = None,
        records: Path | None = None,
        seed_mode: Literal["auto", "vmap", "scan", "single"] = "auto",
        dry_run: bool = False,
        cluster: Literal["local", "slurm"] | None = None,
        cluster_option: tuple[str, ...] = (),
    ) -> None:
        """Train and score every variant with every seed; finished runs are never run again.

        Args:
          file: Python file that declares the ablation; see experiments/ablations.
          seeds: Seeds of each variant: one number means so many, from 0. The file's by default.
          steps: Steps of each run; those of the variants by default.
          only: Names of variants; all by default.
          out: Folder of the runs and results; runs/ablations/NAME by default.
          records: File of records, results.jsonl, of runs that were finished elsewhere and aren't
            trained again; a folder takes the file in it.
          seed_mode: How several seeds are trained: together in one program (vmap, or scan, one
            after the other within it), each alone (single), or as a short measurement finds
            fastest (auto).
          dry_run: Only list the grid, what is missing, and how long it will take.
          cluster: Run groups of seeds as jobs, by submitit.
          cluster_option: Parameters of submitit's executor, such as slurm_partition=gpu
            timeout_min=120.
        """
        from genjax.ablation.cells import adopt, assemble, changed_since, read_result
        from genjax.ablation.grid import choose_seeds, load_ablation, make_cells
        from genjax.ablation.plan import make_plan
        from genjax.evals.metrics import METRICS

        ablation = load_ablation(file)
        for metric, names in ablation.scores.items():
            known = lookup(METRICS, metric, f"metric in SCORES of {file}").scores
            for name in names if known else ():
                lookup(dict.fromkeys(known), name, f"score of {metric} in SCORES of {file}")
        if seeds:
            chosen = choose_seeds(seeds[0] if len(seeds) == 1 else seeds, "--seeds")
            ablation = ablation._replace(seeds=chosen)
        directory = out or Path("runs/ablations") / ablation.name
        grid = make_cells(ablation, directory, steps, ())
        cells = make_cells(ablation, directory, steps, only)
        elsewhere = {} if records is None else _read_records(records, ablation, file, grid)
        if not dry_run:
            adopt(grid, elsewhere)
        results = [read_result(cell) or elsewhere.get(cell.hash) for cell in cells]
        finished = [result for result in results if result is not None]
        missing = [cell for cell, result in zip(cells, results, strict=True) if result is None]
        for line in changed_since(finished):
            say(f"warning: {line}")
        if dry_run:
            _show_grid(ablation, cells, results)
            _show_estimate(missing, finished)
            return
        if missing:
            if cluster is None:
                plan = partial(make_plan, directory, missing, seed_mode)
                left = _run_here(file, ablation, directory, grid, missing, plan)
                if left:
                    say(f"{left} runs are being made by other processes")
            else:
                from genjax.ablation.cluster import submit

                groups = make_plan(directory, missing, seed_mode)
                options = _cluster_options(cluster_option)
                jobs = submit(groups, file, directory, ablation.seeds, steps, cluster, options)
                say(f"{len(jobs)} jobs; their output is in {directory / 'jobs'}")
                for job in jobs:
                    job.result()
        path = assemble(directory, grid)
        done = [record for cell in cells if (record := read_result(cell)) is not None]
        failed = sum(record["status"] == "failed" for record in done)
        say(f"{len(done)} of {len(cells)} runs are finished, {failed} of them failed; {path}")
        say(f"`genjax table {path}` makes the table, `genjax plot {path}` the plots")

    parse(run, arguments, "genjax ablate", switches=True)


def _read_records(
    records: Path, ablation: "Ablation", file: Path, grid: "Sequence[Cell]"
) -> "dict[str, Record]":
    """Records of runs that are in the grid, by the hash of their configuration."""
    from genjax.ablation.results import read_results

    known = read_results([records]).records
    hashes = {cell.hash for cell in grid}
    found = {record["config_hash"]: record for record in known if record["config_hash"] in hashes}
    if known[0]["ablation"] != ablation.name:
        raise UserError(
            f"--records is {records}, of the ablation {known[0]['ablation']!r}, but {file} is "
            f"{ablation.name!r}; give its own records"
        )
    if not found:
        raise UserError(
            f"--records is {records}, but none of its runs is in the grid of {file}; leave it out, "
            "or give records of these configurations"
        )
    return found


def _run_here(
    file: Path,
    ablation: "Ablation",
    directory: Path,
    grid: "Sequence[Cell]",
    missing: "Sequence[Cell]",
    plan: "Callable[[], Sequence[Group]]",
) -> int:
    """Runs what is missing in this process; asked to end, it saves what is being trained."""
    from genjax.ablation.run import Runner
    from genjax.run.interrupts import Stopped, requests_to_stop

    with requests_to_stop() as asked:
        runner = Runner(ablation, directory, grid, console, progress, stop=lambda step: asked())
        try:
            runner.check(missing)
            return runner.run(plan())
        except Stopped as stopped:
            again = f"`genjax ablate {shlex.quote(str(file))}` with the same flags continues"
            fail(f"{stopped}; {again}", 128 + (asked() or 0))
    return 0


def _cluster_options(options: Sequence[str]) -> dict[str, Any]:
    """Reads ``NAME=VALUE``; whole numbers become numbers."""
    found: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise UserError(f"--cluster-option {option!r} must be NAME=VALUE")
        found[name] = int(value) if value.isdecimal() else value
    return found


def _show_grid(
    ablation: "Ablation", cells: "Sequence[Cell]", results: "Sequence[Record | None]"
) -> None:
    say(f"{ablation.name}: {ablation.question}")
    rows = []
    for variant in dict.fromkeys(cell.variant for cell in cells):
        own = [r for c, r in zip(cells, results, strict=True) if c.variant == variant]
        done = [result for result in own if result is not None]
        failed = sum(result["status"] == "failed" for result in done)
        steps = next(cell.experiment.steps for cell in cells if cell.variant == variant)
        mark = " (baseline)" if variant == ablation.baseline else ""
        counts = (steps, len(own), len(done), failed)
        rows.append((variant + mark, *map(str, counts)))
    print_rows(rows, ("variant", "steps", "seeds", "finished", "failed"))


def _show_estimate(missing: "Sequence[Cell]", finished: "Sequence[Record]") -> None:
    """Says how long the missing runs will take: as the finished ones did, or as a step does."""
    if not missing:
        say("nothing is missing")
        return
    times: dict[str, list[float]] = {}
    for record in finished:
        if record["status"] == "ok":
            seconds = record["times"]["train_s"] + record["times"]["evaluate_s"]
            times.setdefault(record["variant"], []).append(seconds)
    if times:
        means = {variant: sum(values) / len(values) for variant, values in times.items()}
        usual = sum(means.values()) / len(means)
        seconds = sum(means.get(cell.variant, usual) for cell in missing)
        basis = "as the finished runs took"
    else:
        from genjax.ablation.plan import measure_modes
        from genjax.data.sources import load

        experiment = missing[0].experiment
        source = load(experiment.data, progress)
        step = min(measure_modes([experiment], source, ("single",)).values())
        calls = sum(cell.experiment.steps / experiment.steps_per_call for cell in missing)
        seconds = step * calls
        basis = (
            f"by {1e3 * step:.3g} ms a step of {missing[0].variant}, without compiling or scores"
        )
    say(f"missing: {len(missing)} runs, about {_duration(seconds)} ({basis})")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 1 else f"{seconds:.0f} s"
