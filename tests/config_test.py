"""Configurations survive JSON, are checked field by field, and have a stable identity."""

import contextlib
import dataclasses
import json
import types
import typing
from pathlib import Path

import pytest

from genjax.ablation.grid import load_ablation, make_cells
from genjax.config import (
    SGD,
    Adam,
    Cosine,
    DataConfig,
    EvalConfig,
    Experiment,
    InverseSqrt,
    Linear,
    MonitorConfig,
    Piecewise,
)
from genjax.config.fields import is_hashed, since
from genjax.config.formats import FORMAT, hashed
from genjax.config.json import config_hash, former_hashes, from_json, to_dict
from genjax.config.tags import Tagged, is_base
from genjax.errors import UserError
from genjax.presets import PRESETS, preset

pytestmark = pytest.mark.smoke

ROOT = Path(__file__).parents[1]
# Of presets with seeds 0 and 1, and of the ablations' runs, as format 2 had them; later presets
# have what that could not express.
HASHES = json.loads((ROOT / "tests" / "fixtures" / "hashes.json").read_text())
KNOWN = {**HASHES["presets"], **HASHES["later_presets"]}
RUNS = sorted((ROOT / "tests" / "fixtures" / "runs").glob("format-*/*/config.json"))


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip(name):
    experiment = PRESETS[name]
    again = from_json(json.dumps(to_dict(experiment)))
    assert again == experiment
    assert config_hash(again) == config_hash(experiment)


@pytest.mark.parametrize("name", KNOWN)
def test_presets_keep_their_hashes(name):
    seeds = [dataclasses.replace(PRESETS[name], seed=seed) for seed in (0, 1)]
    assert [config_hash(experiment) for experiment in seeds] == KNOWN[name]


@pytest.mark.parametrize("name", HASHES["ablations"])
def test_ablations_keep_their_hashes(name):
    declared = load_ablation(ROOT / "experiments" / "ablations" / f"{name}.py")
    found = {}
    for cell in make_cells(declared, Path("out"), None, ()):
        found.setdefault(cell.variant, []).append(cell.hash)
    assert found == HASHES["ablations"][name]


@pytest.mark.parametrize("name", HASHES["ablations"])
def test_committed_records_are_found(name, tmp_path):
    """By the folders of their runs; those of gaussians are older than a field of the monitor."""
    records = ROOT / "experiments" / "ablations" / "results" / name / "results.jsonl"
    declared = load_ablation(ROOT / "experiments" / "ablations" / f"{name}.py")
    of = {}
    for record in map(json.loads, records.read_text().splitlines()):
        of[record["variant"], record["seed"]] = record["config_hash"]
    hashes = set(of.values())
    for cell in make_cells(declared, tmp_path, None, ()):
        names = [config_hash(cell.experiment), *former_hashes(cell.experiment)]
        [was] = hashes.intersection(names)
        folder = cell.directory.with_name(cell.directory.name.replace(cell.hash, was))
        folder.mkdir(parents=True)
    found = make_cells(declared, tmp_path, None, ())
    assert {(cell.variant, cell.experiment.seed): cell.hash for cell in found} == of


@pytest.mark.parametrize("file", RUNS, ids=lambda file: "/".join(file.parts[-3:-1]))
def test_runs_of_earlier_formats_keep_their_hashes(file):
    manifest = json.loads(file.with_name("manifest.json").read_text())
    was = manifest.get("config_hash") or manifest["sessions"][-1]["config_hash"]
    experiment = from_json(file.read_text())
    assert config_hash(experiment) == was
    again = from_json(json.dumps(to_dict(experiment)))
    assert again == experiment


@pytest.mark.parametrize("name", HASHES["presets"])
def test_what_is_hashed_is_format_2(name):
    """And it reads back."""
    experiment = PRESETS[name]
    assert from_json(json.dumps(hashed(experiment))) == experiment


BASE = preset("dcgan-digits")
KINDS = [kind for kind in Tagged.__subclasses__() if is_base(kind)]
REQUIRED = {"length": 100, "boundaries": (5,), "factors": (0.5,)}


def make(kind):
    """A part of a kind, with what it needs."""
    own = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in REQUIRED.items() if name in own})


def place(part):
    """An experiment that has a part somewhere."""
    if isinstance(part, Experiment):
        return part
    wholes = [BASE, *(make(kind) for base in KINDS for kind in base.registry.values())]
    for whole in wholes:
        for name, kind in typing.get_type_hints(type(whole)).items():
            if isinstance(kind, type) and isinstance(part, kind) and dataclasses.is_dataclass(kind):
                return place(dataclasses.replace(whole, **{name: part}))
    raise AssertionError(f"nothing has a {type(part).__name__}")


