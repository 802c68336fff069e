"""How earlier formats wrote a configuration: their files are read, and their hashes kept.

Format 1 and 2 had one dataclass for all networks and one for all optimizers, with the fields of all
of them. A file does not say which of the two it is of: fields came without a new format then.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from genjax.config.fields import default_of, is_hashed, since
from genjax.config.gan import GANConfig
from genjax.config.networks import DCGAN, MLP, SNGAN, DCGANTutorial, Goodfellow, Network
from genjax.config.optimizers import SGD, Adam, Linear, RMSProp
from genjax.errors import UserError

FORMAT = 10
"""Of what is written now; a field that comes raises it."""

Plain = dict[str, Any]

# What a network of format 2 had beside its name, with the values of fields that it does not read.
_NETWORK = {
    "width": 64,
    "depth": 2,
    "norm": "none",
    "convolutions": "auto",
    "conditioning": "none",
    "orthogonal": 0.0,
}
_PLAYERS = ("generator", "discriminator", "encoder", "decoder")
_OF_A_PLAYER = ("conditioning", "orthogonal")
# From the fields of today to those of format 2.
_MOMENTS = {"momentum": "b1", "decay": "b2"}


def hashed(config: Any) -> Any:
    """What is hashed of a configuration: as format 2 wrote it, with what it could not express.

    Args:
      config: an experiment, or a part of one.

    Returns:
      Plain values.
    """
    if not dataclasses.is_dataclass(config):
        return config
    plain: Plain = {}
    for field in dataclasses.fields(config):
        default = default_of(field)
        value = getattr(config, field.name) if is_hashed(field) else default
        if not since(field) or value != default:
            plain[field.name] = hashed(value)
    write = _AS_FORMAT_2.get(type(config))
    return plain if write is None else write(config, plain)


def _network_2(config: Any, plain: Plain) -> Plain:
    return {**_NETWORK, **plain}


def _optimizer_2(config: Any, plain: Plain) -> Plain:
    named = {_MOMENTS.get(name, name): value for name, value in plain.items()}
    updates = 0
    if config.schedule == Linear(length=getattr(config.schedule, "length", 1)):
        updates = named.pop("schedule")["length"]
    return {"b2": 0.999, **named, "decay_updates": updates}


def _gan_2(config: Any, plain: Plain) -> Plain:
    for player in ("generator", "discriminator"):
        for name in _OF_A_PLAYER:
            plain[player][name] = plain.pop(f"{player}_{name}")
    return plain


_AS_FORMAT_2: dict[type, Callable[[Any, Plain], Plain]] = {
    **dict.fromkeys((DCGAN, DCGANTutorial, SNGAN, MLP, Goodfellow), _network_2),
    **dict.fromkeys((Adam, RMSProp, SGD), _optimizer_2),
    GANConfig: _gan_2,
}


def hashed_before(config: Any) -> Iterator[Plain]:
    """What was hashed of an experiment before fields came that have their defaults in it.

    Args:
      config: the experiment.

    Yields:
      Plain values, as earlier code of format 1 hashed them.
    """
    plain = hashed(config)
    for came in _CAME:
        lacking = _without(plain, came)
        if lacking is None:
            return
        plain = lacking
        yield plain


def _without(plain: Plain, came: Plain) -> Plain | None:
    """Nested dicts without some fields; None where one is off its default."""
    kept: Plain = {}
    for name, value in plain.items():
        if isinstance(value, dict):
            value = _without(value, came)
            if value is None:
                return None
        elif name in came and value != came[name]:
            return None
        if name not in came:
            kept[name] = value
    return kept


# The latest ones of format 1, with their defaults; no other fields have these names.
_CAME: tuple[Plain, ...] = (
    {"gradient": 1e6},
    {
        "steps_per_call": 1,
        "feed": "auto",
        "share_generated": False,
        "joint_pass": False,
        "remat": "none",
        "convolutions": "auto",
        "fuse": False,
    },
)


def upgrade(raw: Plain, where: str) -> tuple[Plain, int]:
    """Rewrites what a file says as the format of today would.

    What is not as that format wrote it stays as it is, to be refused by who decodes it.

    Args:
      raw: the file's values.
      where: name of the file, for errors.

    Returns:
      The values, and the format that they were written in.

    Raises:
      UserError: the format is not known.
    """
    raw = dict(raw)
    written = raw.pop("format", 1)
    if type(written) is not int or written < 1:
        raise UserError(f"{where}: format is {written!r}; it must be a number from 1 to {FORMAT}")
    if written > FORMAT:
        raise UserError(
            f"{where} is of format {written}; this genjax reads up to {FORMAT}: use a newer one"
        )
    for step in range(written, FORMAT):
        raw = _STEPS.get(step, dict)(raw)
    return raw, written


def _to_2(raw: Plain) -> Plain:
    """Fills in what came while runs were of format 1."""
    came = {
        "steps_per_call": 1,
        "feed": "auto",
        "eval": {"every": None, "samples": 2000, "features": "pixels"},
        "monitor": {"lines": 40, "accuracy": 1.0, "logit_gap": 100.0, "diversity": 0.1},
        "on_nan": "stop",
        "on_collapse": "warn",
    }
    raw = {**came, **raw}
    if isinstance(raw["monitor"], dict):
        raw["monitor"] = {"gradient": 1e6, **raw["monitor"]}
    if not isinstance(raw.get("model"), dict):
        return raw
    model = dict(raw["model"])
    if model.get("family") == "gan":
        model = {"share_generated": False, "joint_pass": False, **model}
    for name, part in model.items():
        if isinstance(part, dict) and name in _PLAYERS:
            model[name] = {"remat": "none", "convolutions": "auto", **part}
        elif isinstance(part, dict) and name.endswith("optimizer"):
            model[name] = {"fuse": False, **part}
    return {**raw, "model": model}


def _to_3(raw: Plain) -> Plain:
    """Makes each network and optimizer one of its own kind."""
    if not isinstance(raw.get("model"), dict):
        return raw
    model = dict(raw["model"])
    for name, part in raw["model"].items():
        if isinstance(part, dict) and name in _PLAYERS:
            model[name] = _network_3(part)
        elif isinstance(part, dict) and name.endswith("optimizer"):
            model[name] = _optimizer_3(part)
        if name in _PLAYERS and model.get("family") == "gan":
            given = part if isinstance(part, dict) else {}
            for own in _OF_A_PLAYER:
                model[f"{name}_{own}"] = given.get(own, _NETWORK[own])
    return {**raw, "model": model}


def _network_3(part: Plain) -> Plain:
    kind = Network.registry.get(str(part.get("name")), Network)
    read = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in part.items() if name in read or name not in _NETWORK}


def _optimizer_3(part: Plain) -> Plain:
    part = dict(part)
    if part.get("name") in ("rmsprop", "sgd"):
        new = {old: name for name, old in _MOMENTS.items()}
        part = {new.get(name, name): value for name, value in part.items()}
    if part.get("name") == "sgd":
        part.pop("decay", None)
    updates = part.pop("decay_updates", 0)
    falling = {"length": updates, "end": 0.0} if updates else {}
    name = "linear" if updates else "constant"
    return {**part, "schedule": {"name": name, "warmup": 0, "unit": "updates", **falling}}


_STEPS: dict[int, Callable[[Plain], Plain]] = {1: _to_2, 2: _to_3}
"""What rewrites a format as the next one, where that did more than to add fields."""
