"""Times the forms of convolutions and of sums over pixels, one operation at a time.

`python -m benchmarks.convolutions` from the root of the repository. A layer is a convolution of
stride 2 and a kernel of 5, or of stride 1 and a kernel of 3, as DCGAN and SNGAN have them. Its
operations are the convolution, the gradient by its input, which is a transposed convolution, and
the gradient by its kernel; each runs in XLA's own form with XLA's own options, in that form with
`genjax.core.compiler.xla_options`, and in the form that `genjax.nn.conv` chooses, by turns. GFLOP/s
count every tap on every pixel of the smaller map, those on padding too.
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro

from benchmarks.machine import append_records, describe_machine, print_machine
from benchmarks.timing import alternate
from genjax.config import Convolutions
from genjax.core.compiler import jit
from genjax.errors import UserError
from genjax.nn.channels import sum_rows
from genjax.nn.conv import conv
from genjax.run.startup import keep_memory

PACKAGES = ("genjax", "jax", "jaxlib", "numpy")


class Layer(NamedTuple):
    """A convolution.

    Attributes:
      side: of its input, in pixels.
      inputs: channels.
      outputs: channels.
      kernel: side of the kernel.
      stride: step of the window.
    """

    side: int
    inputs: int
    outputs: int
    kernel: int
    stride: int


LAYERS = (
    Layer(28, 1, 64, 5, 2),
    Layer(14, 64, 128, 5, 2),
    Layer(32, 3, 64, 5, 2),
    Layer(16, 64, 128, 5, 2),
    Layer(8, 128, 256, 5, 2),
    Layer(4, 64, 128, 5, 2),
    Layer(16, 128, 128, 3, 1),
    Layer(8, 128, 128, 3, 1),
    Layer(32, 128, 3, 3, 1),
)
ROWS = ((128 * 14 * 14, 64), (128 * 7 * 7, 128))
"""Batch times pixels, and channels, of what batch norm sums in dcgan-fashion."""


def operations(layer: Layer, batch: int, form: Convolutions) -> dict[str, Callable[[], Any]]:
    """The three operations of a layer, ready to be compiled.

    Args:
      layer: the convolution.
      batch: images.
      form: of the operations.

    Returns:
      From name to a function of (x, kernel, dy), float32
      [batch, side, side, inputs], [k, k, inputs, outputs] and [batch, side / s, side / s, outputs].
    """

    def forward(x: Any, kernel: Any, dy: Any) -> Any:
        return conv(x, kernel, layer.stride, form)

    def input_gradient(x: Any, kernel: Any, dy: Any) -> Any:
        return jax.vjp(lambda x: conv(x, kernel, layer.stride, form), x)[1](dy)[0]

    def kernel_gradient(x: Any, kernel: Any, dy: Any) -> Any:
        return jax.vjp(lambda kernel: conv(x, kernel, layer.stride, form), kernel)[1](dy)[0]

    return {
        "forward": forward,
        "gradient by input": input_gradient,
        "gradient by kernel": kernel_gradient,
    }


def make_call(function: Any, *arguments: Any) -> Callable[[], Any]:
    """Compiles a function by its first call; returns one that calls it and waits."""
    jax.block_until_ready(function(*arguments))
    return lambda: jax.block_until_ready(function(*arguments))


def time_layer(layer: Layer, batch: int, repeats: int) -> list[dict[str, Any]]:
    """Times a layer and prints its rows.

    Args:
      layer: the convolution.
      batch: images.
      repeats: calls of each form.

    Returns:
      A record of each operation.
    """
    keys = jax.random.split(jax.random.key(0), 3)
    small = layer.side // layer.stride
    shapes = (
        (batch, layer.side, layer.side, layer.inputs),
        (layer.kernel, layer.kernel, layer.inputs, layer.outputs),
        (batch, small, small, layer.outputs),
    )
    arrays = [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]
    flops = 2 * batch * (small * layer.kernel) ** 2 * layer.inputs * layer.outputs
    stock, auto = (operations(layer, batch, form) for form in ("stock", "auto"))
    records = []
    for name in stock:
        calls = [
            make_call(jax.jit(stock[name]), *arrays),
            make_call(jit(stock[name]), *arrays),
            make_call(jit(auto[name]), *arrays),
        ]
        seconds = [statistics.median(taken) for taken in alternate(calls, repeats)]
        cells = " | ".join(f"{1e3 * taken:.2f} ({flops / taken / 1e9:.0f})" for taken in seconds)
        what = f"{layer.kernel}x{layer.kernel}, {layer.side} to {small}"
        print(f"| {what} | {layer.inputs} to {layer.outputs} | {name} | {cells} |", flush=True)
        records.append(
            {
                "benchmark": "convolutions",
                **layer._asdict(),
                "batch": batch,
                "operation": name,
                "xla_s": seconds[0],
                "xla_with_options_s": seconds[1],
                "genjax_s": seconds[2],
            }
        )
    return records


def time_sums(repeats: int) -> list[dict[str, Any]]:
    """Times sums over pixels by XLA's reduction and by ours, and prints their rows."""
    records = []
    for rows, channels in ROWS:
        x = jax.random.normal(jax.random.key(0), (rows, channels))
        calls = [make_call(jit(lambda x: jnp.sum(x, axis=0)), x), make_call(jit(sum_rows), x)]
        seconds = [statistics.median(taken) for taken in alternate(calls, repeats)]
        cells = " | ".join(f"{1e3 * taken:.2f}" for taken in seconds)
        print(f"| {rows:,} x {channels} | {cells} |", flush=True)
        records.append(
            {
                "benchmark": "sums",
                "rows": rows,
                "channels": channels,
                "xla_s": seconds[0],
                "genjax_s": seconds[1],
            }
        )
    return records


def main(
    batch: int = 128,
    repeats: int = 15,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Time convolutions and sums over pixels in all their forms and print Markdown tables.

    Args:
      batch: Images.
      repeats: Calls of each form, by turns.
      json_file: File to append to, one line an operation.
    """
    keep_memory()
    if min(batch, repeats) < 1:
        raise UserError("batch and repeats must be at least 1")
    machine = describe_machine(PACKAGES)
    print_machine(machine)
    print(f"jax on {machine['jax_device']}; batch {batch}, {repeats} calls by turns, float32\n")
    print(
        "| layer | channels | operation | XLA, ms (GFLOP/s) | with options | genjax |\n"
        "| --- | --- | --- | --- | --- | --- |"
    )
    for layer in LAYERS:
        append_records(json_file, time_layer(layer, batch, repeats), machine)
    print("\n| sum over rows | XLA, ms | genjax |\n| --- | --- | --- |")
    append_records(json_file, time_sums(repeats), machine)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except UserError as error:
        sys.exit(str(error))
