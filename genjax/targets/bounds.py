"""What a chip's published figures allow a step to take at best."""

from collections.abc import Sequence
from typing import NamedTuple

from genjax.targets.chips import Chip


class Bounds(NamedTuple):
    """Seconds of a step on each device.

    Attributes:
      compute: of the formula's FLOPs at the chip's peak.
      memory: of the bytes that kernels read and write at its bandwidth.
      interconnect: of the collectives at its links' bandwidth; latencies don't count.
      cycles: of the cycles that the compiler estimates; None where it does not.
    """

    compute: float
    memory: float
    interconnect: float
    cycles: float | None

    @property
    def name(self) -> str:
        """Of the largest of the three bounds."""
        return max(("compute", "memory", "interconnect"), key=lambda name: getattr(self, name))

    @property
    def busy(self) -> float:
        """Seconds that a device works: by the compiler's cycles, else by the roofline."""
        return max(self.compute, self.memory) if self.cycles is None else self.cycles

    @property
    def step(self) -> tuple[float, float]:
        """Seconds of a step: all of the communication hidden behind work, and none of it."""
        return max(self.busy, self.interconnect), self.busy + self.interconnect


def sent_bytes(kind: str, size: float, devices: int) -> float:
    """Bytes that a device sends in a collective, by the usual ring algorithms.

    Args:
      kind: of the collective.
      size: bytes of its result on one device.
      devices: that take part.

    Returns:
      Bytes.

    Reference: Patarasuk & Yuan 2009, section 2.
    """
    others = (devices - 1) / devices
    factors = {
        "all-reduce": 2 * others,
        "all-gather": others,
        "all-to-all": others,
        # The result is one device's part.
        "reduce-scatter": devices - 1,
        "collective-permute": 1,
    }
    return factors[kind] * size


def bounds_of(
    chip: Chip,
    peak: float,
    flops: float,
    moved: float,
    collectives: Sequence[tuple[str, int]],
    devices: int,
    cycles: int | None,
) -> Bounds:
    """Divides work by what a chip can do.

    Args:
      chip: its published figures.
      peak: FLOP/s of the computation's type and precision.
      flops: of one device.
      moved: bytes that its kernels read and write.
      collectives: kind and bytes of each.
      devices: that take part in them.
      cycles: of one device, by the compiler; None where it has none.

    Returns:
      The bounds.
    """
    sent = sum(sent_bytes(kind, size, devices) for kind, size in collectives)
    timed = cycles is not None and chip.clock is not None
    return Bounds(
        flops / peak,
        moved / chip.bandwidth,
        sent / chip.link,
        cycles / chip.clock if timed and cycles and chip.clock else None,
    )
