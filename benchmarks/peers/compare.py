"""Times the adversarial step beside the same one in PyTorch, from the same weights.

`python -m benchmarks.peers.compare PRESET ...` from the root of the repository; it needs the extra
genjax-models[parity].

Before anything is timed, G's images, D's logits and the gradients of both losses must be equal on
both sides, in both layouts of the peer, in float32 without TF32. The first step of every mode gets
the z that genjax draws in its own, and must end with the same losses, unless images are flipped at
random. Then all sides run by turns: in a turn two steps without a clock, so that caches and threads
are as when a side runs alone, and five with it, each waiting for its result; the batch is on the
device. PyTorch runs in a process of its own, so that neither finds the other's threads spinning or
its memory in pieces. The first step is reported apart, with compilation and, for a CUDA graph, with
the steps before its capture. `benchmarks.peers.torch_step` tells what the peer does.
"""

import dataclasses
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import torch
import tyro

from benchmarks.machine import append_records, describe_machine, print_machine
from benchmarks.peers.checks import Start, differences, draws, our_values, peer_values
from benchmarks.peers.torch_step import Step, available_modes, configure, require_supported
from benchmarks.peers.torch_weights import mirror
from benchmarks.timing import alternate, ratios, spread, summary, timed
from genjax.config import ComputeDtype, Experiment, GANConfig
from genjax.core.parallel import compile_step
from genjax.core.schema import Schema
from genjax.data.schema import resized
from genjax.data.sources import known_schema
from genjax.errors import UserError, lookup
from genjax.families.registry import make_algorithm
from genjax.presets import preset
from genjax.run.startup import keep_memory

PACKAGES = ("genjax", "jax", "jaxlib", "flax", "optax", "numpy", "torch", "triton")
TOLERANCE = {"cpu": 1e-4, "cuda": 1e-3}
"""Of images, logits and gradients; GPUs may convolve through transforms, which round more."""
CHECKED = 8
TRIES = 4
LOSS_TOLERANCE = 1e-3
REDUCED_TOLERANCE = 5e-2
"""Of the first step's losses in bfloat16 or TF32."""
SETTLE, STEPS = 2, 5
OURS = "genjax"


class Setting(NamedTuple):
    """What is compared.

    Attributes:
      experiment: whose step it is.
      schema: of the data.
      device: where PyTorch runs.
    """

    experiment: Experiment
    schema: Schema
    device: torch.device

    @property
    def image(self) -> tuple[int, ...]:
        """(height, width, channels)."""
        return self.schema.fields["image"].shape

    @property
    def config(self) -> GANConfig:
        """Of the GAN."""
        assert isinstance(self.experiment.model, GANConfig)
        return self.experiment.model


class Side(NamedTuple):
    """One competitor, after its first step.

    Attributes:
      name: for example ``pytorch eager``.
      mode: how its step is run.
      first: seconds of its first step, with compilation.
      losses: of D and of G in that step.
      turn: runs some steps, and returns the seconds of one of the later ones.
    """

    name: str
    mode: str
    first: float
    losses: tuple[float, float]
    turn: Callable[[], float]


def take_turn(step: Callable[[], Any]) -> float:
    """Runs a step a few times; returns the mean seconds of the later calls."""
    for _ in range(SETTLE):
        step()
    return timed(lambda: [step() for _ in range(STEPS)])[0] / STEPS


def choose_device() -> torch.device:
    """The kind of device that JAX runs on, for PyTorch.

    Raises:
      UserError: PyTorch can't use it.
    """
    backend = jax.default_backend()
    if backend == "cpu":
        return torch.device("cpu")
    if backend == "gpu" and torch.cuda.is_available():
        return torch.device("cuda")
    raise UserError(f"JAX runs on {backend} and PyTorch can't; set JAX_PLATFORMS=cpu")


def make_setting(
    name: str, batch: int | None, resolution: int | None, dtype: ComputeDtype, device: torch.device
) -> Setting:
    """Builds what the arguments describe.

    Args:
      name: of the preset.
      batch: examples in an update; None keeps the preset's.
      resolution: side of the images; None keeps the data set's.
      dtype: of the computation.
      device: where PyTorch runs.

    Returns:
      The setting.

    Raises:
      UserError: unknown preset, or a model that the peer is not written for.
    """
    base = preset(name)
    require_supported(base.model)
    experiment = dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, dtype=dtype),
        batch_size=batch or base.batch_size,
    )
    return Setting(experiment, resized(known_schema(base.data.name), resolution), device)


