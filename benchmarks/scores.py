"""Times features and scores of images, beside the same ones by PyTorch's packages.

Both sides start from the same uint8 images in memory and the same weights, and run by turns, stage
by stage. The generated images are real ones under noise: how good they are does not change the
work. Stages:

features      of the real and of the generated images, through the classifier of the data set; the
              peer is the same network in torch.nn, in eval and inference mode
fid           pytorch-fid, with moments by NumPy
kid, is       torch-fidelity, with the same subsets and the same splits
prdc          prdc
memorization  scikit-learn's brute-force neighbours and SciPy's rank test; the features of held-out
              images are made beforehand
ms_ssim       pytorch-msssim's `ssim` at each scale, of 1,000 pairs; its `ms_ssim` refuses images of
              less than 161 pixels
"""

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
import tyro
from jaxtyping import Float32, Int, UInt8

from benchmarks.machine import describe_machine, print_machine
from benchmarks.timing import ratios, summary, timed, turns
from benchmarks.torch_scores import (
    BATCH,
    NEIGHBOURS,
    SEED,
    SPLITS,
    SUBSET,
    SUBSETS,
    Extractor,
    Inputs,
    ResNet,
    Score,
    make_scores,
)
from genjax.config import DataConfig
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.evals.classifier import load_classifier
from genjax.evals.features import FeatureNetwork, extract
from genjax.evals.frechet import frechet_distance, measure_moments
from genjax.evals.inception_score import inception_score
from genjax.evals.kernel import kernel_distance_of_subsets
from genjax.evals.manifold import prdc
from genjax.evals.memorization import memorization
from genjax.evals.ms_ssim import count_scales, ms_ssim

Extracted: TypeAlias = tuple[Float32[np.ndarray, "n d"], Float32[np.ndarray, "n k"]]
Pixels: TypeAlias = UInt8[np.ndarray, "n height width channels"]

PAIRS = 1000
NOISE = 20
FEATURE_TOLERANCE = 1e-3
VALUE_TOLERANCE = 1e-4
PACKAGES = (
    "genjax",
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "pytorch-fid",
    "torch-fidelity",
    "prdc",
    "pytorch-msssim",
)


class Sets(NamedTuple):
    """Images, uint8 [n, height, width, channels].

    Attributes:
      real: the reference.
      fake: what is scored.
      held_out: other real images.
      first: numbers of generated images.
      second: numbers of those that they are paired with.
    """

    real: Pixels
    fake: Pixels
    held_out: Pixels
    first: Int[np.ndarray, "pairs"]
    second: Int[np.ndarray, "pairs"]


class Side(NamedTuple):
    """One of the two.

    Attributes:
      extract: from uint8 images to features and logits.
      scores: from stage to score.
    """

    extract: Callable[[Pixels], Extracted]
    scores: dict[str, Score]

    def both_features(self, sets: Sets) -> tuple[Extracted, Extracted]:
        """The first stage: features of the real and of the generated images."""
        return self.extract(sets.real), self.extract(sets.fake)


