"""Diffusion and flow matching."""

import dataclasses
from typing import Literal

from genjax.config.denoisers import Denoiser, UNet
from genjax.config.fields import check_numbers, require, setting
from genjax.config.model import Model, check_average
from genjax.config.optimizers import Adam, Constant, Optimizer
from genjax.config.sequences import SequenceTower, SequenceTransformer
from genjax.config.tags import Tagged, register
from genjax.config.text import TextTower, TextTransformer, read_by_another

SMALLEST_RHO = 0.1
"""Of the exponents by which noise grows; roots of smaller ones are beyond float32."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Path(Tagged, what="path"):
    """How data become noise: ``x_t = alpha(t) x + sigma(t) e`` with e ~ N(0, I)."""

    name: str
    """Path from data to noise."""

    def __post_init__(self) -> None:
        check_numbers(self)


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class VarianceExploding(Path):
    """``alpha = 1``, ``sigma = t`` (Karras et al. 2022, EDM)."""

    name: Literal["ve"] = "ve"
    least: float = 0.002
    """Standard deviation of the noise from which samples go to 0 at once."""
    most: float = 80.0
    """Standard deviation of the noise that samples begin with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.least < self.most, self, "least", f"above 0 and below most, {self.most}")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class VariancePreserving(Path):
    """``alpha^2 + sigma^2 = 1`` with a rate of noise that grows linearly (Ho et al. 2020)."""

    name: Literal["vp"] = "vp"
    slowest: float = 0.1
    """Rate of noise at t = 0."""
    fastest: float = 20.0
    """Rate of noise at t = 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        holds = 0 < self.slowest < self.fastest
        require(holds, self, "slowest", f"above 0 and below fastest, {self.fastest}")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class CosinePath(Path):
    """``alpha = cos(pi t / 2)``, ``sigma = sin(pi t / 2)`` (Nichol & Dhariwal 2021)."""

    name: Literal["cosine"] = "cosine"


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Straight(Path):
    """``alpha = 1 - t``, ``sigma = t``: flow matching, rectified flow (Liu et al. 2023)."""

    name: Literal["flow"] = "flow"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times(Tagged, what="distribution of times"):
    """Which times a network is trained at."""

    name: str
    """Distribution of the times."""

    def __post_init__(self) -> None:
        check_numbers(self)
        require(getattr(self, "std", 1) > 0, self, "std", "above 0")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform(Times):
    """All alike; on the path ve, the logarithm of t."""

    name: Literal["uniform"] = "uniform"


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class LogNormal(Times):
    """``ln(sigma / alpha) ~ N(mean, std^2)`` (Karras et al. 2022)."""

    name: Literal["log_normal"] = "log_normal"
    mean: float = -1.2
    """Of the logarithm."""
    std: float = 1.2
    """Of the logarithm."""


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class LogitNormal(Times):
    """``ln(u / (1 - u)) ~ N(mean, std^2)`` of the u that Uniform would draw (Esser et al. 2024)."""

    name: Literal["logit_normal"] = "logit_normal"
    mean: float = 0.0
    """Of the logit."""
    std: float = 1.0
    """Of the logit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoising(Model):
    """What all models with a network that denoises have in common."""

    network: Denoiser = UNet()
    autoencoder: str | None = setting(None, since=7, run="always")
    """Run of a VAE whose latents are generated in place of data (Rombach et al. 2022): FOLDER,
    FOLDER@best or FOLDER@STEP. None generates data."""
    latent_scale: float = setting(0.5, since=7)
    """Factor of those latents; by half they come near a standard deviation of 0.5 where the VAE's
    are near N(0, I). 0.18215 for Stable Diffusion's, to 1."""
    conditional: bool = False
    """Give the class labels to the network, and captions, vectors, sequences and maps where
    data.given has them."""
    label_dropout: float = 0.0
    """Share of the examples whose label, caption and all else that is given are left out, for
    guidance without a classifier."""
    caption_dropout: float | None = setting(None, since=9)
    """Share of the examples whose caption is left out, whatever else is, as in DALL-E 2; None
    leaves it out with the label."""
    text: TextTower = setting(TextTransformer(), since=8)
    """Network of the captions, which learns with the other."""
    text_encoder: str | None = setting(None, since=8, run="always")
    """Run of the family contrastive whose text tower reads captions in place of one that learns, as
    it is: FOLDER, FOLDER@best or FOLDER@STEP."""
    sequence: SequenceTower = setting(SequenceTransformer(), since=9)
    """Network of a given sequence of vectors, such as a spectrogram's, which learns with the
    other."""
    condition_noise: float = setting(0.0, since=9)
    """Greatest standard deviation of the noise on maps in training, such as images with fewer
    pixels: that of each example is drawn evenly from 0 on, and told to the network (Ho et al. 2022,
    Cascaded Diffusion Models)."""
    optimizer: Optimizer = Adam(learning_rate=1e-3, b1=0.9, schedule=Constant())
    ema_decay: float | None = 0.999
    """Decay a step of the parameters' moving average, which then makes the samples."""
    ema_ramp: float | None = 0.05
    """Bound of the average's half-life, as a share of the steps made; None for none."""
    ema_profiles: tuple[float, ...] = ()
    """Relative widths of further averages, kept with every checkpoint, of which genjax average
    makes one of any width (Karras et al. 2024, EDM2; there 0.05 and 0.1)."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_average(self)
        ramp = self.ema_ramp
        require(ramp is None or ramp > 0, self, "ema_ramp", "above 0")
        require(self.latent_scale > 0, self, "latent_scale", "above 0")
        require(0 <= self.label_dropout < 1, self, "label_dropout", "in [0, 1)")
        captions = self.caption_dropout
        require(captions is None or 0 <= captions < 1, self, "caption_dropout", "in [0, 1)")
        require(self.condition_noise >= 0, self, "condition_noise", "at least 0")

    def unread(self) -> dict[str, str]:
        """See `Model.unread`."""
        return read_by_another(self.text_encoder)


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionConfig(Denoising):
    """A network that tells data from noise at every share of the two."""

    family: Literal["diffusion"] = "diffusion"
    path: Path = VarianceExploding()
    prediction: str = setting("edm", choices="genjax.families.diffusion.predictions:PREDICTIONS")
    """What the network says of x and e."""
    times: Times = LogNormal()
    weighting: str = setting("plain", choices="genjax.families.diffusion.weightings:WEIGHTINGS")
    """Of the squared errors at different times; plain are those of the network's output, which for
    the prediction edm are weighted as in EDM; learned divides those by their expected size, which
    is learned too (Karras et al. 2024)."""
    snr_bound: float = 5.0
    """Of min_snr: the most that the square of alpha / sigma weighs an error of the data."""
    data_std: float = 0.5
    """Standard deviation of the data, for the prediction edm and the path ve."""
    augment: float = setting(0.0, since=7)
    """Probability of each change of an image in training, of which the network is told so that none
    shows in samples: flip along y (of half of those), scale, rotation, anisotropy, translation;
    0.12 in EDM. Above 0, half of the images are flipped along x, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.augment <= 1, self, "augment", "in [0, 1]")
        for name in ("snr_bound", "data_std"):
            require(getattr(self, name) > 0, self, name, "above 0")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanFlowConfig(Denoising):
    """A network that goes from noise to data in one step (Geng et al. 2025)."""

    family: Literal["mean_flow"] = "mean_flow"
    times: Times = LogitNormal(mean=-0.4, std=1.0)
    apart: float = 0.25
    """Share of the examples whose two times differ; the others learn the velocity."""
    power: float = 1.0
    """Of an example's squared error, by which its loss is divided."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.apart <= 1, self, "apart", "in [0, 1]")
        require(self.power >= 0, self, "power", "at least 0")


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsistencyConfig(Denoising):
    """A network that says the same all along a path to noise (Song et al. 2023)."""

    family: Literal["consistency"] = "consistency"
    teacher: str | None = setting(None, run="training")
    """Run of a diffusion model whose steps are learnt, which is distillation: FOLDER, FOLDER@best
    or FOLDER@STEP; --init-from lets the network begin with the same weights. None learns from data
    alone."""
    times: Times = LogNormal(mean=-1.1, std=2.0)
    """Of which the interval is learnt; uniform takes all intervals alike."""
    intervals: int = 10
    """Between the least noise and the most, at first."""
    doubled_every: int | None = None
    """Steps after which there are twice as many intervals; None leaves them."""
    most_intervals: int = 1280
    """Beyond which they are doubled no more."""
    least: float = 0.002
    """Standard deviation of the noise that counts as none."""
    most: float = 80.0
    """Standard deviation of the noise that samples begin with."""
    rho: float = 7.0
    """Exponent by which intervals grow with the noise."""
    huber: float = 0.00054
    """Below which distances are squared, times the root of an example's numbers."""
    data_std: float = 0.5
    """Standard deviation of the data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("huber", "data_std"):
            require(getattr(self, name) > 0, self, name, "above 0")
        require(self.rho >= SMALLEST_RHO, self, "rho", f"at least {SMALLEST_RHO}")
        require(0 < self.least < self.most, self, "least", f"above 0 and below most, {self.most}")
        require(self.intervals >= 1, self, "intervals", "at least 1")
        holds = self.intervals <= self.most_intervals <= 2**20
        wanted = f"at least intervals, {self.intervals}, and at most {2**20:,}"
        require(holds, self, "most_intervals", wanted)
        holds = self.doubled_every is None or self.doubled_every >= 1
        require(holds, self, "doubled_every", "at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsistencySampling:
    """How noise becomes samples; outside of a run's hash, inside of every score's protocol."""

    steps: int = 1
    """How many; before each but the first, some noise is added to the data of the one before."""

    def __post_init__(self) -> None:
        check_numbers(self, steps=10**6)
        require(self.steps >= 1, self, "steps", "at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanFlowSampling:
    """How noise becomes samples; outside of a run's hash, inside of every score's protocol."""

    steps: int = 1
    """From noise to data, of the same length."""

    def __post_init__(self) -> None:
        check_numbers(self, steps=10**6)
        require(self.steps >= 1, self, "steps", "at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionSampling:
    """How noise becomes samples; outside of a run's hash, inside of every score's protocol."""

    solver: str = setting("heun", choices="genjax.families.diffusion.solvers:SOLVERS")
    """Steps from noise to data: euler and heun along the path's own time, ddim and ddpm (which adds
    noise) at once to less noise, dpmpp_2m (DPM-Solver++) by the two last estimates."""
    steps: int = 18
    """How many; heun calls the network twice a step, but once in the last."""
    rho: float = 7.0
    """Of the path ve: the exponent by which steps grow with the noise."""
    shift: float = 1.0
    """Of the other paths: how much later the times are, ``shift u / (1 + (shift - 1) u)``."""
    guidance: float = 1.0
    """How far estimates go from those without label, or of the guide, to the model's own, and
    beyond; 1 is there."""
    guide: str | None = setting(None, since=7, run="always")
    """Run of a lesser model that guides in place of one without labels, such as a smaller one or
    one that was trained for less long: FOLDER, FOLDER@best or FOLDER@STEP (Karras et al. 2024)."""
    negative: str = setting("", since=8)
    """Prompt that guidance leads away from, in place of none."""
    condition_noise: float = setting(0.0, since=9)
    """Standard deviation of the noise that is added to given maps, and told to the network; at most
    what the model learnt with."""
    guidance_least: float = 0.0
    """The least noise, sigma / alpha, at which there is guidance."""
    guidance_most: float | None = None
    """The most noise at which there is guidance; None for any."""
    churn: float = 0.0
    """Noise that is added before the steps of heun and euler, all together as a share of what there
    is: EDM's S_churn."""
    churn_least: float = 0.0
    """The least noise at which some is added, S_tmin."""
    churn_most: float | None = None
    """The most noise at which some is added, S_tmax; None for any."""
    churn_noise: float = 1.0
    """Factor of the added noise's standard deviation, S_noise."""
    eta: float = 0.0
    """Of ddim: the share of ddpm's noise."""

    def __post_init__(self) -> None:
        check_numbers(self, steps=10**6)
        require(self.steps >= 1, self, "steps", "at least 1")
        require(self.rho >= SMALLEST_RHO, self, "rho", f"at least {SMALLEST_RHO}")
        for name in ("shift", "churn_noise"):
            require(getattr(self, name) > 0, self, name, "above 0")
        for name in (
            "guidance",
            "guidance_least",
            "condition_noise",
            "churn",
            "churn_least",
            "eta",
        ):
            require(getattr(self, name) >= 0, self, name, "at least 0")
        for what in ("guidance", "churn"):
            least, most = getattr(self, f"{what}_least"), getattr(self, f"{what}_most")
            require(most is None or most > least, self, f"{what}_most", f"above {least}")
