"""The configuration of a run: frozen dataclasses.

Nothing here imports JAX, so that ``genjax --help`` stays fast.
"""

import dataclasses
import math
from typing import Any, Literal

from genjax.errors import UserError

Mode = Literal["auto", "jit", "mesh", "pmap"]
ComputeDtype = Literal["float32", "bfloat16"]
Convolutions = Literal["auto", "stock"]
Feed = Literal["auto", "device", "host"]

LARGEST_SEED = 2**32 - 1
LARGEST_SIDE = 8192
"""In pixels, of images that are resized."""
MOST_SAMPLES = 10**7
"""Samples that are drawn or scored at once."""


def _require(holds: bool, config: Any, name: str, wanted: str) -> None:
    if not holds:
        where = type(config).__name__
        raise UserError(f"{where}.{name} is {getattr(config, name)!r}; it must be {wanted}")


def _check_numbers(config: Any, **most: int) -> None:
    """Refuses what no computation takes: numbers that are not finite, integers beyond 32 bits.

    Args:
      config: one of the dataclasses below.
      most: the largest value of an integer field, where it is smaller.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, float):
            _require(math.isfinite(value), config, field.name, "finite")
        elif isinstance(value, int):
            bound = most.get(field.name, 2**31 - 1)
            _require(value <= bound, config, field.name, f"at most {bound:,}")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The images to learn from."""

    name: str = "digits"
    """Data set: one of `genjax data list`, or any image set of TensorFlow Datasets."""
    split: str = "train"
    """Split to train on."""
    resolution: int | None = None
    """Side in pixels to resize the images to (square); None keeps their size."""
    flip: bool = False
    """Mirror each image with probability 1/2, drawn anew each time it is seen."""
    directory: str | None = None
    """Folder of prepared data sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets."""

    def __post_init__(self) -> None:
        size = self.resolution
        fits = size is None or 1 <= size <= LARGEST_SIDE
        _require(fits, self, "resolution", f"at least 1, at most {LARGEST_SIDE}")


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """One network of a model."""

    name: str = "dcgan"
    """Architecture: dcgan, dcgan_tutorial, sngan, mlp or goodfellow."""
    width: int = 64
    """Channels of the layer nearest to the image (dcgan), of all layers (sngan), or units of a
    hidden layer (mlp, goodfellow)."""
    depth: int = 2
    """Hidden layers (mlp)."""
    norm: str = "batch"
    """Normalisation of hidden layers (dcgan, sngan, mlp): batch, layer, virtual (generator) or
    none."""
    conditioning: str = "none"
    """How labels come in. Generator: none, concat or cbn. Discriminator: none, concat, projection,
    acgan or infogan."""
    spectral_norm: bool = False
    """Divide every weight matrix by its largest singular value."""
    orthogonal: float = 0.0
    """Weight of the orthogonal regularisation of the weight matrices."""
    remat: Literal["none", "activations", "all"] = "none"
    """What the backward pass computes again instead of keeping it in memory (jax.checkpoint):
    nothing, all but the outputs of convolutions and matrix products, or all."""
    convolutions: Convolutions = "auto"
    """Form of the convolutions and of their derivatives: auto is the fastest that is known for the
    platform, stock is XLA's own. They are equal up to rounding."""

    def __post_init__(self) -> None:
        _check_numbers(self, width=2**16, depth=1000)
        _require(self.width >= 1, self, "width", "at least 1")
        _require(self.depth >= 1, self, "depth", "at least 1")
        _require(self.orthogonal >= 0, self, "orthogonal", "at least 0")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How one player's parameters are updated."""

    name: str = "adam"
    """Update rule: adam, rmsprop or sgd."""
    learning_rate: float = 2e-4
    """Step size."""
    b1: float = 0.5
    """Adam's decay of the first moment; the momentum of sgd and rmsprop."""
    b2: float = 0.999
    """Decay of the second moment (adam, rmsprop)."""
    decay_updates: int = 0
    """Updates of this player over which the step size falls linearly to 0; 0 keeps it."""
    fuse: bool = False
    """Update all arrays of fewer than 4,096 numbers as one array, with the same result."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        _require(self.learning_rate > 0, self, "learning_rate", "above 0")
        _require(0 <= self.b1 < 1, self, "b1", "in [0, 1)")
        _require(0 <= self.b2 < 1, self, "b2", "in [0, 1)")
        _require(self.decay_updates >= 0, self, "decay_updates", "at least 0")


@dataclasses.dataclass(frozen=True)
class GANConfig:
    """A generative adversarial network, composed from its axes."""

    family: Literal["gan"] = "gan"
    """Family of the model."""
    generator: NetworkConfig = NetworkConfig()
    discriminator: NetworkConfig = NetworkConfig()
    generator_optimizer: OptimizerConfig = OptimizerConfig()
    discriminator_optimizer: OptimizerConfig = OptimizerConfig()
    loss: str = "non_saturating"
    """Adversarial loss: non_saturating, minimax, hinge, least_squares, wasserstein, relativistic
    or relativistic_average."""
    label_smoothing: float = 0.0
    """Probability that D's loss takes a real image for a generated one (one-sided smoothing)."""
    penalties: dict[str, tuple[float, int]] = dataclasses.field(default_factory=dict)
    """Terms of D's loss, each with its weight and the number of D updates between two uses (its
    weight is multiplied by that number): r1, r2, wgan_gp, dragan, lecam, cr or bcr."""
    weight_clip: float | None = None
    """Bound on the absolute value of D's parameters, enforced after each update."""
    minibatch: str = "none"
    """What D sees of the rest of its batch: none, discrimination or stddev."""
    augmentations: tuple[str, ...] = ()
    """Differentiable changes of all that D sees: color, translation, cutout."""
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
    latent: int = 100
    """Dimensions of z ~ N(0, I)."""
    share_generated: bool = False
    """G learns from the images of D's last update instead of fresh ones, so that it runs forward
    once less; the two players then see the same noise."""
    joint_pass: bool = False
    """D judges real and generated images in one pass over twice the batch; the same up to rounding.
    Not with batch norm, a minibatch layer or dropout in D."""
    discriminator_updates: int = 1
    """Discriminator updates before each generator update, each on a batch of its own."""
    ema_decay: float | None = None
    """Decay a step of the generator's moving average, which then makes the samples."""
    ema_ramp: float | None = None
    """Bound on the average's half-life, as a share of the steps made so far."""
    dtype: ComputeDtype = "float32"
    """Type of the computation; parameters, statistics and losses stay float32."""

    def __post_init__(self) -> None:
        _check_numbers(
            self,
            latent=2**16,
            discriminator_updates=100,
            code_categories=2**16,
            code_continuous=2**16,
        )
        for name in ("latent", "discriminator_updates", "code_categories"):
            _require(getattr(self, name) >= 1, self, name, "at least 1")
        for name in ("historical_averaging", "auxiliary_weight", "code_continuous"):
            _require(getattr(self, name) >= 0, self, name, "at least 0")
        _require(0 <= self.label_smoothing < 0.5, self, "label_smoothing", "in [0, 0.5)")
        _require(0 < self.top_k <= 1, self, "top_k", "in (0, 1]")
        _require(0 < self.top_k_decay <= 1, self, "top_k_decay", "in (0, 1]")
        _require(self.ema_decay is None or 0 <= self.ema_decay < 1, self, "ema_decay", "in [0, 1)")
        for name in ("weight_clip", "ema_ramp"):
            value = getattr(self, name)
            _require(value is None or value > 0, self, name, "above 0")
        for name, (weight, every) in self.penalties.items():
            if not 0 < weight < math.inf or not 1 <= every < 2**31:
                raise UserError(
                    f"GANConfig.penalties has {name!r} with weight {weight} and interval {every}; "
                    "they must be above 0 and finite, and at least 1"
                )


