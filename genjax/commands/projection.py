"""``genjax project``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import (
    check_file,
    check_range,
    parse,
    parse_checkpoint,
    progress,
    say,
)
from genjax.commands.given import check_given, read_images
from genjax.commands.sample_options import NoOptions, open_words, prompt_options
from genjax.config import LARGEST_SEED
from genjax.errors import UserError

if TYPE_CHECKING:
    from genjax.evals.features import FeatureNetwork
    from genjax.run.opening import Run


def project(arguments: list[str]) -> None:
    """Find the latents of given images: genjax project RUN_DIR --image FILE [FILE ...]."""
    captions = prompt_options(arguments)
    unsaid = captions()

    def run(
        run_dir: Positional[Path],
        image: tuple[Path, ...] = (),
        examples: tuple[int, ...] = (),
        space: Literal["z", "w", "w+"] | None = None,
        features: Literal["classifier", "pixels"] = "classifier",
        steps: int = 1000,
        optimize_noise: bool = False,
        seed: int = 0,
        out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
        checkpoint: str = "last",
        average: bool = True,
        label: str | None = None,
        words: Annotated[captions, tyro.conf.arg(name="")] = unsaid,  # type: ignore[valid-type]
    ) -> None:
        """Find the latents whose images come closest to given ones, as StyleGAN2's projector does.

        The published distance is LPIPS by VGG16, which needs weights that don't come with genjax;
        here it is one of features and of pixels at several scales, which compares with itself
        alone. Codes are written as ``codes`` into a file beside the picture, which ends in
        .safetensors.

        Args:
          run_dir: Folder of the run.
          image: PNG or JPEG files, folders of such, or .npz files; resized as the run's data were.
          examples: Instead of --image: numbers, from 0, in the test split of the run's data.
          space: w of a generator of styles, the same for all layers; w+, a style for each layer;
            or z of other models. None is w where there is one.
          features: What images are compared by beside pixels at several scales: classifier, the
            features of the data set's own network, or pixels for nothing else.
          steps: Updates of Adam.
          optimize_noise: Look for the maps of a generator's noise, too, and write them.
          seed: Of the noise that the search adds to codes, and of the first maps.
          out: Picture with target, projection and the difference of each image in a row;
            projection.png in the run's folder by default.
          checkpoint: last, best, or the step of a checkpoint.
          average: Take the moving average of the parameters where the run keeps one.
          label: Class of all images, which a conditional model needs to know; that of --examples is
            known.
          words: What a run that learnt from captions takes in words; images of --image have none.
        """
        check_range("--steps", steps, 1, 1_000_000)
        check_range("--seed", seed, 0, LARGEST_SEED)
        check_given(image, examples)
        which = parse_checkpoint(checkpoint)
        check_file(out)
        import numpy as np

        from genjax.domains import domain_of
        from genjax.domains.domain import Picture
        from genjax.domains.grid import image_grid
        from genjax.domains.previews import check_ending, save_previews
        from genjax.run.latents import open_for_images
        from genjax.run.projection import Search, check_search, save_projection
        from genjax.run.projection import project as find

        opened = open_for_images(run_dir, which, "projections are of", average)
        picture = out or run_dir / "projection.png"
        check_ending(picture, domain_of(opened.schema.domain))
        search = Search(steps, seed, space, optimize_noise)
        check_search(opened, search)
        prompts, _ = open_words(run_dir, words, NoOptions())
        given, condition = read_images(opened, image, examples, label, prompts)
        network = _find_network(opened, features)
        found = find(opened, given.images, condition, search, network, progress)
        apart = np.abs(np.int16(found.images) - given.images).astype(np.uint8)
        rows = np.stack([given.images, found.images, apart], axis=1)
        (written,) = save_previews(
            picture, [Picture(image_grid(rows.reshape(-1, *apart.shape[1:]), 3))]
        )
        file = written.with_suffix(".safetensors")
        save_projection(file, found, given.names)
        seen = (
            "pixels" if network is None else f"features of {network.name} {network.hash} and pixels"
        )
        say(f"distance by {seen} (not LPIPS), in {found.space}, step {opened.step}, seed {seed}:")
        for name, before, after in zip(given.names, found.start, found.distances, strict=True):
            say(f"{name}: {after:.4g}, from {before:.4g} at the mean")
        say(f"wrote {written} and {file}")

    parse(run, arguments, "genjax project")


def _find_network(opened: "Run", features: str) -> "FeatureNetwork | None":
    if features == "pixels":
        return None
    from genjax.data.sources import load
    from genjax.evals.classifier import load_classifier

    try:
        return load_classifier(load(opened.experiment.data, progress))
    except UserError as error:
        raise UserError(f"{error}; or compare by --features pixels") from None
