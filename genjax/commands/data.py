"""``genjax presets | data``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import parse, progress, say, show_help
from genjax.commands.columns import print_rows
from genjax.commands.flags import Plugins
from genjax.config import Experiment
from genjax.errors import UserError, lookup, suggest
from genjax.presets import PRESETS

if TYPE_CHECKING:
    from genjax.data.imports import Imported


def presets(arguments: list[str]) -> None:
    """List the presets: name, family, data, shape, steps, batch; and parameters of those named."""

    def run(names: Positional[tuple[str, ...]] = (), plugin: Plugins = ()) -> None:
        """List the presets.

        Args:
          names: Presets to list, whose parameters are counted, too; none lists all.
          plugin: Python file that registers presets of one's own; may be given several times.
        """
        from genjax.config.plugins import use_plugins

        use_plugins(plugin)
        rows = []
        for name in names or PRESETS:
            experiment = lookup(PRESETS, name, "preset")
            # To count those of all takes tens of seconds.
            size, parameters = _sizes(experiment, bool(names))
            often = f"{experiment.steps:,}", f"{experiment.batch_size:,}"
            row = (name, experiment.model.family, experiment.data.name, size, *often)
            rows.append((*row, parameters) if parameters else row)
        header = ("name", "family", "data", "shape", "steps", "batch")
        print_rows(rows, (*header, "parameters") if names else header)

    parse(run, arguments, "genjax presets")


def _sizes(experiment: Experiment, count: bool) -> tuple[str, str]:
    """The shape of an example, and the parameters of each network or why it can't be used."""
    from genjax.data.sources import expected_schema, load
    from genjax.families.registry import count_parameters
    from genjax.run.opening import open_algorithm

    config, size = experiment.data, "?"
    try:
        try:
            schema = expected_schema(config)
        except UserError:
            schema = load(config).schema
        size = "x".join(map(str, next(iter(schema.fields.values())).shape))
        counts = count_parameters(open_algorithm(experiment, schema)) if count else {}
    # One preset that can't be used takes nothing from the others.
    except UserError as error:
        return size, str(error)
    return size, ", ".join(f"{p} {count:,}" for p, count in counts.items())


def data(arguments: list[str]) -> None:
    """Manage data sets: genjax data list | prepare NAME | import NAME --from DIR | embed NAME."""

    def list_(directory: Path | None = None) -> None:
        """List the data sets and where they are.

        Args:
          directory: Folder of prepared sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
        """
        from genjax.data.listing import list_datasets

        rows = [
            (row.name, row.status, _splits(row.splits), row.where)
            for row in list_datasets(directory)
        ]
        print_rows(rows, ("name", "status", "examples", "where"))

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
        tokenizer: Literal["character", "byte", "bpe", "wordpiece"] | None = None,
        vocabulary: int | None = None,
        rate: int | None = None,
        vocabulary_file: Path | None = None,
    ) -> None:
        """Turn files at hand into a data set.

        Args:
          name: Name to give it; a standard set's name checks that the files are that set.
          source: IDX files, an .npz file, a folder of PNG, JPEG or WAV files or of class folders of
            them, perhaps with labels.csv or dataset.json, perhaps below train/, validation/ and
            test/, images with a captions.jsonl or a .txt beside each, a .txt or a folder of those;
            or a .tar, .tar.gz or .tar.xz of any of these.
          directory: Folder of prepared sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
          resolution: Side in pixels to resize images to, for files of mixed sizes.
          tokenizer: How text is cut into tokens; None means character, and for captions bpe.
          vocabulary: Number of tokens of bpe; None means 1,024.
          rate: Samples a second that sounds are resampled to; None keeps theirs.
          vocabulary_file: Vocabulary of captions that a model takes, its vocab.txt; implies
            wordpiece.
        """
        from genjax.data.importer import import_dataset

        options = (resolution, tokenizer, vocabulary, rate, vocabulary_file)
        _report_import(import_dataset(name, source, directory, progress, *options))

    def embed(
        name: Positional[str],
        source: Annotated[str, tyro.conf.arg(name="from")],
        by: str,
        directory: Path | None = None,
        resolution: int | None = None,
    ) -> None:
        """Store a set of images again with the embedding of each by a run of a joint embedding.

        Args:
          name: Name to give it.
          source: The set, which has images and perhaps labels and captions.
          by: Run of the family contrastive, such as one of clip-emoji, which sees the images at its
            own size: FOLDER, FOLDER@best or FOLDER@STEP.
          directory: Folder of prepared sets, for both; None means TFDS_DATA_DIR or
            ~/tensorflow_datasets.
          resolution: Side in pixels to store the images at; None keeps their size.
        """
        from genjax.run.embedded import embed_dataset

        _report_import(embed_dataset(name, source, by, directory, resolution, progress))

    actions: dict[str, Callable[..., None]] = {
        "list": list_,
        "prepare": prepare,
        "import": import_,
        "embed": embed,
    }
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
    say(f"{imported.name}: {_splits(imported.splits)} {imported.unit}, in {imported.path}")
    if imported.class_names:
        from genjax.data.classes import list_names

        say(f"classes, in the order of their labels: {list_names(imported.class_names)}")
