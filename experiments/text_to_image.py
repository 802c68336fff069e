"""Text to image three ways at equal compute: diffusion, a GAN, and DALL-E 2's prior and decoder.

Command:   genjax data import emoji --from emoji64.tar
           python experiments/text_to_image.py
Needs:     two CPU cores, for five hours, and the extra plot
Writes:    runs/experiments/text_to_image/, one folder a run; a second call goes on
           the data set emoji_embedded, beside emoji
           experiments/results/text_to_image.jsonl, the records; text_to_image.md, a table;
           text_to_image.png, CLIP score and recall by guidance; and of each way samples,
           text_to_image-WAY.png, and those that are nearest to training images,
           text_to_image-WAY-closest.png

Each way has an hour of one core: t2i-emoji, t2i-gan-emoji, and prior-emoji with unclip-emoji, which
share it. Minutes are steps, by the images a second of `genjax train PRESET --steps 64` on one of
two cores of an AMD EPYC (family 25) whose other core was busy, 2026-11-29. A joint embedding comes
on top, whose network of texts reads the captions of all ways; another one, of another seed, is the
judge.

Samples are of the captions of held-out emoji, none of whose styles and skin tones was learnt from,
drawn in 12 steps of dpmpp_2m; the prior draws two embeddings of each by its usual solver, heun.
Guidance 0 is a model that is told nothing: the control of what captions bring. Recall and FID are
against the training images, through the classifier of the data.

Not run to its end yet: there are no results.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from genjax.ablation.style import COLOURS, new_figure, save_figure, settings
from genjax.data import stored
from genjax.data.prepared import data_directory
from genjax.evals.records import Record, read_records
from genjax.presets import preset

DIRECTORY = Path("runs/experiments/text_to_image")
RESULTS = Path(__file__).parent / "results"
# One set, so that all scores have one protocol.
DATA = "emoji_embedded"
METRICS = "clip_score,fid,prdc,memorization"
SAMPLES = 600
GUIDANCES = (0, 1, 2, 3, 5, 8)
USUAL = 3
# Images a second.
DIRECT, DECODER, GAN, PRIOR = 72, 75, 115, 98
SECONDS, FOR_PRIOR = 3600, 600
SHARED = ("--steps", "12", "--solver", "dpmpp_2m")
COLUMNS = ("clip_score", "caption_accuracy", "fid", "precision", "recall", "memorization")


def call(*arguments: str) -> None:
    """Calls genjax, and says so."""
    print("genjax", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "genjax", *arguments], check=True)


def run(name: str) -> str:
    """The folder of a run."""
    return str(DIRECTORY / name)


def train(name: str, model: str, *flags: str) -> None:
    """Trains a run, or goes on with it."""
    if not Path(run(name)).exists():
        call("train", model, *flags, "--out", run(name))
    elif not list(Path(run(name)).glob("*.safetensors")):
        call("resume", run(name))


def train_on(images: int, name: str, model: str, *flags: str) -> None:
    """`train`, on so many images, with captions that the joint embedding reads."""
    steps = images // preset(model).batch_size
    every = ("--log-every", str(max(steps // 100, 1)), "--sample-every", str(max(steps // 4, 1)))
    reader = ("--model.text-encoder", run("clip"))
    train(name, model, "--steps", str(steps), *every, *reader, *flags)


def train_all() -> None:
    """Trains what isn't there."""
    train("clip", "clip-emoji", "--seed", "0")
    train("judge", "clip-emoji", "--seed", "1")
    if stored.find(DATA, data_directory(None)) is None:
        call("data", "embed", DATA, "--from", "emoji", "--by", run("clip"))
    if not (DIRECTORY / "classifier").exists():
        call("evaluate", "--train-features", DATA, "--resolution", "32")
        (DIRECTORY / "classifier").touch()
    same = ("--data.name", DATA)
    train_on(DIRECT * SECONDS, "direct", "t2i-emoji", *same)
    train_on(DECODER * (SECONDS - FOR_PRIOR), "decoder", "unclip-emoji")
    train_on(PRIOR * FOR_PRIOR, "prior", "prior-emoji")
    train_on(GAN * SECONDS, "gan", "t2i-gan-emoji", *same)