class Stage(NamedTuple):
    """Seconds of one stage.

    Attributes:
      first: of our first call, which compiles.
      ours: of our later calls.
      peer: of the peer's calls beside them.
    """

    first: float
    ours: list[float]
    peer: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times faster we are, pair by pair."""
        return ratios(self.ours, self.peer)


def make_sets(data: str, count: int) -> Sets:
    """Chooses images and makes generated ones.

    Args:
      data: the data set.
      count: images in each set; fewer where the data set has fewer.

    Returns:
      The sets; the generated images are noisy ones that are not among the others.
    """
    train, test = (load(DataConfig(data, split)).arrays["image"] for split in ("train", "test"))
    count = min(count, len(train) // 2, len(test))
    generator = np.random.default_rng(0)
    real, fake = train[generator.permutation(len(train))[: 2 * count]].reshape(
        2, count, *train.shape[1:]
    )
    noisy = fake + generator.normal(0, NOISE, fake.shape)
    pairs = generator.permutation(count)[: 2 * min(PAIRS, count // 2)].reshape(2, -1)
    return Sets(real, np.clip(noisy, 0, 255).round().astype(np.uint8), test[:count], *pairs)


def _fid(inputs: Inputs) -> dict[str, float]:
    moments = map(measure_moments, (inputs.real, inputs.fake))
    return {"fid": frechet_distance(*moments)}


def _kid(inputs: Inputs) -> dict[str, float]:
    generator = np.random.RandomState(SEED)
    real, fake = inputs.real, inputs.fake
    size = min(SUBSET, len(real))
    # torch-fidelity's order of draws, so that the values can be compared.
    draws = [
        [generator.choice(len(x), size, replace=False) for x in (real, fake)]
        for _ in range(SUBSETS)
    ]
    return {"kid": kernel_distance_of_subsets(real, fake, *np.swapaxes(draws, 0, 1)).value}


def _inception(inputs: Inputs) -> dict[str, float]:
    order = np.random.RandomState(SEED).permutation(len(inputs.logits))
    found = inception_score(inputs.logits[order], None, SPLITS)
    return {"is": found.value, "is std": found.std}


def _memorization(inputs: Inputs) -> dict[str, float]:
    found = memorization(inputs.real, inputs.held_out, inputs.fake)
    return {"memorization": found.share, "mean distance": float(np.mean(found.distance))}


def make_ours(network: FeatureNetwork) -> Side:
    """genjax's side.

    Args:
      network: with logits.

    Returns:
      Its features and scores.
    """

    def features(images: Pixels) -> Extracted:
        starts = range(0, len(images), BATCH)
        found = extract(network, (images[start : start + BATCH] for start in starts), BATCH)
        assert found.logits is not None
        return found.features, found.logits

    scores: dict[str, Score] = {
        "fid": _fid,
        "kid": _kid,
        "is": _inception,
        "prdc": lambda inputs: prdc(inputs.real, inputs.fake, NEIGHBOURS)._asdict(),
        "memorization": _memorization,
        "ms_ssim": lambda inputs: {
            "ms_ssim": float(np.mean(ms_ssim(inputs.first, inputs.second).values))
        },
    }
    return Side(features, scores)


def first_calls(side: Side, sets: Sets) -> tuple[dict[str, float], Inputs, dict[str, float]]:
    """Calls every stage once.

    Args:
      side: which one.
      sets: the images.

    Returns:
      Seconds of each stage, the inputs of its scores, and their values.
    """
    seconds = {}
    seconds["features"], (real, fake) = timed(partial(side.both_features, sets))
    held_out = side.extract(sets.held_out)[0]
    pairs = sets.fake[sets.first], sets.fake[sets.second]
    inputs = Inputs(real[0], fake[0], held_out, fake[1], *pairs)
    values = {}
    for stage, score in side.scores.items():
        seconds[stage], found = timed(partial(score, inputs))
        values.update(found)
    return seconds, inputs, values


def require_equal_features(ours: Inputs, peer: Inputs) -> float:
    """Refuses networks that differ.

    Args:
      ours: of our network.
      peer: of the peer's.

    Returns:
      The largest difference of features or logits, relative to the largest value.
    """
    pairs = [(getattr(ours, name), getattr(peer, name)) for name in ("real", "fake", "logits")]
    largest = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)
    if not largest < FEATURE_TOLERANCE:
        sys.exit(f"the two networks differ: their features by {largest:.1e} of the largest")
    return largest


def measure(
    sides: Sequence[Side], sets: Sets, inputs: Sequence[Inputs], repeats: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Times later calls, by turns.

    Args:
      sides: ours and the peer's.
      sets: the images.
      inputs: of each side's scores.
      repeats: pairs of calls.

    Returns:
      From stage to the seconds of both sides.
    """
    stages: dict[str, tuple[list[float], list[float]]] = {
        name: ([], []) for name in ("features", *sides[0].scores)
    }
    for repeat in range(repeats):
        for name, seconds in stages.items():
            for place in turns(len(sides), repeat):
                side = sides[place]
                if name == "features":
                    took, _ = timed(partial(side.both_features, sets))
                else:
                    took, _ = timed(partial(side.scores[name], inputs[place]))
                seconds[place].append(took)
    return stages


