"""Generative adversarial networks, alone and with an autoencoder."""

import dataclasses
import math
from typing import Literal

from genjax.config.fields import LARGEST_BATCH, check_numbers, require, setting
from genjax.config.model import Model, check_average, without
from genjax.config.networks import DCGAN, Network, NoiseMode
from genjax.config.optimizers import Adam, Constant, Optimizer, Schedule
from genjax.config.tags import register
from genjax.errors import UserError

_LOSSES = "genjax.families.gan.losses:LOSSES"


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class GANConfig(Model):
    """A generative adversarial network, composed from its axes."""

    family: Literal["gan"] = "gan"
    generator: Network = DCGAN()
    generator_conditioning: str = setting(
        "none", choices="genjax.families.gan.networks:GENERATOR_CONDITIONING"
    )
    """How labels, or captions in their place, come into the generator."""
    generator_orthogonal: float = 0.0
    """Weight of the orthogonal regularisation of the generator's weight matrices."""
    generator_optimizer: Optimizer = Adam()
    discriminator: Network = DCGAN()
    discriminator_conditioning: str = setting(
        "none", choices="genjax.families.gan.conditioning:RECOGNITION"
    )
    """How labels, or captions in their place, come into the discriminator; or how labels come out
    of it."""
    discriminator_orthogonal: float = 0.0
    """Weight of the orthogonal regularisation of the discriminator's weight matrices."""
    discriminator_optimizer: Optimizer = Adam()
    loss: str = setting("non_saturating", choices=_LOSSES)
    """Adversarial loss."""
    label_smoothing: float = 0.0
    """Probability that D's loss takes a real image for a generated one (one-sided smoothing)."""
    penalties: dict[str, tuple[float, int]] = setting(
        factory=dict, choices="genjax.families.gan.penalties:PENALTIES"
    )
    """Terms of D's loss, each with its weight and the number of D updates between two uses (its
    weight is multiplied by that number)."""
    generator_penalties: dict[str, tuple[float, int]] = setting(
        factory=dict, since=6, choices="genjax.families.gan.styles:GENERATOR_PENALTIES"
    )
    """Terms of G's loss, likewise; path_length is for stylegan2."""
    lazy_updates: bool = setting(False, since=6)
    """Terms of an interval above 1 are updates of their own after the others of their player, as in
    StyleGAN2's code, rather than terms of their loss; Adam's constants are corrected for them."""
    penalty_schedule: Schedule = setting(Constant(), since=6)
    """Factors of the weights of all terms of D's loss, by D's updates."""
    weight_clip: float | None = None
    """Bound on the absolute value of D's parameters, enforced after each update."""
    minibatch: str = setting("none", choices="genjax.families.gan.networks:MINIBATCH")
    """What D sees of the rest of its batch."""
    augmentations: tuple[str, ...] = setting(
        (), choices="genjax.families.gan.augment:AUGMENTATIONS"
    )
    """Differentiable changes of all that D sees."""
    ada: dict[str, float] = setting(
        factory=dict, since=6, choices="genjax.families.gan.ada:OPERATIONS|blit|color|geom"
    )
    """Operations of StyleGAN2-ADA's augmentation, which follow on augmentations: each happens to an
    image with probability share times p. blit, geom and color stand for several; an operation's own
    share goes before its group's."""
    ada_p: float = setting(0.0, since=6)
    """Strength p of ada; where it adapts, the first."""
    ada_schedule: Schedule = setting(Constant(), since=6)
    """Factors of ada_p, by steps or by the real images that D has seen."""
    ada_target: float | None = setting(None, since=6)
    """Mean sign of D's logits of real images above which p rises, and below which it falls; None
    leaves p as it is."""
    ada_speed: int = setting(500_000, since=6)
    """Real images that D sees while p rises by 1 at most."""
    ada_interval: int = setting(4, since=6)
    """Steps between two changes of p."""
    feature_matching: bool = False
    """G matches the mean of D's features on real images instead of fooling D."""
    historical_averaging: float = 0.0
    """Weight of the squared distance of each player's parameters from their mean over time."""
    top_k: float = 1.0
    """Share of G's batch, the most realistic to D, that G finally learns from."""
    top_k_decay: float = 0.9999
    """Factor by which that share falls from 1 in each step, down to top_k."""
    auxiliary_weight: float = 1.0
    """Weight of the classification (acgan) or mutual-information (infogan) term."""
    code_categories: int = 10
    """Values of infogan's categorical code."""
    code_continuous: int = 2
    """Number of infogan's continuous codes, uniform on [-1, 1)."""
    text_encoder: str | None = setting(None, since=9, run="always")
    """Run of the family contrastive whose text tower reads the captions of data.given, as it is:
    FOLDER, FOLDER@best or FOLDER@STEP."""
    condition_width: int | None = setting(None, since=9)
    """Units of a layer in each network that is given something, with a leaky ReLU, that this passes
    first (Reed et al. 2016; there 128); None leaves it out."""
    latent: int = 100
    """Dimensions of z ~ N(0, I)."""
    style_mixing: float = setting(0.0, since=6)
    """Probability that the layers of stylegan2's generator from one drawn at random on have the
    style of another z."""
    share_generated: bool = False
    """G learns from the images of D's last update instead of fresh ones, so that it runs forward
    once less; the two players then see the same noise."""
    joint_pass: bool = False
    """D judges real and generated images in one pass over twice the batch; the same up to rounding.
    Not with batch norm, a minibatch layer or dropout in D."""
    generator_batch: int | None = setting(None, since=6)
    """Examples in an update of G, a multiple or a divisor of batch_size, which is None."""
    generator_accumulate: int | None = setting(None, since=6)
    """Parts of G's batch whose gradients are averaged; None takes as many as accumulate."""
    discriminator_updates: int = 1
    """Discriminator updates before each generator update, each on a batch of its own."""
    ema_decay: float | None = None
    """Decay a step of the generator's moving average, which then makes the samples."""
    ema_ramp: float | None = None
    """Bound on the average's half-life, as a share of the steps made so far."""
    ema_schedule: Schedule = setting(Constant(), since=6)
    """Factors of the average's half-life, by G's updates; at 0 the average is G itself."""
    ema_profiles: tuple[float, ...] = setting((), since=6)
    """Relative widths of further averages, kept with every checkpoint, of which genjax average
    makes one of any width (Karras et al. 2024, EDM2; there 0.05 and 0.1)."""

    def __post_init__(self) -> None:
        check_numbers(
            self,
            latent=2**16,
            condition_width=2**16,
            generator_batch=LARGEST_BATCH,
            generator_accumulate=LARGEST_BATCH,
            discriminator_updates=100,
            code_categories=2**16,
            code_continuous=2**16,
        )
        for name in (
            "latent",
            "discriminator_updates",
            "code_categories",
            "ada_speed",
            "ada_interval",
        ):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        for name in (
            "generator_orthogonal",
            "discriminator_orthogonal",
            "historical_averaging",
            "auxiliary_weight",
            "code_continuous",
        ):
            require(getattr(self, name) >= 0, self, name, "at least 0")
        require(0 <= self.label_smoothing < 0.5, self, "label_smoothing", "in [0, 0.5)")
        require(0 < self.top_k <= 1, self, "top_k", "in (0, 1]")
        require(0 < self.top_k_decay <= 1, self, "top_k_decay", "in (0, 1]")
        for name in ("generator_batch", "generator_accumulate", "condition_width"):
            value = getattr(self, name)
            require(value is None or value >= 1, self, name, "at least 1")
        check_average(self)
        require(0 <= self.ada_p <= 1, self, "ada_p", "in [0, 1]")
        target = self.ada_target
        require(target is None or 0 <= target <= 1, self, "ada_target", "in [0, 1]")
        adapts = target is not None and self.ada_schedule != Constant()
        require(not adapts, self, "ada_schedule", "constant where ada_target is set")
        for name, share in self.ada.items():
            if not 0 <= share <= 1:
                raise UserError(
                    f"GANConfig.ada has {name!r} with share {share}; it must be in [0, 1]"
                )
        for name in ("weight_clip", "ema_ramp"):
            value = getattr(self, name)
            require(value is None or value > 0, self, name, "above 0")
        require(0 <= self.style_mixing <= 1, self, "style_mixing", "in [0, 1]")
        players = (
            ("G", self.generator_optimizer, self.generator_penalties),
            ("D", self.discriminator_optimizer, self.penalties),
        )
        for player, rule, terms in players:
            fits = not (self.lazy_updates and terms) or isinstance(rule, Adam)
            require(fits, self, "lazy_updates", f"False where {player}'s optimizer is not adam")
        for field in ("penalties", "generator_penalties"):
            for name, (weight, every) in getattr(self, field).items():
                if not 0 < weight < math.inf or not 1 <= every < 2**31:
                    raise UserError(
                        f"GANConfig.{field} has {name!r} with weight {weight} and interval "
                        f"{every}; they must be above 0 and finite, and at least 1"
                    )

    def unread(self) -> dict[str, str]:
        """See the base class."""
        found: dict[str, str] = {}
        if self.generator_conditioning == "none":
            found["condition_width"] = without("a generator_conditioning")
        if self.ada_target is None:
            found |= dict.fromkeys(("ada_speed", "ada_interval"), without("an ada_target"))
        terms = (*self.penalties.values(), *self.generator_penalties.values())
        if self.lazy_updates and all(every == 1 for _, every in terms):
            found["lazy_updates"] = without(
                "an interval above 1 in penalties or generator_penalties"
            )
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class GANSampling:
    """How a GAN's samples are drawn."""

    psi: float = setting(1.0, since=6)
    """Truncation: w of stylegan2 is drawn to its mean, ``mean + psi (w - mean)``."""
    cutoff: int | None = setting(None, since=6)
    """Layers, from the smallest map on, that psi is for; None truncates all."""
    noise: NoiseMode = setting("random", since=6)
    """Noise of stylegan2: new for each image, the same for all (const), or none."""
    bound: float | None = setting(None, since=6)
    """z is drawn again, number by number, until it lies within this bound, as in BigGAN; None
    leaves it unbounded."""

    def __post_init__(self) -> None:
        check_numbers(self)
        require(self.cutoff is None or self.cutoff >= 1, self, "cutoff", "at least 1")
        require(self.bound is None or self.bound > 0, self, "bound", "above 0")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class VAEGANConfig(Model):
    """A variational autoencoder whose likelihood is measured in a discriminator's features."""

    family: Literal["vae_gan"] = "vae_gan"
    encoder: Network = DCGAN()
    encoder_optimizer: Optimizer = Adam()
    generator: Network = DCGAN()
    generator_optimizer: Optimizer = Adam()
    discriminator: Network = DCGAN()
    discriminator_optimizer: Optimizer = Adam()
    loss: str = setting("non_saturating", choices=_LOSSES)
    """Adversarial loss, as in a GAN."""
    latent: int = 100
    """Dimensions of z ~ N(0, I)."""
    beta: float = 1.0
    """Weight of the KL divergence in the encoder's loss."""
    reconstruction: float = 1e-2
    """Weight of the feature reconstruction against the adversarial term in the generator's loss."""
    ema_decay: float | None = None
    """Decay a step of the generator's moving average, which then makes the samples."""
    ema_profiles: tuple[float, ...] = setting((), since=6)
    """Relative widths of further averages, kept with every checkpoint, of which genjax average
    makes one of any width (Karras et al. 2024, EDM2; there 0.05 and 0.1)."""

    def __post_init__(self) -> None:
        check_numbers(self, latent=2**16)
        require(self.latent >= 1, self, "latent", "at least 1")
        for name in ("beta", "reconstruction"):
            require(getattr(self, name) >= 0, self, name, "at least 0")
        check_average(self)
