"""Times the compiled training step of presets on random images, without data or logging."""

import platform
import statistics
import time
from collections.abc import Sequence

import jax
import numpy as np
import tyro

from genjax.config import Mode
from genjax.data.standard import image_and_classes
from genjax.families import make_algorithm
from genjax.parallel import choose_mode, compile_step, mapped_axis
from genjax.presets import PRESETS, preset


def measure(name: str, mode: Mode, repeats: int) -> tuple[int, float, list[float]]:
    """Times one preset.

    Args:
      name: of the preset.
      mode: how the step is compiled.
      repeats: steps to time, after one that compiles.

    Returns:
      Images of real data in a step, seconds to the end of the first step, and seconds of each
      later step.
    """
    experiment = preset(name)
    image, classes = image_and_classes(experiment.data.name)
    mode = choose_mode(mode, jax.devices())
    algorithm = make_algorithm(experiment, image, classes, mapped_axis(mode))
    compiled = compile_step(algorithm, mode, jax.devices())
    generator = np.random.default_rng(0)
    shape = (algorithm.examples, *image)
    noise = generator.integers(0, 256, shape, dtype=np.uint8)
    labels = generator.integers(0, max(classes, 1), algorithm.examples, dtype=np.int32)
    batch = compiled.place({"image": noise, "label": labels})
    state = compiled.init(jax.random.key(0))
    jax.block_until_ready(state)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        state, metrics = compiled.step(state, batch)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - start)
    return algorithm.examples, seconds[0], seconds[1:]


def main(
    presets: tyro.conf.Positional[Sequence[str]] = tuple(PRESETS),
    mode: Mode = "auto",
    repeats: int = 20,
) -> None:
    """Time the training step of presets and print a Markdown table.

    Args:
      presets: Names of presets; all of them by default.
      mode: How the step is compiled.
      repeats: Steps to time after the first.
    """
    device = jax.devices()[0]
    print(
        f"{jax.device_count()} x {device.device_kind}, {platform.platform()}, jax {jax.__version__}"
    )
    print(
        f"{time.strftime('%Y-%m-%d')}, mode {choose_mode(mode, jax.devices())}, {repeats} steps\n"
    )
    print("| preset | batch | ms/step | min to max | images/s | first step, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in presets:
        images, first, seconds = measure(name, mode, repeats)
        median = statistics.median(seconds)
        spread = f"{1e3 * min(seconds):.0f} to {1e3 * max(seconds):.0f}"
        print(
            f"| {name} | {images} | {1e3 * median:.0f} | {spread} | {images / median:,.0f} "
            f"| {first:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    tyro.cli(main)
