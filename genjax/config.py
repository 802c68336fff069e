"""The configuration of a run: frozen dataclasses, their JSON form and their hash.

Nothing here imports JAX, so that ``genjax --help`` stays fast.
"""

import dataclasses
import hashlib
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

from genjax.errors import UserError, suggest

Mode = Literal["auto", "jit", "mesh", "pmap"]
ComputeDtype = Literal["float32", "bfloat16"]


def _require(holds: bool, config: Any, name: str, wanted: str) -> None:
    if not holds:
        where = type(config).__name__
        raise UserError(f"{where}.{name} is {getattr(config, name)!r}; it must be {wanted}")


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
        _require(self.resolution is None or self.resolution >= 1, self, "resolution", "at least 1")


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """One network of a model."""

    name: str = "dcgan"
    """Architecture: dcgan, dcgan_tutorial or mlp."""
    width: int = 64
    """Channels of the layer nearest to the image (dcgan), or units of a hidden layer (mlp)."""
    batch_norm: bool = True
    """Normalise hidden layers by batch statistics (dcgan)."""

    def __post_init__(self) -> None:
        _require(self.width >= 1, self, "width", "at least 1")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How one player's parameters are updated."""

    name: str = "adam"
    """Update rule: adam or sgd."""
    learning_rate: float = 2e-4
    """Step size."""
    b1: float = 0.5
    """Adam's decay of the first moment; the momentum of sgd."""
    b2: float = 0.999
    """Adam's decay of the second moment."""

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, self, "learning_rate", "above 0")
        _require(0 <= self.b1 < 1, self, "b1", "in [0, 1)")
        _require(0 <= self.b2 < 1, self, "b2", "in [0, 1)")


@dataclasses.dataclass(frozen=True)
class GANConfig:
    """A generative adversarial network, composed from its axes."""

    generator: NetworkConfig = NetworkConfig()
    discriminator: NetworkConfig = NetworkConfig()
    generator_optimizer: OptimizerConfig = OptimizerConfig()
    discriminator_optimizer: OptimizerConfig = OptimizerConfig()
    loss: str = "non_saturating"
    """Adversarial loss: non_saturating or minimax."""
    latent: int = 100
    """Dimensions of z ~ N(0, I)."""
    discriminator_updates: int = 1
    """Discriminator updates before each generator update, each on a batch of its own."""
    ema_decay: float | None = None
    """Decay a step of the generator's moving average, which then makes the samples."""
    dtype: ComputeDtype = "float32"
    """Type of the computation; parameters, statistics and losses stay float32."""

    def __post_init__(self) -> None:
        _require(self.latent >= 1, self, "latent", "at least 1")
        _require(self.discriminator_updates >= 1, self, "discriminator_updates", "at least 1")
        _require(self.ema_decay is None or 0 <= self.ema_decay < 1, self, "ema_decay", "in [0, 1)")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides the numbers of a run, and how often it reports."""

    name: str
    """Name of the run; its folder is called after it."""
    data: DataConfig
    model: GANConfig
    steps: int = 2000
    """Training steps (generator updates)."""
    batch_size: int = 64
    """Images in each update, over all devices."""
    seed: int = 0
    """Seed of the parameters, the noise and the data order."""
    mode: Mode = "auto"
    """How the step is compiled: jit (one device), mesh or pmap (all); auto is jit or mesh."""
    log_every: int = 50
    """Steps between two lines of metrics."""
    sample_every: int = 500
    """Steps between two sample grids."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; each is scored, to know the best."""
    keep_checkpoints: int = 2
    """How many of the latest checkpoints stay, beside the best."""
    wandb: bool = False
    """Also log to Weights & Biases (needs the extra genjax[wandb])."""

    def __post_init__(self) -> None:
        _require(self.seed >= 0, self, "seed", "at least 0")
        _require(self.seed < 2**32, self, "seed", "below 2**32")
        for name in (
            "steps",
            "batch_size",
            "log_every",
            "sample_every",
            "checkpoint_every",
            "keep_checkpoints",
        ):
            _require(getattr(self, name) >= 1, self, name, "at least 1")


def to_dict(config: Any) -> dict[str, Any]:
    """Turns a configuration into plain JSON values.

    Args:
      config: an `Experiment` or one of its parts.

    Returns:
      Nested dicts of str, int, float, bool and None.
    """
    return dataclasses.asdict(config)


def config_hash(experiment: Experiment) -> str:
    """Names a configuration: the first 12 hex digits of its canonical JSON's SHA-256."""
    canonical = json.dumps(to_dict(experiment), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def from_json(text: str, where: str = "the configuration") -> Experiment:
    """Reads a configuration, checking every field's name and type.

    Args:
      text: JSON of what `to_dict` returns.
      where: name of the file, for errors.

    Returns:
      The experiment.

    Raises:
      UserError: not JSON, or a field is missing, unknown or of a wrong type.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not valid JSON: {error}") from None
    experiment = _decode(Experiment, value, where)
    assert isinstance(experiment, Experiment)
    return experiment


def load(path: Path) -> Experiment:
    """Reads the configuration in a file; raises UserError as `from_json` does."""
    try:
        return from_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Checks a JSON value against a type of the configuration and converts it."""
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value in options:
            return value
        raise UserError(f"{where} is {value!r}; {suggest(str(value), map(str, options))}")
    if origin is types.UnionType:
        if value is None and type(None) in options:
            return None
        return _decode(next(o for o in options if o is not type(None)), value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UserError(f"{where} is {value!r}; it must be of type {kind.__name__}")
    return value


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where} is {value!r}; it must be an object")
    kinds = typing.get_type_hints(kind)
    for name in value:
        if name not in kinds:
            raise UserError(f"{where} has no field {name!r}; {suggest(name, kinds)}")
    for name in kinds:
        if name not in value:
            raise UserError(f"{where} lacks the field {name!r}")
    return kind(**{name: _decode(kinds[name], value[name], f"{where}: {name}") for name in kinds})
