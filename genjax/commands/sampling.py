"""``genjax sample``, and the flags that a family has for its samples."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import (
    check_arrays,
    check_empty,
    check_file,
    check_range,
    parse,
    parse_checkpoint,
    progress,
    say,
)
from genjax.config import LARGEST_SEED, MOST_SAMPLES
from genjax.errors import UserError, reason

if TYPE_CHECKING:
    from genjax.run.cascade import Prior
    from genjax.run.sampling import HostCondition

_MOST_GUIDANCE = 1000.0


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """Of a family whose samples depend on nothing but the model."""

    def __bool__(self) -> bool:
        return False


def sampling_options(arguments: Sequence[str]) -> type[Any]:
    """Finds the options of the run that a command line names.

    Args:
      arguments: of the command, in any order.

    Returns:
      The family's dataclass, or `NoOptions` where no run is named or its family has none.

    Raises:
      UserError: what is named is a damaged run, or none where such options are given.
    """
    named = _paths(arguments)
    runs = [path for path in named if _is_run(path)]
    if not runs and not named:
        return NoOptions
    from genjax.families.registry import FAMILIES
    from genjax.run.directory import read_config

    if not runs:
        kinds = [family.sampling for family in FAMILIES.values() if family.sampling]
        known = {f"--{field.name}" for kind in kinds for field in dataclasses.fields(kind)}
        # They would be called unknown where the run is not there.
        if known.intersection(arguments) and not arguments[0].startswith("-"):
            read_config(arguments[0])
        return NoOptions
    return FAMILIES[type(read_config(runs[0]).model)].sampling or NoOptions


def _paths(arguments: Sequence[str]) -> list[Path]:
    """What may be the folder of the run; that behind --then is another's."""
    pairs = zip(["", *arguments], arguments, strict=False)
    return [Path(name) for flag, name in pairs if not name.startswith("-") and flag != "--then"]


def _is_run(path: Path) -> bool:
    try:
        return (path / "config.json").is_file()
    # It may be no path at all, but a prompt of any length.
    except OSError:
        return False


@dataclasses.dataclass(frozen=True)
class PromptOptions:
    """Of a run that learnt from captions."""

    prompt: tuple[str, ...] = ()
    """What to generate, in words; several are taken in turn, or with --per-class one a row. None
    takes captions that the data hold out."""
    prompts: Path | None = None
    """File of prompts, one a line, after those of --prompt."""

    def read(self) -> list[str]:
        """The prompts of both, with UserError for a file that is none of those."""
        if self.prompts is None:
            return list(self.prompt)
        try:
            text = self.prompts.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UserError(f"--prompts can't be read: {reason(error)}") from None
        lines = [line.strip() for line in text.splitlines()]
        found = [*self.prompt, *(line for line in lines if line)]
        if not found:
            raise UserError(f"--prompts is {self.prompts}, which has no line with a prompt")
        return found


@dataclasses.dataclass(frozen=True)
class PriorOptions:
    """Of a run that learnt from captions and embeddings of images."""

    prior: str | None = None
    """Run that makes image embeddings of captions, such as one of prior-emoji: FOLDER,
    FOLDER@best or FOLDER@STEP. None takes those of held-out images, with their captions."""
    candidates: int = 2
    """Embeddings that --prior makes of each caption, of which the one is taken that is the nearest
    to the text's own (Ramesh et al. 2022, section 2.2)."""
    prior_guidance: float = 1.0
    """Guidance of --prior."""

    def open(self) -> "Prior | None":
        """The prior; raises UserError where it can't be used."""
        check_range("--candidates", self.candidates, 1, MOST_SAMPLES)
        if not 0 <= self.prior_guidance <= _MOST_GUIDANCE:
            raise UserError(
                f"--prior-guidance is {self.prior_guidance:g}; it must be at least 0, at most "
                f"{_MOST_GUIDANCE:g}"
            )
        if self.prior is None:
            usual = PriorOptions()
            for name in ("candidates", "prior_guidance"):
                if getattr(self, name) != getattr(usual, name):
                    flag = name.replace("_", "-")
                    raise UserError(f"--{flag} is of a prior; give --prior RUN, or leave it out")
            return None
        from genjax.run.cascade import Prior, PriorChoice

        return Prior(PriorChoice(self.prior, self.candidates, self.prior_guidance))