def require_equal(setting: Setting, start: Start) -> float:
    """Refuses sides that compute something else.

    Each layout must agree with genjax on one of a few small batches. On the others, a unit so close
    to 0 that rounding decides its ReLU's slope may change a gradient by more than the tolerance; a
    real difference shows on all of them.

    Args:
      setting: what is compared.
      start: the weights.

    Returns:
      The largest relative difference.
    """
    config = dataclasses.replace(setting.config, dtype="float32")
    configure(precise=True)
    generator = np.random.default_rng(1)
    left, largest = ["eager", "eager channels_last"], 0.0
    wrong: dict[str, dict[str, float]] = {}
    for _ in range(TRIES):
        real = generator.integers(0, 256, (CHECKED, *setting.image), dtype=np.uint8)
        z = generator.normal(size=(CHECKED, config.latent)).astype(np.float32)
        ours = our_values(config, start, real, z)
        for mode in tuple(left):
            step = start.step(config, False, mode, setting.device)
            wrong[mode] = differences(ours, peer_values(step, real, z), step)
            apart = max(wrong[mode].values())
            if apart < TOLERANCE[setting.device.type]:
                left.remove(mode)
                largest = max(largest, apart)
        if not left:
            break
    for mode in left:
        found = ", ".join(f"{name} by {apart:.1e}" for name, apart in wrong[mode].items())
        sys.exit(f"the sides differ ({mode}): {found} of the largest value")
    configure(precise=False)
    return largest


def make_ours(setting: Setting, images: np.ndarray, labels: np.ndarray) -> tuple[Start, Any, Any]:
    """Compiles our step, without running it.

    Args:
      setting: what is compared.
      images: uint8 [k * batch, height, width, channels].
      labels: int32 [k * batch].

    Returns:
      What both sides start from, the key of the state, and one step: it returns the metrics.
    """
    algorithm = make_algorithm(setting.experiment, setting.schema)
    compiled = compile_step(algorithm, "jit", jax.devices())
    batches = compiled.place({"image": images[None], "label": labels[None]})
    states = [compiled.init(jax.random.key(0))]
    start, key = Start.of(states[0], setting.image), jax.random.key(0)

    def call() -> Any:
        state, metrics = compiled.step(states.pop(), None, batches)
        states.append(jax.block_until_ready(state))
        return jax.block_until_ready(metrics)

    return start, key, call


def first_of_peer(
    step: Step, images: np.ndarray, zs: Sequence[np.ndarray]
) -> tuple[float, tuple[float, float], Callable[[], Any]]:
    """Runs the peer's first step, on z that are given.

    Args:
      step: it has not run.
      images: uint8 [k * batch, height, width, channels].
      zs: float32 [batch, latent], one an update.

    Returns:
      Its seconds, its losses, and one more step.
    """
    batch = step.place(mirror(images))
    noise = [torch.tensor(z, device=step.device) for z in zs]

    def first() -> tuple[float, float]:
        d_loss, g_loss = step.run(batch, iter(noise).__next__)
        found = float(d_loss), float(g_loss)
        step.prepare(batch)
        step.synchronize()
        return found

    seconds, losses = timed(first)
    return seconds, losses, partial(step, batch)


