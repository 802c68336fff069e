"""Images that samples are made from: pictures, examples, or samples of the run before in a cascade.

They are of the size of what a run makes, and what it is given is derived of them as in training; or
they are that already, such as pictures with fewer pixels that are to be enlarged.
"""

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from genjax.core.captions import CAPTION
from genjax.core.schema import Source, Spec
from genjax.data.classes import names_of
from genjax.data.given import read_as_they_are
from genjax.domains.derivations import derive_stored, in_words
from genjax.domains.image import scale_images
from genjax.errors import UserError
from genjax.families.registry import make_spec
from genjax.run.conditions import conditions_of_rows
from genjax.run.directory import read_config, read_schema
from genjax.run.opening import open_named, parse_run
from genjax.run.sampling import HostCondition, RunSamples, sample_run

_MOST = 256


def spec_of(directory: Path) -> Spec:
    """What a run's model knows of its data; raises UserError where it is no run."""
    return make_spec(read_config(directory), read_schema(directory))


def maps_of(
    spec: Spec, images: Sequence[UInt8[np.ndarray, "_ _ _"]], names: Sequence[str]
) -> HostCondition:
    """What a model is given for images.

    Args:
      spec: of its data, of which something is derived.
      images: uint8 [height, width, channels] each, all as large as what it makes, or as the one map
        that it is given.
      names: of the images, for messages.

    Returns:
      float32 in [-1, 1], [n, height, width, channels], by field.

    Raises:
      UserError: the model takes none, or an image is of another size, or they are of both.
    """
    if not spec.derive:
        raise UserError("images are given, but the model makes nothing of images; leave them out")
    fields = {name: spec.fields[name] for name in spec.derived}
    whole = [image.shape == spec.shape for image in images]
    if all(whole):
        return derive_stored(spec, np.stack(images))
    ready = len(fields) == 1 and next(iter(fields.values())).shape
    for name, image, is_whole in zip(names, images, whole, strict=True):
        if image.shape != ready and not (is_whole and not ready):
            height, width, channels = spec.shape
            raise UserError(
                f"{name} has {_size(image.shape)}, but images are made from {in_words(fields)}"
                f" with {channels} channels, or from what is derived of images of {width} x "
                f"{height}; give all of one of these sizes"
            )
    return {name: np.asarray(scale_images(jnp.asarray(np.stack(images)))) for name in fields}


def maps_in_files(spec: Spec, paths: Sequence[Path]) -> HostCondition:
    """`maps_of` PNG or JPEG files, folders of such, and .npz files, which are not resized."""
    return maps_of(spec, *read_as_they_are(paths, spec.shape[-1], _MOST))


def conditions_of_examples(
    spec: Spec, held_out: Source | None, numbers: Sequence[int]
) -> HostCondition:
    """What examples of a split that nothing learnt from are made from, labels and captions too.

    Args:
      spec: of a model.
      held_out: the split, or None.
      numbers: of the examples, from 0.

    Returns:
      Arrays [n, ...] by field.

    Raises:
      UserError: there is no such split, or no such example.
    """
    if held_out is None:
        raise UserError("--examples are of a test split, which these data do not have")
    wrong = [number for number in numbers if not 0 <= number < held_out.count]
    if wrong or len(numbers) > _MOST:
        raise UserError(
            f"--examples is {wrong[0]}; it must be at least 0, at most {held_out.count - 1}"
            if wrong
            else f"there are {len(numbers)} examples; at most {_MOST} are taken at once"
        )
    return conditions_of_rows(spec, held_out, np.array(numbers))


def next_stage(then: str) -> Spec:
    """What a run that takes samples of another one knows of its data.

    Args:
      then: the run, see `enlarge`.

    Returns:
      The spec.

    Raises:
      UserError: it is no run, takes no images, lacks the checkpoint, or has other weights.
    """
    named = parse_run(then)
    spec = spec_of(named.folder)
    if not spec.derive:
        raise UserError(
            f"--then is {then}, which makes nothing of images; name a run whose data.derive is set"
        )
    # Refuses a missing checkpoint and other weights before anything is drawn.
    open_named(then, "--then")
    return spec


def enlarge(drawn: RunSamples, then: str, seed: int, average: bool) -> RunSamples:
    """Makes of each sample of a run one of another, which is given it, as a cascade's next stage.

    Args:
      drawn: samples of images.
      then: the other run: FOLDER, FOLDER@best or FOLDER@STEP.
      seed: of the series.
      average: sample from the moving average of the parameters where the run keeps one.

    Returns:
      Its samples; with the labels and captions of the others, which it is given if it takes some.

    Raises:
      UserError: it takes no images, or others, or labels or captions that the samples lack.

    Reference: Ho et al. 2022 (Cascaded Diffusion Models).
    """
    stage = parse_run(then)
    spec, schema = next_stage(then), read_schema(stage.folder)
    if drawn.schema.domain != "image":
        raise UserError(f"--then is {then}, which takes images, not {drawn.schema.domain}")
    names = [f"sample {number}" for number in range(len(drawn.samples))]
    given = dict(maps_of(spec, list(drawn.samples), names))
    if spec.classes:
        if drawn.labels is None or drawn.names != names_of(schema):
            raise UserError(f"--then is {then}, which needs labels that the samples do not have")
        given["label"] = drawn.labels
    if CAPTION in spec.given and not drawn.prompts:
        raise UserError(f"--then is {then}, which needs captions that the samples do not have")
    prompts = drawn.prompts if CAPTION in spec.given else ()
    made = sample_run(
        stage.folder, seed, stage.which, len(names), average=average, prompts=prompts, given=given
    )
    return made._replace(labels=drawn.labels, names=drawn.names, prompts=drawn.prompts)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels and {shape[2]} channels"
