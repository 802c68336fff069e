"""Paths of diffusion models, and small models whose output layer is not 0 any more."""

import dataclasses

import jax
import numpy as np

from genjax.config import CosinePath, Straight, VarianceExploding, VariancePreserving
from genjax.families.diffusion.paths import PATHS

CONFIGS = {
    "ve": VarianceExploding(),
    "vp": VariancePreserving(),
    "cosine": CosinePath(),
    "flow": Straight(),
}


def course_of(name):
    return PATHS[type(CONFIGS[name])](CONFIGS[name])


def moved(algorithm, key):
    """The algorithm, compiled, and a state of which all parameters are moved at random."""
    state = jax.jit(algorithm.init)(key)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + rng.normal(0, 0.3, x.shape).astype(np.float32), state.network.params
    )
    state = dataclasses.replace(state, network=dataclasses.replace(state.network, params=params))
    functions = {name: jax.jit(getattr(algorithm, name)) for name in ("step", "sample", "evaluate")}
    return algorithm._replace(**functions), state
