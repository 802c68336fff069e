"""Draws depend on the seed, the stream, the step and the example, and on nothing else."""

import jax
import jax.numpy as jnp
import numpy as np

from genjax.rng import example_index, latents, stream

KEY = jax.random.key(3)


def test_streams_and_counters_differ():
    keys = [
        stream(KEY, "a"),
        stream(KEY, "b"),
        stream(KEY, "a", 0),
        stream(KEY, "a", 1),
        stream(KEY, "a", 1, 0),
        stream(jax.random.key(4), "a"),
    ]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == len(keys)


def test_a_latent_depends_on_its_own_example_only():
    whole = latents(KEY, jnp.arange(10), 5)
    part = latents(KEY, jnp.array([7, 2]), 5)
    np.testing.assert_array_equal(part, whole[jnp.array([7, 2])])


def test_latents_are_standard_normal():
    z = np.asarray(latents(KEY, jnp.arange(4000), 16))
    assert abs(z.mean()) < 0.02
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.eye(16), atol=0.1)


def test_mapped_devices_hold_consecutive_examples():
    index = jax.pmap(lambda _: example_index(3, "data"), axis_name="data")(np.zeros(4))
    np.testing.assert_array_equal(index.ravel(), example_index(12, None))
