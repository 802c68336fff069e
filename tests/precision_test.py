"""The precision of matrix products: of every program of a run, forward and backward."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

from genjax.config import MLP, DataConfig, Experiment, VAEConfig
from genjax.config.json import config_hash, from_json, to_dict
from genjax.core.compiler import jit, traced_for
from genjax.data.schema import image_schema
from genjax.families.registry import make_algorithm
from genjax.run.program import compile_runs

SCHEMA = image_schema((8, 8, 1), 10)
KEY = jax.random.key(0)
WORDS = [("default", "DEFAULT"), ("high", "HIGH"), ("highest", "HIGHEST")]
QUICK = {("high", "cpu"), ("highest", "tpu")}


def products(lowered):
    """The precisions of the matrix products and of the convolutions of a program, and their number.

    In StableHLO, what is at its default may say nothing.
    """
    found, count = {}, 0
    for line in lowered.as_text().splitlines():
        for kind in ("dot_general", "convolution"):
            if f"stablehlo.{kind}" in line:
                words = re.findall(r"\b(HIGHEST|HIGH|DEFAULT)\b", line) or ["DEFAULT"]
                found.setdefault(kind, set()).update(words)
                count += 1
    return found, count


def shapes(*axes):
    """A batch of images and labels, of which only the shapes count."""
    return {
        "image": jax.ShapeDtypeStruct((*axes, 8, 8, 1), np.uint8),
        "label": jax.ShapeDtypeStruct(axes, np.int32),
    }


@pytest.fixture
def experiment(small_experiment):
    """With a gradient of a gradient."""
    model = small_experiment.model
    critic = dataclasses.replace(model.discriminator, norm="none")
    model = dataclasses.replace(model, discriminator=critic, penalties={"r1": (1.0, 1)})
    return dataclasses.replace(small_experiment, model=model)


@pytest.mark.parametrize(
    ("precision", "word", "platform"),
    [
        pytest.param(
            *case, platform, marks=() if (case[0], platform) in QUICK else pytest.mark.full
        )
        for case in WORDS
        for platform in ("cpu", "tpu")
    ],
)
def test_steps_and_samples(experiment, precision, word, platform):
    """In the forms of each platform."""
    algorithm = make_algorithm(dataclasses.replace(experiment, precision=precision), SCHEMA)
    state = jax.eval_shape(algorithm.init, KEY)
    found, count = products(jax.jit(traced_for(platform, algorithm.step)).lower(state, shapes(16)))
    assert found == {"dot_general": {word}, "convolution": {word}}
    assert count > 30
    for update in algorithm.updates.values():
        found, _ = products(jax.jit(traced_for(platform, update)).lower(state, shapes(16)))
        assert found == {"dot_general": {word}, "convolution": {word}}
    index = jax.ShapeDtypeStruct((4,), np.int32)
    given = dict.fromkeys(algorithm.spec.given, index)
    found, _ = products(
        jax.jit(traced_for(platform, algorithm.sample)).lower(state, KEY, index, given)
    )
    assert found["dot_general"] == {word}


@pytest.mark.parametrize("grouping", ["single", "pmap", "mesh", "vmap", "scan"])
def test_every_way_to_compile_a_run(dense_experiment, grouping):
    """And several runs, whatever the precision that this process has otherwise."""
    alone = grouping not in ("vmap", "scan")
    mode = grouping if grouping in ("pmap", "mesh") else "jit"
    own = dataclasses.replace(dense_experiment, precision="high", mode=mode)
    runs = [own] if alone else [dataclasses.replace(own, seed=seed) for seed in (0, 1)]
    devices = jax.devices()[: 2 if alone else 1]
    with jax.default_matmul_precision("highest"):
        program = compile_runs(runs, SCHEMA, "single" if alone else grouping, devices)
        states = program.join([program.init(KEY)] * len(runs))
        axes = {"pmap": (2, 2, 8), "vmap": (2, 2, 16), "scan": (2, 2, 16)}.get(grouping, (2, 16))
        lowered = program.step.lower(states, None, shapes(*axes))
    assert products(lowered)[0] == {"dot_general": {"HIGH"}}


def test_what_is_measured_of_held_out_data():
    network = MLP(width=8, depth=1, norm="none")
    model = VAEConfig(encoder=network, decoder=network)
    experiment = Experiment("vae", DataConfig(), model, precision="highest")
    algorithm = make_algorithm(experiment, SCHEMA)
    state = jax.eval_shape(algorithm.init, KEY)
    for function in (algorithm.evaluate, algorithm.show):
        found, _ = products(jit(function).lower(state, shapes(16), KEY))
        assert found == {"dot_general": {"HIGHEST"}}


def test_on_cpus_the_numbers_are_the_same_bits(small_experiment, raw_batch):
    results = []
    for precision, _ in WORDS[::2]:
        algorithm = make_algorithm(
            dataclasses.replace(small_experiment, precision=precision), SCHEMA
        )
        state = jit(algorithm.init)(KEY)
        state, metrics = jit(algorithm.step)(state, raw_batch(0, 16))
        results.append((dataclasses.replace(state, key=jax.random.key_data(state.key)), metrics))
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_files_of_before_have_the_default(small_experiment):
    plain = to_dict(small_experiment)
    del plain["precision"]
    before = from_json(json.dumps({**plain, "format": 4}))
    assert before == small_experiment
    other = dataclasses.replace(small_experiment, precision="high")
    assert config_hash(other) != config_hash(before)
