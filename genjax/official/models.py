"""Models that official networks are brought into, and those that they can be taken out of."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from genjax.config import (
    SGD,
    ContrastiveConfig,
    DiffusionConfig,
    Experiment,
    GANConfig,
    Model,
    NoImages,
    Path,
    VAEConfig,
)
from genjax.core.frozen import Networks
from genjax.errors import UserError
from genjax.nn.networks import latent_shape
from genjax.official.architectures import (
    Adversaries,
    Architecture,
    Autoencoding,
    Denoising,
    TextEncoding,
)
from genjax.official.files import Official
from genjax.official.shapes import Image, Inferred
from genjax.official.texts import Texts

# What the weights do not say of a network.
_TAKEN_OVER = ("clamp", "convolutions", "dropout", "initializer", "remat", "stddev")
_Configuration = TypeVar("_Configuration")


class Unsaid(NamedTuple):
    """What tensors do not say of a network.

    Attributes:
      heads: of attention; None for those of the published network of this width.
      resolution: of images; None for that of the data.
      autoencoder: run of a VAE, of whose latents a network that denoises is; None for one of
        images.
      activation: within the layers of a network of texts; None for that of the published network of
        this width.
      vocabulary: file of the tokens of WordPiece.
      tokenizer: file of a tokenizer of the library `tokenizers`.
    """

    heads: int | None = None
    resolution: int | None = None
    autoencoder: str | None = None
    activation: str | None = None
    vocabulary: pathlib.Path | None = None
    tokenizer: pathlib.Path | None = None


def check_unsaid(name: str, architecture: Architecture, unsaid: Unsaid) -> None:
    """Refuses to be told what an architecture's tensors say, or what it has not."""
    taken: tuple[str, ...] = ()
    if isinstance(architecture, Denoising):
        taken = ("heads", "autoencoder") if architecture.heads else ("autoencoder",)
    elif isinstance(architecture, Autoencoding):
        taken = ("resolution",)
    elif isinstance(architecture, TextEncoding):
        chosen = ("activation",) if architecture.activations else ()
        taken = ("heads", architecture.tokenizer, *chosen)
    for field, value in unsaid._asdict().items():
        if value is not None and field not in taken:
            raise UserError(f"--{field} is {value}, which {name} does not take; leave it out")


def model_of(
    name: str,
    architecture: Architecture,
    base: Experiment,
    inferred: Inferred,
    opened: Mapping[str, Official],
    unsaid: Unsaid,
) -> Model:
    """The model of a run of inferred networks.

    Args:
      name: of the architecture.
      architecture: of the networks; none of texts.
      base: whose losses and optimizers it has.
      inferred: from the network that samples come from.
      opened: files by the networks' roles.
      unsaid: what tensors do not say.

    Returns:
      The model.

    Raises:
      UserError: the base is of another family, a file that it has no place for, or something
        unsaid that is not known, or not asked for.
    """
    if isinstance(architecture, Denoising):
        augmented = architecture.augmented.keys() & opened["average"].shapes.shapes.keys()
        file = str(opened["average"].path)
        return _denoising(name, architecture, base, inferred, file, unsaid, bool(augmented))
    if isinstance(architecture, Autoencoding):
        return _autoencoding(architecture, base, inferred)
    assert isinstance(architecture, Adversaries)
    return _adversaries(architecture, base, inferred, opened)


def _adversaries(
    architecture: Adversaries,
    base: Experiment,
    inferred: Inferred,
    opened: Mapping[str, Official],
) -> GANConfig:
    model = base.model
    if not isinstance(model, GANConfig):
        raise UserError(f"--preset {base.name} is of family {model.family}; name a GAN's")
    if "generator" in opened and model.ema_decay is None:
        raise UserError(
            f"--generator is for a moving average beside it, and --preset {base.name} keeps none; "
            "give --from alone, or another preset"
        )
    judge: Mapping[str, Any] = architecture.counterpart(inferred.network, inferred.image)
    if "discriminator" in opened:
        shapes = opened["discriminator"].shapes
        judge = architecture.infer_discriminator(shapes, inferred.image)
    pair = architecture.conditional if inferred.classes else ("none", "none")
    return dataclasses.replace(
        model,
        generator=_like(architecture.network, model.generator, inferred.network),
        discriminator=_like(architecture.network, model.discriminator, judge),
        generator_conditioning=pair[0],
        discriminator_conditioning=pair[1],
        latent=inferred.latent,
        minibatch="none",
        # They would begin in the middle of nothing.
        ema_profiles=(),
    )


