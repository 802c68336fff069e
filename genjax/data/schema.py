"""Schemas of the usual kinds of data, and their JSON form, which a run's manifest keeps."""

from collections.abc import Mapping, Sequence
from typing import Any

from genjax.config import DataConfig
from genjax.core.embeddings import EMBEDDING
from genjax.core.schema import Field, Schema

# Above what networks are built for; a file may say anything.
_LARGEST_SIDE = 2**24
_MOST_AXES = 8
_MOST_LEVELS = 2**20


def label_field(classes: int) -> dict[str, Field]:
    """The field of class labels; no field without classes."""
    return {"label": Field((), "int32", classes)} if classes else {}


def image_schema(
    shape: Sequence[int], classes: int = 0, class_names: Sequence[str] | None = None
) -> Schema:
    """Of images.

    Args:
      shape: (height, width, channels).
      classes: number of class labels; 0 without.
      class_names: in the order of the labels, where they are known.

    Returns:
      The schema, with ``uint8`` images.
    """
    height, width, channels = shape
    fields = {"image": Field((height, width, channels), "uint8"), **label_field(classes)}
    return Schema("image", fields, {"class_names": list(class_names)} if class_names else {})


def resized(schema: Schema, resolution: int | None) -> Schema:
    """The same images at another size, square; the schema itself for None."""
    if resolution is None:
        return schema
    image = schema.fields["image"]
    resized_field = image._replace(shape=(resolution, resolution, image.shape[-1]))
    return schema._replace(fields={**schema.fields, "image": resized_field})


def configured(schema: Schema, config: DataConfig) -> Schema:
    """The examples of a set as a configuration wants them.

    Args:
      schema: of the set.
      config: the size of its images, and the field that is generated.

    Returns:
      Of a set of images the same at that size; or, where their embeddings are generated, vectors
      with what else there is but the images.
    """
    if schema.domain != "image":
        return schema
    if config.target != EMBEDDING or EMBEDDING not in schema.fields:
        return resized(schema, config.resolution)
    others = {name: field for name, field in schema.fields.items() if name != "image"}
    return Schema("vectors", {EMBEDDING: schema.fields[EMBEDDING], **others}, schema.facts)


def captioned_schema(
    images: Schema, candidates: int, length: int, vocabulary: int, facts: Mapping[str, Any]
) -> Schema:
    """Of images with captions.

    Args:
      images: of the images alone.
      candidates: captions that an image has at most.
      length: tokens in a caption at most.
      vocabulary: number of tokens there are.
      facts: of the tokenizer, and ``prompts``, captions to show samples of.

    Returns:
      The schema, with ``int32`` captions behind the other fields.
    """
    caption = Field((candidates, length), "int32", vocabulary)
    return Schema(images.domain, {**images.fields, "caption": caption}, {**images.facts, **facts})


def embedded_schema(images: Schema, size: int, facts: Mapping[str, Any]) -> Schema:
    """Of the same images with embeddings of so many numbers, behind the other fields.

    Args:
      images: of the images, perhaps with captions.
      size: numbers of an embedding.
      facts: see `genjax.core.embeddings.embedding_facts`.

    Returns:
      The schema, with ``float32`` embeddings.
    """
    fields = {**images.fields, EMBEDDING: Field((size,), "float32")}
    return Schema(images.domain, fields, {**images.facts, **facts})


def point_schema(mixture: str, modes: int) -> Schema:
    """Of points of the plane from a mixture of so many modes, whose numbers are their labels."""
    fields = {"point": Field((2,), "float32"), **label_field(modes)}
    return Schema("points", fields, {"mixture": mixture})


def token_schema(length: int, vocabulary: int, facts: Mapping[str, Any]) -> Schema:
    """Of windows of so many tokens; `facts` are those of the tokenizer."""
    return Schema("tokens", {"tokens": Field((length,), "int32", vocabulary)}, facts)


def audio_schema(
    samples: int, rate: int, classes: int = 0, class_names: Sequence[str] | None = None
) -> Schema:
    """Of sounds of one channel.

    Args:
      samples: in each.
      rate: samples a second.
      classes: number of class labels; 0 without.
      class_names: in the order of the labels, where they are known.

    Returns:
      The schema, with ``int16`` samples.
    """
    fields = {"audio": Field((samples, 1), "int16"), **label_field(classes)}
    names = {"class_names": list(class_names)} if class_names else {}
    return Schema("audio", fields, {"sample_rate": rate, **names})


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """Turns a schema into plain JSON values."""
    fields = {
        name: {"shape": list(field.shape), "dtype": field.dtype, "levels": field.levels}
        for name, field in schema.fields.items()
    }
    return {"domain": schema.domain, "fields": fields, "facts": dict(schema.facts)}


def schema_from_json(value: Mapping[str, Any]) -> Schema:
    """Reads what `schema_to_json` has written.

    Args:
      value: the JSON object.

    Returns:
      The schema.

    Raises:
      ValueError, KeyError, TypeError, AttributeError: it is something else.
    """
    fields = {}
    for name, described in value["fields"].items():
        shape = tuple(int(side) for side in described["shape"])
        levels = int(described["levels"])
        if len(shape) > _MOST_AXES or not all(1 <= side <= _LARGEST_SIDE for side in shape):
            raise ValueError(f"there are no arrays of shape {shape}")
        if not 0 <= levels <= _MOST_LEVELS:
            raise ValueError(f"there are no {levels} levels")
        fields[str(name)] = Field(shape, str(described["dtype"]), levels)
    if not fields:
        raise ValueError("an example without fields")
    return Schema(str(value["domain"]), fields, dict(value["facts"]))
