"""The command line of a configuration: kinds of parts, files, plugins, and what it prints."""

import dataclasses
import hashlib
import inspect
import json
import re

import pytest
from in_process import genjax, refusal

from genjax.config import MLP, Adam, Cosine, Linear, Network
from genjax.config import plugins as plugin_files
from genjax.config.formats import FORMAT
from genjax.config.json import config_hash, from_json, to_dict
from genjax.config.yaml import parse_yaml, to_yaml
from genjax.errors import UserError
from genjax.families.gan.losses import LOSSES
from genjax.nn.networks import DECODERS
from genjax.presets import PRESETS, preset


def configured(*arguments):
    """The experiment that a command line describes."""
    outcome = genjax("config", *arguments, "--format", "json")
    assert outcome.status == 0, outcome
    return from_json(outcome.out)


def flags_of(text, prefix):
    return {flag for flag in re.findall(r"--([\w.-]+) ", text) if flag.startswith(prefix)}


def test_help_shows_the_fields_of_the_kinds_that_are_asked_for():
    command = ("train", "--model.generator.name", "mlp", "--model.generator_optimizer.name=sgd")
    text = genjax(*command, "--help").out
    common = {"name", "spectral-norm", "remat"}
    assert flags_of(text, "model.generator.") == {
        f"model.generator.{name}" for name in (*common, "width", "depth", "norm")
    }
    assert flags_of(text, "model.discriminator.") == {
        f"model.discriminator.{name}" for name in (*common, "convolutions", "width", "norm")
    }
    assert "--model.generator-optimizer.momentum" in text
    assert "--model.generator-optimizer.b1" not in text
    assert "--model.generator-optimizer.schedule.warmup" in text
    assert "--model.generator-optimizer.schedule.length" not in text
    # Choices come from the registries.
    words = " ".join(text.replace("│", " ").split())
    for registry in (Network.registry, LOSSES):
        assert all(re.search(rf"\b{name}\b", words) for name in registry)
    assert "--plugins" not in text
    assert "--model.family" not in text
    # Above its flags, what a part is.
    assert inspect.getdoc(MLP) in words


def test_kinds_keep_what_they_share_with_the_preset():
    changed = configured("sngan-fashion", "--model.generator.name", "mlp", "--seed", "3")
    base = preset("sngan-fashion")
    model = dataclasses.replace(base.model, generator=MLP(width=256, norm="batch"))
    assert changed == dataclasses.replace(base, model=model, seed=3)
    falling = configured("sngan-fashion", "--model.generator-optimizer.schedule.name", "cosine")
    assert falling.model.generator_optimizer.schedule == Cosine(length=20_000)


