"""Any configuration builds and steps, or is refused in one line that names a field.

A configuration is drawn by changing some fields of one that works. Fields are found by their types,
and parts of which there are several kinds are exchanged, so that a new one is drawn as well.
"""

import dataclasses
import json
import types
import typing
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genjax.config import (
    DCGAN,
    MLP,
    SGD,
    DataConfig,
    Experiment,
    GANConfig,
    VAEConfig,
    VAEGANConfig,
)
from genjax.config.fields import choices_of
from genjax.config.formats import hashed
from genjax.config.json import config_hash, from_json, from_plain, to_dict
from genjax.config.tags import Tagged, is_base
from genjax.config.yaml import parse_yaml, to_yaml
from genjax.data.schema import image_schema
from genjax.errors import UserError
from genjax.families.registry import make_algorithm

IMAGE, CLASSES = (8, 8, 1), 10
NETWORK = MLP(width=4, norm="none")
OPTIMIZER = SGD(learning_rate=1e-3)
GAN = GANConfig(
    generator=NETWORK,
    discriminator=NETWORK,
    generator_optimizer=OPTIMIZER,
    discriminator_optimizer=OPTIMIZER,
    latent=3,
)
VAE_GAN = VAEGANConfig(
    encoder=NETWORK,
    generator=NETWORK,
    discriminator=NETWORK,
    encoder_optimizer=OPTIMIZER,
    generator_optimizer=OPTIMIZER,
    discriminator_optimizer=OPTIMIZER,
    latent=3,
)
VAE = VAEConfig(encoder=NETWORK, decoder=NETWORK, optimizer=OPTIMIZER, latent=3)
CONVOLUTIONS = DCGAN(width=4, norm="none")
MODELS = (
    GAN,
    dataclasses.replace(GAN, generator=CONVOLUTIONS, discriminator=CONVOLUTIONS),
    VAE,
    VAE_GAN,
)

WHOLE = {"wild": [-1, 0, 1, 2, 3, 8, 10**6, 10**12, 10**30], "sane": [1, 2, 3, 4]}
REAL = {
    "wild": [-1.0, 0.0, 1e-30, 1e-3, 0.5, 1.0, 2.0, 1e30, np.inf, -np.inf, np.nan],
    "sane": [0.0, 1e-3, 0.3, 0.9],
}


class Change(NamedTuple):
    """A new value of one field."""

    field: str
    value: Any


def fields(config: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Of each leaf of a configuration, and each part of which there are kinds: by its path, the
    field of its dataclass and its type."""
    kinds = typing.get_type_hints(type(config))
    found: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), f"{prefix}{field.name}"
        if isinstance(value, Tagged) and prefix:
            found[path] = field, kinds[field.name]
        if dataclasses.is_dataclass(value):
            found |= fields(value, f"{path}.")
        elif not (isinstance(config, Tagged) and field.name == config.tag):
            found[path] = field, kinds[field.name]
    # Files that are run are not drawn.
    return {path: leaf for path, leaf in found.items() if path != "plugins"}


def values(field: Any, kind: Any, range_: str) -> st.SearchStrategy[Any]:
    """Draws a value of a type."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if is_base(kind):
        return st.sampled_from([alternative(kind) for kind in kind.registry.values()])
    if origin is Literal:
        return st.sampled_from(options)
    if origin is types.UnionType:
        return st.one_of(*(values(field, option, range_) for option in options))
    if kind is type(None):
        return st.none()
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.sampled_from(WHOLE[range_])
    if kind is float:
        return st.sampled_from(REAL[range_])
    if kind is str:
        wrong = ["", "nonsense", "../x", "a\nb"] if range_ == "wild" else []
        return st.sampled_from([*(choices_of(field) or ["digits"]), *wrong])
    if origin is tuple:
        items = values(field, options[0], range_)
        return st.lists(items, max_size=2).map(tuple)
    words = values(field, str, range_)
    if kind == dict[str, float]:
        return st.dictionaries(words, values(field, float, range_), max_size=2)
    assert kind == dict[str, tuple[float, int]], f"how is {field.name}, {kind}, drawn?"
    pairs = st.tuples(values(field, float, range_), values(field, int, range_))
    return st.dictionaries(words, pairs, max_size=2)


def alternative(kind: type[Any]) -> Any:
    """A part of a kind, as small as it can be."""
    own = {field.name: field for field in dataclasses.fields(kind)}
    required = {"length": 4}
    small = {name: value for name, value in required.items() if name in own}
    return kind(**small, **({"width": 4} if "width" in own else {}))


def changes(range_: str) -> st.SearchStrategy[tuple[Any, list[Change]]]:
    """Draws a model, and some changes of an experiment that has it."""

    def of(model: Any) -> st.SearchStrategy[tuple[Any, list[Change]]]:
        leaves = fields(experiment(model))
        one = st.sampled_from(sorted(leaves)).flatmap(
            lambda path: values(*leaves[path], range_).map(lambda value: Change(path, value))
        )
        return st.tuples(st.just(model), st.lists(one, min_size=1, max_size=4))

    return st.sampled_from(MODELS).flatmap(of)


def experiment(model: Any) -> Experiment:
    return Experiment("drawn", DataConfig(), model, batch_size=4)


def changed(config: Any, change: Change) -> Any:
    name, _, rest = change.field.partition(".")
    # An earlier change may have put another kind of part there.
    if not hasattr(config, name):
        return config
    value = changed(getattr(config, name), Change(rest, change.value)) if rest else change.value
    return dataclasses.replace(config, **{name: value})


def build(model: Any, drawn: list[Change]) -> Any:
    """The algorithm of what was drawn, traced; None where it was refused as it should be."""
    refused = None
    try:
        config = experiment(model)
        for change in drawn:
            config = changed(config, change)
        algorithm = make_algorithm(config, image_schema(IMAGE, CLASSES))
        state = jax.eval_shape(algorithm.init, jax.random.key(0))
        batch = {
            "image": jax.ShapeDtypeStruct((algorithm.examples, *IMAGE), jnp.uint8),
            "label": jax.ShapeDtypeStruct((algorithm.examples,), jnp.int32),
        }
        after, _ = jax.eval_shape(algorithm.step, state, batch)
    except UserError as error:
        refused = str(error)
    if refused is not None:
        assert refused.isprintable(), refused
        assert any(is_named(change, refused) for change in drawn), (refused, drawn)
        return None
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (state, after)]
    assert shapes[0] == shapes[1]
    return algorithm


