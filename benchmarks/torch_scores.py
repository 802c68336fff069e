"""What `scores.py` compares genjax with: a classifier's features and scores by PyTorch's packages.

Needs genjax-models[parity]. Features are float32, as the networks of these packages make them
and as prdc and torch-fidelity take them; pytorch-fid keeps them in float64 itself.
"""

import contextlib
import functools
import importlib
import itertools
import os
import time
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors
from torch import nn

from genjax.core.types import Variables

BATCH = 250
NEIGHBOURS = 5
SUBSETS = 100
SUBSET = 1000
SPLITS = 10
SEED = 2020
"""Of torch-fidelity's subsets and of its order of samples."""

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

# Declarations of operators live as long as their library does.
_DECLARED: list[object] = []


class Inputs(NamedTuple):
    """What scores are computed from.

    Attributes:
      real: features of the real images, float32 [n, d].
      fake: features of the generated images, float32 [n, d].
      held_out: features of other real images, float32 [n, d].
      logits: of the generated images, float32 [n, k].
      first: generated images, uint8 [pairs, height, width, channels].
      second: those that they are paired with.
    """

    real: Float32[np.ndarray, "n d"]
    fake: Float32[np.ndarray, "n d"]
    held_out: Float32[np.ndarray, "n d"]
    logits: Float32[np.ndarray, "n k"]
    first: UInt8[np.ndarray, "pairs height width channels"]
    second: UInt8[np.ndarray, "pairs height width channels"]


Score = Callable[[Inputs], dict[str, float]]
"""From its inputs to values by name."""


class _Convolution(nn.Module):
    """A convolution without bias and with TensorFlow's 'SAME' padding, then batch norm.

    Args:
      kernel: float [k, k, inputs, outputs].
      norm: scale, bias, mean and var, each float [outputs].
      size: side of the map.
      stride: step of the window.
      even: put zeros before an odd map, as genjax does.
    """

    def __init__(
        self, kernel: Any, norm: Mapping[str, Any], size: int, stride: int, even: bool = False
    ) -> None:
        super().__init__()
        window, _, inputs, outputs = kernel.shape
        extra = size % 2 if even else 0
        padded = size + extra
        total = max((-(-padded // stride) - 1) * stride + window - padded, 0)
        before, after = extra + total // 2, total - total // 2
        same = before == after
        # Only padding that isn't symmetric costs a copy.
        self.padding = None if same else (before, after, before, after)
        self.convolution = nn.Conv2d(
            inputs, outputs, window, stride, before if same else 0, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs, eps=1e-5)
        with torch.no_grad():
            self.convolution.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1)))
            self.norm.weight.copy_(torch.tensor(norm["scale"]))
            self.norm.bias.copy_(torch.tensor(norm["bias"]))
            self.norm.running_mean.copy_(torch.tensor(norm["mean"]))
            self.norm.running_var.copy_(torch.tensor(norm["var"]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, inputs, size, size] to [batch, outputs, ceil(size / stride), ...]."""
        if self.padding is not None:
            x = nn.functional.pad(x, self.padding)
        return self.norm(self.convolution(x))


class ResNet(nn.Module):
    """genjax's `ResNet` of `genjax.evals.classifier`, with its weights.

    Args:
      variables: of the genjax network.
      size: side of the images, which are square.
    """

    def __init__(self, variables: Variables, size: int) -> None:
        super().__init__()
        params, statistics = (
            {name: {key: np.asarray(x) for key, x in part.items()} for name, part in group.items()}
            for group in (variables["params"], variables["batch_stats"])
        )
        numbers = iter(range(len(statistics)))

        def convolution(size: int, stride: int, even: bool = False) -> _Convolution:
            i = next(numbers)
            norm = params[f"Normalize_{i}"] | statistics[f"BatchNorm_{i}"]
            return _Convolution(params[f"Conv_{i}"]["kernel"], norm, size, stride, even)

        stride = (params["Conv_0"]["kernel"].shape[0] - 1) // 2
        self.stem = convolution(size, stride)
        size = -(-size // stride)
        self.blocks = nn.ModuleList()
        for step in (1, 2, 2):
            first = convolution(size, step, even=step == 2)
            halved = -(-size // step)
            second = convolution(halved, 1)
            beside = convolution(size, step) if step == 2 else nn.Identity()
            self.blocks.append(nn.ModuleList([first, second, beside]))
            size = halved
        head = params["Dense_0"]
        self.head = nn.Linear(*head["kernel"].shape)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor(head["kernel"].T))
            self.head.bias.copy_(torch.tensor(head["bias"]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images in [-1, 1], [batch, channels, size, size], to features and logits."""
        x = self.stem(x).relu_()
        for first, second, beside in self.blocks:
            x = (beside(x) + second(first(x).relu_())).relu_()
        features = x.mean(dim=(2, 3))
        return features, self.head(features)


class Extractor:
    """A network in evaluation mode, in the fastest of both layouts and of one thread or all.

    Attributes:
      layout: the one that it took.
      threads: likewise.
    """

    def __init__(self, network: ResNet, images: UInt8[np.ndarray, "n h w c"]) -> None:
        """Chooses by the shortest of three batches each, timed by turns."""
        self.network = network.eval()
        # Where other programs use some of the cores, one thread beats several that wait for each
        # other.
        threads = sorted({1, torch.get_num_threads()})
        seconds = {
            choice: float("inf")
            for choice in itertools.product(("contiguous", "channels_last"), threads)
        }
        for number in range(4):
            for choice in seconds:
                self._choose(*choice)
                start = time.perf_counter()
                self(images[:BATCH])
                # The first batch also allocates memory.
                if number:
                    seconds[choice] = min(seconds[choice], time.perf_counter() - start)
        self._choose(*min(seconds, key=lambda choice: seconds[choice]))

    def _choose(self, layout: str, threads: int) -> None:
        self.layout, self.threads = layout, threads
        last = layout == "channels_last"
        self._format = torch.channels_last if last else torch.contiguous_format
        self.network = self.network.to(memory_format=self._format)
        torch.set_num_threads(threads)

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> tuple[np.ndarray, np.ndarray]:
        """From uint8 images to features and logits, float32 [n, d] and [n, k]."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2)
                batch = batch.to(torch.float32, memory_format=self._format) / 127.5 - 1
                parts.append(self.network(batch))
            features, logits = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        return features, logits


def _import(name: str) -> ModuleType:
    """Imports a package that needs torchvision, whose wheel does not match a CPU-only torch."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # None of its compiled operators is used; declaring those that it registers is enough.
        library = torch.library.Library("torchvision", "DEF")
        _DECLARED.append(library)
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return importlib.import_module(name)


def _fid(inputs: Inputs, module: ModuleType) -> dict[str, float]:
    real, fake = (x.astype(np.float64) for x in (inputs.real, inputs.fake))
    with warnings.catch_warnings():
        # It calls SciPy's root of a matrix in a way that SciPy has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        distance = module.calculate_frechet_distance(
            np.mean(real, axis=0),
            np.cov(real, rowvar=False),
            np.mean(fake, axis=0),
            np.cov(fake, rowvar=False),
        )
    return {"fid": float(distance)}


