"""``genjax presets | data``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table
from tyro.conf import Positional

from genjax.commands.arguments import console, parse, progress, say, show_help
from genjax.errors import UserError, suggest
from genjax.presets import PRESETS

if TYPE_CHECKING:
    from genjax.data.importer import Imported


def presets(arguments: list[str]) -> None:
    """List the presets: name, family, data, resolution, parameters."""

    def run() -> None:
        """List the presets."""
        from genjax.data.standard import image_and_classes
        from genjax.families.registry import count_parameters

        table = Table(
            "name", "family", "data", "resolution", "parameters", box=None, pad_edge=False
        )
        for name, experiment in PRESETS.items():
            image, classes = image_and_classes(experiment.data.name)
            counts = count_parameters(experiment, image, classes)
            parameters = ", ".join(f"{player} {count:,}" for player, count in counts.items())
            family = experiment.model.family
            size = "x".join(map(str, image))
            table.add_row(name, family, experiment.data.name, size, parameters)
        console.print(table, soft_wrap=True)

    parse(run, arguments, "genjax presets")


def data(arguments: list[str]) -> None:
    """Manage data sets: genjax data list | prepare NAME | import NAME --from DIR."""

    def list_(directory: Path | None = None) -> None:
        """List the data sets and where they are.

        Args:
          directory: Folder of prepared sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
        """
        from genjax.data.listing import list_datasets

        table = Table("name", "status", "images", "where", box=None, pad_edge=False)
        for row in list_datasets(directory):
            table.add_row(row.name, row.status, _splits(row.splits), row.where)
        console.print(table, soft_wrap=True)

    def prepare(name: Positional[str], directory: Path | None = None) -> None:
        """Download a data set once and store it in the form that training reads.

        Args:
          name: Data set, by its name in TensorFlow Datasets.
          directory: Folder of prepared sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
        """
        from genjax.data.prepare import prepare_dataset

        _report_import(prepare_dataset(name, directory, progress))

    def import_(
        name: Positional[str],
        source: Annotated[Path, tyro.conf.arg(name="from")],
        directory: Path | None = None,
        resolution: int | None = None,
    ) -> None:
        """Turn files at hand into a data set.

        Args:
          name: Name to give it; a standard set's name checks that the files are that set.
          source: IDX files, an .npz file, or a folder of class folders of PNG or JPEG images,
            perhaps below train/ and test/.
          directory: Folder of prepared sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
          resolution: Side in pixels to resize images to, for files of mixed sizes.
        """
        from genjax.data.importer import import_dataset

        _report_import(import_dataset(name, source, directory, progress, resolution))

    actions: dict[str, Callable[..., None]] = {"list": list_, "prepare": prepare, "import": import_}
    if not arguments or arguments[0] in ("-h", "--help"):
        show_help("genjax data", actions, data.__doc__)
        return
    action = arguments[0]
    if action not in actions:
        raise UserError(f"unknown command 'data {action}'; {suggest(action, actions)}")
    parse(actions[action], arguments[1:], f"genjax data {action}")


def _splits(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in splits.items())


def _report_import(imported: "Imported") -> None:
    for warning in imported.warnings:
        say(f"warning: {warning}")
    size = "x".join("?" if side is None else str(side) for side in imported.shape)
    say(
        f"{imported.name}: {_splits(imported.splits)} images of {size}, "
        f"{imported.classes} classes, in {imported.path}"
    )
