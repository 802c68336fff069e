"""Networks of texts of other runs, which read captions as they are."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from genjax.config import ContrastiveConfig
from genjax.core.frozen import Frozen, Networks
from genjax.core.schema import Field, Spec
from genjax.core.types import Variables
from genjax.errors import UserError
from genjax.families.contrastive.joint import Read, Texts, make_joint, texts_of
from genjax.nn.text import Encoded, text_width

ENCODER = "text_encoder"
"""The field of a model that names the run of a text encoder."""


class TextEncoder(NamedTuple):
    """The network of texts of a run.

    Attributes:
      encode: ``(variables, tokens) -> Encoded``, from the run's variables by player.
      field: of the texts that it learnt from; `shape[-1]` is the most tokens.
      width: of what is known of each token.
      pooled: of what is known of a whole text.
    """

    encode: Callable[[Variables, Texts], Encoded]
    field: Field
    width: int
    pooled: int


def text_encoder(
    network: Frozen, spec: Spec, what: str, axis_name: str | None = None
) -> TextEncoder:
    """The network of texts of another run, to be used as it is.

    Args:
      network: of the run.
      spec: of the data whose captions it is to read.
      what: the field that names it, for messages.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The network.

    Raises:
      UserError: the run is of another family, its tokens are not those of the data, or it has no
        network of texts of its own.
    """
    config = network.model
    if not isinstance(config, ContrastiveConfig):
        raise UserError(
            f"{what} is a run of the family 'contrastive', such as genjax weights import minilm "
            f"makes one, but this is {config.family!r}"
        )
    if config.text_encoder is not None:
        raise UserError(
            f"{what} is a run that reads texts by the network of another one; name that, "
            f"{config.text_encoder}"
        )
    check_texts(network.spec, spec, what)
    joint = make_joint(config, network.spec, axis_name)

    def encode(variables: Variables, tokens: Texts) -> Encoded:
        encoded: Any = joint.apply(variables["network"], tokens, False, method="encode_text")
        found: Encoded = encoded
        return found

    return TextEncoder(encode, texts_of(network.spec), *text_width(config.text))


def encoder_of(
    config: ContrastiveConfig, spec: Spec, networks: Networks, axis_name: str | None = None
) -> TextEncoder | None:
    """What reads the texts of a joint embedding in the place of a network of its own.

    Args:
      config: the model.
      spec: of the data.
      networks: of other runs: ``text_encoder``, where the configuration names one.
      axis_name: mapped axis over the devices, if any.

    Returns:
      The network; None where its own reads tokens.

    Raises:
      UserError: as `text_encoder` does.
    """
    if config.text_encoder is None:
        return None
    return text_encoder(networks[ENCODER], spec, ENCODER, axis_name)


def read_texts(encoder: TextEncoder | None, frozen: Mapping[str, Any], tokens: Texts) -> Read:
    """What a joint embedding takes of texts.

    Args:
      encoder: from `encoder_of`.
      frozen: variables of other runs, by field and player.
      tokens: int32 [batch, L]; -1 behind each text.

    Returns:
      The tokens, or float32 [batch, pooled] of the encoder.
    """
    return tokens if encoder is None else encoder.encode(frozen[ENCODER], tokens).pooled


def check_texts(theirs: Spec, ours: Spec, what: str) -> None:
    """Refuses another run that reads captions where the data have other tokens.

    Args:
      theirs: of that run's data.
      ours: of the data.
      what: the field that names the run, for messages.

    Raises:
      UserError: the tokenizers differ, or captions of the data are too long.
    """
    if _tokenizer(ours) != _tokenizer(theirs):
        raise UserError(
            f"{what} reads tokens of {_tokenizer(theirs)['tokenizer']!r} with a vocabulary of its "
            "own, and the data have others; import the data with that vocabulary"
        )
    most, length = (texts_of(spec).shape[-1] for spec in (theirs, ours))
    if length > most:
        raise UserError(
            f"{what} reads texts of up to {most} tokens, but captions of the data have up to "
            f"{length}; name another run, or import the data with shorter ones"
        )


def _tokenizer(spec: Spec) -> dict[str, Any]:
    """What the facts say of tokens."""
    return {name: spec.facts.get(name) for name in ("tokenizer", "vocabulary", "definition")}
