"""Runs of official networks of texts, which other runs read texts with."""

from pathlib import Path
from typing import Any, NamedTuple

from genjax.config import DataConfig, Experiment
from genjax.config.json import as_written
from genjax.data.schema import token_schema
from genjax.data.vocabulary_files import read_vocabulary
from genjax.domains.tokenizers import vocabulary_size
from genjax.errors import UserError, lookup
from genjax.official.architectures import ARCHITECTURES, TextEncoding
from genjax.official.files import Official
from genjax.official.models import Unsaid, check_unsaid, text_model
from genjax.official.roles import Files, check_roles
from genjax.official.texts import INTEGERS
from genjax.run.imported import check_empty, first_state, read_networks, write_run
from genjax.run.opening import open_algorithm
from genjax.run.seals import file_digest

_MOST_BYTES = 2**26


def read_tokenizer(path: Path) -> dict[str, Any]:
    """Reads a tokenizer of the library `tokenizers`.

    Args:
      path: its JSON.

    Returns:
      The facts of the tokenizer, see `genjax.domains.tokenizers`.

    Raises:
      UserError: it can't be read, or is no such tokenizer.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UserError(f"{path} has more than {_MOST_BYTES:,} bytes; give a tokenizer.json")
        facts = {"tokenizer": "bpe", "definition": content.decode()}
        vocabulary_size(facts)
    except OSError as error:
        raise UserError(f"cannot read the tokenizer {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8; give a tokenizer.json") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return facts


class ImportedTexts(NamedTuple):
    """What an import has made.

    Attributes:
      vocabulary: number of tokens.
      length: most tokens of a text.
      width: of what is known of each token.
      tensors: how many were read.
      notes: what is not as it was, or was assumed, in words.
    """

    vocabulary: int
    length: int
    width: int
    tensors: int
    notes: list[str]


def is_text(name: str) -> bool:
    """Whether an architecture is one of texts; raises UserError where there is none of the name."""
    return isinstance(lookup(ARCHITECTURES, name, "architecture"), TextEncoding)


def import_texts(name: str, files: Files, directory: Path, unsaid: Unsaid) -> ImportedTexts:
    """Makes a run of a network of texts, which is not trained.

    Args:
      name: entry of `ARCHITECTURES`, of texts.
      files: of the network.
      directory: of the run, new.
      unsaid: what tensors do not say, with the file of the tokenizer.

    Returns:
      What was made.

    Raises:
      UserError: files that are not of this network, or of another tokenizer; no file was written.
      RunFailed: the run can't be written.
    """
    architecture = lookup(ARCHITECTURES, name, "architecture")
    assert isinstance(architecture, TextEncoding)
    check_roles(name, architecture, files)
    check_unsaid(name, architecture, unsaid)
    check_empty(directory)
    source: Path | None = getattr(unsaid, architecture.tokenizer)
    if source is None:
        what = {"vocabulary": "vocab.txt", "tokenizer": "tokenizer.json"}[architecture.tokenizer]
        raise UserError(
            f"tensors do not say which text a token is of; give the model's {what} by "
            f"--{architecture.tokenizer}"
        )
    official = Official(files.average, architecture.prefix, INTEGERS)
    inferred = architecture.infer(official.shapes)
    read = read_vocabulary if architecture.tokenizer == "vocabulary" else read_tokenizer
    facts = read(source)
    tokens = vocabulary_size(facts)
    if tokens > inferred.vocabulary:
        raise UserError(
            f"{source} has {tokens:,} tokens, but {files.average} knows {inferred.vocabulary:,}; "
            "give what belongs to these weights"
        )
    model, notes = text_model(name, architecture, official, inferred, unsaid)
    schema = token_schema(inferred.network["positions"], inferred.vocabulary, facts)
    experiment = as_written(Experiment(name, DataConfig(name), model))
    algorithm = open_algorithm(experiment, schema, trains=False)
    what = f"of texts of {name}"
    networks, more = read_networks(architecture, algorithm, experiment, {"average": official}, what)
    state = first_state(algorithm, experiment, networks, 0)
    described = {
        "official": name,
        "step": 0,
        "average": {"file": official.path.name, "sha256": file_digest(official.path)},
        "tokenizer": {"file": source.name, "sha256": file_digest(source)},
    }
    write_run(directory, experiment, schema, state, 0, described)
    sizes = inferred.vocabulary, inferred.network["positions"], inferred.network["width"]
    return ImportedTexts(*sizes, len(official.shapes.shapes), [*notes, *more])