def test_kinds_within_kinds_in_any_order():
    flags = [
        ("--model.generator-optimizer.schedule.length", "50"),
        ("--model.generator-optimizer.schedule.name", "linear"),
        ("--model.generator-optimizer.b1", "0.25"),
        ("--model.generator-optimizer.name", "adam"),
    ]
    expected = Adam(learning_rate=2e-4, b1=0.25, schedule=Linear(length=50))
    for order in (flags, flags[::-1]):
        changed = configured(*[word for flag in order for word in flag])
        assert changed.model.generator_optimizer == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model.generator.name", "sgnan"], ["'sgnan'", "did you mean 'sngan'", "dcgan, dcgan"]),
        (["--model.generator.name=3"], ["--model.generator.name is '3'", "choices: biggan"]),
        (["--model.generator_optimizer.name", "adan"], ["'adan'", "did you mean 'adam'"]),
        (["--model.generator-optimizer.schedule.name", "cosin"], ["did you mean 'cosine'"]),
        (["--model.generator-optimizer.schedule.name", "linear"], ["schedule.length", "required"]),
        (["--model.generator.depth", "3"], ["--model.generator.depth"]),
        (["--model.family", "vae"], ["--model.family"]),
        (["--model.generator.name"], ["--model.generator.name"]),
        (["--plugins", "x.py"], ["--plugin"]),
        (["--plugin", "nowhere.py"], ["nowhere.py is no file"]),
        (["--config", "nowhere.yaml"], ["cannot read nowhere.yaml"]),
        (["--config", "taken.txt"], ["taken.txt is no .json, .yaml, .yml file"]),
        (["--config"], ["--config"]),
        (["--steps", "3", "vae-digits"], ["vae-digits must be the only one, before all flags"]),
        (["dcgan-digits", "vae-digits"], ["vae-digits must be the only one, before all flags"]),
        (["--steps=3", "vae-digits"], ["vae-digits must be the only one, before all flags"]),
        (["nonsense"], ["unknown preset 'nonsense'"]),
    ],
)
@pytest.mark.parametrize("command", ["config", "train"])
def test_mistakes_get_one_line(command, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refusal(command, *arguments)
    for word in words:
        assert word in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("name", PRESETS)
def test_what_is_printed_reads_back(name, form, tmp_path):
    """Also over another preset, because it is complete."""
    file = tmp_path / f"it.{form}"
    # As some editors save it.
    mark = "\ufeff" if name == "dcgan-digits" else ""
    file.write_text(mark + genjax("config", name, "--format", form).out, encoding="utf-8")
    again = configured("--config", file)
    assert again == PRESETS[name]
    assert config_hash(again) == config_hash(PRESETS[name])


def test_flags_go_before_a_file_and_a_file_before_the_preset(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        """
        steps: 7
        data: {flip: true}
        model:
          generator: {name: mlp, depth: 5}
          generator_optimizer: {learning_rate: 1e-3, schedule: {name: linear, length: 9}}
          penalties: {lecam: [0.1, 1]}
        """
    )
    changed = configured("dcgan-mnist", "--config", file, "--steps", "8", "--batch-size", "32")
    base = preset("dcgan-mnist")
    model = dataclasses.replace(
        base.model,
        generator=MLP(width=64, depth=5),
        generator_optimizer=Adam(learning_rate=1e-3, schedule=Linear(length=9)),
        penalties={"lecam": (0.1, 1)},
    )
    data = dataclasses.replace(base.data, flip=True)
    assert changed == dataclasses.replace(base, steps=8, batch_size=32, data=data, model=model)
    named = configured("--config", file, "--model.generator.name", "sngan")
    assert named.model.generator.name == "sngan"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 3", "it.yaml has no field 'stepz'; did you mean 'steps'"),
        ("model: {generator: {name: mlp, dpth: 3}}", "no field 'dpth'; did you mean 'depth'"),
        ("model: {generator: {depth: 3}}", "generator has no field 'depth'"),
        ("model: {generator: {name: mpl}}", "'mpl'; did you mean 'mlp'"),
        ("model: {generator: mlp}", "generator is 'mlp'; it must be an object"),
        ("model: {generator_optimizer: {schedule: {name: linear}}}", "lacks the field 'length'"),
        ("steps: many", "steps is 'many'; it must be of type int"),
        ("steps: 2026-01-01", "it must be of type int"),
        ("[1, 2]", "is [1, 2]; it must be an object"),
        ("", "is None; it must be an object"),
        ("steps: [", "is not valid YAML"),
        ("steps: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("name: &a [*a]", "it must be of type str"),
        ('name: "\\ud800"', "name is"),
        (f"format: {FORMAT + 1}", f"this genjax reads up to {FORMAT}"),
        ("format: 3", "lacks the field 'name'; a file that says its format has all fields"),
        ("steps: 3\nseed: 1\nsteps: 4", "is not valid YAML: 'steps' is there twice"),
        ("model: {generator: {name: mlp, name: sngan}}", "'name' is there twice"),
        ("model: {family: VAE}", "did you mean 'vae'"),
        ("plugins: [/nowhere.py]", "the plugin /nowhere.py is gone"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text, message, tmp_path):
    file = tmp_path / "it.yaml"
    file.write_text(text)
    assert message in refusal("config", "--config", file)


def test_what_is_there_twice_in_json_is_named(tmp_path):
    file = tmp_path / "it.json"
    file.write_text('{"steps": 3, "data": {"name": "a", "name": "b"}}')
    assert "it.json is not valid JSON: 'name' is there twice" in refusal("config", "--config", file)


def test_what_yaml_merges_is_not_there_twice(tmp_path):
    file = tmp_path / "it.yaml"
    file.write_text(
        """
        model:
          discriminator: &small {name: mlp, width: 8, norm: none}
          generator: {<<: *small, width: 4}
        """
    )
    model = configured("--config", file).model
    assert (model.generator.width, model.discriminator.width) == (4, 8)
    assert model.generator.norm == "none"


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [("--name", "\udcff", "name is '\\udcff'"), ("--monitor.lines", 10**20, "lines is 1000")],
)
def test_what_could_not_be_read_back_is_refused(flag, value, said, tmp_path):
    """A run with such a configuration could never be opened."""
    for command in (("config",), ("train", "--out", tmp_path / "run")):
        assert f"the configuration: {said}" in refusal(*command, flag, value).replace(
            "monitor: ", ""
        )
    assert not (tmp_path / "run").exists()


def test_penalties_are_given_by_name_whatever_the_preset_has():
    """tyro would make a flag of each that the preset has, and take no other."""
    assert preset("wgan-gp-mnist").model.penalties == {"wgan_gp": (10.0, 1)}
    for words, expected in (
        (("r1", "0.5", "2", "lecam", "1", "1"), {"r1": (0.5, 2), "lecam": (1.0, 1)}),
        ((), {}),
    ):
        changed = configured("wgan-gp-mnist", "--model.penalties", *words)
        assert changed.model.penalties == expected
    line = refusal("config", "wgan-gp-mnist", "--model.penalties", "r1", "much")
    assert "--model.penalties: 'r1 much' is not [STR FLOAT INT" in line


def test_numbers_and_words_of_yaml():
    """PyYAML takes 1e-3 for a word, and would print a name like that as one."""
    plain = {"a": 1e-5, "b": "1e5", "c": [1.0, 2], "d": {}, "e": None, "f": "none", "g": 1e300}
    assert parse_yaml(to_yaml(plain), "it") == plain
    assert parse_yaml("[1e-3, 2E+3, -1e5, .5, 1.5e3]", "it") == [1e-3, 2e3, -1e5, 0.5, 1.5e3]
    with pytest.raises(UserError, match="it is not valid YAML"):
        parse_yaml("[" * 100_000, "it")


PLUGIN = '''
"""Adds a loss, a network and a preset."""
import dataclasses
from typing import Literal

import jax.numpy as jnp

from genjax.config import MLP, Network, register
from genjax.families.gan.losses import LOSSES, separate
from genjax.nn.mlp import MLPDecoder
from genjax.nn.networks import DECODERS
from genjax.presets import PRESETS, preset

LOSSES["NAME"] = separate(lambda s: jnp.exp(-s), jnp.exp, lambda s: jnp.exp(-s))


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine(Network):
    """A network of mine."""

    name: Literal["NAME"] = "NAME"
    units: int = 5
    """How many units it has."""


DECODERS[Mine] = lambda config, shape, layers: MLPDecoder(shape, config.units, 1, layers)
base = preset("gaussians-8")
small = MLP(width=8, norm="none")
PRESETS["NAME"] = dataclasses.replace(
    base,
    name="NAME",
    steps=2,
    batch_size=8,
    eval=dataclasses.replace(base.eval, samples=50),
    model=dataclasses.replace(base.model, generator=Mine(), discriminator=small, loss="NAME"),
)
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A file of that plugin; what it registers is taken out again."""
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plugin_files, "_loaded", set())
    file = tmp_path / "mine.py"
    name = f"mine-{tmp_path.name}"
    file.write_text(PLUGIN.replace("NAME", name))
    yield file, name
    kind = Network.registry.pop(name, None)
    DECODERS.pop(kind, None)
    for registry in (LOSSES, PRESETS):
        registry.pop(name, None)


def forget(name, monkeypatch):
    """What another process knows."""
    monkeypatch.setattr(plugin_files, "_loaded", set())
    DECODERS.pop(Network.registry.pop(name))
    for registry in (LOSSES, PRESETS):
        del registry[name]


def test_a_run_with_a_plugin(plugin, tmp_path, monkeypatch):
    file, name = plugin
    command = (name, "--plugin", file, "--model.generator.units", "7")
    text = genjax("train", *command, "--help").out
    assert "How many units it has." in text
    run = tmp_path / "run"
    trained = genjax("train", *command, "--out", run)
    assert trained.status == 0, trained
    config = json.loads((run / "config.json").read_text())
    assert config["plugins"] == [str(file)]
    assert config["model"]["generator"] == {
        "name": name,
        "spectral_norm": False,
        "remat": "none",
        "units": 7,
    }

    forget(name, monkeypatch)
    sampled = genjax("sample", run, "--n", "4", "--npz", tmp_path / "samples.npz")
    assert sampled.status == 0, sampled
    # The file's place does not name the configuration.
    moved = dataclasses.replace(from_json((run / "config.json").read_text()), plugins=())
    assert config_hash(moved) in (run / "manifest.json").read_text()

    session = json.loads((run / "manifest.json").read_text())["sessions"][0]
    assert session["plugins"] == {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}

    forget(name, monkeypatch)
    was = file.read_text()
    file.write_text(f"{was}\nran = True\n")
    line = refusal("sample", run)
    assert f"{file}, which was never used here as it is now" in line
    assert name not in LOSSES
    assert genjax("config", "--plugin", file).status == 0
    assert genjax("sample", run, "--n", "4").status == 0

    forget(name, monkeypatch)
    file.rename(tmp_path / "moved.py")
    assert f"the plugin {file} is gone" in refusal("resume", run)


def test_a_plugin_that_was_never_used_here_is_not_run(plugin, tmp_path, monkeypatch):
    """A configuration may be a stranger's."""
    file, name = plugin
    plain = to_dict(dataclasses.replace(preset("dcgan-digits"), plugins=(str(file),)))
    (tmp_path / "theirs.json").write_text(json.dumps(plain))
    line = refusal("config", "--config", tmp_path / "theirs.json")
    assert f"genjax config --plugin {file}" in line
    assert name not in LOSSES
    assert genjax("config", "--plugin", file).status == 0
    assert name in LOSSES
    assert genjax("config", "--config", tmp_path / "theirs.json").status == 0


def test_a_file_may_name_a_plugin_beside_it(plugin, tmp_path, monkeypatch):
    file, _ = plugin
    part = tmp_path / "part.yaml"
    part.write_text(f"plugins: [{file.name}]\n")
    monkeypatch.chdir(tmp_path.parent)
    assert f"genjax config --plugin {file}`" in refusal("config", "--config", part)
    assert genjax("config", "--plugin", file).status == 0
    assert configured("--config", part).plugins == (str(file),)


def test_a_plugin_that_fails(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("1 / 0")
    assert "bad.py fails: ZeroDivisionError" in refusal("config", "--plugin", file)


def test_a_name_can_only_be_given_once(plugin, tmp_path):
    file, name = plugin
    assert genjax("config", "--plugin", file).status == 0
    copy = tmp_path / "copy.py"
    copy.write_text(file.read_text())
    assert f"there is a network {name!r} already" in refusal("config", "--plugin", copy)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model.ada-speed", 5), "ada_speed is 5 without an ada_target"),
        (
            ("stylegan2-clothing", "--model.ada-target", None, "--model.ada-interval", 8),
            "ada_interval is 8 without an ada_target",
        ),
        (
            ("--model.lazy-updates", True, "--model.penalties", "r1", 1, 1),
            "lazy_updates is True without an interval above 1 in penalties",
        ),
    ],
)
def test_flags_that_nothing_reads_are_refused(arguments, said, tmp_path):
    for command, *more in (("config",), ("train", "--out", tmp_path / "run")):
        assert said in refusal(command, *arguments, *more)
    assert not (tmp_path / "run").exists()


def test_what_a_preset_or_a_file_has_for_others_to_fill_in_stays(tmp_path):
    """Runs of the ablation of ADA have the speed of their preset without its target."""
    flags = ("--model.ada", "--model.ada-target", None, "--model.penalties", "r1", 1, 1)
    model = configured("stylegan2-clothing", *flags).model
    assert (model.ada_target, model.ada_speed, model.lazy_updates) == (None, 100_000, True)
    file = tmp_path / "it.yaml"
    file.write_text(genjax("config", "stylegan2-clothing", *flags).out)
    assert configured("--config", file).model == model


def test_flags_that_make_each_other_count():
    model = configured(
        *("--model.ada-speed", 5, "--model.ada-target", 0.5, "--model.ada", "blit", 1),
        *("--model.lazy-updates", True, "--model.penalties", "r1", 1, 2),
    ).model
    assert (model.ada_speed, model.lazy_updates) == (5, True)
