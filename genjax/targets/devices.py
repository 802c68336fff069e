"""Devices that need not be there, by what ``--target`` says."""

import contextlib
import importlib.util
import math
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from genjax.errors import UserError, lookup, reason
from genjax.run.startup import ABSENT_TPU
from genjax.targets.chips import CHIPS, Chip, Gpu, Platform

MOST = 256
"""Chips of a target."""
_CPU = "cpu"
_SLICES = (1, 4, 8, 16, 32, 64, 128, 256)
# What Google calls them, and the cores of a chip that it counts.
_KINDS = {
    "tpu-v4": ("v4", 2),
    "tpu-v5e": ("v5litepod", 1),
    "tpu-v5p": ("v5p", 2),
    "tpu-v6e": ("v6e", 1),
}
_FORM = re.compile(r"(?P<name>[\w-]+)(:(?P<shape>\d+(x\d+)*))?")


class Target(NamedTuple):
    """What to compile for.

    Attributes:
      name: entry of `CHIPS`, or cpu.
      shape: chips along each axis of a TPU slice; of other devices, their number.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def chip(self) -> Chip | None:
        """Its published figures; None for the CPU."""
        return CHIPS.get(self.name)

    @property
    def platform(self) -> Platform:
        """Of XLA."""
        return "cpu" if self.chip is None else self.chip.platform

    @property
    def devices(self) -> int:
        """Devices."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.name}:{'x'.join(map(str, self.shape))}"


def parse_target(text: str) -> Target:
    """Reads a target.

    Args:
      text: such as ``tpu-v5e:2x2``, ``tpu-v4:2x2x1``, ``h100:4`` or ``cpu``; without a shape, one
        device. A number of TPU chips stands for the usual slice of so many.

    Returns:
      The target.

    Raises:
      UserError: it is none; the message lists the choices.

    Example:
      >>> [str(parse_target(x)) for x in ("h100", "tpu-v5e:2x2", "tpu-v5e:16", "cpu:4")]
      ['h100:1', 'tpu-v5e:2x2', 'tpu-v5e:4x4', 'cpu:4']
    """
    found = _FORM.fullmatch(text)
    known = {**CHIPS, _CPU: None}
    if found is None:
        raise UserError(
            f"--target is {text!r}; it is a name and a shape, such as tpu-v5e:2x2 or h100:4"
        )
    name = found["name"]
    lookup(known, name, "target")
    sides = tuple(int(side) for side in (found["shape"] or "1").split("x"))
    if not 1 <= math.prod(sides) <= MOST:
        raise UserError(f"--target {text} has {math.prod(sides):,} devices; choices: 1 to {MOST}")
    if not name.startswith("tpu"):
        if len(sides) > 1:
            raise UserError(f"--target {text}: {name} takes a number of devices, such as {name}:4")
        return Target(name, sides)
    if len(sides) == 1:
        sides = slice_of(name, sides[0]).shape
    if len(sides) != _axes(name):
        form = "2x2x1" if _axes(name) == 3 else "2x2"
        raise UserError(
            f"--target {text}: slices of {name} have {_axes(name)} axes, such as {name}:{form}"
        )
    return Target(name, sides)


def _axes(name: str) -> int:
    return 3 if name in ("tpu-v4", "tpu-v5p") else 2