def _autoencoding(architecture: Autoencoding, base: Experiment, inferred: Inferred) -> VAEConfig:
    model = base.model
    if not isinstance(model, VAEConfig):
        raise UserError(f"--preset {base.name} is of family {model.family}; name a VAE's")
    return dataclasses.replace(
        model,
        encoder=_like(architecture.network, model.encoder, inferred.network),
        decoder=_like(architecture.network, model.decoder, inferred.network),
        likelihood="gaussian",
        # A learned one is no part of the official network.
        scale=model.scale or 1.0,
        latent=inferred.latent,
        conditional=False,
        ema_profiles=(),
    )


def _denoising(
    name: str,
    architecture: Denoising,
    base: Experiment,
    inferred: Inferred,
    file: str,
    unsaid: Unsaid,
    augmented: bool,
) -> DiffusionConfig:
    model = base.model
    if not isinstance(model, DiffusionConfig):
        raise UserError(f"--preset {base.name} is of family {model.family}; name one of diffusion")
    if model.weighting == "learned":
        raise UserError(
            f"--preset {base.name} has the weighting 'learned', whose weights are in no file of "
            f"{name}; name another"
        )
    if unsaid.autoencoder is None and inferred.image[-1] not in (1, 3):
        raise UserError(
            f"{file} is of maps of {inferred.image[-1]} channels, such as latents; give by "
            "--autoencoder the run of a VAE whose latents they are"
        )
    fields = dict(inferred.network)
    if architecture.heads:
        fields["heads"] = unsaid.heads or architecture.heads.get(fields["width"])
        if fields["heads"] is None:
            raise UserError(
                f"{file} is of width {fields['width']}, of which no {name} is published, and "
                "tensors do not say how many heads it has; give --heads"
            )
    return dataclasses.replace(
        model,
        network=_like(architecture.network, model.network, fields),
        **architecture.fixed,
        **architecture.chosen,
        **({} if unsaid.autoencoder is None else architecture.coded),
        autoencoder=unsaid.autoencoder,
        conditional=inferred.classes > 0,
        label_dropout=model.label_dropout if inferred.classes else 0.0,
        augment=model.augment if augmented and unsaid.autoencoder is None else 0.0,
        ema_profiles=(),
    )


def text_model(
    name: str, architecture: TextEncoding, official: Official, inferred: Texts, unsaid: Unsaid
) -> tuple[ContrastiveConfig, list[str]]:
    """The model of a run of an inferred network of texts.

    Args:
      name: of the architecture.
      architecture: of the network.
      official: its file.
      inferred: from it.
      unsaid: what tensors do not say.

    Returns:
      The model, which is not trained, and what was assumed, in words.

    Raises:
      UserError: something unsaid is not known.
    """
    width, fields, notes = inferred.network["width"], dict(inferred.network), []
    fields["heads"] = unsaid.heads or architecture.heads.get(width)
    if fields["heads"] is None:
        raise UserError(
            f"{official.path} is of width {width}, of which no {name} is published, and tensors do "
            "not say how many heads it has; give --heads"
        )
    if unsaid.heads is None:
        notes.append(f"heads: {fields['heads']}, those of the published one of this width")
    if architecture.activations:
        usual = architecture.activations.get(width, "gelu")
        fields["activation"] = unsaid.activation or usual
        if unsaid.activation is None:
            notes.append(f"activation: {usual}, that of the published one of this width")
    text = architecture.network(**fields)
    # Nothing is kept for steps that there are none of.
    return ContrastiveConfig(text=text, image=NoImages(), optimizer=SGD()), notes


def _like(kind: type[_Configuration], base: Any, fields: Mapping[str, Any]) -> _Configuration:
    """A network by its fields, and by those of another that weights do not say."""
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    kept = {
        name: getattr(base, name) for name in _TAKEN_OVER if name in known and hasattr(base, name)
    }
    return kind(**{**kept, **fields})