@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """A variational autoencoder."""

    family: Literal["vae"] = "vae"
    """Family of the model."""
    encoder: NetworkConfig = NetworkConfig("mlp", width=400, depth=1, norm="none")
    decoder: NetworkConfig = NetworkConfig("mlp", width=400, depth=1, norm="none")
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, b1=0.9)
    likelihood: str = "bernoulli"
    """Distribution of an image given z: bernoulli, gaussian or discretized_logistic."""
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
    dtype: ComputeDtype = "float32"
    """Type of the computation; parameters and losses stay float32."""

    def __post_init__(self) -> None:
        _check_numbers(self, latent=2**16, importance_samples=10**6)
        for name in ("latent", "importance_samples"):
            _require(getattr(self, name) >= 1, self, name, "at least 1")
        for name in ("beta", "beta_warmup", "free_bits"):
            _require(getattr(self, name) >= 0, self, name, "at least 0")
        _require(self.scale is None or self.scale > 0, self, "scale", "above 0")
        _require(self.ema_decay is None or 0 <= self.ema_decay < 1, self, "ema_decay", "in [0, 1)")


@dataclasses.dataclass(frozen=True)
class VAEGANConfig:
    """A variational autoencoder whose likelihood is measured in a discriminator's features."""

    family: Literal["vae_gan"] = "vae_gan"
    """Family of the model."""
    encoder: NetworkConfig = NetworkConfig()
    generator: NetworkConfig = NetworkConfig()
    discriminator: NetworkConfig = NetworkConfig()
    encoder_optimizer: OptimizerConfig = OptimizerConfig()
    generator_optimizer: OptimizerConfig = OptimizerConfig()
    discriminator_optimizer: OptimizerConfig = OptimizerConfig()
    loss: str = "non_saturating"
    """Adversarial loss, as in a GAN."""
    latent: int = 100
    """Dimensions of z ~ N(0, I)."""
    beta: float = 1.0
    """Weight of the KL divergence in the encoder's loss."""
    reconstruction: float = 1e-2
    """Weight of the feature reconstruction against the adversarial term in the generator's loss."""
    ema_decay: float | None = None
    """Decay a step of the generator's moving average, which then makes the samples."""
    dtype: ComputeDtype = "float32"
    """Type of the computation; parameters, statistics and losses stay float32."""

    def __post_init__(self) -> None:
        _check_numbers(self, latent=2**16)
        _require(self.latent >= 1, self, "latent", "at least 1")
        for name in ("beta", "reconstruction"):
            _require(getattr(self, name) >= 0, self, name, "at least 0")
        _require(self.ema_decay is None or 0 <= self.ema_decay < 1, self, "ema_decay", "in [0, 1)")


