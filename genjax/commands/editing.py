"""``genjax edit``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from genjax.commands.arguments import (
    check_arrays,
    check_file,
    check_range,
    parse,
    parse_checkpoint,
    progress,
    say,
    with_values,
)
from genjax.commands.given import check_given, read_images
from genjax.commands.sample_options import (
    open_words,
    prior_options,
    prompt_options,
    sampling_options,
)
from genjax.config import LARGEST_SEED
from genjax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from genjax.data.given import Given
    from genjax.run.editing import Change
    from genjax.run.opening import Run
    from genjax.run.sampling import HostCondition

_RESULTS = 4
_MOST = 1024
_HEAVIEST = 1000.0
# What all images of a way have in common, and the flag that says it.
_TOLD = {"label": ("class", "--label"), "caption": ("caption", "--prompt")}


def edit(arguments: list[str]) -> None:
    """Change given images by a diffusion model: genjax edit RUN_DIR --image FILE --mask MASK."""
    options, captions = sampling_options(arguments), prompt_options(arguments)
    priors = prior_options(arguments)
    usual, unsaid, none = options(), captions(), priors()

    def run(
        run_dir: Positional[Path],
        image: tuple[Path, ...] = (),
        examples: tuple[int, ...] = (),
        mask: str | None = None,
        method: Literal["repaint", "guided"] | None = None,
        resamplings: int | None = None,
        jump: int | None = None,
        weight: float | None = None,
        strength: float | None = None,
        invert: bool = False,
        frames: int | None = None,
        n: int | None = None,
        seed: int = 0,
        out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
        npz: Path | None = None,
        checkpoint: str = "last",
        average: bool = True,
        label: str | None = None,
        sampling: Annotated[options, tyro.conf.arg(name="")] = usual,  # type: ignore[valid-type]
        words: Annotated[captions, tyro.conf.arg(name="")] = unsaid,  # type: ignore[valid-type]
        cascade: Annotated[priors, tyro.conf.arg(name="")] = none,  # type: ignore[valid-type]
    ) -> None:
        """Change given images by a diffusion model, which needs no training for it.

        One of --mask (parts are made anew), --strength (noised and denoised: SDEdit) and --invert
        (the latents of images, and ways between them) says how.

        Args:
          run_dir: Folder of the run.
          image: PNG or JPEG files, folders of such, or .npz files; resized as the run's data were.
          examples: Instead of --image: numbers, from 0, in the test split of the run's data.
          mask: A picture of the images' size, white where they are made anew; or a box of it in
            pixels, left,top,right,bottom.
          method: How what --mask hides is made: repaint (the default), which goes back and forth
            between times, or guided, by the gradient of what the network makes of the rest.
          resamplings: Of repaint: how often it goes through the same times; 10 by default.
          jump: Of repaint: steps that it goes back; a 25th of all by default.
          weight: Of guided: of the gradient; 5 by default, and 1 as of noise alone.
          strength: Share, in [0, 1], of the path from data to noise that images go back.
          invert: Find the latents from which a sampler without noise comes to the images.
          frames: Of --invert: draw instead the way from each image to the next by that many images,
            both of their latents included.
          n: Results of each image, except of --invert; 4 by default.
          seed: Seed of the first results; those beside them have the seeds that follow.
          out: Picture with an image, what stays of it and its results in a row; edit.png in the
            run's folder by default.
          npz: File for arrays: given and images, uint8, the latter [given, results, height, width,
            channels]; with --mask known; with --invert latents.
          checkpoint: last, best, or the step of a checkpoint.
          average: Take the moving average of the parameters where the run keeps one.
          label: Class of all images, which a conditional model needs to know; that of --examples is
            known.
          sampling: How the family of the run draws samples.
          words: What a run that learnt from captions takes in words; images of --image have none.
          cascade: What makes embeddings of captions for a run that learnt from both.
        """
        _check_ways(
            {"--mask": mask is not None, "--strength": strength is not None, "--invert": invert},
            {
                "--method": method,
                "--resamplings": resamplings,
                "--jump": jump,
                "--weight": weight,
                "--frames": frames,
                "--n": n,
            },
            method or "repaint",
        )
        check_range("--resamplings", resamplings, 1, _MOST)
        check_range("--jump", jump, 1, 10**6)
        check_range("--frames", frames, 2, _MOST)
        check_range("--n", n, 1, _MOST)
        check_range("--seed", seed, 0, LARGEST_SEED + 1 - (n or _RESULTS))
        _check_number("--weight", weight, _HEAVIEST)
        _check_number("--strength", strength, 1.0)
        check_given(image, examples)
        which = parse_checkpoint(checkpoint)
        check_file(out)
        check_arrays(npz)
        import numpy as np

        from genjax.domains import domain_of
        from genjax.domains.domain import Picture
        from genjax.domains.grid import image_grid
        from genjax.domains.previews import check_ending, save_previews
        from genjax.run.editing import Guided, RePaint, SDEdit, editing_of, read_mask
        from genjax.run.latents import open_for_images

        opened = open_for_images(run_dir, which, "what is edited is", average, sampling or None)
        editing_of(opened)
        picture = out or run_dir / "edit.png"
        check_ending(picture, domain_of(opened.schema.domain))
        change: Change | None = None
        if strength is not None:
            change = SDEdit(strength)
        elif mask is not None:
            known = read_mask(mask, opened.algorithm.spec.shape)
            if method == "guided":
                change = Guided(known) if weight is None else Guided(known, weight)
            else:
                change = RePaint(known, resamplings or 10, jump)
        prompts, prior = open_words(run_dir, words, cascade)
        given, condition = read_images(opened, image, examples, label, prompts, prior, seed)
        if change is None:
            rows, arrays = _inverted(opened, given, condition, frames)
        else:
            seeds = range(seed, seed + (n or _RESULTS))
            rows, arrays = _changed(opened, given, condition, change, seeds)
        shape = opened.algorithm.spec.shape
        (written,) = save_previews(
            picture, [Picture(image_grid(rows.reshape(-1, *shape), rows.shape[1]))]
        )
        if npz is not None:
            with npz.open("wb") as stream:
                np.savez_compressed(stream, given=given.images, **arrays)
        files = " and ".join(str(file) for file in (written, npz) if file is not None)
        say(f"wrote {rows.shape[0]} rows of {rows.shape[1]}, step {opened.step}, to {files}")

    parse(run, with_values(arguments, ("--invert",)), "genjax edit")


def _check_ways(ways: Mapping[str, bool], given: Mapping[str, Any], method: str) -> None:
    """Refuses several ways of editing, none, and what is of another than is asked for."""
    named = [way for way, is_named in ways.items() if is_named]
    if len(named) != 1:
        raise UserError(f"give one of {', '.join(ways)}, not {' and '.join(named) or 'none'}")
    fitting = {
        "--mask": {"repaint": ("--resamplings", "--jump"), "guided": ("--weight",)}[method],
        "--strength": (),
        "--invert": ("--frames",),
    }[named[0]]
    fitting += {"--mask": ("--method", "--n"), "--strength": ("--n",), "--invert": ()}[named[0]]
    for flag, value in given.items():
        if value is not None and flag not in fitting:
            way = f"{named[0]} by {method}" if named[0] == "--mask" else named[0]
            raise UserError(f"{flag} is {value}, which {way} does not have; leave it out")


def _check_number(flag: str, value: float | None, most: float) -> None:
    if value is not None and not 0 <= value <= most:
        raise UserError(f"{flag} is {value:g}; it must be at least 0, at most {most:g}")


def _changed(
    opened: "Run", given: "Given", condition: "HostCondition", change: "Change", seeds: range
) -> "tuple[np.ndarray, dict[str, Any]]":
    """Rows of a picture, [n, columns, ...], and arrays by name."""
    import numpy as np

    from genjax.run.editing import SDEdit, masked
    from genjax.run.editing import edit as make

    made = make(opened, given.images, condition, change, seeds, progress)
    first, arrays = [given.images], {"images": made}
    if not isinstance(change, SDEdit):
        first.append(masked(given.images, change.known))
        arrays["known"] = change.known[..., 0]
    return np.concatenate([np.stack(first, axis=1), made], axis=1), arrays


def _inverted(
    opened: "Run", given: "Given", condition: "HostCondition", frames: int | None
) -> "tuple[np.ndarray, dict[str, Any]]":
    """The same of images that are inverted; says how far they are from what comes of that."""
    import numpy as np

    from genjax.run.editing import between, invert

    if frames is not None and len(given.names) == 1:
        raise UserError(f"--frames is {frames}, but there is one image; give two or more")
    if frames is not None:
        for name, rows in condition.items():
            if (rows != rows[:1]).any():
                what, flag = _TOLD.get(name, (name, "--examples"))
                raise UserError(
                    f"--frames leads between images of one {what}; give {flag}, or others"
                )
    found = invert(opened, given.images, condition)
    apart = np.abs(np.int16(found.images) - given.images)
    sizes = np.linalg.norm(found.latents, axis=1) / found.latents.shape[1] ** 0.5
    for name, error, size in zip(given.names, apart.mean((1, 2, 3)), sizes, strict=True):
        say(f"{name}: decoded again {error:.3g} of 255 levels off, latent of size {size:.3g}")
    arrays = {"latents": found.latents}
    if frames is None:
        rows = np.stack([given.images, found.images, apart.astype(np.uint8)], axis=1)
        return rows, {**arrays, "images": found.images[:, None]}
    ways = between(opened, found, condition, frames)
    ends = given.images[:-1, None], given.images[1:, None]
    return np.concatenate([ends[0], ways, ends[1]], axis=1), {**arrays, "images": ways}