def ways() -> Iterator[tuple[str, int | None, str, tuple[str, ...]]]:
    """What is scored: a way, its guidance, its run, and the flags of its samples."""
    yield "gan", None, "gan", ()
    for guidance in GUIDANCES:
        flags = (*SHARED, "--guidance", str(guidance))
        yield "direct", guidance, "direct", flags
        yield "unCLIP", guidance, "decoder", (*flags, "--prior", run("prior"))


def scores_of(way: str, guidance: int | None) -> Path:
    """File of the records of a way and guidance, in a folder of its own."""
    return DIRECTORY / f"scored-{way}-{guidance}" / "scores.jsonl"


def score_all() -> list[Record]:
    """Scores what isn't yet; returns all records, with their way and guidance."""
    records = []
    for way, guidance, name, flags in ways():
        file = scores_of(way, guidance)
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            judged = ("--clip", run("judge"), "--samples", str(SAMPLES), "--out", str(file))
            call("evaluate", run(name), *judged, "--metrics", METRICS, *flags)
        records += [{**record, "way": way, "guidance": guidance} for record in read_records(file)]
    return records


def show_samples() -> None:
    """Samples of held-out captions, each above its own, and those most like training images."""
    for way, guidance, name, flags in ways():
        if guidance in (None, USUAL):
            out = RESULTS / f"text_to_image-{way}.png"
            call("sample", run(name), "--n", "32", "--out", str(out), *flags)
            closest = scores_of(way, guidance).with_name("closest.png")
            shutil.copyfile(closest, out.with_stem(f"{out.stem}-closest"))


def tabulate(records: list[Record]) -> list[str]:
    """A row a way and guidance, below those of the controls."""
    lines = [f"| way | guidance | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 2) + "|"]
    rows: dict[tuple[str, int | None], dict[str, Record]] = {}
    for record in records:
        rows.setdefault((record["way"], record["guidance"]), {})[record["metric"]] = record
    first = rows["direct", USUAL]
    for title in first["clip_score"]["details"]:
        cells = [f"{first[name]['details'][title]:.3f}" for name in COLUMNS[:2]]
        lines.append(f"| {title} | | {' | '.join(cells)} |{' |' * (len(COLUMNS) - 2)}")
    for (way, guidance), row in rows.items():
        cells = []
        for name in COLUMNS:
            spread = row[name]["spread"]
            error = "" if spread is None else f" ± {spread:.3f}"
            cells.append(f"{row[name]['value']:.3f}{error}")
        lines.append(f"| {way} | {'' if guidance is None else guidance} | {' | '.join(cells)} |")
    return lines


def draw(records: list[Record]) -> None:
    """Draws quality against diversity: CLIP score by recall, a line through the guidances."""
    with settings():
        figure = new_figure(4.6, 3.2)
        axes = figure.subplots()
        for way, colour in zip(("direct", "unCLIP", "gan"), COLOURS, strict=False):
            own = [record for record in records if record["way"] == way]
            recalls = [record["value"] for record in own if record["metric"] == "recall"]
            scores = [record for record in own if record["metric"] == "clip_score"]
            heights = [record["value"] for record in scores]
            errors = [1.96 * record["spread"] for record in scores]
            axes.errorbar(recalls, heights, errors, color=colour, marker="o", ms=3, label=way)
            for x, record in zip(recalls, scores, strict=True):
                if record["guidance"] is not None:
                    place = (x, record["value"])
                    axes.annotate(
                        str(record["guidance"]), place, (3, 3), textcoords="offset points"
                    )
        axes.set_xlabel("recall")
        axes.set_ylabel("CLIP score of held-out captions")
        figure.legend(loc="outside right upper")
        save_figure(figure, RESULTS, "text_to_image")


def main() -> None:
    """Trains, scores, and writes records, the table, the plot and samples."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    RESULTS.mkdir(exist_ok=True)
    train_all()
    records = score_all()
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (RESULTS / "text_to_image.jsonl").write_text(lines)
    table = tabulate(records)
    (RESULTS / "text_to_image.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))
    draw(records)
    show_samples()


if __name__ == "__main__":
    main()