def _kid(inputs: Inputs, module: ModuleType) -> dict[str, float]:
    found = module.kid_features_to_metric(
        torch.from_numpy(inputs.real),
        torch.from_numpy(inputs.fake),
        kid_subsets=SUBSETS,
        kid_subset_size=min(SUBSET, len(inputs.real)),
        rng_seed=SEED,
        verbose=False,
    )
    return {"kid": found[module.KEY_METRIC_KID_MEAN]}


def _inception(inputs: Inputs, module: ModuleType) -> dict[str, float]:
    found = module.isc_features_to_metric(torch.from_numpy(inputs.logits), SPLITS, True, SEED)
    return {"is": found[module.KEY_METRIC_ISC_MEAN], "is std": found[module.KEY_METRIC_ISC_STD]}


def _prdc(inputs: Inputs, module: ModuleType) -> dict[str, float]:
    # It prints how many images there are.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        found = module.compute_prdc(inputs.real, inputs.fake, nearest_k=NEIGHBOURS)
    return {name: float(value) for name, value in found.items()}


def _memorization(inputs: Inputs) -> dict[str, float]:
    index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(inputs.real)
    unseen, sampled = (index.kneighbors(x)[0][:, 0] for x in (inputs.held_out, inputs.fake))
    pairs = len(unseen) * len(sampled)
    share = mannwhitneyu(unseen, sampled, method="asymptotic").statistic / pairs
    return {"memorization": float(share), "mean distance": float(np.mean(sampled, dtype=float))}


def _ms_ssim(inputs: Inputs, module: ModuleType, scales: int) -> dict[str, float]:
    """Its `ms_ssim` wants sides over 160 pixels, but its `ssim` gives every factor of smaller ones.

    Where K1 is huge, `ssim` is contrast and structure alone.
    """
    a, b = (
        # Channels become images: each is compared on its own.
        torch.from_numpy(x).permute(0, 3, 1, 2).flatten(0, 1)[:, None].float()
        for x in (inputs.first, inputs.second)
    )
    weights = np.asarray(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])
    result = torch.ones(len(a))
    with torch.inference_mode():
        for scale, weight in enumerate(weights):
            side = min(11, *a.shape[2:])
            similarity = module.ssim(
                a,
                b,
                data_range=255,
                size_average=False,
                win_size=side - (side + 1) % 2,
                K=(0.01 if scale == scales - 1 else 1e6, 0.03),
                nonnegative_ssim=True,
            )
            result *= similarity**weight
            a, b = (nn.functional.avg_pool2d(x, 2) for x in (a, b))
    return {"ms_ssim": float(result.mean(dtype=torch.float64))}


def make_scores(scales: int) -> dict[str, Score]:
    """The scores of the packages.

    Args:
      scales: resolutions of MS-SSIM.

    Returns:
      From stage to score.
    """
    modules: dict[str, tuple[Callable[..., dict[str, float]], str]] = {
        "fid": (_fid, "pytorch_fid.fid_score"),
        "kid": (_kid, "torch_fidelity.metric_kid"),
        "is": (_inception, "torch_fidelity.metric_isc"),
        "prdc": (_prdc, "prdc"),
    }
    scores: dict[str, Score] = {
        stage: functools.partial(function, module=_import(name))
        for stage, (function, name) in modules.items()
    }
    scores["memorization"] = _memorization
    ssim = importlib.import_module("pytorch_msssim")
    scores["ms_ssim"] = functools.partial(_ms_ssim, module=ssim, scales=scales)
    return scores
