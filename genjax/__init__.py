"""Generative models in JAX: ``genjax.load("runs/a").sample(16, label=3)``.

The five names come from `genjax.api`, which is imported, and JAX with it, when one is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genjax.api import evaluate, load, preset, sample, train

__all__ = ["evaluate", "load", "preset", "sample", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'genjax' has no attribute {name!r}")
    from genjax import api

    return getattr(api, name)
