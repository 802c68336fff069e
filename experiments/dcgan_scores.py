"""Two DCGANs trained for a laptop's budget, with every score, between a floor and a ceiling.

Command:   python experiments/dcgan_scores.py
Needs:     MNIST (`genjax data prepare mnist`) and Fashion-MNIST, two CPU cores, a quarter of an
           hour; their classifiers come with genjax
Writes:    runs/experiments/dcgan_scores/, one folder a run; a second call only scores them
           experiments/results/dcgan_scores.jsonl, the records, and dcgan_scores.md, the tables

The presets dcgan-mnist and dcgan-fashion, seed 0, for 2,500 steps of 128 images, 5.3 epochs. 10,000
samples are compared with all 60,000 training images, and so are two controls: the 10,000 test
images, which no model can be expected to beat, and noise, every pixel uniform on 0 to 255. Measured
on 2026-11-28 on two cores of an AMD EPYC, jax 0.10.2, in 12.6 minutes beside other work.
"""

import dataclasses
from pathlib import Path

import numpy as np
from rich.console import Console

from genjax.commands.arguments import progress
from genjax.config import DataConfig
from genjax.data.sources import load
from genjax.domains.previews import save_previews
from genjax.evals.classifier import load_classifier
from genjax.evals.records import Record, append_records, rank
from genjax.presets import preset
from genjax.run.evaluation import Protocol, evaluate_images, evaluate_run, save_closest
from genjax.run.loop import train
from genjax.run.sampling import render_samples, sample_run
from genjax.run.startup import prepare_process

DIRECTORY = Path("runs/experiments/dcgan_scores")
RESULTS = Path(__file__).parent / "results"
STEPS = 2500
SAMPLES = 10_000


def train_run(name: str, console: Console) -> Path:
    """Trains a preset, if it isn't there yet; returns the folder of the run."""
    directory = DIRECTORY / name
    if not directory.exists():
        base = preset(name)
        experiment = dataclasses.replace(
            base,
            steps=STEPS,
            checkpoint_every=500,
            eval=dataclasses.replace(base.eval, features="classifier"),
        )
        train(experiment, directory, load(experiment.data), console)
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


def main() -> None:
    """Trains what isn't there, scores it beside the controls, and writes records and tables."""
    prepare_process()
    console = Console()
    RESULTS.mkdir(exist_ok=True)
    protocol = Protocol(load_classifier, samples=SAMPLES)
    records, lines = [], []
    for name in ("dcgan-mnist", "dcgan-fashion"):
        directory = train_run(name, console)
        data = preset(name).data.name
        groups = {}
        for which in ("last", "best"):
            result = evaluate_run(directory, which, protocol, progress=progress)
            groups[f"step {result.records[0]['step']} ({which})"] = result.records
            if which == "last":
                save_closest(directory / "closest.png", result.compared)
        for title, file in make_controls(directory, data).items():
            result = evaluate_images(data, str(file), protocol, progress=progress)
            groups[title] = result.records
        # Refused if anything but these should differ.
        rank([r for group in groups.values() for r in group], [], ("checkpoint", "ema"))
        network = result.records[0]["features"]
        lines += [f"## {name}, {network['name']} {network['hash']}", "", *tabulate(groups), ""]
        records += [record for group in groups.values() for record in group]
        save_previews(
            directory / "samples.png", render_samples(sample_run(directory, 0, "last", 64), None)
        )
    (RESULTS / "dcgan_scores.jsonl").unlink(missing_ok=True)
    append_records(RESULTS / "dcgan_scores.jsonl", records)
    (RESULTS / "dcgan_scores.md").write_text("\n".join(lines))
    console.print("\n".join(lines), markup=False)


if __name__ == "__main__":
    main()