def slice_of(name: str, chips: int) -> Target:
    """The usual slice of so many chips.

    Args:
      name: entry of `CHIPS`, or cpu.
      chips: their number.

    Returns:
      The target.

    Raises:
      UserError: TPUs don't come in this number.
    """
    if not name.startswith("tpu"):
        return Target(name, (chips,))
    if chips not in _SLICES:
        raise UserError(f"{name} has no slice of {chips}; choices: {', '.join(map(str, _SLICES))}")
    power = chips.bit_length() - 1
    axes = _axes(name)
    # As near to a square or a cube as powers of two allow, the longest axis last; slices of one
    # board of four are flat.
    sides = [2 ** ((power + axis) // axes) for axis in range(axes)]
    return Target(name, (2, 2, 1) if chips == 4 and axes == 3 else tuple(sides))


def prepare_process(target: Target) -> None:
    """Lets this process compile for devices that it does not have; before JAX looks for devices.

    Args:
      target: what will be compiled for.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    # Neither a TPU nor a GPU is touched, so that a run on it goes on undisturbed.
    os.environ["JAX_PLATFORMS"] = _CPU
    jax.config.update("jax_platforms", _CPU)
    os.environ.update({**ABSENT_TPU, "CUDA_VISIBLE_DEVICES": "-1"})
    # Programs of devices that are absent can be kept, but not read again; those of the CPU can, and
    # would seem to compile in no time.
    jax.config.update("jax_enable_compilation_cache", False)
    # Otherwise a process that has compiled anything goes on with its cache.
    compilation_cache.reset_cache()
    if target.platform == "tpu":
        name, cores = _KINDS[target.name]
        # It ends the process at a flag that it does not know, such as a GPU's or a CPU's; its own
        # are in LIBTPU_INIT_ARGS.
        os.environ.pop("XLA_FLAGS", None)
        os.environ["TPU_ACCELERATOR_TYPE"] = f"{name}-{cores * target.devices}"
    config: Any = jax.config
    if target.platform == _CPU and target.devices > config.jax_num_cpu_devices:
        # Too late where JAX has counted its devices, which `devices_of` checks.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", target.devices)


def devices_of(target: Target) -> Sequence[Any]:
    """Describes the devices of a target to XLA.

    Args:
      target: from `parse_target`; the process is prepared for it.

    Returns:
      The devices, on which nothing can run unless they are the CPU's.

    Raises:
      UserError: what compiles for them is not installed, or there is no such slice.
    """
    import jax
    from jax.experimental import topologies

    if target.platform == _CPU:
        found = jax.devices()
        if len(found) < target.devices:
            raise UserError(
                f"--target {target}: this process has {len(found)} CPU devices; unset "
                "JAX_NUM_CPU_DEVICES"
            )
        return found[: target.devices]
    try:
        if target.platform == "tpu":
            _require(("libtpu",), "genjax-models[targets]")
            options: dict[str, Any] = {}
            if target.name == "tpu-v4":
                options["chip_config_name"] = "megacore"
            if target.devices == 1:
                # A host is taken to have four chips unless it is said.
                options["chips_per_host_bounds"] = (1, 1, 1)
            described = topologies.get_topology_desc(
                platform="tpu", topology_name=_topology_name(target), **options
            )
        else:
            _require(("jax_cuda12_plugin", "jax_cuda13_plugin"), "jax[cuda12]")
            assert target.chip is not None
            assert target.chip.gpu is not None
            described = topologies.get_topology_desc(
                platform="cuda",
                topology=f"1x1x{target.devices}",
                target_config=_describe_gpu(target.chip, target.chip.gpu),
            )
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--target {target} can't be compiled for: {reason(error)}") from None
    return list(described.devices)


def _topology_name(target: Target) -> str:
    return f"{target.name.removeprefix('tpu-')}:{'x'.join(map(str, target.shape))}"


def _require(modules: Sequence[str], package: str) -> None:
    """Refuses to go on without one of some modules."""
    if not any(importlib.util.find_spec(module) for module in modules):
        command = f"{sys.executable} -m pip install '{package}'"
        raise UserError(f"{modules[0]} is not installed, which compiles for it; `{command}`")


def _describe_gpu(chip: Chip, gpu: Gpu) -> str:
    """The text of XLA's GpuTargetConfigProto."""
    major, minor = gpu.capability
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {gpu.shared}
  threads_per_core_limit: 2048
  core_count: {gpu.cores}
  fpus_per_core: {64 if major == 8 else 128}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {int(chip.bandwidth)}
  l2_cache_size: {gpu.cache}
  clock_rate_ghz: {gpu.clock}
  device_memory_size: {chip.memory}
  shared_memory_per_block_optin: {gpu.shared_optin}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 }}
runtime_version {{ major: 12 minor: 9 patch: 0 }}
device_description_str: "{gpu.description}"
"""
