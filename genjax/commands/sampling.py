"""``genjax sample``."""

from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import (
    check_arrays,
    check_empty,
    check_file,
    check_range,
    parse,
    parse_checkpoint,
    say,
)
from genjax.commands.sample_options import (
    example_options,
    open_words,
    prior_options,
    prompt_options,
    sampling_options,
    warn_of_unused,
)
from genjax.config import LARGEST_SEED, MOST_SAMPLES
from genjax.errors import UserError


def sample(arguments: list[str]) -> None:
    """Draw samples from a run: genjax sample RUN_DIR [--n 64] [--label 3] [--out grid.png]."""
    # Of a family's own flags, such as --temperature, none are there without a run.
    options, captions = sampling_options(arguments), prompt_options(arguments)
    priors, examples = prior_options(arguments), example_options(arguments)
    usual, unsaid, none, unseen = options(), captions(), priors(), examples()

    def run(
        run_dir: Positional[Path],
        n: int | None = None,
        seed: int = 0,
        out: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None,
        npz: Path | None = None,
        checkpoint: str = "last",
        average: bool = True,
        label: str | None = None,
        per_class: int | None = None,
        sampling: Annotated[options, tyro.conf.arg(name="")] = usual,  # type: ignore[valid-type]
        words: Annotated[captions, tyro.conf.arg(name="")] = unsaid,  # type: ignore[valid-type]
        cascade: Annotated[priors, tyro.conf.arg(name="")] = none,  # type: ignore[valid-type]
        seen: Annotated[examples, tyro.conf.arg(name="")] = unseen,  # type: ignore[valid-type]
        then: str | None = None,
    ) -> None:
        """Draw samples from a trained model, as a picture or as an array.

        Args:
          run_dir: Folder of the run.
          n: How many samples; None makes 64, or one of each prompt where there are more, or of each
            example that is given.
          seed: Seed of the series; sample i of a seed is the same whatever n.
          out: File of what a person looks at, listens to or reads, in the format of its ending: a
            grid as .png, .jpg or .webp, .wav, or .txt; without --out and --npz it is samples.png,
            .wav or .txt in the run's folder. A folder, or what ends in a slash, takes each sample
            as a file of its own, below the name of its class where it has one.
          npz: File for the samples as an array, such as images, uint8
            [n, height, width, channels], and of a conditional model labels and class_names.
          checkpoint: last, best, or the step of a checkpoint.
          average: Sample from the moving average of the parameters where the run keeps one.
          label: Class of all samples by its name, such as 1 for the class that is named 1, whatever
            its number; a number counts from 0 where no name is one. None takes the classes in turn.
          per_class: Samples of each class, one class a row, instead of --n and --label.
          sampling: How the family of the run draws them; listed by genjax sample RUN_DIR --help.
          words: What a run that learnt from captions takes in words.
          cascade: What makes embeddings of captions for a run that learnt from both.
          seen: What a run takes that makes images of others, or of sounds.
          then: Run that makes images of these samples, such as larger ones, as the next stage of a
            cascade, and is given their labels and captions if it takes some: FOLDER, FOLDER@best or
            FOLDER@STEP. Its samples are written, each beside the one that it is of.
        """
        check_range("--n", n, 1, MOST_SAMPLES)
        check_range("--per-class", per_class, 1, MOST_SAMPLES)
        check_range("--seed", seed, 0, LARGEST_SEED)
        which = parse_checkpoint(checkpoint)
        folder = None if out is None or not _is_folder(out) else Path(out)
        file = Path(out) if out is not None and folder is None else None
        check_file(file)
        check_arrays(npz)
        check_empty(folder)
        if npz is not None and file is not None and npz.absolute() == file.absolute():
            raise UserError(f"--out and --npz are both {npz}; name two files")
        import numpy as np

        from genjax.data.classes import list_names
        from genjax.domains import domain_of
        from genjax.domains.previews import check_ending, save_each, save_previews
        from genjax.run.directory import read_config, read_schema
        from genjax.run.sampling import render_samples, sample_run
        from genjax.run.stages import enlarge, next_stage

        read_config(run_dir)
        kind = domain_of(read_schema(run_dir).domain)
        if not kind.shown and (out is not None or npz is None):
            raise UserError(
                f"{run_dir} makes {kind.plural}, which are nothing to look at; give --npz FILE, "
                "without --out"
            )
        if file is not None:
            check_ending(file, kind)
        elif out is None and npz is None:
            file = run_dir / "samples"
        if then is not None:
            # Before the first stage is drawn, which may take long.
            next_stage(then)
        prompts, prior = open_words(run_dir, words, cascade)
        embed = None if prior is None else prior.embed
        shown: Any = seen
        given = shown.read(run_dir) if shown else {}
        many = len(next(iter(given.values()))) if given else max(64, len(prompts))
        count = n or min(many, MOST_SAMPLES)
        if per_class is None:
            warn_of_unused(prompts, count, "samples")
        drawn = sample_run(
            run_dir,
            seed,
            which,
            count,
            label,
            per_class,
            sampling or None,
            average,
            prompts,
            embed,
            given,
        )
        if then is not None:
            drawn = enlarge(drawn, then, seed, average)
        columns = None if then is not None else per_class
        files = [] if file is None else save_previews(file, render_samples(drawn, columns))
        if folder is not None:
            domain, names, classes = domain_of(drawn.schema.domain), drawn.names, None
            if drawn.labels is not None:
                classes = [names[label] if names else str(label) for label in drawn.labels]
            save_each(folder, drawn.samples, domain, drawn.schema.facts, classes)
            files = [folder]
        if npz is not None:
            arrays: dict[str, Any] = {domain_of(drawn.schema.domain).plural: drawn.samples}
            if drawn.labels is not None:
                arrays["labels"] = drawn.labels
            if drawn.prompts:
                arrays["prompts"] = np.array(drawn.prompts)
            arrays |= {f"given_{name}": made for name, made in drawn.given.items()}
            if drawn.names:
                arrays["class_names"] = np.array(drawn.names)
            with npz.open("wb") as stream:
                np.savez_compressed(stream, **arrays)
        written = " and ".join(str(file) for file in (*files, npz) if file is not None)
        if per_class is not None and drawn.names and not drawn.given and drawn.labels is not None:
            rows = dict.fromkeys(drawn.names[label] for label in drawn.labels)
            say(f"rows, from the top: {list_names(list(rows))}")
        say(f"wrote {len(drawn.samples)} samples of step {drawn.step}, seed {seed}, to {written}")

    parse(run, arguments, "genjax sample")


def _is_folder(out: str) -> bool:
    return out.endswith("/") or Path(out).is_dir()
