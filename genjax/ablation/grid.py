"""What an ablation consists of: variants times seeds, declared in a Python file.

The file has a docstring whose first line is the question, and these names::

    VARIANTS: dict[str, Experiment]          by name; made from a preset by dataclasses.replace
    BASELINE: str                            the variant that others are compared with
    SEEDS: int or tuple[int, ...]            so many, from 0, or these
    SCORES: dict[str, tuple[str, ...]]       from metric of `genjax evaluate` to its scores
    SAMPLES: int                             that are scored; 10,000 if it is left out
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genjax.config import MOST_SAMPLES, Experiment
from genjax.config.json import as_written, config_hash, former_hashes
from genjax.config.plugins import run_file
from genjax.errors import UserError, lookup
from genjax.run.opening import pinned

_SAMPLES = 10_000
_MOST_SEEDS = 10_000


class Ablation(NamedTuple):
    """An ablation, as its file declares it.

    Attributes:
      name: of the file.
      question: first line of its docstring.
      variants: configurations by name, in the order of the table.
      baseline: name of the one to compare with.
      seeds: of each variant.
      scores: from metric to the scores of it that are reported.
      samples: number of samples that are scored.
    """

    name: str
    question: str
    variants: Mapping[str, Experiment]
    baseline: str
    seeds: Sequence[int]
    scores: Mapping[str, tuple[str, ...]]
    samples: int


class Cell(NamedTuple):
    """One run of an ablation.

    Attributes:
      variant: its name.
      experiment: with the seed.
      hash: of the experiment.
      directory: of the run.
    """

    variant: str
    experiment: Experiment
    hash: str
    directory: Path


def load_ablation(file: str | Path) -> Ablation:
    """Reads an ablation from its file, which is Python and is run.

    Args:
      file: the declaration.

    Returns:
      The ablation.

    Raises:
      UserError: no such file, it fails, or a name is missing or of another type.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file} is no file; give the Python file that declares the ablation")
    module = run_file(file, "genjax_ablation")
    declared = vars(module)
    for name in ("VARIANTS", "BASELINE", "SEEDS", "SCORES"):
        if name not in declared:
            raise UserError(f"{file} does not define {name}")
    variants, seeds, scores = (declared[name] for name in ("VARIANTS", "SEEDS", "SCORES"))
    if not isinstance(variants, dict) or not all(
        isinstance(name, str) and isinstance(value, Experiment) for name, value in variants.items()
    ):
        raise UserError(f"VARIANTS of {file} must be a dict from name to Experiment")
    slugs = [_slug(name) for name in variants]
    # A slug of dots alone would be the folder itself, or the one above.
    if not slugs or len(set(slugs)) < len(slugs) or not all(slug.strip(".") for slug in slugs):
        raise UserError(f"VARIANTS of {file} must have names that differ in letters or digits")
    if not file.stem.strip("."):
        raise UserError(f"{file} gives the ablation no name; rename it")
    if not isinstance(scores, dict) or not all(
        isinstance(names, tuple) and all(isinstance(name, str) for name in (metric, *names))
        for metric, names in scores.items()
    ):
        raise UserError(f"SCORES of {file} must be a dict from metric to a tuple of its scores")
    baseline = str(declared["BASELINE"])
    lookup(variants, baseline, f"BASELINE of {file}")
    samples = declared.get("SAMPLES", _SAMPLES)
    if type(samples) is not int or not 2 <= samples <= MOST_SAMPLES:
        raise UserError(
            f"SAMPLES of {file} is {samples!r}; it must be at least 2, at most {MOST_SAMPLES:,}"
        )
    return Ablation(
        file.stem,
        (module.__doc__ or file.stem).strip().splitlines()[0],
        {name: pinned(as_written(value)) for name, value in variants.items()},
        baseline,
        choose_seeds(seeds, f"SEEDS of {file}"),
        scores,
        samples,
    )


def choose_seeds(seeds: Any, what: str) -> tuple[int, ...]:
    """Turns a number of seeds into those from 0; a sequence stays as it is.

    Args:
      seeds: int or ints.
      what: name of the value, for the error.

    Returns:
      The seeds.

    Raises:
      UserError: none, or one of them twice.

    Example:
      >>> choose_seeds(3, "SEEDS"), choose_seeds((5, 7), "SEEDS")
      ((0, 1, 2), (5, 7))
    """
    if isinstance(seeds, int) and seeds > _MOST_SEEDS:
        raise UserError(f"{what} is {seeds}; it must be at most {_MOST_SEEDS:,}")
    several = isinstance(seeds, Iterable) and not isinstance(seeds, str)
    chosen = tuple(seeds) if several else tuple(range(seeds)) if isinstance(seeds, int) else ()
    whole = all(isinstance(seed, int) for seed in chosen)
    if not chosen or not whole or len(set(chosen)) < len(chosen):
        raise UserError(f"{what} is {seeds!r}; it must be a number of seeds, or seeds that differ")
    return chosen


def make_cells(
    ablation: Ablation, directory: Path, steps: int | None, only: Iterable[str]
) -> list[Cell]:
    """Lists the runs of an ablation, variant after variant.

    Args:
      ablation: the grid.
      directory: below which each run has a folder, named by its configuration's hash.
      steps: of each run; None keeps those of the variants.
      only: names of variants; all if there are none.

    Returns:
      The cells.

    Raises:
      UserError: no such variant.
    """
    chosen = list(only)
    for name in chosen:
        lookup(ablation.variants, name, "variant")
    cells = []
    for variant, declared in ablation.variants.items():
        if chosen and variant not in chosen:
            continue
        for seed in ablation.seeds:
            changes: dict[str, Any] = {"seed": seed, "name": f"{ablation.name}/{_slug(variant)}"}
            if steps is not None:
                changes["steps"] = steps
            experiment = dataclasses.replace(declared, **changes)
            hashes = [config_hash(experiment), *former_hashes(experiment)]
            folders = [directory / _slug(variant) / f"seed-{seed}-{digest}" for digest in hashes]
            # A run that is there keeps the name it was given.
            place = next((i for i, folder in enumerate(folders) if folder.exists()), 0)
            digest, folder = hashes[place], folders[place]
            cells.append(Cell(variant, experiment, digest, folder))
    return cells


def _slug(name: str) -> str:
    """A name as a folder: letters, digits, dots and hyphens."""
    return re.sub(r"[^\w.]+", "-", name).strip("-")
