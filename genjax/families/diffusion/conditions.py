"""What a model that denoises is given beside noisy examples, and the network that takes it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp

from genjax.config import Denoising
from genjax.core.captions import CAPTION
from genjax.core.frozen import NO_NETWORKS, Networks
from genjax.core.schema import LABEL, NO_LABELS, Field, Spec, check_continuous
from genjax.errors import UserError
from genjax.families.contrastive.reading import ENCODER, TextEncoder, text_encoder
from genjax.nn.denoisers import make_denoiser
from genjax.nn.described import Described
from genjax.nn.sequences import make_sequence_encoder
from genjax.nn.text import make_text_tower

_NOTHING: Mapping[str, Field] = MappingProxyType({})
# What is about conditions alone, with what it is where there are none.
_ABOUT_THEM = {
    "label_dropout": 0.0,
    "caption_dropout": None,
    ENCODER: None,
    "condition_noise": 0.0,
}


class Conditions(NamedTuple):
    """What a model is given.

    Attributes:
      config: of the model.
      shape: of what is generated.
      given: the fields of the data.
      classes: labels that there are; 0 for a model without.
      caption: the field; None for a model without.
      encoder: of captions, of another run; None where one is learnt with the network.
      vectors: fields of one axis of real numbers, such as embeddings.
      sequences: fields of two axes of real numbers, such as spectrograms; one at most, and none
        beside captions.
      maps: fields of three axes of real numbers, such as images with fewer pixels.
    """

    config: Denoising
    shape: tuple[int, ...] = ()
    given: tuple[str, ...] = ()
    classes: int = 0
    caption: Field | None = None
    encoder: TextEncoder | None = None
    vectors: Mapping[str, Field] = _NOTHING
    sequences: Mapping[str, Field] = _NOTHING
    maps: Mapping[str, Field] = _NOTHING

    @property
    def leave_all_out(self) -> bool:
        """Whether a model learnt from examples of nothing, too, so that it can guide itself."""
        apart, rest = self.config.caption_dropout, self.config.label_dropout
        if self.caption is None or apart is None:
            return rest > 0
        others = self.classes or self.vectors or self.maps
        return apart > 0 and (rest > 0 or not others)


def conditions_of(
    config: Denoising, spec: Spec, what: str, networks: Networks = NO_NETWORKS
) -> Conditions:
    """Finds out what a model is given.

    Args:
      config: of the model.
      spec: of the data.
      what: the model, in words.
      networks: of other runs: ``text_encoder``, where the configuration names one.

    Returns:
      The conditions.

    Raises:
      UserError: the data are tokens, or there is nothing that could be given, or what is given does
        not fit the model.
    """
    check_continuous(spec, what)
    if not config.conditional:
        for name, usual in _ABOUT_THEM.items():
            value = getattr(config, name)
            if value != usual:
                raise UserError(
                    f"{name} is {value}, but the model is given no labels, captions or the like; "
                    "leave it out, or set conditional"
                )
        return Conditions(config, spec.shape)
    if not spec.given:
        raise UserError(f"a conditional model needs class labels or captions, and {NO_LABELS}")
    caption = spec.fields[CAPTION] if CAPTION in spec.given else None
    kinds: tuple[dict[str, Field], ...] = ({}, {}, {})
    for name in spec.given:
        field = spec.fields[name]
        if name in (LABEL, CAPTION):
            continue
        if field.dtype != "float32" or not 1 <= len(field.shape) <= len(kinds):
            raise UserError(
                f"data.given has {name!r}, {field.dtype} of shape {field.shape}, and {what} takes "
                "labels, captions, and vectors, sequences and maps of real numbers; leave it out"
            )
        kinds[len(field.shape) - 1][name] = field
    vectors, sequences, maps = kinds
    read = [*([CAPTION] if caption is not None else []), *sequences]
    if len(read) > 1:
        raise UserError(
            f"data.given has {read[0]!r} and {read[1]!r}, and {what} reads one sequence of an "
            "example; leave one of them out"
        )
    _check_captions(config, caption)
    _check_maps(config, spec, what, maps)
    encoder = None
    if config.text_encoder is not None:
        encoder = text_encoder(networks[ENCODER], spec, ENCODER)
    return Conditions(
        config,
        spec.shape,
        spec.given,
        spec.classes,
        caption,
        encoder,
        vectors,
        sequences,
        maps,
    )


def _check_captions(config: Denoising, caption: Field | None) -> None:
    """Refuses what is about captions where there are none."""
    for name in (ENCODER, "caption_dropout"):
        value = getattr(config, name)
        if caption is None and value is not None:
            raise UserError(
                f"{name} is {value}, but data.given has no caption; leave it out, or set "
                f"data.given to {CAPTION}"
            )


def _check_maps(config: Denoising, spec: Spec, what: str, maps: Mapping[str, Field]) -> None:
    """Refuses maps beside what is no image, and noise on none."""
    if maps and not spec.is_image:
        kind = "latents of another run" if spec.coded else f"examples of shape {spec.shape}"
        raise UserError(
            f"{what} takes the map {min(maps)!r} beside images, and not beside {kind}; leave it out"
        )
    if config.condition_noise and not maps:
        raise UserError(
            f"condition_noise is {config.condition_noise:g}, but the model is given no map; leave "
            "it out, or set data.derive"
        )


def make_network(
    config: Denoising,
    shape: tuple[int, ...],
    conditions: Conditions,
    axis_name: str | None,
    around: Callable[[Any], Any] | None = None,
) -> Any:
    """Builds the network that is trained, with what learns beside it to read captions or sequences.

    Args:
      config: of the model.
      shape: of what it generates.
      conditions: from `conditions_of`.
      axis_name: mapped axis over the devices, if any.
      around: puts something around the denoiser.

    Returns:
      A module ``(x, train, noise, labels, changes, description) -> x'``.

    Raises:
      UserError: the network does not fit the shape.
    """
    dtype = jnp.dtype(config.dtype)
    network: Any = make_denoiser(config.network, shape, conditions.classes, dtype, axis_name)
    network = network if around is None else around(network)
    for field in conditions.sequences.values():
        tower = make_sequence_encoder(config.sequence, dtype, axis_name)
        return Described(network, tower, field.shape)
    caption = conditions.caption
    if caption is None or conditions.encoder is not None:
        return network
    length = caption.shape[1]
    tower = make_text_tower(config.text, caption.levels, length, dtype, axis_name)
    return Described(network, tower, (length,))
