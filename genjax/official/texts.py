"""The names of BERT's encoder and CLIP's network of texts in Hugging Face's transformers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from genjax.config import BERT, CLIPText
from genjax.official.shapes import Shapes, some
from genjax.official.tensors import DENSE, SAME, Place, Table, Tensor, layer, left_out, norm

INTEGERS = ("position_ids",)
"""Ends of names of what is no weight: the numbers of the places, which are always the same."""

BERT_HEADS = {128: 2, 256: 4, 384: 12, 512: 8, 768: 12, 1024: 16}
"""Of attention, by the width of a published network; 384 is MiniLM's."""
CLIP_HEADS = {512: 8, 768: 12, 1024: 16, 1280: 20}
CLIP_ACTIVATIONS = {512: "quick_gelu", 768: "quick_gelu"}
"""By the width; OpenAI's networks, whose others OpenCLIP has trained with gelu."""

_BERT_LAYER = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention_out",
    "intermediate.dense": "mlp_in",
    "output.dense": "mlp_out",
}
_BERT_NORMS = {"attention.output.LayerNorm": "attention_norm", "output.LayerNorm": "mlp_norm"}
_CLIP_LAYER = {
    "self_attn.q_proj": "query",
    "self_attn.k_proj": "key",
    "self_attn.v_proj": "value",
    "self_attn.out_proj": "attention_out",
    "mlp.fc1": "mlp_in",
    "mlp.fc2": "mlp_out",
}
_CLIP_NORMS = {"layer_norm1": "attention_norm", "layer_norm2": "mlp_norm"}
_TEXT: Place = ("text",)


class Texts(NamedTuple):
    """What the tensors say of a network of texts.

    Attributes:
      network: fields of its configuration.
      vocabulary: number of tokens.
    """

    network: Mapping[str, Any]
    vocabulary: int


def infer_bert(shapes: Shapes) -> Texts:
    """Finds what an encoder is; raises UserError where it is another network."""
    above = _above(shapes, "bert.", "embeddings.word_embeddings.weight")
    vocabulary, width = shapes.of(f"{above}embeddings.word_embeddings.weight", 2)
    first = f"{above}encoder.layer.0.intermediate.dense.weight"
    network = {
        "width": width,
        "depth": max(1, shapes.count(above + "encoder.layer.{}.attention.self.query.weight")),
        "mlp": shapes.of(first, 2)[0],
        "positions": shapes.of(f"{above}embeddings.position_embeddings.weight", 2)[0],
    }
    return Texts(network, vocabulary)


def infer_clip(shapes: Shapes) -> Texts:
    """Likewise."""
    inner = "text_model.embeddings"
    vocabulary, width = shapes.of(f"{inner}.token_embedding.weight", 2)
    projection = "text_projection.weight"
    network = {
        "width": width,
        "depth": max(1, shapes.count("text_model.encoder.layers.{}.mlp.fc1.weight")),
        "mlp": shapes.of("text_model.encoder.layers.0.mlp.fc1.weight", 2)[0],
        "positions": shapes.of(f"{inner}.position_embedding.weight", 2)[0],
        "projection": shapes.of(projection, 2)[0] if projection in shapes else None,
    }
    return Texts(network, vocabulary)


def bert(config: BERT) -> Table:
    """The tensors of BERT's encoder.

    Args:
      config: of ours.

    Returns:
      The table.
    """
    found = {
        f"embeddings.{name}_embeddings.weight": Tensor(("params", *_TEXT, ours), SAME)
        for name, ours in (("word", "tokens"), ("position", "positions"), ("token_type", "types"))
    }
    found |= norm("embeddings.LayerNorm", (*_TEXT, "norm"))
    for number in range(config.depth):
        found |= _layer(f"encoder.layer.{number}", number, _BERT_LAYER, _BERT_NORMS)
    return found


def clip(config: CLIPText) -> Table:
    """The tensors of CLIP's network of texts; arguments and result as of `bert`."""
    found = {
        f"text_model.embeddings.{name}_embedding.weight": Tensor(("params", *_TEXT, ours), SAME)
        for name, ours in (("token", "tokens"), ("position", "positions"))
    }
    found |= norm("text_model.final_layer_norm", (*_TEXT, "norm"))
    for number in range(config.depth):
        found |= _layer(f"text_model.encoder.layers.{number}", number, _CLIP_LAYER, _CLIP_NORMS)
    if config.projection is not None:
        found |= layer("text_projection", (*_TEXT, "projection"), DENSE, False, False)
    return found


def bert_of_file(made: Table, shapes: Shapes) -> tuple[Table, list[str]]:
    """The table of a file, whose names may begin with ``bert.``; see `genjax.official.edm`."""
    above = _above(shapes, "bert.", "embeddings.word_embeddings.weight")
    found = {above + name: tensor for name, tensor in made.items()}
    return _without(found, shapes, (f"{above}pooler.", "cls."))


def clip_of_file(made: Table, shapes: Shapes) -> tuple[Table, list[str]]:
    """The table of a file, which may be of the whole of CLIP."""
    return _without(dict(made), shapes, ("vision_model.", "visual_projection.", "logit_scale"))


def _without(found: Table, shapes: Shapes, beginnings: tuple[str, ...]) -> tuple[Table, list[str]]:
    """A table with what is not read of a file, and what to say of that."""
    unread = [name for name in shapes.shapes if name.startswith(beginnings)]
    for name in [*unread, *(name for name in shapes.shapes if name.endswith(INTEGERS))]:
        found |= left_out(name)
    return found, [f"left out {some(unread)}: no part of a network of texts"] if unread else []


def _above(shapes: Shapes, prefix: str, name: str) -> str:
    return prefix if prefix + name in shapes else ""


def _layer(name: str, number: int, linear: Mapping[str, str], norms: Mapping[str, str]) -> Table:
    own = (*_TEXT, f"layer_{number}")
    found: Table = {}
    for theirs, ours in linear.items():
        found |= layer(f"{name}.{theirs}", (*own, ours), DENSE, True, False)
    for theirs, ours in norms.items():
        found |= norm(f"{name}.{theirs}", (*own, ours))
    return found
