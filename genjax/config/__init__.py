"""The configuration of a run: frozen dataclasses.

Nothing here imports JAX, so that ``genjax --help`` stays fast.
"""

from genjax.config.autoregressive import (
    GPT,
    AutoregressiveConfig,
    AutoregressiveSampling,
    Decoder,
)
from genjax.config.denoisers import Denoiser, UNet, UNetVariant
from genjax.config.experiment import (
    DataConfig,
    EvalConfig,
    Experiment,
    Feed,
    Mode,
    MonitorConfig,
    Precision,
)
from genjax.config.fields import LARGEST_BATCH, LARGEST_SEED, LARGEST_SIDE, MOST_SAMPLES, setting
from genjax.config.gan import GANConfig, GANSampling, VAEGANConfig
from genjax.config.model import ComputeDtype, Model
from genjax.config.networks import (
    DCGAN,
    MLP,
    R3GAN,
    SNGAN,
    BigGAN,
    BigGANDeep,
    Convolutional,
    Convolutions,
    DCGANTutorial,
    Goodfellow,
    Network,
    NoiseMode,
    Remat,
    StyleGAN2,
    WaveGAN,
    norm_of,
)
from genjax.config.optimizers import (
    SGD,
    Adam,
    Constant,
    Cosine,
    Linear,
    Optimizer,
    Piecewise,
    RMSProp,
    Schedule,
)
from genjax.config.tags import Tagged, register
from genjax.config.vae import VAEConfig

__all__ = [
    "DCGAN",
    "GPT",
    "LARGEST_BATCH",
    "LARGEST_SEED",
    "LARGEST_SIDE",
    "MLP",
    "MOST_SAMPLES",
    "R3GAN",
    "SGD",
    "SNGAN",
    "Adam",
    "AutoregressiveConfig",
    "AutoregressiveSampling",
    "BigGAN",
    "BigGANDeep",
    "ComputeDtype",
    "Constant",
    "Convolutional",
    "Convolutions",
    "Cosine",
    "DCGANTutorial",
    "DataConfig",
    "Decoder",
    "Denoiser",
    "EvalConfig",
    "Experiment",
    "Feed",
    "GANConfig",
    "GANSampling",
    "Goodfellow",
    "Linear",
    "Mode",
    "Model",
    "MonitorConfig",
    "Network",
    "NoiseMode",
    "Optimizer",
    "Piecewise",
    "Precision",
    "RMSProp",
    "Remat",
    "Schedule",
    "StyleGAN2",
    "Tagged",
    "UNet",
    "UNetVariant",
    "VAEConfig",
    "VAEGANConfig",
    "WaveGAN",
    "norm_of",
    "register",
    "setting",
]
