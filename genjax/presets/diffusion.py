"""Diffusion and flow matching."""

import dataclasses
from typing import Any

from genjax.config import (
    Adam,
    ConsistencyConfig,
    Constant,
    CosinePath,
    DataConfig,
    Denoising,
    DiffusionConfig,
    DiT,
    EvalConfig,
    Experiment,
    LogitNormal,
    MeanFlowConfig,
    Prior,
    SequenceTransformer,
    Straight,
    TextTransformer,
    UNet,
    Uniform,
    VariancePreserving,
)
from genjax.presets.base import experiment, on_digits


def _denoiser(name: str, data: str, model: Denoising, **fields: Any) -> Experiment:
    """An experiment that is watched by its loss on held-out data.

    Samples take the network dozens of calls each, which would cost as much as the training.
    """
    watched = EvalConfig(rank="held_out")
    return experiment(name, data, model, **{"batch_size": 32, "eval": watched, **fields})


def _flow(network: UNet) -> DiffusionConfig:
    """Rectified flow (Liu et al. 2023) at the times of Esser et al. 2024."""
    return DiffusionConfig(
        network=network, path=Straight(), prediction="velocity", times=LogitNormal()
    )


def _consistency(network: UNet) -> ConsistencyConfig:
    """Learns from data alone, as Song & Dhariwal 2024, but for intervals doubled sooner."""
    return ConsistencyConfig(network=network, doubled_every=250)


def _edm_cifar10() -> DiffusionConfig:
    """Karras et al. 2022 by the authors' code (train.py): DDPM++ of 56 million parameters.

    Target, of the paper's abstract: FID 1.97 without labels with 35 calls of the network, which are
    heun's at 18 steps, its default here. Not trained here: it needs accelerators. Nothing is
    computed at half precision.
    """
    adam = Adam(learning_rate=1e-3, b1=0.9, schedule=Constant(warmup=10_000_000, unit="images"))
    return DiffusionConfig(
        network=UNet(width=128, widths=(2, 2, 2), blocks=4, attention=(16,), dropout=0.13),
        optimizer=adam,
        ema_decay=0.5 ** (512 / 5e5),
        augment=0.12,
    )


def _dit_imagenet64() -> DiffusionConfig:
    """DiT-B/4 by the settings of Peebles & Xie 2023 and the authors' code (train.py), on pixels.

    Theirs are Adam's steps of 1e-4 without a warm-up or a weight decay, batches of 256, an average
    with a decay of 0.9999, a tenth of the labels left out, mirror images, DDPM's linear rates of
    noise (section 4), and 400,000 steps (section 5). Ours is the use on pixels, where patches of 4
    cut 64 pixels into as many as their patches of 2 cut latents of 32; time is continuous, and
    variances are not learnt.

    Target: none of DiT, which its authors trained on latents of 256 pixels and more. As near as
    published comes U-ViT-M/4, a transformer of patches of the same size, with FID 5.85 on ImageNet
    at 64 pixels after 300,000 steps of 1,024 images (Bao et al. 2023, by the README of
    baofff/U-ViT). Not trained here: it needs accelerators.
    """
    return DiffusionConfig(
        network=DiT(patch=4, width=768, depth=12, heads=12),
        path=VariancePreserving(),
        prediction="noise",
        times=Uniform(),
        conditional=True,
        label_dropout=0.1,
        optimizer=Adam(learning_rate=1e-4, b1=0.9),
        ema_decay=0.9999,
        ema_ramp=None,
    )


def _clothing() -> Experiment:
    """Photographs of clothes at 32 pixels, for two cores; target: none published, no run yet.

    To compare with is stylegan2-clothing, by the same scores of the same images.
    """
    network = UNet(width=32, widths=(1, 2, 2), blocks=1, dropout=0.1)
    model = DiffusionConfig(network=network)
    made = _denoiser("diffusion-clothing", "clothing", model, flip=True, batch_size=64)
    return dataclasses.replace(made, data=dataclasses.replace(made.data, resolution=32))


def _captioned(name: str, data: str, caption_dropout: float | None = None) -> Experiment:
    """Text to image at 32 pixels, for two cores; target: none published of these data.

    Flow matching by a thin U-Net, whose maps of 8 pixels attend to the captions. A transformer that
    learns with it reads them, or the text tower of a run of clip-emoji with
    ``--model.text-encoder runs/clip-emoji``, which is what was run: after 20 minutes of one core,
    2,443 steps, a joint embedding of another seed tells 18 % of the captions of held-out emoji by
    their samples, among 100, and 14 % by the emoji themselves (guidance 3, 12 steps of dpmpp_2m,
    300 samples, 2026-11-29). A tenth of the captions are left out, for guidance.
    """
    model = dataclasses.replace(
        _flow(UNet(width=16, widths=(1, 2, 2), blocks=1, attention=(8,), dropout=0.1)),
        text=TextTransformer(width=128, depth=2, heads=4, dropout=0.1),
        conditional=True,
        label_dropout=0.1,
        caption_dropout=caption_dropout,
    )
    made = _denoiser(name, data, model)
    described = dataclasses.replace(made.data, resolution=32, given=("caption",))
    return dataclasses.replace(made, data=described)


