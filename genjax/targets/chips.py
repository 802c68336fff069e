"""Published figures of accelerators, by the names that ``--target`` takes.

FLOP/s are of dense products. What one device sends to others is half of what its maker calls
bidirectional.

Sources, read on 2026-11-28: docs.cloud.google.com/tpu/docs/v4, /v5e, /v5p and /v6e (peak compute,
HBM, inter-chip interconnect), and Jouppi et al. 2023, table 1, for TPU v4; NVIDIA's data sheets of
the A100 80GB SXM, the H100 SXM and the H200 SXM.
"""

from typing import Literal, NamedTuple

Platform = Literal["cpu", "gpu", "tpu"]


class Gpu(NamedTuple):
    """What XLA must know of a GPU to compile for it.

    Attributes:
      description: the name by which XLA knows it.
      capability: compute capability, major and minor.
      cores: streaming multiprocessors.
      shared: bytes of shared memory of each.
      shared_optin: bytes of it that one block can ask for.
      cache: bytes of the L2 cache.
      clock: GHz.
    """

    description: str
    capability: tuple[int, int]
    cores: int
    shared: int
    shared_optin: int
    cache: int
    clock: float


class Chip(NamedTuple):
    """An accelerator.

    Attributes:
      platform: of XLA.
      flops: FLOP/s of bfloat16, and of float32 at each of JAX's precisions: on TPUs one, three and
        six passes in bfloat16, on GPUs TF32 and, at the highest, no tensor cores.
      bandwidth: bytes/s of its memory.
      memory: bytes of it.
      link: bytes/s that it sends to other chips.
      clock: cycles/s of a TPU's core: its peak over what its matrix units do in a cycle. It turns
        the cycles that XLA estimates into time.
      source: of the figures.
      gpu: what XLA must know of a GPU.
    """

    platform: Platform
    flops: dict[str, float]
    bandwidth: float
    memory: int
    link: float
    clock: float | None
    source: str
    gpu: Gpu | None = None

    def peak(self, dtype: str, precision: str) -> float:
        """FLOP/s of a computation in bfloat16 or float32, at a precision of JAX's."""
        return self.flops["bfloat16" if dtype == "bfloat16" else precision]


def _tpu(
    teraflops: float,
    memory: int,
    bandwidth: float,
    both_ways: float,
    units: int,
    side: int,
    page: str,
) -> Chip:
    peak = 1e12 * teraflops
    # A unit makes side * side multiply-adds a cycle.
    clock = peak / (2 * units * side**2)
    return Chip(
        "tpu",
        {"bfloat16": peak, "default": peak, "high": peak / 3, "highest": peak / 6},
        1e9 * bandwidth,
        memory * 2**30,
        0.5e9 * both_ways,
        clock,
        f"docs.cloud.google.com/tpu/docs/{page}",
    )


def _gpu_flops(bfloat16: float, tf32: float, float32: float) -> dict[str, float]:
    names = ("bfloat16", "default", "high", "highest")
    return dict(zip(names, (bfloat16, tf32, tf32, float32), strict=True))


_HOPPER = _gpu_flops(989.4e12, 494.7e12, 66.9e12)

CHIPS: dict[str, Chip] = {
    # Two cores, that XLA uses as one.
    "tpu-v4": _tpu(275, 32, 1228, 600, units=8, side=128, page="v4"),
    "tpu-v5e": _tpu(197, 16, 819, 400, units=4, side=128, page="v5e"),
    "tpu-v5p": _tpu(459, 95, 2765, 1200, units=8, side=128, page="v5p"),
    "tpu-v6e": _tpu(918, 32, 1640, 800, units=4, side=256, page="v6e"),
    "a100": Chip(
        "gpu",
        _gpu_flops(312e12, 156e12, 19.5e12),
        2039e9,
        80 * 10**9,
        300e9,
        None,
        "NVIDIA, A100 80GB SXM data sheet",
        Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 108, 167936, 166912, 40 * 2**20, 1.41),
    ),
    "h100": Chip(
        "gpu",
        _HOPPER,
        3350e9,
        80 * 10**9,
        450e9,
        None,
        "NVIDIA, H100 SXM data sheet",
        Gpu("NVIDIA H100 80GB HBM3", (9, 0), 132, 233472, 232448, 50 * 2**20, 1.98),
    ),
    "h200": Chip(
        "gpu",
        _HOPPER,
        4800e9,
        141 * 10**9,
        450e9,
        None,
        "NVIDIA, H200 SXM data sheet",
        Gpu("NVIDIA H200", (9, 0), 132, 233472, 232448, 50 * 2**20, 1.98),
    ),
}
"""By name. The CPU has no entry: what one can do is measured, by `benchmarks.adversarial_step`."""