def prompt_options(arguments: Sequence[str]) -> type[Any]:
    """`PromptOptions` where a command line names a run that learnt from captions."""
    return PromptOptions if "caption" in _given(arguments) else NoOptions


def prior_options(arguments: Sequence[str]) -> type[Any]:
    """`PriorOptions` where it names a run that learnt from captions and embeddings."""
    return PriorOptions if {"caption", "embedding"} <= set(_given(arguments)) else NoOptions


def _given(arguments: Sequence[str]) -> Sequence[str]:
    """What is given to the model of the run that a command line names."""
    runs = [path for path in _paths(arguments) if _is_run(path)]
    if not runs:
        return ()
    from genjax.run.directory import read_config

    experiment = read_config(runs[0])
    reads = getattr(experiment.model, "conditional", True)
    return experiment.data.given or () if reads else ()


@dataclasses.dataclass(frozen=True)
class PictureOptions:
    """Of a run that makes images of what is derived of others, such as of smaller ones."""

    given: tuple[Path, ...] = ()
    """PNG or JPEG files, folders of such, or .npz files to make images of, as large as what the run
    is given, or as what it makes, of which that is then derived; taken in turn, or with --per-class
    one a row."""
    examples: tuple[int, ...] = ()
    """Instead of --given: numbers, from 0, in the test split of the run's data."""

    def read(self, run_dir: Path) -> "HostCondition":
        """What is given by either; raises UserError where that is unusable."""
        if bool(self.given) == bool(self.examples):
            raise UserError(
                f"{run_dir} makes images of others; give either --given FILE ... or --examples "
                "NUMBER ..."
            )
        from genjax.data.sources import load_held_out
        from genjax.run.directory import read_config
        from genjax.run.stages import conditions_of_examples, maps_in_files, spec_of

        spec = spec_of(run_dir)
        if self.given:
            return maps_in_files(spec, self.given)
        held_out = load_held_out(read_config(run_dir).data, progress)
        return conditions_of_examples(spec, held_out, self.examples)


def picture_options(arguments: Sequence[str]) -> type[Any]:
    """`PictureOptions` where a command line names a run that makes images of others."""
    runs = [path for path in _paths(arguments) if _is_run(path)]
    if not runs:
        return NoOptions
    from genjax.run.directory import read_config

    return PictureOptions if read_config(runs[0]).data.derive else NoOptions


def sample(arguments: list[str]) -> None:
    """Draw samples from a run: genjax sample RUN_DIR [--n 64] [--label 3] [--out grid.png]."""
    # Of a family's own flags, such as --temperature, none are there without a run.
    options, captions = sampling_options(arguments), prompt_options(arguments)
    priors, pictures = prior_options(arguments), picture_options(arguments)
    usual, unsaid, none, unseen = options(), captions(), priors(), pictures()

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
        seen: Annotated[pictures, tyro.conf.arg(name="")] = unseen,  # type: ignore[valid-type]
        then: str | None = None,
    ) -> None:
        """Draw samples from a trained model, as a picture or as an array.

        Args:
          run_dir: Folder of the run.
          n: How many samples; None makes 64, or one of each picture that is given.
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
          seen: What a run that makes images of others takes.
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
        from genjax.run.stages import enlarge

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
        chosen: Any = words
        prompts = chosen.read() if chosen else []
        if prompts:
            warn_of_cut(run_dir, prompts)
        chosen = cascade
        prior = chosen.open() if chosen else None
        embed = None if prior is None else prior.embed
        shown: Any = seen
        given = shown.read(run_dir) if shown else {}
        count = n or (len(next(iter(given.values()))) if given else 64)
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


def warn_of_cut(run_dir: Path, prompts: Sequence[str]) -> None:
    """Says which prompts are longer than what a run reads of them."""
    from genjax.core.captions import CAPTION
    from genjax.domains.captions import encode_prompts
    from genjax.run.directory import read_schema

    schema = read_schema(run_dir)
    for sentence in encode_prompts(schema.facts, schema.fields[CAPTION], prompts)[1]:
        say(f"warning: {sentence}")


def _is_folder(out: str) -> bool:
    return out.endswith("/") or Path(out).is_dir()