def serve(
    connection: Connection,
    setting: Setting,
    start: Start,
    images: np.ndarray,
    zs: Sequence[np.ndarray],
) -> None:
    """Runs PyTorch's steps for another process, which sends the names of modes.

    Args:
      connection: answers a mode's first request with the seconds and the losses of its first step,
        or in words why there is none, and later ones with the seconds of a step; None ends it.
      setting: what is compared.
      start: the weights.
      images: uint8 [k * batch, height, width, channels].
      zs: float32 [batch, latent], one an update.
    """
    keep_memory()
    configure(precise=False)
    steps: dict[str, Callable[[], Any]] = {}
    flip = setting.experiment.data.flip
    while (mode := connection.recv()) is not None:
        if mode in steps:
            connection.send(take_turn(steps[mode]))
        else:
            try:
                step = start.step(setting.config, flip, mode, setting.device)
                *first, steps[mode] = first_of_peer(step, images, zs)
            # Compilers fail in many ways, and other modes may run.
            except Exception as error:
                connection.send(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            else:
                connection.send(first)


def require_equal_losses(setting: Setting, sides: Sequence[Side]) -> None:
    """Refuses sides whose first step ends with other losses than the first side's."""
    config = setting.config
    if setting.experiment.data.flip:
        return
    exact = config.dtype == "float32" and setting.device.type == "cpu"
    tolerance = LOSS_TOLERANCE if exact else REDUCED_TOLERANCE
    ours, *peers = sides
    for side in peers:
        if not np.allclose(side.losses, ours.losses, rtol=tolerance, atol=tolerance):
            sys.exit(f"losses of {side.name} are {side.losses}, ours are {ours.losses}")


def compare(setting: Setting, modes: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """Checks, times and prints one preset.

    Args:
      setting: what is compared.
      modes: the peer's.
      repeats: turns of each side.

    Returns:
      A record of each side.
    """
    experiment = setting.experiment
    config, batch = setting.config, experiment.batch_size
    count = batch * config.discriminator_updates
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *setting.image), dtype=np.uint8)
    labels = generator.integers(0, max(setting.schema.classes, 1), count, dtype=np.int32)
    start, key, call = make_ours(setting, images, labels)
    zs = list(draws(config, key, batch))
    apart = require_equal(setting, start)

    first, metrics = timed(call)
    losses = tuple(float(metrics[f"{name}/loss"][0]) for name in ("discriminator", "generator"))
    sides = [Side(OURS, "jit", first, losses, partial(take_turn, call))]
    processes = multiprocessing.get_context("spawn")
    connection, other = processes.Pipe()
    peer = processes.Process(target=serve, args=(other, setting, start, images, zs), daemon=True)
    peer.start()
    # Then a peer that fails closes the connection, and waiting for it ends.
    other.close()

    def ask(mode: str) -> Any:
        connection.send(mode)
        return connection.recv()

    for mode in modes:
        if isinstance(found := ask(mode), str):
            print(f"pytorch {mode} does not run: {found}", file=sys.stderr)
        else:
            sides.append(Side(f"pytorch {mode}", mode, *found, partial(ask, mode)))
    if len(sides) == 1:
        raise UserError("PyTorch runs in none of these modes")
    require_equal_losses(setting, sides)
    seconds = alternate([side.turn for side in sides], repeats, clock=lambda turn: turn())
    connection.send(None)
    peer.join()

    shape = " x ".join(map(str, setting.image))
    print(
        f"\n{experiment.name}: {count} images of {shape} a step, {config.dtype}; images, logits "
        f"and gradients differ by {apart:.0e} of the largest\n"
    )
    print(
        "| side | first step, s | ms/step | min to max | images/s | genjax times faster | ", end=""
    )
    print("min to max |\n| --- | --- | --- | --- | --- | --- | --- |")
    records, best = [], (0.0, "", "")
    for side, took in zip(sides, seconds, strict=True):
        median = statistics.median(took)
        faster = None if side.name == OURS else ratios(seconds[0], took)
        against = "| |" if faster is None else f"{summary(faster, 2)} |"
        print(
            f"| {side.name} | {side.first:.1f} | {summary([1e3 * x for x in took], 1)} "
            f"| {count / median:,.0f} | {against}"
        )
        if faster is not None and count / median > best[0]:
            text = f"{statistics.median(faster):.2f} ({spread(faster, 2)})"
            best = count / median, side.name, text
        records.append(
            {
                "benchmark": "peers",
                "preset": experiment.name,
                "part": "step",
                "side": side.name,
                "mode": side.mode,
                "dtype": config.dtype,
                "batch": batch,
                "image": setting.image,
                "steps_per_call": 1,
                "first_s": side.first,
                "seconds": took,
                "images_per_second": count / median,
                "ratio": faster and statistics.median(faster),
                "ratio_min": faster and min(faster),
                "ratio_max": faster and max(faster),
            }
        )
    print(f"\nfastest of PyTorch: {best[1]}; genjax is {best[2]} times as fast", flush=True)
    return records


def main(
    presets: tyro.conf.Positional[tuple[str, ...]] = ("dcgan-fashion",),
    batch: int | None = None,
    resolution: int | None = None,
    modes: tuple[str, ...] = (),
    dtype: ComputeDtype = "float32",
    repeats: int = 20,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Time the adversarial step beside PyTorch's and print a Markdown table for each preset.

    Args:
      presets: Names of presets of plain GANs.
      batch: Examples in an update; the preset's by default.
      resolution: Side of the images, which are noise; the data set's by default.
      modes: How PyTorch runs, such as eager or "compile channels_last"; all by default.
      dtype: Of the computation.
      repeats: Turns of each side.
      json_file: File to append to, one line a side.
    """
    keep_memory()
    if repeats < 1:
        raise UserError(f"repeats is {repeats}; it must be at least 1")
    # Read when the device is first used: otherwise JAX takes most of a GPU's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if jax.config.jax_default_matmul_precision is not None:
        raise UserError("JAX_DEFAULT_MATMUL_PRECISION is set, and PyTorch has its own; unset it")
    device = choose_device()
    choices = available_modes(device)
    for mode in modes:
        lookup(dict.fromkeys(choices), mode, "mode")
    settings = [make_setting(name, batch, resolution, dtype, device) for name in presets]
    configure(precise=False)
    machine = describe_machine(PACKAGES) | {"torch_threads": torch.get_num_threads()}
    print_machine(machine)
    print(
        f"jax on {machine['jax_device']}; torch on {device.type}, {machine['torch_threads']} "
        f"threads; {repeats} turns of {STEPS} steps"
    )
    for setting in settings:
        records = compare(setting, modes or choices, repeats)
        append_records(json_file, records, machine)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
