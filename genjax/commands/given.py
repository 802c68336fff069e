"""The images that a command is given: files, or examples of the data that a run is of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genjax.commands.arguments import check_range, progress
from genjax.commands.sample_options import warn_of_unused
from genjax.errors import UserError

if TYPE_CHECKING:
    from genjax.data.given import Given
    from genjax.run.cascade import Prior
    from genjax.run.opening import Run
    from genjax.run.sampling import HostCondition

_MOST = 256


def check_given(image: tuple[Path, ...], examples: tuple[int, ...]) -> None:
    """Refuses both kinds together, and neither; raises UserError."""
    if bool(image) == bool(examples):
        raise UserError("give either --image FILE ... or --examples NUMBER ...")


def read_images(
    opened: "Run",
    image: tuple[Path, ...],
    examples: tuple[int, ...],
    label: str | None,
    prompts: Sequence[str] = (),
    prior: "Prior | None" = None,
    seed: int = 0,
) -> "tuple[Given, HostCondition]":
    """Reads what `check_given` lets pass.

    Args:
      opened: a run of images.
      image: files and folders, see `genjax.data.given.read_given`.
      examples: numbers in the test split of the run's data.
      label: class of all; None where it is known or there is none.
      prompts: taken in turn; none where captions are known or there are none.
      prior: makes embeddings of these, for a model that is given both.
      seed: of what it makes.

    Returns:
      The images, and what each is made from by the run's model beside its latent.

    Raises:
      UserError: nothing usable is there, too much, or no class or caption where one is needed.
    """
    from genjax.domains.derivations import derive_stored
    from genjax.run.sampling import condition_of

    spec = opened.algorithm.spec
    if image:
        given, known = _of_files(opened, image, label, prompts)
    else:
        given, known = _of_data(opened, examples, label)
    warn_of_unused(prompts, len(given.names), "images")
    known = {**known, **derive_stored(spec, given.images)}
    embed = None if prior is None else prior.embed
    return given, condition_of(
        opened, len(given.names), label, prompts, embed, seed=seed, given=known
    )


def _of_files(
    opened: "Run", paths: tuple[Path, ...], label: str | None, prompts: Sequence[str]
) -> "tuple[Given, HostCondition]":
    from genjax.core.captions import CAPTION
    from genjax.core.embeddings import EMBEDDING
    from genjax.data.classes import list_names
    from genjax.data.given import read_given
    from genjax.run.sampling import class_names_of

    spec, name = opened.algorithm.spec, opened.experiment.name
    if label is None and "label" in spec.given:
        names = class_names_of(opened) or tuple(map(str, spec.labels))
        raise UserError(
            f"{name!r} makes images of a class; give --label; classes of this model: "
            f"{list_names(names)}"
        )
    if CAPTION in spec.given and not prompts:
        raise UserError(f"{name!r} makes images of a caption; give --prompt")
    if EMBEDDING in spec.given and CAPTION not in spec.given:
        raise UserError(
            f"{name!r} makes images of an embedding, which files don't have; give --examples"
        )
    return read_given(paths, spec.shape, _MOST), {}


def _of_data(
    opened: "Run", numbers: tuple[int, ...], label: str | None
) -> "tuple[Given, HostCondition]":
    import numpy as np

    from genjax.data.given import Given
    from genjax.data.sources import load_held_out
    from genjax.run.conditions import conditions_of_rows

    spec = opened.algorithm.spec
    held_out = load_held_out(opened.experiment.data, progress)
    if held_out is None:
        raise UserError(
            "--examples are of a test split, which these data do not have; give --image"
        )
    for number in numbers:
        check_range("--examples", number, 0, held_out.count - 1)
    if len(numbers) > _MOST:
        raise UserError(f"there are {len(numbers)} images; at most {_MOST} are taken at once")
    rows = held_out.read(np.array(numbers))
    names = [f"{held_out.name}:{held_out.split}[{number}]" for number in numbers]
    given = Given(names, np.asarray(rows[spec.target]))
    if label is None and spec.given and spec.categories:
        raise UserError(f"{opened.experiment.name!r} found its categories itself; give --label")
    known = {} if spec.categories else conditions_of_rows(spec, held_out, np.array(numbers))
    return given, known