def _speech() -> Experiment:
    """Spoken digits to images of MNIST, for two cores; target: none published of these data.

    The spectrogram of a recording is read by a transformer beside the U-Net, whose maps of 7 pixels
    attend to it. A tenth of the recordings are left out, for guidance.
    """
    model = DiffusionConfig(
        network=_FASHION,
        sequence=SequenceTransformer(width=64, depth=2, heads=4, dropout=0.1),
        conditional=True,
        label_dropout=0.1,
    )
    made = _denoiser("speech2mnist", "speech2mnist", model)
    return dataclasses.replace(made, data=dataclasses.replace(made.data, given=("speech",)))


def _unclip() -> tuple[Experiment, Experiment]:
    """DALL-E 2's two parts for two cores (Ramesh et al. 2022); target: none published of such data.

    A user makes their data of emoji and of a run of clip-emoji::

        genjax data embed emoji_embedded --from emoji --by runs/clip-emoji

    The decoder is the model of t2i-emoji that is given image embeddings, too, of which a tenth and
    of captions half are left out (section 2.1); the embedding is told with the level of noise, and
    not by further tokens. The prior (section 2.2) reads captions by a tower that learns with it, or
    by that of the run of clip-emoji with ``--model.text-encoder runs/clip-emoji``.
    """
    decoder = _captioned("unclip-emoji", "emoji_embedded", 0.5)
    given = dataclasses.replace(decoder.data, given=("caption", "embedding"))
    decoder = dataclasses.replace(decoder, data=given)
    prior = _denoiser(
        "prior-emoji",
        "emoji_embedded",
        DiffusionConfig(
            network=Prior(dropout=0.1),
            text=TextTransformer(width=128, depth=2, heads=4, dropout=0.1),
            path=CosinePath(),
            prediction="data",
            times=Uniform(),
            conditional=True,
            label_dropout=0.1,
        ),
        batch_size=128,
    )
    data = DataConfig("emoji_embedded", target="embedding", given=("caption",))
    return decoder, dataclasses.replace(prior, data=data)


def _upsample(name: str, data: str, flip: bool) -> Experiment:
    """From 32 pixels to 64, for two cores; target: none published of these data, no run yet.

    The last stage of a cascade, as in Ho et al. 2022: it is given each image with a quarter of its
    pixels, on which in training there is noise of a standard deviation of up to 0.2, so that it
    takes what another run makes of images that were resized by another filter.
    """
    model = DiffusionConfig(
        network=UNet(width=16, widths=(1, 2, 4), blocks=1, dropout=0.1),
        conditional=True,
        condition_noise=0.2,
    )
    made = _denoiser(name, data, model, flip=flip, batch_size=16)
    described = dataclasses.replace(
        made.data, resolution=64, derive=("downsample:2",), given=("downsample",)
    )
    return dataclasses.replace(made, data=described)


_DIGITS = UNet(width=32, widths=(1, 2), blocks=1)
# Thin networks and batches of 32 came further in equal time than larger batches
# (experiments/ablations/family_trials.py). In ten minutes of a core, with step sizes and batches by
# those trials, FID (classifier) was 2.86 of flow matching, 5.54 of diffusion and 9.29 of MeanFlow
# (docs/families.md).
_FASHION = UNet(width=16, widths=(1, 2, 2), blocks=1)

EXPERIMENTS: tuple[Experiment, ...] = (
    on_digits(_denoiser("diffusion-digits", "digits", DiffusionConfig(network=_DIGITS))),
    on_digits(experiment("consistency-digits", "digits", _consistency(_DIGITS))),
    experiment("consistency-fashion", "fashion_mnist", _consistency(_FASHION), batch_size=32),
    _denoiser("diffusion-mnist", "mnist", DiffusionConfig(network=_FASHION)),
    _denoiser("diffusion-fashion", "fashion_mnist", DiffusionConfig(network=_FASHION)),
    _clothing(),
    _captioned("t2i-emoji", "emoji"),
    _captioned("t2i-crawl", "crawl"),
    _speech(),
    *_unclip(),
    _upsample("upsample-emoji", "emoji", flip=True),
    experiment("edm-cifar10", "cifar10", _edm_cifar10(), steps=390_625, batch_size=512),
    experiment(
        "dit-imagenet64",
        "imagenet64",
        _dit_imagenet64(),
        flip=True,
        steps=400_000,
        batch_size=256,
    ),
    on_digits(experiment("meanflow-digits", "digits", MeanFlowConfig(network=_DIGITS))),
    experiment(
        "meanflow-fashion", "fashion_mnist", MeanFlowConfig(network=_FASHION), batch_size=32
    ),
    _denoiser("flow-fashion", "fashion_mnist", _flow(_FASHION)),
)
