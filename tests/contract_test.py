"""What every preset must do in every mode: build, step twice, sample."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.data.standard import STANDARD
from genjax.families import make_algorithm, players
from genjax.parallel import compile_step, mapped_axis
from genjax.presets import PRESETS


def image_shape(name: str) -> tuple[int, int, int]:
    return (8, 8, 1) if name == "digits" else STANDARD[name].shape


@pytest.mark.parametrize("mode", ["jit", "mesh", "pmap"])
@pytest.mark.parametrize("name", PRESETS)
def test_preset(name, mode, raw_batch):
    experiment = dataclasses.replace(PRESETS[name], batch_size=8)
    image = image_shape(experiment.data.name)
    algorithm = make_algorithm(experiment, image, axis_name=mapped_axis(mode))
    devices = jax.devices()[:1] if mode == "jit" else jax.devices()[:4]
    compiled = compile_step(algorithm, mode, devices)
    state = compiled.init(jax.random.key(experiment.seed))
    before = jax.device_get(players(state))
    for step in range(2):
        batch = raw_batch(step, algorithm.examples, image)
        state, metrics = compiled.step(state, compiled.place(batch))
    assert int(state.step) == 2
    assert all(np.isfinite(value) for value in metrics.values())
    assert all("/" in name and value.shape == () for name, value in metrics.items())
    after = jax.device_get(players(state))
    for player, old in before.items():
        moved = jax.tree.map(
            lambda a, b: not np.array_equal(a, b), old.params, after[player].params
        )
        assert all(jax.tree.leaves(moved)), f"some of {player} did not learn: {moved}"
    images = jax.jit(algorithm.sample)(state, jax.random.key(1), jnp.arange(3))
    assert images.shape == (3, *image)
    assert images.dtype == jnp.float32
    assert float(jnp.abs(images).max()) <= 1
    assert len({image.tobytes() for image in np.asarray(images)}) == 3
