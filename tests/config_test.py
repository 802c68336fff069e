"""Configurations survive JSON, are checked field by field, and have a stable identity."""

import dataclasses
import json

import pytest

from genjax.config import Experiment, OptimizerConfig
from genjax.config.json import config_hash, from_json, to_dict
from genjax.errors import UserError
from genjax.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip(name):
    experiment = PRESETS[name]
    again = from_json(json.dumps(to_dict(experiment)))
    assert again == experiment
    assert config_hash(again) == config_hash(experiment)


def test_every_field_changes_the_hash():
    base = preset("dcgan-digits")
    changed = [
        dataclasses.replace(base, seed=1),
        dataclasses.replace(base, data=dataclasses.replace(base.data, flip=True)),
        dataclasses.replace(base, model=dataclasses.replace(base.model, ema_decay=0.5)),
    ]
    assert len({config_hash(experiment) for experiment in [base, *changed]}) == 4


def edited(**changes):
    value = to_dict(preset("dcgan-digits"))
    for path, new in changes.items():
        *parents, last = path.split("__")
        place = value
        for parent in parents:
            place = place[parent]
        if new is None:
            del place[last]
        else:
            place[last] = new
    return json.dumps(value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "many"}, "steps is 'many'; it must be of type int"),
        ({"steps": True}, "steps is True; it must be of type int"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"stepz": 3}, "no field 'stepz'; did you mean 'steps'"),
        ({"seed": None}, "lacks the field 'seed'"),
        ({"mode": "jot"}, "mode is 'jot'; did you mean 'jit'"),
        ({"model__latent": 2.5}, "model: latent is 2.5; it must be of type int"),
        ({"model__ema_decay": 1.0}, r"ema_decay is 1.0; it must be in \[0, 1\)"),
        ({"data": 3}, "data is 3; it must be an object"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        from_json(edited(**changes))


def test_text_that_is_not_json():
    with pytest.raises(UserError, match=r"run/config\.json is not valid JSON"):
        from_json("{", "run/config.json")


def test_whole_numbers_are_numbers():
    experiment = from_json(edited(model__generator_optimizer__learning_rate=1))
    assert isinstance(experiment, Experiment)
    assert experiment.model.generator_optimizer.learning_rate == 1.0


def test_impossible_values_cannot_be_constructed():
    with pytest.raises(UserError, match="learning_rate is -1; it must be above 0"):
        OptimizerConfig(learning_rate=-1)


def test_an_unknown_preset_lists_the_choices():
    with pytest.raises(UserError, match=r"did you mean 'dcgan-mnist'.*gan-mnist"):
        preset("dcgan-mnits")


def test_presets_follow_the_papers():
    for name in ("dcgan-digits", "dcgan-mnist", "dcgan-fashion", "dcgan-cifar10"):
        model = PRESETS[name].model
        for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
            assert optimizer == OptimizerConfig("adam", learning_rate=2e-4, b1=0.5, b2=0.999)
        assert model.generator.norm == model.discriminator.norm == "batch"
    tutorial = PRESETS["dcgan-tutorial"]
    assert (tutorial.seed, tutorial.model.latent) == (42, 100)
    assert tutorial.model.generator_optimizer == OptimizerConfig("adam", 1e-4, b1=0.9)
    assert tutorial.model.loss == "non_saturating"