def parts():
    """One of each dataclass of a configuration."""
    own = [value for value in vars(BASE).values() if dataclasses.is_dataclass(value)]
    others = [make(kind) for base in KINDS for kind in base.registry.values()]
    return [BASE, *(part for part in own if not isinstance(part, Tagged)), *others]


def others(kind, value):
    """Candidates for another value of a field."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if is_base(kind):
        return [make(other) for other in kind.registry.values() if other is not type(value)]
    if dataclasses.is_dataclass(kind):
        # Its own fields are changed one by one.
        return []
    if origin is typing.Literal:
        return [option for option in options if option != value]
    if origin is types.UnionType:
        return [new for option in options for new in others(option, value)]
    if origin is dict:
        return [{"blit": 0.5}] if options[1] is float else [{"r1": (0.1, 1)}]
    if origin is tuple:
        return {int: [(7,), (8,)], float: [(0.25,)], str: [("x",)]}[options[0]]
    numbers = {
        bool: [not value],
        int: [2, 3, 64, 32, 96],
        float: [0.25, 0.5, 0.75],
        str: ["x", "y"],
    }
    return [new for new in numbers.get(kind, []) if new != value]


def changes():
    """Of each field of each dataclass: its name, whether it counts, and experiments with and
    without another value; None where it has no other value."""
    for part in parts():
        kinds = typing.get_type_hints(type(part))
        for field in dataclasses.fields(part):
            name = f"{type(part).__name__}.{field.name}"
            candidates = others(kinds[field.name], getattr(part, field.name))
            yield name, is_hashed(field), place(part), change(part, field.name, candidates)


def change(part, name, candidates):
    for value in candidates:
        with contextlib.suppress(UserError):
            return place(dataclasses.replace(part, **{name: value}))
    return None


def test_every_field_changes_the_hash_unless_it_changes_no_number():
    fixed, uncounted, hashes = set(), set(), {}
    for name, counts, before, after in changes():
        if after is None:
            fixed.add(name)
            continue
        assert (config_hash(after) != config_hash(before)) == counts, name
        if counts:
            # No two changes are taken for each other.
            digest = config_hash(after)
            assert digest not in hashes, (name, hashes.get(digest))
            hashes[digest] = name
        else:
            uncounted.add(name)
    # What has no other value is a tag, or has fields of its own.
    tags = {f"{k.__name__}.{base.tag}" for base in KINDS for k in base.registry.values()}
    whole = {"Experiment.data", "Experiment.eval", "Experiment.monitor"}
    single = {
        f"{type(part).__name__}.{name}"
        for part in parts()
        for name, kind in typing.get_type_hints(type(part)).items()
        if is_base(kind) and len(kind.registry) == 1
    }
    assert fixed == tags | whole | single
    assert uncounted == {"DataConfig.directory", "Experiment.wandb", "Experiment.plugins"}


def test_no_field_is_newer_than_the_format():
    newest = max(since(field) for part in parts() for field in dataclasses.fields(part))
    assert newest <= FORMAT


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
        ({"accumulate": None}, "lacks the field 'accumulate'"),
        ({"accumulate": 3}, "accumulate is 3; it must be a divisor of batch_size, 64"),
        ({"mode": "jot"}, "mode is 'jot'; did you mean 'jit'"),
        ({"model__latent": 2.5}, "model: latent is 2.5; it must be of type int"),
        ({"model__ema_decay": 1.0}, r"ema_decay is 1.0; it must be in \[0, 1\)"),
        ({"model__family": "gun"}, "unknown family of .*: model 'gun'; did you mean 'gan'"),
        ({"model__generator__name": "dcgen"}, "unknown network .*'dcgen'; did you mean 'dcgan'"),
        ({"model__generator__name": 3}, "unknown network .*'3'; choices: biggan, "),
        ({"model__generator__name": None}, "generator lacks the field 'name'; choices: biggan, "),
        ({"model__generator__depth": 3}, "generator has no field 'depth'"),
        ({"model__generator": []}, r"generator is \[\]; it must be an object"),
        ({"model__generator_optimizer__schedule": "linear"}, "it must be an object"),
        ({"data": 3}, "data is 3; it must be an object"),
        ({"data__given": "label"}, "given is 'label'; it must be a list"),
        ({"format": FORMAT + 1}, f"this genjax reads up to {FORMAT}"),
        ({"format": "3"}, "format is '3'; it must be a number"),
        ({"plugins": ["/nowhere.py"]}, r"the plugin /nowhere\.py is gone"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        from_json(edited(**changes))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.generator.name", "dcgen", "unknown network .*'dcgen'; did you mean 'dcgan'"),
        ("model.generator.wdth", 3, "generator has no field 'wdth'"),
        ("model.generator_optimizer.decay_updates", "3", "schedule: length is '3'"),
        ("model.generator_optimizer.b3", 0.1, "generator_optimizer has no field 'b3'"),
        ("model.generator", 3, "generator is 3"),
        ("model", [], r"model is \[\]"),
        ("monitor", None, "monitor is None"),
        ("steps", -1, "steps is -1"),
    ],
)
def test_what_is_wrong_in_a_file_of_format_2_is_named(path, value, message):
    plain = hashed(preset("dcgan-digits"))
    *parents, last = path.split(".")
    place = plain
    for parent in parents:
        place = place[parent]
    place[last] = value
    with pytest.raises(UserError, match=message):
        from_json(json.dumps(plain))


def test_a_file_of_format_1_lacks_what_came_later():
    plain = hashed(preset("gaussians-8"))
    for name in ("steps_per_call", "feed", "on_nan", "on_collapse", "eval", "monitor"):
        del plain[name]
    for name in ("share_generated", "joint_pass"):
        del plain["model"][name]
    del plain["model"]["generator"]["remat"], plain["model"]["generator_optimizer"]["fuse"]
    restored = dataclasses.replace(preset("gaussians-8"), eval=EvalConfig())
    assert from_json(json.dumps(plain)) == restored
    plain["monitor"] = dataclasses.asdict(MonitorConfig(lines=10))
    del plain["monitor"]["gradient"]
    assert from_json(json.dumps(plain)).monitor == MonitorConfig(lines=10)


def test_text_that_is_not_json():
    with pytest.raises(UserError, match=r"run/config\.json is not valid JSON"):
        from_json("{", "run/config.json")


def test_whole_numbers_are_numbers():
    experiment = from_json(edited(model__generator_optimizer__learning_rate=1))
    assert isinstance(experiment, Experiment)
    assert experiment.model.generator_optimizer.learning_rate == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(learning_rate=-1), "learning_rate is -1; it must be above 0"),
        (lambda: Adam(clip=0.0), "clip is 0.0; it must be above 0"),
        (lambda: Linear(length=5, warmup=5), "length is 5; it must be above the warmup, 5"),
        (lambda: Cosine(length=5, end=-1.0), "end is -1.0; it must be at least 0"),
        (lambda: Linear(length=5, start=-0.5), "start is -0.5; it must be at least 0"),
        (
            lambda: Adam(b2=0.9, b2_schedule=Cosine(length=5, end=1.2)),
            "b2 is 0.9; it must be below 1 / 1.2, the largest factor",
        ),
        (lambda: InverseSqrt(reference=0), "reference is 0; it must be at least 1"),
        (lambda: Piecewise(boundaries=(3, 2), factors=(1.0, 1.0)), "boundaries is"),
        (lambda: Piecewise(boundaries=(3,)), "factors is .*; it must be one for each boundary, 1"),
        (lambda: Piecewise(boundaries=(3,), factors=(float("inf"),)), "it must be finite"),
        (
            lambda: DataConfig(given=("label", "label")),
            "given is .*; it must be fields that differ",
        ),
        (lambda: DataConfig(length=0), "length is 0; it must be at least 1"),
    ],
)
def test_impossible_values_cannot_be_constructed(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_an_unknown_preset_lists_the_choices():
    with pytest.raises(UserError, match=r"did you mean 'dcgan-mnist'.*gan-mnist"):
        preset("dcgan-mnits")


def test_presets_follow_the_papers():
    for name in ("dcgan-digits", "dcgan-mnist", "dcgan-fashion", "dcgan-cifar10"):
        model = PRESETS[name].model
        for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
            assert optimizer == Adam(learning_rate=2e-4, b1=0.5, b2=0.999)
        assert model.generator.norm == model.discriminator.norm == "batch"
    tutorial = PRESETS["dcgan-tutorial"]
    assert (tutorial.seed, tutorial.model.latent) == (42, 100)
    assert tutorial.model.generator_optimizer == Adam(learning_rate=1e-4, b1=0.9)
    assert tutorial.model.loss == "non_saturating"
