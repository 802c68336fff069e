"""An experiment: data, model, and how long and how it is trained and watched."""

import dataclasses
from typing import Literal

from genjax.config.fields import (
    LARGEST_BATCH,
    LARGEST_SEED,
    LARGEST_SIDE,
    MOST_SAMPLES,
    check_numbers,
    require,
    setting,
)
from genjax.config.model import Model
from genjax.errors import UserError

Mode = Literal["auto", "jit", "mesh", "pmap"]
Feed = Literal["auto", "device", "host"]
Precision = Literal["default", "high", "highest"]


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The examples to learn from."""

    name: str = "digits"
    """Data set: one of `genjax data list`, or any image set of TensorFlow Datasets."""
    split: str = "train"
    """Split to train on, or a part of one, such as train[:500], train[:10%] or train[::10]."""
    resolution: int | None = None
    """Side in pixels to resize the images to (square); None keeps their size."""
    flip: bool = False
    """Mirror each image with probability 1/2, drawn anew each time it is seen."""
    directory: str | None = setting(None, hashed=False)
    """Folder of prepared data sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets."""
    target: str | None = setting(None, since=3)
    """Field of the examples that is generated; None means the data set's own."""
    given: tuple[str, ...] | None = setting(None, since=3)
    """Fields that it is generated from, those of derive among them; None is the label, where there
    is one, and all that is derived."""
    length: int | None = setting(None, since=3)
    """Tokens, or audio samples, in one example; None keeps the data set's own."""
    derive: tuple[str, ...] = setting((), since=9)
    """Conditions that are made of each image, after flips, and given to the model by the word
    before the colon: downsample:FACTOR, the means of squares of so many pixels a side."""

    def __post_init__(self) -> None:
        check_numbers(self)
        size = self.resolution
        fits = size is None or 1 <= size <= LARGEST_SIDE
        require(fits, self, "resolution", f"at least 1, at most {LARGEST_SIDE}")
        require(self.length is None or self.length >= 1, self, "length", "at least 1")
        given = self.given or ()
        once = len(set(given)) == len(given) and self.target not in given
        require(once, self, "given", "fields that differ from each other and from the target")


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """How samples are scored while training goes on; `genjax evaluate` does it thoroughly."""

    every: int | None = None
    """Steps between two evaluations, and one at the end; None evaluates at each checkpoint. A
    checkpoint without one is never the best."""
    samples: int = 2000
    """Samples drawn, and images of the data set they are compared with."""
    features: Literal["pixels", "classifier"] = "pixels"
    """What images are compared by: coarse pixels, or the classifier that
    `genjax evaluate --train-features DATASET` trains once."""
    rank: str | None = setting(None, since=3)
    """What makes a checkpoint the best: None is how its samples compare with the data, held_out its
    loss on held-out data, none nothing, and any other word a logged evaluation/WORD. Samples are
    drawn only for what needs them."""
    held_out: int = setting(500, since=3)
    """Held-out examples whose loss is measured at each evaluation, by families that have one; 0
    for none."""
    patience: int | None = setting(None, since=4)
    """Evaluations in a row without a better score, that by which checkpoints are ranked, at which a
    run ends before its last step; None goes on to that."""

    def __post_init__(self) -> None:
        check_numbers(self, samples=MOST_SAMPLES)
        require(self.every is None or self.every >= 1, self, "every", "at least 1")
        require(self.samples >= 2, self, "samples", "at least 2")
        require(self.held_out >= 0, self, "held_out", "at least 0")
        require(self.patience is None or self.patience >= 1, self, "patience", "at least 1")
        ranks = self.patience is None or self.rank != "none"
        require(ranks, self, "patience", "left out where eval.rank is none")


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
        require(self.lines >= 1, self, "lines", "at least 1")
        require(self.accuracy > 0, self, "accuracy", "above 0")
        require(self.logit_gap > 0, self, "logit_gap", "above 0")
        require(self.diversity >= 0, self, "diversity", "at least 0")
        require(self.gradient > 0, self, "gradient", "above 0")


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
    """Examples in each update, over all devices."""
    seed: int = 0
    """Seed of the parameters, the noise and the data order."""
    mode: Mode = "auto"
    """How the step is compiled: jit (one device), mesh or pmap (all); auto is jit or mesh."""
    precision: Precision = setting("default", since=5)
    """Of products of float32 matrices and of convolutions: default is the accelerator's fastest
    (one pass in bfloat16 on TPUs, TF32 on GPUs), high three such passes on TPUs, highest float32.
    No difference on CPUs."""
    steps_per_call: int = 1
    """Steps in one call of the compiled program, which is worth it where a step takes less time
    than its dispatch; sample_every, checkpoint_every, eval.every and steps must be multiples. Not
    for convolutions on CPUs, which XLA runs far slower within such a call."""
    accumulate: int = setting(1, since=3)
    """Parts of a batch that go through the networks one after the other, to save memory; their
    gradients are averaged. It must divide batch_size."""
    feed: Feed = "auto"
    """Where batches are gathered: on the device, which holds the whole data set, or on the host,
    while the device works; auto is device where it is an accelerator with room."""
    # Committed records of ablations have these three intervals off their defaults, and the last one
    # decides which checkpoint can be the best: they count for the hash.
    log_every: int = 50
    """Steps between two lines of metrics."""
    sample_every: int = 500
    """Steps between two sample grids."""
    checkpoint_every: int = 500
    """Steps between two checkpoints."""
    # A run that goes back finds other checkpoints there: it counts as well.
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
    init_from: str | None = setting(None, since=4)
    """Folder of a run whose networks' weights this one begins with; FOLDER@best, or FOLDER@ and a
    step, takes another checkpoint than the last. Optimizers begin anew."""
    wandb: bool = setting(False, hashed=False)
    """Also log to Weights & Biases (needs the extra wandb)."""
    plugins: tuple[str, ...] = setting((), since=3, hashed=False)
    """Python files that are run before the rest of the configuration is read, by absolute path;
    what they register can be named in it."""

    def __post_init__(self) -> None:
        check_numbers(self, seed=LARGEST_SEED, batch_size=LARGEST_BATCH, steps_per_call=10**6)
        require(self.seed >= 0, self, "seed", "at least 0")
        for name in (
            "steps",
            "batch_size",
            "log_every",
            "sample_every",
            "checkpoint_every",
            "keep_checkpoints",
            "steps_per_call",
            "accumulate",
        ):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        divides = self.batch_size % self.accumulate == 0
        require(divides, self, "accumulate", f"a divisor of batch_size, {self.batch_size}")
        for name in ("steps", "sample_every", "checkpoint_every", "eval.every"):
            value = (self.eval.every or 0) if name == "eval.every" else getattr(self, name)
            calls = -(-value // self.steps_per_call)
            if value != calls * self.steps_per_call:
                raise UserError(
                    f"{name} is {value}, no multiple of steps_per_call, {self.steps_per_call}; "
                    f"set --{name.replace('_', '-')} {calls * self.steps_per_call}"
                )