def differences(ours: dict[str, float], peer: dict[str, float]) -> dict[str, float]:
    """Relative differences of values that both sides have."""
    return {
        name: abs(value - peer[name]) / max(abs(value), abs(peer[name]), 1e-300)
        for name, value in ours.items()
    }


def print_tables(stages: dict[str, Stage], ours: dict[str, float], peer: dict[str, float]) -> None:
    """Prints seconds and values as Markdown tables."""
    print("| stage | first call, s | genjax, s | PyTorch, s | times faster | min to max |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, stage in stages.items():
        seconds = " | ".join(f"{statistics.median(x):.3f}" for x in (stage.ours, stage.peer))
        print(f"| {name} | {stage.first:.2f} | {seconds} | {summary(stage.ratios, 2)} |")
    print("\n| score | genjax | PyTorch | relative difference |")
    print("| --- | --- | --- | --- |")
    for name, difference in differences(ours, peer).items():
        print(f"| {name} | {ours[name]:.7g} | {peer[name]:.7g} | {difference:.1e} |")


def main(
    images: int = 10_000,
    repeats: int = 3,
    data: str = "mnist",
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Time features and scores, ours and by PyTorch's packages, and print Markdown tables.

    Args:
      images: In each set.
      repeats: Pairs of calls of each stage, after the first.
      data: Data set with a classifier (`genjax evaluate --train-features NAME`).
      json_file: File to write, with one line a stage.
    """
    if repeats < 1:
        raise UserError(f"repeats is {repeats}; it must be at least 1")
    network = load_classifier(load(DataConfig(data)))
    machine = describe_machine(PACKAGES)
    sets = make_sets(data, images)
    count, side = sets.real.shape[:2]
    extractor = Extractor(ResNet(network.variables, side), sets.real)
    sides = make_ours(network), Side(extractor, make_scores(count_scales(*sets.real.shape[1:3])))

    first, our_inputs, our_values = first_calls(sides[0], sets)
    _, peer_inputs, peer_values = first_calls(sides[1], sets)
    apart = require_equal_features(our_inputs, peer_inputs)
    stages = measure(sides, sets, (our_inputs, peer_inputs), repeats)
    timings = {name: Stage(first[name], *seconds) for name, seconds in stages.items()}
    ours, peer = (
        [sum(turn) for turn in zip(*(getattr(x, who) for x in timings.values()), strict=True)]
        for who in ("ours", "peer")
    )
    timings["total"] = Stage(sum(first.values()), ours, peer)

    print_machine(machine)
    print(
        f"jax on {machine['jax_device']}; torch {extractor.layout}, threads: {extractor.threads}, "
        f"which is its fastest; batch {BATCH}, {repeats} repeats"
    )
    print(
        f"{count:,} generated against {count:,} real images of {data}, {network.name} "
        f"{network.hash}; features and logits differ by {apart:.0e} of the largest\n"
    )
    print_tables(timings, our_values, peer_values)
    if json_file is not None:
        common = {
            **machine,
            "data": data,
            "features": f"{network.name} {network.hash}",
            "images": count,
            "torch_layout": extractor.layout,
            "torch_threads": extractor.threads,
        }
        records = [
            {
                "stage": name,
                "first_s": stage.first,
                "genjax_s": stage.ours,
                "pytorch_s": stage.peer,
                "ratio": statistics.median(stage.ratios),
                "ratio_min": min(stage.ratios),
                "ratio_max": max(stage.ratios),
                **common,
            }
            for name, stage in timings.items()
        ]
        values = [
            {"score": name, "genjax": value, "pytorch": peer_values[name], **common}
            for name, value in our_values.items()
        ]
        json_file.write_text("".join(json.dumps(x) + "\n" for x in records + values))
    wrong = [
        name
        for name, difference in differences(our_values, peer_values).items()
        if not difference < VALUE_TOLERANCE
    ]
    if wrong:
        sys.exit(f"the two sides disagree on: {', '.join(wrong)}")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
