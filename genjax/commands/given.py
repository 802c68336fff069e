"""The images that a command is given: files, or examples of the data that a run is of."""

from pathlib import Path
from typing import TYPE_CHECKING

from genjax.commands.arguments import check_range, progress
from genjax.errors import UserError

if TYPE_CHECKING:
    from genjax.data.given import Given
    from genjax.run.opening import Run
    from genjax.run.sampling import HostCondition

_MOST = 256


def check_given(image: tuple[Path, ...], examples: tuple[int, ...]) -> None:
    """Refuses both kinds together, and neither; raises UserError."""
    if bool(image) == bool(examples):
        raise UserError("give either --image FILE ... or --examples NUMBER ...")


def read_images(
    opened: "Run", image: tuple[Path, ...], examples: tuple[int, ...], label: str | None
) -> "tuple[Given, HostCondition]":
    """Reads what `check_given` lets pass.

    Args:
      opened: a run of images.
      image: files and folders, see `genjax.data.given.read_given`.
      examples: numbers in the test split of the run's data.
      label: class of all; None where it is known or there is none.

    Returns:
      The images, and what each is made from by the run's model beside its latent.

    Raises:
      UserError: nothing usable is there, too much, or no class where the model needs one.
    """
    return _of_files(opened, image, label) if image else _of_data(opened, examples, label)


def _of_files(
    opened: "Run", paths: tuple[Path, ...], label: str | None
) -> "tuple[Given, HostCondition]":
    from genjax.data.classes import list_names
    from genjax.data.given import read_given
    from genjax.domains.derivations import derive_stored
    from genjax.run.sampling import class_names_of, condition_of

    spec = opened.algorithm.spec
    if label is None and set(spec.given) - set(spec.derived):
        names = class_names_of(opened) or tuple(map(str, spec.labels))
        raise UserError(
            f"{opened.experiment.name!r} makes images of a class; give --label; classes of this "
            f"model: {list_names(names)}"
        )
    given = read_given(paths, spec.shape, _MOST)
    derived = derive_stored(spec, given.images)
    return given, condition_of(opened, len(given.names), label, given=derived)


def _of_data(
    opened: "Run", numbers: tuple[int, ...], label: str | None
) -> "tuple[Given, HostCondition]":
    import numpy as np

    from genjax.data.given import Given
    from genjax.data.sources import load_held_out
    from genjax.domains.derivations import derive_stored
    from genjax.run.conditions import conditions_of_rows
    from genjax.run.sampling import condition_of

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
    if label is None and spec.given and not spec.categories:
        return given, conditions_of_rows(spec, held_out, np.array(numbers))
    if label is None and spec.given:
        raise UserError(f"{opened.experiment.name!r} found its categories itself; give --label")
    derived = derive_stored(spec, given.images)
    return given, condition_of(opened, len(numbers), label, given=derived)
