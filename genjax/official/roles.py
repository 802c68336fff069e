"""The networks of a GAN that official files are of."""

from pathlib import Path
from typing import NamedTuple

from genjax.config import GANConfig
from genjax.official.architectures import Architecture
from genjax.official.shapes import Image
from genjax.official.tensors import Table


class Files(NamedTuple):
    """Official files of a GAN's networks.

    Attributes:
      average: of the generator that samples come from; where it is kept, its moving average.
      generator: of the generator that is trained on, or None.
      discriminator: of the discriminator, or None.
    """

    average: Path
    generator: Path | None = None
    discriminator: Path | None = None


def tables_of(
    architecture: Architecture, config: GANConfig, image: Image, conditional: bool
) -> dict[str, Table]:
    """Of each role among the files."""
    makes = architecture.generator(config.generator, image, conditional)
    judges = architecture.discriminator(config.discriminator, image, conditional)
    return {"average": makes, "generator": makes, "discriminator": judges}


def player_of(role: str) -> str:
    return "discriminator" if role == "discriminator" else "generator"
