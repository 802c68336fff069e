"""``genjax directions``."""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import check_file, check_range, parse, parse_checkpoint, say
from genjax.commands.sample_options import sampling_options
from genjax.config import LARGEST_SEED, MOST_SAMPLES
from genjax.errors import UserError


def directions(arguments: list[str]) -> None:
    """Find what a latent's directions change: genjax directions RUN_DIR [--method sefa]."""
    options = sampling_options(arguments)
    usual = options()

    def run(
        run_dir: Positional[Path],
        method: str = "sefa",
        count: int = 8,
        layers: tuple[int, int] | None = None,
        names: tuple[str, ...] = (),
        load: Path | None = None,
        span: float = 3.0,
        columns: int = 7,
        sample: int = 0,
        seed: int = 0,
        out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
        checkpoint: str = "last",
        average: bool = True,
        label: str | None = None,
        sampling: Annotated[options, tyro.conf.arg(name="")] = usual,  # type: ignore[valid-type]
    ) -> None:
        """Find directions in the latents of a run, and draw a sample that goes along each.

        They are written by name into a file beside the picture, which ends in .safetensors. VAEs
        have none, nor GANs whose first layer sees but a part of z (hierarchical BigGAN).

        Args:
          run_dir: Folder of the run.
          method: sefa, what the first layers make most of (closed form), or ganspace, the principal
            components of w of a generator of styles.
          count: How many directions.
          layers: First and last layer of a generator of styles that they change, from 0; None for
            all. Small maps come first: they hold the shape, the last ones colours.
          names: Names of the first directions; the others are called by method and number. With
            --load, the names of those to draw.
          load: A file that this command wrote, to draw its directions instead of finding new ones.
          span: How far to go to either side, in standard deviations of latents.
          columns: Images in a row.
          sample: Which sample of the series goes along them.
          seed: Seed of the series, as of genjax sample.
          out: Picture with a direction in each row; directions.png in the run's folder by default.
          checkpoint: last, best, or the step of a checkpoint.
          average: Sample from the moving average of the parameters where the run keeps one.
          label: Class of the sample, as of genjax sample.
          sampling: How the family of the run draws samples.
        """
        check_range("--count", count, 1, 1024)
        check_range("--columns", columns, 2, 1024)
        check_range("--sample", sample, 0, MOST_SAMPLES)
        check_range("--seed", seed, 0, LARGEST_SEED)
        if not 0 < span < 1e6:
            raise UserError(f"--span is {span:g}; it must be above 0 and finite")
        if load is None and len(names) > count:
            raise UserError(f"--names has {len(names)} names for {count} directions")
        which = parse_checkpoint(checkpoint)
        check_file(out)
        import numpy as np

        from genjax.domains import domain_of
        from genjax.domains.domain import Picture
        from genjax.domains.grid import image_grid
        from genjax.domains.previews import check_ending, save_previews
        from genjax.run.directions import (
            find_directions,
            load_directions,
            save_directions,
            traverse,
        )
        from genjax.run.latents import open_for_images

        opened = open_for_images(
            run_dir, which, "directions are drawn of", average, sampling or None
        )
        picture = out or run_dir / "directions.png"
        check_ending(picture, domain_of(opened.schema.domain))
        if load is None:
            found = find_directions(opened, method, count, layers, names)
        else:
            found = load_directions(load, names)
        strengths = np.linspace(-span, span, columns).tolist()
        made = traverse(opened, found, strengths, seed, sample, label)
        images = made.reshape(-1, *made.shape[2:])
        (written,) = save_previews(picture, [Picture(image_grid(images, columns))])
        say(f"rows, from the top: {', '.join(direction.name for direction in found)}")
        if load is None:
            file = written.with_suffix(".safetensors")
            save_directions(file, found)
            say(f"wrote {written} and {file}")
        else:
            say(f"wrote {written}")

    parse(run, arguments, "genjax directions")
