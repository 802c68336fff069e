"""The official networks that weights are exchanged with, by name."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from genjax.config import (
    BERT,
    R3GAN,
    AutoencoderKL,
    BigGAN,
    BigGANDeep,
    CLIPText,
    Denoiser,
    DiT,
    Network,
    StyleGAN2,
    TextTower,
    UNet,
    VarianceExploding,
    VariancePreserving,
)
from genjax.official import biggan, biggan_deep, dit, edm, kl, r3gan, stylegan2, texts
from genjax.official.shapes import Image, Inferred, Shapes
from genjax.official.tensors import Table, Tensor

Tabulate = Callable[[Any, Image, bool], Table]
"""From a network's configuration, its images, and whether it is given labels."""


class Adversaries(NamedTuple):
    """A pair of official networks, and their counterparts here.

    Attributes:
      network: the configuration of ours.
      preset: whose losses and optimizers a training goes on with, by default.
      conditional: how labels come into our generator and discriminator.
      infer: what the tensors of a generator say of it.
      infer_discriminator: likewise, given what it judges: fields of its configuration.
      counterpart: fields of the discriminator that usually goes with those of a generator.
      generator: its tensors.
      discriminator: its tensors.
      prefix: of the names in the file that the authors' training leaves, if any.
      zeros: our arrays that the official networks lack, since they never leave 0.
    """

    network: type[Network]
    preset: str
    conditional: tuple[str, str]
    infer: Callable[[Shapes], Inferred]
    infer_discriminator: Callable[[Shapes, Image], Mapping[str, Any]]
    counterpart: Callable[[Mapping[str, Any], Image], Mapping[str, Any]]
    generator: Tabulate
    discriminator: Tabulate
    prefix: str = ""
    zeros: tuple[tuple[str, ...], ...] = ()


class Denoising(NamedTuple):
    """An official network that tells data from noise, and its counterpart here.

    Attributes:
      network: the configuration of ours.
      preset: whose losses and optimizers a training goes on with, by default.
      fixed: fields of a model without which the network means something else.
      infer: what the tensors say of it.
      table: its tensors.
      of_file: from its table and the names in a file to the table of the file, which may hold
        more, and what is not read, in words.
      prefix: of the names in the file that the authors' training leaves, if any.
      chosen: further fields of a model that it is brought into.
      heads: of attention by the width, where tensors do not say it.
      coded: fields of a model of latents beside those.
      augmented: further tensors of a network that learnt from augmented images.
      zeros: as of `Adversaries`.
    """

    network: type[Denoiser]
    preset: str
    fixed: Mapping[str, Any]
    infer: Callable[[Shapes], Inferred]
    table: Tabulate
    of_file: Callable[[Table, Shapes], tuple[Table, list[str]]]
    prefix: str = ""
    chosen: Mapping[str, Any] = {}
    heads: Mapping[int, int] = {}
    coded: Mapping[str, Any] = {}
    augmented: Mapping[str, Tensor] = {}
    zeros: tuple[tuple[str, ...], ...] = ()


class Autoencoding(NamedTuple):
    """An official autoencoder, and its counterpart here.

    Attributes:
      network: the configuration of both halves of ours.
      preset: whose optimizer a training goes on with, by default.
      infer: what the tensors say of it, beside the side of its images.
      table: its tensors.
      of_file: as of `Denoising`.
      prefix: of the names in the file that the authors' training leaves, if any.
      zeros: as of `Adversaries`.
    """

    network: type[Network]
    preset: str
    infer: Callable[[Shapes, int], Inferred]
    table: Callable[[Any], Table]
    of_file: Callable[[Table, Shapes], tuple[Table, list[str]]]
    prefix: str = ""
    zeros: tuple[tuple[str, ...], ...] = ()


class TextEncoding(NamedTuple):
    """An official network of texts, and its counterpart here.

    Attributes:
      network: the configuration of ours.
      infer: what the tensors say of it.
      table: its tensors.
      of_file: as of `Denoising`.
      heads: of attention by the width, which tensors do not say.
      activations: of published networks by the width, where there is more than one kind; gelu of
        any other.
      tokenizer: the flag that names the file of its tokenizer.
      prefix: as of `Denoising`.
      zeros: as of `Adversaries`.
    """

    network: type[TextTower]
    infer: Callable[[Shapes], texts.Texts]
    table: Callable[[Any], Table]
    of_file: Callable[[Table, Shapes], tuple[Table, list[str]]]
    heads: Mapping[int, int]
    activations: Mapping[int, str] = {}
    tokenizer: Literal["vocabulary", "tokenizer"] = "vocabulary"
    prefix: str = ""
    zeros: tuple[tuple[str, ...], ...] = ()


Architecture: TypeAlias = Adversaries | Autoencoding | Denoising | TextEncoding

ARCHITECTURES: dict[str, Architecture] = {
    "biggan": Adversaries(
        BigGAN,
        "biggan-cifar10",
        ("cbn", "projection"),
        biggan.infer_generator,
        biggan.infer_discriminator,
        biggan.counterpart,
        biggan.generator,
        biggan.discriminator,
    ),
    "biggan_deep": Adversaries(
        BigGANDeep,
        "biggan-cifar10",
        ("cbn", "projection"),
        biggan_deep.infer_generator,
        biggan_deep.infer_discriminator,
        biggan.counterpart,
        biggan_deep.generator,
        biggan_deep.discriminator,
    ),
    "clip": TextEncoding(
        CLIPText,
        texts.infer_clip,
        texts.clip,
        texts.clip_of_file,
        texts.CLIP_HEADS,
        texts.CLIP_ACTIVATIONS,
        tokenizer="tokenizer",
    ),
    "dit": Denoising(
        DiT,
        "dit-imagenet64",
        {"path": VariancePreserving(), "prediction": "noise"},
        dit.infer,
        dit.table,
        dit.of_file,
        heads=dit.HEADS,
        coded={"latent_scale": 0.18215},
    ),
    "edm": Denoising(
        UNet,
        "edm-cifar10",
        {"prediction": "edm", "data_std": 0.5},
        edm.infer,
        edm.table,
        edm.of_file,
        prefix="model.",
        # On another it would be the same network of the share of noise.
        chosen={"path": VarianceExploding()},
        augmented=edm.AUGMENTED,
    ),
    "kl": Autoencoding(AutoencoderKL, "kl-clothing", kl.infer, kl.table, kl.of_file),
    "minilm": TextEncoding(
        BERT, texts.infer_bert, texts.bert, texts.bert_of_file, texts.BERT_HEADS
    ),
    "r3gan": Adversaries(
        R3GAN,
        "r3gan-cifar10",
        ("embed", "embed"),
        r3gan.infer_generator,
        r3gan.infer_discriminator,
        r3gan.counterpart,
        r3gan.generator,
        r3gan.discriminator,
        prefix="Model.",
        # A relativistic loss does not change with it.
        zeros=(("params", "logit", "bias"),),
    ),
    "stylegan2": Adversaries(
        StyleGAN2,
        "stylegan2-cifar10",
        ("mapping", "mapping"),
        stylegan2.infer_generator,
        stylegan2.infer_discriminator,
        stylegan2.counterpart,
        stylegan2.generator,
        stylegan2.discriminator,
    ),
}
"""By the name of our network."""
