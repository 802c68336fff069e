"""Image embeddings of joint embedding runs, as a field of data and of single images."""

import dataclasses
from pathlib import Path

import numpy as np

from genjax.config import LARGEST_SIDE, DataConfig
from genjax.core.captions import CAPTION
from genjax.core.embeddings import EMBEDDING, embedding_facts
from genjax.core.schema import Schema, Source
from genjax.data import prepared
from genjax.data.digest import content_digest
from genjax.data.importer import check_name
from genjax.data.imports import Imported, in_words
from genjax.data.progress import Progress, no_progress
from genjax.data.schema import embedded_schema
from genjax.data.sources import load, splits_of
from genjax.data.stored_images import store_images
from genjax.domains.captions import encode_prompts
from genjax.errors import UserError
from genjax.evals.embedding import Embedding
from genjax.evals.retrieval import first_captions
from genjax.run.opening import Named, Run, open_named

_BATCH = 1000
_SHOWN = 64
_APART = ("test", "validation", "train")
"""The first of these that there is has the images of which embeddings are shown."""


def embedding_of(run: Run) -> Embedding:
    """What embeds by a run, with the networks of others that it uses.

    Raises:
      UserError: the run is of another family.
    """
    return Embedding(run.experiment, run.schema, run.state, run.algorithm.frozen)


def open_embedding(name: str, field: str) -> tuple[Embedding, Named]:
    """Opens a run that embeds images.

    Args:
      name: see `genjax.run.opening.parse_run`.
      field: that names it, for messages.

    Returns:
      What embeds, and the run.

    Raises:
      UserError: it is not there, of another family, or without a network of images.
    """
    named = open_named(name, field)
    own = embedding_of(named.run)
    if not own.images:
        raise UserError(
            f"{field} is {name}, a network of texts alone; name a run that embeds images, such as "
            "one of clip-emoji"
        )
    return own, named


def embed_dataset(
    name: str,
    source: str,
    run: str,
    directory: str | Path | None = None,
    resolution: int | None = None,
    progress: Progress = no_progress,
) -> Imported:
    """Stores a data set of images again with the embedding of each.

    Args:
      name: what to call it: lower-case letters, digits and underscores.
      source: name of a set of images.
      run: of a joint embedding, which sees the images at its own size.
      directory: folder of data sets, of both; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
      resolution: side to store the images at; None keeps their size.
      progress: shows how far it is.

    Returns:
      A summary. The facts of the set name the run, and have the embeddings of the images of the
      prompts, from which samples are shown.

    Raises:
      UserError: the name is taken or invalid, the set is none of images or the run embeds none of
        such, or the set has embeddings already.
    """
    root = prepared.data_directory(directory)
    check_name(name, root)
    if resolution is not None and not 1 <= resolution <= LARGEST_SIDE:
        raise UserError(f"resolution must be at least 1, at most {LARGEST_SIDE}, got {resolution}")
    embedding, named = open_embedding(run, "--by")
    config = DataConfig(source, resolution=resolution, directory=str(root))
    splits = splits_of(source, str(root)) or ("train",)
    opened = {split: load(dataclasses.replace(config, split=split), progress) for split in splits}
    schema = next(iter(opened.values())).schema
    if schema.domain != "image":
        raise UserError(f"--from is {source}, which holds {schema.domain}; name a set of images")
    if EMBEDDING in schema.fields:
        raise UserError(f"--from is {source}, which has embeddings; name the set it was made of")
    if others := schema.fields.keys() - {"image", "label", CAPTION}:
        raise UserError(
            f"--from is {source}, which has {min(others)!r}, and only images, labels and captions "
            "are stored with embeddings; name another set"
        )
    size = _seen_size(embedding.shape, schema.fields["image"].shape, source)
    rows = {}
    for split in splits:
        seen = load(dataclasses.replace(config, split=split, resolution=size), progress)
        rows[split] = _embed(embedding, seen, progress)
    apart = next((split for split in _APART if split in opened), splits[0])
    shown = _shown(schema, opened[apart], rows[apart])
    facts = {key: value for key, value in schema.facts.items() if key != "empty_classes"}
    if shown is None:
        facts = {
            key: fact for key, fact in facts.items() if key not in ("prompts", "prompt_labels")
        }
        shown = rows[apart][:_SHOWN]
    dimensions = shown.shape[1]
    plain = schema._replace(facts=facts)
    whole = embedded_schema(plain, dimensions, embedding_facts(named.name, shown))
    sources = {split: _with(opened[split], whole, rows[split]) for split in splits}
    path = store_images(name, root, whole, sources, progress)
    shape, classes = schema.fields["image"].shape, schema.classes
    return Imported(
        name,
        path,
        {split: found.count for split, found in sources.items()},
        f"{in_words(shape, classes)}, each with an embedding of {dimensions} numbers by "
        f"{named.name}",
    )


def _seen_size(wanted: tuple[int, ...], given: tuple[int, ...], source: str) -> int | None:
    """The side at which a run sees images; raises UserError where it can't."""
    if wanted[-1] != given[-1]:
        raise UserError(
            f"--by embeds images of {wanted[-1]} channels, and those of {source} have {given[-1]}; "
            "name another run"
        )
    if wanted[0] == wanted[1]:
        return wanted[0]
    if wanted != given:
        raise UserError(
            f"--by embeds images of {wanted[1]} x {wanted[0]} pixels, and those of {source} have "
            f"{given[1]} x {given[0]}; images that aren't square are not resized"
        )
    return None


def _embed(embedding: Embedding, source: Source, progress: Progress) -> np.ndarray:
    starts = range(0, source.count, _BATCH)
    return np.concatenate(
        [
            embedding.embed_images(
                np.asarray(
                    source.read(np.arange(start, min(start + _BATCH, source.count)))["image"]
                )
            )
            for start in progress(starts, f"embedding {source.split}", len(starts))
        ]
    )


def _shown(schema: Schema, source: Source, rows: np.ndarray) -> np.ndarray | None:
    """Of each prompt of the data the embedding of an image; None where one has none."""
    texts = schema.facts.get("prompts")
    if CAPTION not in schema.fields or not isinstance(texts, list) or not texts:
        return None
    wanted, _ = encode_prompts(schema.facts, schema.fields[CAPTION], texts)
    own: dict[bytes, int] = {}
    for number, caption in enumerate(first_captions(source)):
        own.setdefault(caption.tobytes(), number)
    found = [own[key] for row in wanted if (key := row[0].tobytes()) in own]
    return rows[found] if len(found) == len(texts) else None


def _with(source: Source, schema: Schema, rows: np.ndarray) -> Source:
    """A split that has embeddings, too."""

    def read(numbers: np.ndarray) -> dict[str, np.ndarray]:
        arrays = source.read(numbers)
        found = {name: np.asarray(arrays[name]) for name in schema.fields if name != EMBEDDING}
        return {**found, EMBEDDING: rows[numbers]}

    made = Source(
        source.name, source.split, source.count, schema, read, {}, lambda: content_digest(made)
    )
    return made
