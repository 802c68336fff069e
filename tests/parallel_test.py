"""One step body in three modes: the same numbers, traced once, with the old state donated."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import stand_in

from genjax.config import DCGAN, SGD, Goodfellow
from genjax.core.parallel import choose_mode, compile_step, mapped_axis, step_once
from genjax.core.rng import example_index
from genjax.data.order import batch_indices
from genjax.data.schema import image_schema
from genjax.errors import UserError
from genjax.families.registry import make_algorithm
from genjax.targets.runs import count_collectives

PLACES = [(mode, count) for mode in ("mesh", "pmap") for count in (1, 2, 4, 8)]


def run(experiment, mode, count, raw_batch, steps=5):
    algorithm = make_algorithm(experiment, image_schema((8, 8, 1), 10), mapped_axis(mode))
    compiled = compile_step(algorithm, mode, jax.devices()[:count])
    state = compiled.init(jax.random.key(0))
    for step in range(steps):
        batch = raw_batch(step, algorithm.examples)
        state, metrics = step_once(compiled, state, batch)
    return jax.device_get((state.generator, state.discriminator, state.aux, metrics))


SMALL = DCGAN(width=8)
PLAIN = dataclasses.replace(SMALL, norm="none")
# Steps so small that training does not enlarge the differences in rounding.
SLOW = SGD(learning_rate=1e-3)
# Two updates of D compile for twice as long, and one test of them is enough.
AXES = {
    "batch norm": {},
    "dropout": {
        "discriminator_updates": 2,
        "generator": Goodfellow(width=8),
        "discriminator": Goodfellow(width=8),
    },
    "whole-batch techniques": {
        "generator_optimizer": SLOW,
        "discriminator_optimizer": SLOW,
        "loss": "relativistic_average",
        "generator_conditioning": "cbn",
        "discriminator_conditioning": "projection",
        "minibatch": "discrimination",
        "augmentations": ("color", "translation", "cutout"),
        "top_k": 0.5,
        "top_k_decay": 0.5,
        "historical_averaging": 0.1,
    },
    "penalties": {
        "loss": "hinge",
        "generator": dataclasses.replace(SMALL, spectral_norm=True),
        "generator_conditioning": "concat",
        "discriminator": dataclasses.replace(PLAIN, spectral_norm=True),
        "discriminator_conditioning": "acgan",
        "minibatch": "stddev",
        "penalties": {
            "r1": (0.1, 1),
            "r2": (0.1, 2),
            "wgan_gp": (0.1, 1),
            "dragan": (0.1, 1),
            "lecam": (0.1, 1),
            "bcr": (0.1, 2),
        },
        "ada": {"geom": 1.0, "brightness": 1.0, "filter": 1.0},
        "ada_p": 0.5,
        "ada_target": 0.5,
        "ada_speed": 200,
        "ada_interval": 2,
    },
    "codes": {
        "generator": dataclasses.replace(SMALL, norm="virtual"),
        "generator_conditioning": "concat",
        "discriminator_conditioning": "infogan",
        "feature_matching": True,
        "ema_ramp": 0.05,
    },
}


@pytest.mark.parametrize(
    "axes",
    [pytest.param(name, marks=() if name == "batch norm" else pytest.mark.full) for name in AXES],
)
def test_modes_agree(small_experiment, raw_batch, axes):
    """With plain SGD: Adam would hide a gradient that is n times too large."""
    defaults = {"generator": SMALL, "discriminator": SMALL}
    model = dataclasses.replace(small_experiment.model, **{**defaults, **AXES[axes]})
    data = dataclasses.replace(small_experiment.data, flip=True)
    experiment = dataclasses.replace(small_experiment, model=model, data=data)
    reference = run(experiment, "jit", 1, raw_batch)
    for mode, count in [("mesh", 8), ("pmap", 8)]:
        other = run(experiment, mode, count, raw_batch)
        for a, b in zip(jax.tree.leaves(reference), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * max(1, np.abs(a).max()))


def checksums():
    """An algorithm that learns nothing but which image arrived at which place of the batch."""

    def step(state, batch, axis_name=None):
        image = batch["image"].astype(jnp.float32)
        place = example_index(image.shape[0], axis_name).astype(jnp.float32)
        total = jnp.sum(image.mean(axis=(1, 2, 3)) * (1 + place))
        return state + 1, {"sum": total if axis_name is None else jax.lax.psum(total, axis_name)}

    return stand_in(step)


def test_every_device_count_sees_the_same_data_in_the_same_order():
    images = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 1), dtype=np.uint8)

    def sums(mode, count, first=0):
        algorithm = checksums()
        if axis_name := mapped_axis(mode):
            body = algorithm.step
            algorithm = algorithm._replace(step=lambda s, b: body(s, b, axis_name))
        compiled = compile_step(algorithm, mode, jax.devices()[:count])
        state, result = compiled.init(jax.random.key(0)), []
        for step in range(first, 9):
            batch = {"image": images[batch_indices(step, 16, 100, seed=7)]}
            state, metrics = step_once(compiled, state, batch)
            result.append(float(metrics["sum"]))
        return result

    reference = sums("jit", 1)
    assert len(set(reference)) == 9
    for mode, count in PLACES:
        np.testing.assert_allclose(sums(mode, count), reference, rtol=1e-6)
    # Taken up again after four steps.
    assert sums("jit", 1, first=4) == reference[4:]


@pytest.mark.parametrize(("mode", "count"), [("jit", 1), ("mesh", 8), ("pmap", 8)])
def test_traced_once_and_donated(dense_experiment, raw_batch, mode, count):
    algorithm = make_algorithm(dense_experiment, image_schema((8, 8, 1), 10), mapped_axis(mode))
    traces = []

    def counted(state, batch):
        traces.append(1)
        return algorithm.step(state, batch)

    compiled = compile_step(algorithm._replace(step=counted), mode, jax.devices()[:count])
    state = compiled.init(jax.random.key(0))
    for step in range(4):
        old = state
        state, _ = step_once(compiled, old, raw_batch(step, 16))
        if step > 0:
            arrays = jax.tree.leaves((old.generator, old.discriminator))
            assert all(array.is_deleted() for array in arrays)
    assert len(traces) == 1


@pytest.mark.parametrize("mode", ["mesh", "pmap"])
def test_a_batch_that_cannot_be_split_is_refused(dense_experiment, mode):
    experiment = dataclasses.replace(dense_experiment, batch_size=12)
    algorithm = make_algorithm(experiment, image_schema((8, 8, 1), 10), mapped_axis(mode))
    with pytest.raises(UserError, match="12 examples a step can't be split over 8 devices"):
        compile_step(algorithm, mode, jax.devices())


def test_auto_mode():
    assert choose_mode("auto", jax.devices()[:1]) == "jit"
    assert choose_mode("auto", jax.devices()) == "mesh"
    assert choose_mode("pmap", jax.devices()) == "pmap"


def test_a_mesh_splits_the_work_of_both_players(small_experiment):
    """Every gradient is added up over the devices, so each device has computed its share only."""
    algorithm = make_algorithm(small_experiment, image_schema((8, 8, 1), 10))
    compiled = compile_step(algorithm, "mesh", jax.devices())
    state = compiled.init(jax.random.key(0))
    batch = compiled.place({"image": np.zeros((1, 16, 8, 8, 1), np.uint8)})
    text = compiled.step.lower(state, None, batch).compile().as_text()
    reduced = count_collectives(text)["all-reduce"].size
    params = [
        leaf.nbytes
        for player in (state.generator, state.discriminator)
        for leaf in jax.tree.leaves(player.params)
    ]
    # What is replicated needs no sum, and the images themselves would be more than this.
    assert sum(params) <= reduced < 3 * sum(params)
