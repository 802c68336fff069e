"""``genjax evaluate | compare``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.table import Table
from tyro.conf import Positional

from genjax.commands.arguments import (
    check_file,
    check_range,
    console,
    parse,
    parse_checkpoint,
    progress,
    say,
)
from genjax.commands.sample_options import prior_options, sampling_options
from genjax.config import LARGEST_SEED, LARGEST_SIDE, MOST_SAMPLES
from genjax.errors import UserError, printable

# So many times the accuracy of guessing.
_DOUBTFUL = 1.5

if TYPE_CHECKING:
    from genjax.core.schema import Source
    from genjax.evals.features import FeatureNetwork
    from genjax.evals.records import Record


def evaluate(arguments: list[str]) -> None:
    """Score a run or other images: genjax evaluate RUN_DIR | --real SET --fake DIR."""
    # Of a family's own flags, such as --temperature, none are there without a run.
    options, priors = sampling_options(arguments), prior_options(arguments)
    usual, none = options(), priors()

    def run(
        run_dir: Positional[Path | None] = None,
        metrics: str | None = None,
        samples: int = 10_000,
        features: str = "classifier",
        weights: str | None = None,
        resize: str = "tf",
        checkpoint: str = "last",
        average: bool = True,
        clip: str | None = None,
        real: str | None = None,
        fake: str | None = None,
        resolution: int | None = None,
        seed: int = 0,
        batch: int | None = None,
        out: Path | None = None,
        directory: Path | None = None,
        train_features: str | None = None,
        sampling: Annotated[options, tyro.conf.arg(name="")] = usual,  # type: ignore[valid-type]
        cascade: Annotated[priors, tyro.conf.arg(name="")] = none,  # type: ignore[valid-type]
    ) -> None:
        """Score generated images against real ones, and record the scores with their protocol.

        Args:
          run_dir: Folder of a run; its samples are compared with the split it learnt from.
          metrics: Scores, with commas between: fid, kid, is, prdc, class_fid, gan_test, cas,
            ms_ssim, modes, memorization, likelihood, mixture, ppl, separability; of images made of
            others fidelity; of a joint embedding retrieval and zero_shot, and of a prior
            embedding_retrieval. None takes all that apply but cas, which trains, likelihood of
            diffusion models, which takes long, and ppl and separability, which look along latents.
          samples: Samples of a run; papers use 50000. Also the most held-out examples whose
            likelihood is computed by a diffusion model.
          features: Feature network: classifier (of the data set, see --train-features) or
            inception.
          weights: For inception: file or https address of the weights that pytorch-fid publishes.
          resize: For inception: tf (of the first FID's code), torch (pytorch-fid) or clean
            (clean-fid).
          checkpoint: last, best, or the step of a checkpoint.
          average: Sample from the moving average of the parameters where the run keeps one.
          clip: Run of a joint embedding, such as clip-emoji, by which samples of captions are
            judged: FOLDER, FOLDER@best or FOLDER@STEP.
          real: Instead of RUN_DIR: data set (mnist, mnist:test), folder of images or .npz file to
            compare with.
          fake: Images to score with --real, likewise.
          resolution: Side in pixels to resize the images of --real and --fake, or of
            --train-features, to.
          seed: Seed of the samples and of all random choices.
          batch: Images at once, which changes scores by no more than rounding; None means 250, and
            50 for inception.
          out: File of JSON lines for the records; scores.jsonl in the folder of a run.
          directory: Folder of prepared data sets for --real, --fake and --train-features.
          train_features: Train the network of this data set instead, once for all scores: a
            classifier, or, without labels, what tells how an example was turned.
          sampling: How the family of the run draws its samples; recorded with each score, and
            listed by genjax evaluate RUN_DIR --help.
          cascade: What makes embeddings of captions for a run that learnt from both; recorded, too.
        """
        folder = None if directory is None else str(directory)
        if train_features is not None:
            check_range("--resolution", resolution, 1, LARGEST_SIDE)
            _train_features(train_features, folder, resolution)
            return
        if (run_dir is None) == (real is None or fake is None):
            raise UserError("give RUN_DIR, or both --real and --fake, or --train-features NAME")
        check_range("--samples", samples, 2, MOST_SAMPLES)
        check_range("--batch", batch, 1, MOST_SAMPLES)
        check_range("--seed", seed, 0, LARGEST_SEED)
        check_range("--resolution", resolution, 1, LARGEST_SIDE)
        if run_dir is None and clip is not None:
            raise UserError(f"--clip is {clip}, which judges samples of a run; leave it out")
        given = {"--resolution": resolution, "--directory": directory}
        for flag, value in given.items():
            if run_dir is not None and value is not None:
                raise UserError(
                    f"{flag} is {value}, but the data of {run_dir} are those that it learnt from; "
                    "leave it out"
                )
        which = parse_checkpoint(checkpoint)
        check_file(out)
        from genjax.evals.records import FILE, append_records
        from genjax.run.evaluation import Protocol, evaluate_images, evaluate_run, save_closest

        network = _feature_network(features, weights, resize)
        names = tuple(name for name in (metrics or "").split(",") if name)
        chunk = batch or (50 if features == "inception" else 250)
        chosen: Any = cascade
        prior = chosen.open() if chosen else None
        protocol = Protocol(network, names, samples, seed, chunk, clip, prior)
        if run_dir is not None:
            result = evaluate_run(run_dir, which, protocol, average, progress, sampling or None)
            out = out or run_dir / FILE
        else:
            assert real is not None
            assert fake is not None
            result = evaluate_images(real, fake, protocol, resolution, folder, progress)
        for warning in result.warnings:
            say(f"warning: {warning}")
        for reason in dict.fromkeys(result.left_out.values()):
            without = [name for name, why in result.left_out.items() if why == reason]
            say(f"left out {', '.join(without)}: {reason}")
        console.print(_score_table(result.records))
        if out is not None:
            append_records(out, result.records)
            say(f"wrote {len(result.records)} records to {out}")
        if any(record["metric"] == "memorization" for record in result.records) and out:
            picture = out.with_name("closest.png")
            save_closest(picture, result.compared)
            say(f"wrote the samples closest to the reference, each above its neighbour: {picture}")

    parse(run, arguments, "genjax evaluate")


def compare(arguments: list[str]) -> None:
    """Rank runs by recorded scores: genjax compare RUN_DIR RUN_DIR ... [--metrics fid,kid]."""

    def run(
        paths: Positional[tuple[Path, ...]],
        metrics: str | None = None,
        checkpoint: str | None = None,
        ignore: tuple[str, ...] = (),
    ) -> None:
        """Rank recorded scores; refused where their protocols differ.

        Args:
          paths: Folders of runs, or files of records.
          metrics: Scores to rank by, with commas between; None takes all.
          checkpoint: Of runs that were scored at several: last, best, or a step.
          ignore: Fields of the protocol that may differ.
        """
        from genjax.evals.records import choose_checkpoint, name_subjects, rank, read_records

        which = None if checkpoint is None else parse_checkpoint(checkpoint)
        if not paths:
            raise UserError("give the folders of runs to compare, or files of records")
        each = {path.resolve(): path for path in paths}
        records = [record for path in each.values() for record in read_records(path)]
        if which is not None:
            records = choose_checkpoint(records, which)
        chosen = tuple(name for name in (metrics or "").split(",") if name)
        for name, group in rank(records, chosen, ignore).items():
            side = group[0]["better"]
            table = Table("", f"{name} ({side} is better)", "spread", "step", "seed", box=None)
            for place, (record, name) in enumerate(
                zip(group, name_subjects(group), strict=True), 1
            ):
                step = "" if record["step"] is None else str(record["step"])
                values = (name, _number(record["value"]), _number(record["spread"]))
                table.add_row(
                    f"{place}. {printable(values[0])}", *values[1:], step, str(record["seed"])
                )
            console.print(table)

    parse(run, arguments, "genjax compare")


def _train_features(name: str, directory: str | None, resolution: int | None) -> None:
    from genjax.evals.classifier import classifier_path
    from genjax.evals.classifier_training import train_features

    trained = train_features(name, directory, progress, resolution)
    told = "names" if trained.task == "classes" else "tells the turn of"
    if trained.accuracy < _DOUBTFUL / trained.classes:
        say(
            f"warning: {name}: guessing would come to {1 / trained.classes:.0%}, so these features "
            "see little; --features inception may see more"
        )
    say(
        f"{trained.network.name}: {told} {trained.accuracy:.2%} of {trained.held_out} rightly, "
        f"hash {trained.network.hash}, trained in {trained.seconds:.0f} s, "
        f"{classifier_path(trained.data)}"
    )


def _feature_network(
    features: str, weights: str | None, resize: str
) -> "Callable[[Source], FeatureNetwork]":
    if features == "classifier":
        from genjax.evals.classifier import load_classifier

        return load_classifier
    if features != "inception":
        raise UserError(f"--features is {features!r}; choices: classifier, inception")
    if weights is None:
        raise UserError("--features inception needs --weights: a file, or an https address")
    from genjax.evals.inception import load_inception

    network = load_inception(weights, resize)
    return lambda _: network


def _score_table(records: "list[Record]") -> Table:
    table = Table("score", "value", "spread", "better", "features", box=None, pad_edge=False)
    for record in records:
        features = record["features"]
        table.add_row(
            record["metric"],
            _number(record["value"]),
            _number(record["spread"]),
            record["better"],
            "" if features is None else f"{features['name']} {features['hash']}",
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
