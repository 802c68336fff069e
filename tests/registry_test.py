"""Which data a model takes, and which fields of them."""

import dataclasses

import pytest

from genjax.config import DataConfig
from genjax.data.schema import audio_schema, image_schema, point_schema, token_schema
from genjax.errors import UserError
from genjax.families.registry import make_algorithm
from genjax.presets import PRESETS, preset

DIGITS = image_schema((8, 8, 1), 10)
FITTING = {
    "gan": "gan-mnist",
    "vae": "vae-digits",
    "vae_gan": "vae-gan-mnist",
    "diffusion": "diffusion-digits",
    "mean_flow": "meanflow-digits",
    "consistency": "consistency-digits",
}


def with_data(name, **changes):
    base = preset(name)
    return dataclasses.replace(base, data=dataclasses.replace(DataConfig("mine"), **changes))


@pytest.mark.parametrize("family", FITTING)
def test_tokens_are_no_real_values(family):
    experiment = with_data(FITTING[family])
    assert experiment.model.family == family
    tokens = token_schema(16, 65, {"tokenizer": "byte"})
    with pytest.raises(UserError, match="generates real values, but 'tokens' are numbers below 65"):
        make_algorithm(experiment, tokens)


def test_every_family_is_tried():
    families = {experiment.model.family for experiment in PRESETS.values()}
    assert families == {*FITTING, "autoregressive", "contrastive"}


@pytest.mark.parametrize("schema", [DIGITS, point_schema("gaussians-8", 8), audio_schema(64, 8000)])
def test_a_text_model_takes_tokens_alone(schema):
    with pytest.raises(UserError, match="generates tokens, but"):
        make_algorithm(with_data("gpt-shakespeare"), schema)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("dcgan-digits", {"target": "picture"}, "unknown field of mine 'picture'"),
        ("dcgan-digits", {"target": ""}, "unknown field of mine ''; choices: image, label"),
        ("dcgan-digits", {"given": ("caption",)}, "unknown field of mine 'caption'"),
        ("dcgan-digits", {"given": ("image",)}, "'image', which is generated"),
        ("dcgan-digits", {"given": ("label",)}, "'label', from which this model generates nothing"),
        ("vae-digits", {"given": ("label",)}, "'label', from which this model generates nothing"),
        ("cgan-digits", {"given": ()}, "needs class labels, and the data have none, or data.given"),
        ("cgan-digits", {"target": "label"}, "data.given has|has shape"),
    ],
)
def test_fields_that_do_not_fit_are_named(name, changes, message):
    with pytest.raises(UserError, match=message):
        make_algorithm(with_data(name, **changes), DIGITS)


def test_fields_that_fit():
    for name, changes, given in (
        ("dcgan-digits", {}, ()),
        ("dcgan-digits", {"given": ()}, ()),
        ("cgan-digits", {"given": ("label",), "target": "image"}, ("label",)),
        ("infogan-mnist", {"given": ("label",)}, ("label",)),
    ):
        assert make_algorithm(with_data(name, **changes), DIGITS).spec.given == given
