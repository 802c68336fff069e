"""The flags that a run has for its samples: of its family, and of what it is given."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genjax.commands.arguments import check_range, progress, say
from genjax.config import MOST_SAMPLES
from genjax.errors import UserError, reason

if TYPE_CHECKING:
    from genjax.core.schema import Spec
    from genjax.run.cascade import Prior
    from genjax.run.sampling import HostCondition

_MOST_GUIDANCE = 1000.0
# Flags that name other runs than that of the command.
_OTHER_RUNS = ("--then", "--prior", "--guide", "--clip")


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
    """What may be the folder of the run."""
    pairs = zip(["", *arguments], arguments, strict=False)
    return [
        Path(name) for flag, name in pairs if not name.startswith("-") and flag not in _OTHER_RUNS
    ]


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
    takes those of --examples, or captions that the data hold out."""
    prompts: Path | None = None
    """File of prompts, one a line, after those of --prompt."""

    def read(self) -> list[str]:
        """The prompts of both, with UserError for a file that is none of those."""
        if self.prompts is None:
            return list(self.prompt)
        try:
            text = self.prompts.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UserError(f"--prompts can't be read: {reason(error)}") from None
        # As captions are imported: what else ends a line for Python, a prompt may have in it.
        lines = [line.strip() for line in text.split("\n")]
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


def open_words(run_dir: Path, words: Any, cascade: Any) -> "tuple[list[str], Prior | None]":
    """Opens what `prompt_options` and `prior_options` made of a command line.

    Args:
      run_dir: the run that it names.
      words: an instance of the first.
      cascade: of the second.

    Returns:
      The prompts, of which those that the run reads not to their end are said, and the prior.

    Raises:
      UserError: either can't be used.
    """
    prompts = words.read() if words else []
    prior = cascade.open() if cascade else None
    if prompts:
        from genjax.core.captions import CAPTION
        from genjax.domains.captions import encode_prompts
        from genjax.run.directory import read_schema

        schema = read_schema(run_dir)
        for sentence in encode_prompts(schema.facts, schema.fields[CAPTION], prompts)[1]:
            say(f"warning: {sentence}")
    return prompts, prior


def warn_of_unused(prompts: Sequence[str], count: int, what: str) -> None:
    """Says that prompts are left over where there are fewer things to take them in turn."""
    if len(prompts) > count:
        used = "the first is" if count == 1 else f"the first {count} are"
        say(f"warning: {used} used of {len(prompts)} prompts, one each of the {what}")


def _given(arguments: Sequence[str]) -> Sequence[str]:
    """What is given to the model of the run that a command line names."""
    runs = [path for path in _paths(arguments) if _is_run(path)]
    if not runs:
        return ()
    from genjax.run.directory import read_config

    experiment = read_config(runs[0])
    reads = getattr(experiment.model, "conditional", True)
    return experiment.data.given or () if reads else ()


def _read(
    run_dir: Path,
    examples: tuple[int, ...],
    flag: str = "",
    files: tuple[Path, ...] = (),
    read_files: "Callable[[Spec, Sequence[Path]], HostCondition] | None" = None,
) -> "HostCondition":
    """What samples are made of: examples, or files where a flag takes some."""
    if bool(files) == bool(examples):
        either = f"either {flag} FILE ... or " if flag else ""
        raise UserError(
            f"{run_dir} makes its samples of what must be given; give {either}--examples NUMBER ..."
        )
    from genjax.data.sources import load_held_out
    from genjax.run.directory import read_config
    from genjax.run.stages import conditions_of_examples, spec_of

    spec = spec_of(run_dir)
    if read_files is not None and files:
        return read_files(spec, files)
    held_out = load_held_out(read_config(run_dir).data, progress)
    return conditions_of_examples(spec, held_out, examples)


@dataclasses.dataclass(frozen=True)
class ExampleOptions:
    """Of a run whose samples are made of what nobody but an example tells."""

    examples: tuple[int, ...] = ()
    """Numbers, from 0, in the test split of the run's data, of which samples are made; taken in
    turn, or with --per-class one a row."""

    def read(self, run_dir: Path) -> "HostCondition":
        """What is given; raises UserError where that is unusable."""
        return _read(run_dir, self.examples)


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
        from genjax.run.stages import maps_in_files

        return _read(run_dir, self.examples, "--given", self.given, maps_in_files)


@dataclasses.dataclass(frozen=True)
class SpeechOptions:
    """Of a run that makes images of what is said."""

    sound: tuple[Path, ...] = ()
    """WAV files of any rate to make images of; taken in turn, or with --per-class one a row."""
    examples: tuple[int, ...] = ()
    """Instead of --sound: numbers, from 0, in the test split of the run's data."""

    def read(self, run_dir: Path) -> "HostCondition":
        """What is given by either; raises UserError where that is unusable."""
        from genjax.run.speech import speech_in_files

        return _read(run_dir, self.examples, "--sound", self.sound, speech_in_files)


def example_options(arguments: Sequence[str]) -> type[Any]:
    """What a command line may give to the run that it names, beside labels and words."""
    runs = [path for path in _paths(arguments) if _is_run(path)]
    if not runs:
        return NoOptions
    from genjax.core.captions import CAPTION
    from genjax.core.embeddings import EMBEDDING
    from genjax.data.spoken import SPEECH
    from genjax.run.directory import read_config, read_schema

    if read_config(runs[0]).data.derive:
        return PictureOptions
    given = _given(arguments)
    if SPEECH in given:
        return SpeechOptions
    fields = read_schema(runs[0]).fields
    told = (CAPTION, EMBEDDING)
    alone = any(name in fields and fields[name].shape and name not in told for name in given)
    return ExampleOptions if alone else NoOptions
