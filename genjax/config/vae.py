"""Variational autoencoders."""

import dataclasses
from typing import Literal

from genjax.config.fields import check_numbers, require, setting
from genjax.config.model import Model, check_average
from genjax.config.networks import MLP, Network
from genjax.config.optimizers import Adam, Optimizer
from genjax.config.tags import register


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class VAEConfig(Model):
    """A variational autoencoder."""

    family: Literal["vae"] = "vae"
    encoder: Network = MLP(width=400, depth=1, norm="none")
    decoder: Network = MLP(width=400, depth=1, norm="none")
    optimizer: Optimizer = Adam(learning_rate=1e-3, b1=0.9)
    likelihood: str = setting("bernoulli", choices="genjax.families.vae.likelihoods:LIKELIHOODS")
    """Distribution of an image given z."""
    binarize: bool = True
    """Draw black-and-white pixels from the grey values anew each time (bernoulli)."""
    scale: float | None = None
    """Fixed scale of gaussian and discretized_logistic, with images in [-1, 1]; None learns it."""
    latent: int = 20
    """Dimensions of z ~ N(0, I)."""
    beta: float = 1.0
    """Weight of the KL divergence (lambda)."""
    beta_warmup: int = 0
    """Steps over which that weight grows linearly from 0."""
    free_bits: float = 0.0
    """Nats of KL divergence a latent dimension, averaged over the batch, that cost nothing."""
    conditional: bool = False
    """Give the class labels to both halves."""
    importance_samples: int = 64
    """Samples of z an image in the bound on the log-likelihood at evaluation (IWAE's K)."""
    ema_decay: float | None = None
    """Decay a step of the parameters' moving average, which then makes the samples."""
    ema_profiles: tuple[float, ...] = setting((), since=6)
    """Relative widths of further averages, kept with every checkpoint, of which genjax average
    makes one of any width (Karras et al. 2024, EDM2; there 0.05 and 0.1)."""

    def __post_init__(self) -> None:
        check_numbers(self, latent=2**16, importance_samples=10**6)
        for name in ("latent", "importance_samples"):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        for name in ("beta", "beta_warmup", "free_bits"):
            require(getattr(self, name) >= 0, self, name, "at least 0")
        require(self.scale is None or self.scale > 0, self, "scale", "above 0")
        check_average(self)