def denoised(networks: Networks, image: Image) -> tuple[int, ...]:
    """The shape of what a model's own network sees: of latents, or of the images themselves."""
    if "autoencoder" not in networks:
        return image
    theirs = networks["autoencoder"]
    assert isinstance(theirs.model, VAEConfig)
    return latent_shape(theirs.model.decoder, theirs.spec.shape, theirs.model.latent)


def check_exportable(
    name: str, architecture: Architecture, directory: pathlib.Path, model: Model
) -> None:
    """Refuses runs that have no counterpart in the official code.

    Args:
      name: of the architecture.
      architecture: that is asked for.
      directory: of the run.
      model: of the run.

    Raises:
      UserError: it is another network, or the official code uses it in another way.
    """
    if isinstance(architecture, Denoising):
        _check_denoising(name, architecture, directory, model)
        return
    if isinstance(architecture, Autoencoding):
        _check_autoencoding(name, architecture, directory, model)
        return
    if isinstance(architecture, TextEncoding):
        _check_texts(name, architecture, directory, model)
        return
    if not isinstance(model, GANConfig):
        raise UserError(f"{directory} is of family {model.family}, not a GAN, and has no {name}")
    for role in ("generator", "discriminator"):
        network = getattr(model, role)
        if type(network) is not architecture.network:
            raise UserError(
                f"the {role} of {directory} is a {network.name}, not a {name}; export what it is"
            )
    pair = model.generator_conditioning, model.discriminator_conditioning
    if pair not in (architecture.conditional, ("none", "none")):
        raise UserError(
            f"{directory} has labels by {' and '.join(pair)}, and the official {name} by "
            f"{' and '.join(architecture.conditional)}"
        )
    if model.minibatch != "none":
        raise UserError(
            f"the discriminator of {directory} has minibatch {model.minibatch!r}, and the official "
            f"{name} none"
        )


def _check_autoencoding(
    name: str, architecture: Autoencoding, directory: pathlib.Path, model: Model
) -> None:
    if not isinstance(model, VAEConfig):
        raise UserError(f"{directory} is of family {model.family}, not a VAE, and has no {name}")
    halves = model.encoder, model.decoder
    plain = model.likelihood == "gaussian" and not model.conditional
    if halves[0] != halves[1] or type(halves[0]) is not architecture.network or not plain:
        raise UserError(
            f"encoder and decoder of {directory} are no {name} of one size without labels and with "
            "the likelihood gaussian; export what they are"
        )


def _check_texts(
    name: str, architecture: TextEncoding, directory: pathlib.Path, model: Model
) -> None:
    if not isinstance(model, ContrastiveConfig):
        raise UserError(
            f"{directory} is of family {model.family}, not a joint embedding, and has no {name}"
        )
    if model.text_encoder is not None:
        raise UserError(
            f"{directory} reads texts by the network of another run; export that, "
            f"{model.text_encoder}"
        )
    if type(model.text) is not architecture.network:
        raise UserError(
            f"the network of texts of {directory} is a {model.text.name}, not that of {name}; "
            "export what it is"
        )


def _check_denoising(
    name: str, architecture: Denoising, directory: pathlib.Path, model: Model
) -> None:
    if not isinstance(model, DiffusionConfig):
        raise UserError(
            f"{directory} is of family {model.family}, not diffusion, and has no {name}"
        )
    if type(model.network) is not architecture.network:
        raise UserError(
            f"the network of {directory} is a {model.network.name}, not that of {name}; export "
            "what it is"
        )
    if model.weighting == "learned":
        raise UserError(
            f"{directory} has a network of its uncertainty beside that of {name}; train one with "
            "another weighting, to which --init-from brings this one"
        )
    for field, wanted in architecture.fixed.items():
        if (own := getattr(model, field)) != wanted:
            raise UserError(
                f"{directory} has {field} {_said(own)}, and the official {name} {_said(wanted)}, "
                "to which other weights belong; export what it is"
            )


def _said(value: Any) -> str:
    """A path by its name, and numbers where it has some."""
    if not isinstance(value, Path):
        return str(value)
    fields = dataclasses.asdict(value)
    name = fields.pop("name")
    return " ".join([name, *(f"{field} {number:g}" for field, number in fields.items())])
