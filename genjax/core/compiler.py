"""What programs are compiled for, and with which options of XLA.

``GENJAX_XLA_OPTIONS=default`` sets no options.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

from genjax.config import Precision
from genjax.errors import UserError

OPTIONS: dict[str, dict[str, str]] = {
    # YNNPACK's convolutions, the default on CPUs, are slower than Eigen's; see
    # benchmarks/convolutions.py.
    "cpu": {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"},
    # A data set of some ten megabytes would be fetched into the chip's memory before each step,
    # which needs a batch of it.
    "tpu": {"xla_max_cross_program_prefetches": "0"},
}
"""Options of XLA by platform."""

REFERENCE = "reference"
"""In place of a platform, for operations in the forms that XLA has for them."""


def read_dispatch() -> None:
    """Takes JAX's option ``jax_cpu_enable_async_dispatch`` from its variable, which JAX ignores."""
    value = os.environ.get("JAX_CPU_ENABLE_ASYNC_DISPATCH")
    if value:
        jax.config.update(
            "jax_cpu_enable_async_dispatch", value.lower() not in ("0", "false", "off", "no")
        )


read_dispatch()

# JAX traces a function again where its value has changed.
_PLATFORM = jax.make_user_context(None)


def target_platform() -> str:
    """The platform that what is traced now will run on: cpu, gpu or tpu.

    Forms of operations are chosen by it. It is that of the devices that `jit` is given, which may
    be absent, and JAX's default elsewhere.
    """
    chosen: str | None = _PLATFORM.value
    return chosen or jax.default_backend()


@functools.cache
def xla_options(device: jax.Device) -> dict[str, str]:
    """The options of XLA that genjax compiles with for a device.

    Args:
      device: one of those that will run it, perhaps absent.

    Returns:
      An entry of `OPTIONS`; empty on other platforms, where this version of XLA does not know the
      options, and with ``GENJAX_XLA_OPTIONS=default``.

    Raises:
      UserError: GENJAX_XLA_OPTIONS is neither tuned nor default.
    """
    choice = os.environ.get("GENJAX_XLA_OPTIONS", "tuned")
    if choice not in ("tuned", "default"):
        raise UserError(f"GENJAX_XLA_OPTIONS is {choice!r}; choices: default, tuned")
    options = OPTIONS.get(device.platform, {})
    if choice == "default" or not options:
        return {}
    try:
        here = jax.sharding.SingleDeviceSharding(device)
        jax.jit(lambda: 0, compiler_options=options, out_shardings=here).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return {}
    return options


def traced_for(platform: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose operations take the forms that are best on a platform."""

    @functools.wraps(function)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        with _PLATFORM(platform):
            return function(*args, **kwargs)

    return chosen


def with_precision(precision: Precision, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose matrix products and convolutions are made with a precision.

    Args:
      precision: ``default`` leaves it to JAX, which has a setting of its own.
      function: to trace; so are the gradients that it takes.

    Returns:
      The function.
    """
    if precision == "default":
        return function

    @functools.wraps(function)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        with jax.default_matmul_precision(precision):
            return function(*args, **kwargs)

    return chosen


def jit(function: Callable[..., Any], device: jax.Device | None = None, **arguments: Any) -> Any:
    """``jax.jit`` with `xla_options`, and with the forms that are best on a device.

    Args:
      function: to compile.
      device: one of those that it will run on, perhaps absent; None for JAX's default.
      arguments: of ``jax.jit``.

    Returns:
      The compiled function.
    """
    device = device or jax.local_devices()[0]
    options = xla_options(device) or None
    return jax.jit(traced_for(device.platform, function), compiler_options=options, **arguments)