Model = GANConfig | VAEConfig | VAEGANConfig


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """How samples are scored while training goes on; `genjax evaluate` does it thoroughly."""

    every: int | None = None
    """Steps between two evaluations; None evaluates at each checkpoint, which is always done."""
    samples: int = 2000
    """Samples drawn, and images of the data set they are compared with."""
    features: Literal["pixels", "classifier"] = "pixels"
    """What images are compared by: coarse pixels, or the classifier that
    `genjax evaluate --train-features DATASET` trains once."""

    def __post_init__(self) -> None:
        _check_numbers(self, samples=MOST_SAMPLES)
        _require(self.every is None or self.every >= 1, self, "every", "at least 1")
        _require(self.samples >= 2, self, "samples", "at least 2")


@dataclasses.dataclass(frozen=True)
class MonitorConfig:
    """When a run counts as collapsed."""

    lines: int = 40
    """Logged lines in a row that must all show one of the first two signs; many a good run begins
    with a D that is always right."""
    accuracy: float = 1.0
    """Share of pairs in which D prefers the real image from which on it has won."""
    logit_gap: float = 100.0
    """Mean logit of real minus generated images from which on D is too far ahead."""
    diversity: float = 0.1
    """Variance of the samples' features, over that of real images, below which they are alike."""
    gradient: float = 1e6
    """Norm of a player's gradient from which on it has exploded; at 0 the player is dead."""

    def __post_init__(self) -> None:
        _require(self.lines >= 1, self, "lines", "at least 1")
        _require(self.accuracy > 0, self, "accuracy", "above 0")
        _require(self.logit_gap > 0, self, "logit_gap", "above 0")
        _require(self.diversity >= 0, self, "diversity", "at least 0")
        _require(self.gradient > 0, self, "gradient", "above 0")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides the numbers of a run, and how often it reports."""

    name: str
    """Name of the run; its folder is called after it."""
    data: DataConfig
    model: Model
    steps: int = 2000
    """Training steps (generator updates)."""
    batch_size: int = 64
    """Images in each update, over all devices."""
    seed: int = 0
    """Seed of the parameters, the noise and the data order."""
    mode: Mode = "auto"
    """How the step is compiled: jit (one device), mesh or pmap (all); auto is jit or mesh."""
    steps_per_call: int = 1
    """Steps in one call of the compiled program, which is worth it where a step takes less time
    than its dispatch; sample_every, checkpoint_every, eval.every and steps must be multiples. Not
    for convolutions on CPUs, which XLA runs far slower within such a call."""
    feed: Feed = "auto"
    """Where batches are gathered: on the device, which holds the whole data set, or on the host,
    while the device works; auto is device where it is an accelerator with room."""
    log_every: int = 50
    """Steps between two lines of metrics."""
    sample_every: int = 500
    """Steps between two sample grids."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; each is scored, to know the best."""
    keep_checkpoints: int = 2
    """How many of the latest checkpoints stay, beside the best."""
    eval: EvalConfig = EvalConfig()
    monitor: MonitorConfig = MonitorConfig()
    on_nan: Literal["stop", "rollback"] = "stop"
    """When a metric is not finite: stop, or go on from the last good checkpoint with other
    noise."""
    on_collapse: Literal["warn", "stop", "rollback"] = "warn"
    """When the run has collapsed: warn in the log, stop, or go on from the last good checkpoint
    with other noise."""
    wandb: bool = False
    """Also log to Weights & Biases (needs the extra genjax[wandb])."""

    def __post_init__(self) -> None:
        _check_numbers(self, seed=LARGEST_SEED, batch_size=2**20, steps_per_call=10**6)
        _require(self.seed >= 0, self, "seed", "at least 0")
        for name in (
            "steps",
            "batch_size",
            "log_every",
            "sample_every",
            "checkpoint_every",
            "keep_checkpoints",
            "steps_per_call",
        ):
            _require(getattr(self, name) >= 1, self, name, "at least 1")
        intervals = {
            name: getattr(self, name) for name in ("steps", "sample_every", "checkpoint_every")
        }
        for name, value in {**intervals, "eval.every": self.eval.every or 0}.items():
            calls = -(-value // self.steps_per_call)
            if value != calls * self.steps_per_call:
                raise UserError(
                    f"{name} is {value}, no multiple of steps_per_call, {self.steps_per_call}; "
                    f"set --{name.replace('_', '-')} {calls * self.steps_per_call}"
                )
