"""The options of XLA that genjax compiles with; ``GENJAX_XLA_OPTIONS=default`` sets none."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

from genjax.errors import UserError

OPTIONS: dict[str, dict[str, str]] = {
    # YNNPACK's convolutions, the default on CPUs, are slower than Eigen's; see
    # benchmarks/convolutions.py.
    "cpu": {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"},
}
"""Options of XLA by platform."""


@functools.cache
def xla_options() -> dict[str, str]:
    """The options of XLA that genjax compiles with on the default platform.

    Returns:
      An entry of `OPTIONS`; empty on other platforms, where this version of XLA does not know the
      options, and with ``GENJAX_XLA_OPTIONS=default``.

    Raises:
      UserError: GENJAX_XLA_OPTIONS is neither tuned nor default.
    """
    choice = os.environ.get("GENJAX_XLA_OPTIONS", "tuned")
    if choice not in ("tuned", "default"):
        raise UserError(f"GENJAX_XLA_OPTIONS is {choice!r}; choices: default, tuned")
    options = OPTIONS.get(jax.default_backend(), {})
    if choice == "default" or not options:
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return {}
    return options


def jit(function: Callable[..., Any], **arguments: Any) -> Any:
    """``jax.jit`` with `xla_options`; the same arguments, and the same result."""
    return jax.jit(function, compiler_options=xla_options() or None, **arguments)
