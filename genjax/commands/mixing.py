"""``genjax mix``."""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import check_file, check_range, parse, parse_checkpoint, say
from genjax.commands.sample_options import sampling_options
from genjax.config import LARGEST_SEED
from genjax.errors import UserError


def mix(arguments: list[str]) -> None:
    """Mix the styles of samples, layer by layer: genjax mix RUN_DIR [--layers 0 3]."""
    options = sampling_options(arguments)
    usual = options()

    def run(
        run_dir: Positional[Path],
        rows: int = 6,
        columns: int = 8,
        layers: tuple[int, int] | None = None,
        seed: int = 0,
        out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
        checkpoint: str = "last",
        average: bool = True,
        label: str | None = None,
        sampling: Annotated[options, tyro.conf.arg(name="")] = usual,  # type: ignore[valid-type]
    ) -> None:
        """Draw samples that have some layers' style of another sample; for generators of styles.

        What stands in a row is the sample at its left but for those layers, whose style is that of
        the sample on top.

        Args:
          run_dir: Folder of the run.
          rows: Samples that keep their other layers; the first of the series.
          columns: Samples that give some; those that follow.
          layers: First and last layer that are given, from 0; None for the first half. Small maps
            come first: they hold the shape, the last ones colours.
          seed: Seed of the series, as of genjax sample.
          out: Picture; mix.png in the run's folder by default.
          checkpoint: last, best, or the step of a checkpoint.
          average: Sample from the moving average of the parameters where the run keeps one.
          label: Class of all samples, as of genjax sample.
          sampling: How the family of the run draws samples.
        """
        check_range("--rows", rows, 1, 256)
        check_range("--columns", columns, 1, 256)
        check_range("--seed", seed, 0, LARGEST_SEED)
        which = parse_checkpoint(checkpoint)
        check_file(out)
        from genjax.domains import domain_of
        from genjax.domains.domain import Picture
        from genjax.domains.grid import image_grid
        from genjax.domains.previews import check_ending, save_previews
        from genjax.run.directory import read_config, read_schema
        from genjax.run.mixing import mix_run

        read_config(run_dir)
        domain = read_schema(run_dir).domain
        if domain != "image":
            raise UserError(f"{run_dir} makes {domain}, and styles are those of images alone")
        picture = out or run_dir / "mix.png"
        check_ending(picture, domain_of(domain))
        made, used, step = mix_run(
            run_dir, seed, which, rows, columns, layers, label, sampling or None, average
        )
        images = made.reshape(-1, *made.shape[2:])
        (written,) = save_previews(picture, [Picture(image_grid(images, columns + 1))])
        say(
            f"wrote {rows} x {columns} samples of step {step} with layers {used[0]} to {used[1]} "
            f"of those on top to {written}"
        )

    parse(run, arguments, "genjax mix")
