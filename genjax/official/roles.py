"""The networks of a run that official files are of."""

from pathlib import Path
from typing import Any, NamedTuple

from genjax.errors import UserError
from genjax.official.architectures import (
    Adversaries,
    Architecture,
    Autoencoding,
    Denoising,
    TextEncoding,
)
from genjax.official.shapes import Image
from genjax.official.tensors import Table


class Files(NamedTuple):
    """Official files of a run's networks.

    Attributes:
      average: of the network that samples come from; where it is kept, its moving average.
      generator: of the generator that is trained on, or None.
      discriminator: of the discriminator, or None.
    """

    average: Path
    generator: Path | None = None
    discriminator: Path | None = None


def check_roles(name: str, architecture: Architecture, files: Files) -> None:
    """Refuses files of networks that there are not beside `name`."""
    for role in ("generator", "discriminator"):
        if not isinstance(architecture, Adversaries) and getattr(files, role) is not None:
            raise UserError(f"--{role} is given, but {name} is one network; leave it out")


def tables_of(
    architecture: Architecture, model: Any, image: Image, conditional: bool
) -> dict[str, Table]:
    """Of each role among the files; `model` is the configuration of a run."""
    if isinstance(architecture, Denoising):
        table = architecture.table(model.network, image, conditional)
        return {"average": {**table, **architecture.augmented} if model.augment else table}
    if isinstance(architecture, Autoencoding):
        return {"average": architecture.table(model.encoder)}
    if isinstance(architecture, TextEncoding):
        return {"average": architecture.table(model.text)}
    makes = architecture.generator(model.generator, image, conditional)
    judges = architecture.discriminator(model.discriminator, image, conditional)
    return {"average": makes, "generator": makes, "discriminator": judges}


def player_of(architecture: Architecture, role: str) -> str:
    """What the run calls the network of a role."""
    if isinstance(architecture, Denoising | TextEncoding):
        return "network"
    if isinstance(architecture, Autoencoding):
        return "autoencoder"
    return "discriminator" if role == "discriminator" else "generator"