def is_named(change: Change, message: str) -> bool:
    """Whether a message names a field, or the entry of a registry that it asks for."""
    owner, _, name = change.field.rpartition(".")
    # The word "name" alone names no field.
    if (f"{owner}.name" if name == "name" else name) in message.replace("-", "_"):
        return True
    if isinstance(change.value, Tagged):
        return change.value.name in message
    several = change.value if isinstance(change.value, dict | tuple) else (change.value,)
    return message.startswith("unknown ") and any(repr(word) in message for word in several)


def examples(few, many):
    """A test with few examples, and one with many in the full set."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.full)])


@examples(40, 200)
def test_it_builds_or_names_the_field(count):
    built = []

    @settings(max_examples=count)
    @given(changes("wild"))
    def check(drawn):
        built.append(build(*drawn) is not None)

    check()
    # Either way is taken often enough to show something.
    assert count / 6 < sum(built) < len(built) - count / 6


@examples(4, 20)
def test_what_builds_makes_a_finite_step(count):
    built = []

    @settings(max_examples=count)
    @given(changes("sane"))
    def check(drawn):
        algorithm = build(*drawn)
        if algorithm is not None:
            built.append(algorithm)
            step_is_finite(algorithm)

    check()
    assert len(built) >= count / 2


def step_is_finite(algorithm):
    noise = np.random.default_rng(0)
    batch = {
        "image": noise.integers(0, 256, (algorithm.examples, *IMAGE), dtype=np.uint8),
        "label": noise.integers(0, CLASSES, algorithm.examples, dtype=np.int32),
    }
    state = jax.jit(algorithm.init)(jax.random.key(0))
    state, metrics = jax.jit(algorithm.step)(state, batch)
    for name, value in metrics.items():
        assert np.isfinite(value), name
    for path, leaf in jax.tree_util.tree_leaves_with_path(dataclasses.replace(state, key=0)):
        assert np.all(np.isfinite(leaf)), path


@examples(60, 600)
def test_what_is_valid_survives_json_yaml_and_format_2(count):
    checked = []

    @settings(max_examples=count)
    @given(changes("sane"))
    def check(drawn):
        model, drawn = drawn
        config = experiment(model)
        try:
            for change in drawn:
                config = changed(config, change)
        except UserError:
            return
        again = from_json(json.dumps(to_dict(config)))
        assert again == config
        assert config_hash(again) == config_hash(config)
        assert from_plain(parse_yaml(to_yaml(to_dict(config)), "it"), "it") == config
        # What is hashed is a file of format 2 where that could say it.
        plain = hashed(config)
        if not LATER & names(plain):
            data = dataclasses.replace(config.data, directory=None)
            expected = dataclasses.replace(config, wandb=False, data=data)
            assert from_json(json.dumps(plain)) == expected
            checked.append(config)

    check()
    assert len(checked) > count / 4


LATER = {"schedule", "clip", "weight_decay", "accumulate", "target", "given", "length", "rank"}


def names(plain):
    """Of all fields of nested dicts."""
    inner = [names(value) for value in plain.values() if isinstance(value, dict)]
    return set(plain).union(*inner)
