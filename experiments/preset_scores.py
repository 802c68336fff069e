"""Presets trained for a laptop's budget, with every score, between a floor and a ceiling.

Command:   python experiments/preset_scores.py [PRESET ...]
Needs:     MNIST (`genjax data prepare mnist`) and Fashion-MNIST, and two CPU cores, ten minutes for
           a DCGAN and 70 for the others; the classifiers come with genjax
Writes:    runs/experiments/preset_scores/, one folder a run; a second call goes on
           experiments/results/preset_scores/, of each preset the records as PRESET.jsonl, a table
           as PRESET.md and 64 samples as PRESET.png

Seed 0. DCGANs make 2,500 steps of 128 images, 5.3 epochs, and models of diffusion and flow matching
10,000 of 32, as many images. 10,000 samples are compared with all 60,000 training images, and so
are two controls: the 10,000 test images, which no model can be expected to beat, and noise, every
pixel uniform on 0 to 255.

dcgan-mnist and dcgan-fashion were measured on 2026-11-28 on two cores of an AMD EPYC, jax 0.10.2,
in 12.6 minutes beside other work; diffusion-mnist on 2026-11-29, trained in 53 minutes of one core
and scored in 15 of two (family 25). The others have not been run yet.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from genjax.commands.arguments import progress
from genjax.config import DataConfig
from genjax.data.sources import load
from genjax.domains.previews import save_previews
from genjax.errors import lookup
from genjax.evals.classifier import load_classifier
from genjax.evals.records import Record, append_records, rank, read_records
from genjax.presets import preset
from genjax.run.evaluation import Protocol, evaluate_images, evaluate_run, save_closest
from genjax.run.loop import train
from genjax.run.sampling import render_samples, sample_run
from genjax.run.startup import prepare_process

DIRECTORY = Path("runs/experiments/preset_scores")
RESULTS = Path(__file__).parent / "results" / "preset_scores"
SAMPLES = 10_000
# What differs from the presets; samples of denoisers take minutes.
BUDGETS: dict[str, dict[str, int]] = {
    "dcgan-mnist": {"steps": 2500},
    "dcgan-fashion": {"steps": 2500},
    "diffusion-mnist": {"sample_every": 2500},
    "diffusion-fashion": {"sample_every": 2500},
    "flow-fashion": {"sample_every": 2500},
}


def train_run(name: str, console: Console) -> Path:
    """Trains a preset, or goes on with it; returns the folder of the run."""
    directory = DIRECTORY / name
    if not list(directory.glob("*.safetensors")):
        base = preset(name)
        # What comes of it is scored at the end.
        scored = dataclasses.replace(base.eval, rank="none")
        changed: dict[str, Any] = {"checkpoint_every": 500, "eval": scored, **BUDGETS[name]}
        experiment = dataclasses.replace(base, **changed)
        train(experiment, directory, load(experiment.data), console, directory.exists())
    return directory


def make_controls(directory: Path, data: str) -> dict[str, Path]:
    """Writes the controls, without labels as the samples are; returns their files by title."""
    test = load(DataConfig(data, "test")).arrays["image"]
    noise = np.random.default_rng(0).integers(0, 256, (SAMPLES, *test.shape[1:]), dtype=np.uint8)
    files = {}
    for title, images in (("test images", test), ("noise", noise)):
        files[title] = directory / f"{title.split()[0]}.npz"
        np.savez(files[title], images=images)
    return files


def tabulate(groups: dict[str, list[Record]]) -> list[str]:
    """A table with a row a score and a column a group of records."""
    names = list(groups)
    metrics = dict.fromkeys(record["metric"] for group in groups.values() for record in group)
    lines = [f"| score | better | {' | '.join(names)} |", "| --- " * (len(names) + 2) + "|"]
    for metric in metrics:
        cells = []
        for group in groups.values():
            record = next((r for r in group if r["metric"] == metric), None)
            cell = "" if record is None else f"{record['value']:.4g}"
            if record is not None and record["spread"] is not None:
                cell += f" ± {record['spread']:.2g}"
            cells.append(cell)
        better = next(r["better"] for g in groups.values() for r in g if r["metric"] == metric)
        lines.append(f"| {metric} | {better} | {' | '.join(cells)} |")
    return lines


def score(name: str, console: Console) -> None:
    """Trains and scores a preset beside the controls; writes records, table and samples."""
    directory = train_run(name, console)
    protocol = Protocol(load_classifier, samples=SAMPLES)
    # Samples of a denoiser take half an hour.
    scored = DIRECTORY / f"{name}.jsonl"
    if not scored.exists():
        result = evaluate_run(directory, "last", protocol, progress=progress)
        save_closest(directory / "closest.png", result.compared)
        append_records(scored, result.records)
    own = read_records(scored)
    groups = {f"step {own[0]['step']}": own}
    for title, file in make_controls(directory, preset(name).data.name).items():
        controls = evaluate_images(preset(name).data.name, str(file), protocol, progress=progress)
        groups[title] = controls.records
    records = [record for group in groups.values() for record in group]
    # Refused if anything but these should differ.
    rank(records, [], ("ema", "sampling", "checkpoint"))
    network = own[0]["features"]
    lines = [f"## {name}, {network['name']} {network['hash']}", "", *tabulate(groups)]
    (RESULTS / f"{name}.jsonl").unlink(missing_ok=True)
    append_records(RESULTS / f"{name}.jsonl", records)
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    drawn = sample_run(directory, 0, "last", 64)
    save_previews(RESULTS / f"{name}.png", render_samples(drawn, None))
    console.print("\n".join(lines), markup=False)


def main() -> None:
    """Scores the presets that are named, or all."""
    prepare_process()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or BUDGETS:
        lookup(BUDGETS, name, "preset")
        score(name, Console())


if __name__ == "__main__":
    main()
