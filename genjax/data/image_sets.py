"""Turns images into a prepared data set, without TensorFlow.

The result is a data set of TensorFlow Datasets like any other: a standard set is stored under its
standard version with its standard features, so that other programs read it by its name too.
"""

import collections
import dataclasses
import hashlib
import os
import shutil
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from genjax.data import images, prepared, readers, stored
from genjax.data.classes import number_classes
from genjax.data.imports import Imported, Request, in_words
from genjax.data.progress import Progress
from genjax.data.raw import Raw, RawSplit
from genjax.data.standard import Standard, content_hash
from genjax.errors import UserError, reason


def import_images(request: Request, standard: Standard | None) -> Imported:
    """Imports images, which become 8-bit grey, if all of them are, or RGB.

    Args:
      request: what is asked for.
      standard: what is known of the set of that name, whose size, shape and classes they must have.

    Returns:
      A summary.

    Raises:
      UserError: the source cannot be used. Nothing is stored then.
    """
    resolution = request.checked_resolution
    raw = readers.read(request.source, standard, resolution, request.progress)
    warnings: tuple[str, ...] = ()
    if standard is None:
        raw, renumbered = number_classes(raw)
        warnings = () if renumbered is None else (renumbered,)
    classes = _count_classes(raw)
    if standard:
        if not standard.class_names:
            raw = _without_labels(raw)
        _check_standard(request.name, standard, raw)
        classes = len(standard.class_names)
        warnings = _compare_contents(request.name, standard, raw)
    path = _store(request, standard, raw, classes)
    counts = {key: split.count for key, split in raw.splits.items()}
    unit = in_words(raw.shape, classes)
    warnings += raw.warnings
    names = (standard.class_names if standard else raw.class_names) or ()
    return Imported(request.name, path, counts, unit, raw.shape, classes, names, warnings)


def _without_labels(raw: Raw) -> Raw:
    """The images alone: folders that only hold so many of them each are no classes."""
    splits = {key: dataclasses.replace(split, labels=None) for key, split in raw.splits.items()}
    return dataclasses.replace(raw, splits=splits, class_names=None)


def _count_classes(raw: Raw) -> int:
    if raw.class_names is not None:
        return len(raw.class_names)
    maxima = [int(s.labels.max()) for s in raw.splits.values() if s.labels is not None]
    return max(maxima) + 1 if maxima else 0


def _check_standard(name: str, standard: Standard, raw: Raw) -> None:
    counts = {key: split.count for key, split in raw.splits.items()}
    for what, given, expected in (
        ("numbers of images", counts, dict(standard.counts)),
        ("images of shape", raw.shape, standard.shape),
    ):
        if given != expected:
            raise UserError(
                f"the source has {what} {given} but {name!r} has {expected}; "
                "import it under another name"
            )
    for key, split in raw.splits.items() if standard.class_names else ():
        if split.labels is None:
            raise UserError(
                f"the source has no labels but {name!r} has; import it under another name"
            )
        if split.labels.max() >= len(standard.class_names):
            raise UserError(
                f"{key} holds label {split.labels.max()} but {name!r} has 0 to "
                f"{len(standard.class_names) - 1}; import it under another name"
            )


def _compare_contents(name: str, standard: Standard, raw: Raw) -> tuple[str, ...]:
    def equal(key: str, split: RawSplit) -> bool | None:
        if split.array is None or split.labels is None or key not in standard.contents:
            return None
        return content_hash(split.array, split.labels) == standard.contents[key]

    results = {key: equal(key, split) for key, split in raw.splits.items()}
    warnings = []
    for result, how in ((False, "differ from"), (None, "could not be compared with")):
        keys = [key for key, value in results.items() if value is result]
        if keys:
            warnings.append(
                f"the images or labels of {' and '.join(keys)} {how} the official {name}: scores "
                "on them may not compare with published ones"
            )
    return tuple(warnings)


def _store(request: Request, standard: Standard | None, raw: Raw, classes: int) -> Path:
    name, root, progress = request.name, request.directory, request.progress
    if not _is_text(root):
        raise UserError(
            f"cannot store {name!r} in {root}: array_record takes no path that isn't UTF-8; choose "
            "another --directory"
        )
    tfds = prepared.import_tfds()
    tfds.disable_progress_bar()
    features = _features(tfds, standard, raw, classes)
    labelled = "label" in features
    # The official files of a standard set have an order. What else there is, is stored in one that
    # depends on the examples alone: TFDS sorts by the hash of a key, which is made of them.
    official = standard is not None and all(s.array is not None for s in raw.splits.values())

    def info(self: Any) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Imported by genjax.",
            features=features,
            supervised_keys=("image", "label") if labelled else None,
            disable_shuffling=official,
        )

    def splits(self: Any, manager: Any) -> Any:
        return {
            key: _examples(key, split, standard, official, f"storing {name} {key}", progress)
            for key, split in raw.splits.items()
        }

    members = {
        "VERSION": tfds.core.Version(standard.version if standard else stored.VERSION),
        "name": name,
        "_info": info,
        "_split_generators": splits,
        "_generate_examples": _examples,
        # TFDS announces a download here, on stdout.
        "_log_download_bytes": lambda self: None,
        "_log_download_done": lambda self: None,
    }
    builder_class = types.new_class(
        "Imported",
        (tfds.core.GeneratorBasedBuilder,),
        {"skip_registration": True},
        lambda namespace: namespace.update(members),
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        builder = builder_class(data_dir=os.fspath(root), file_format=prepared.FILE_FORMAT)
        with tempfile.TemporaryDirectory() as unused:
            builder.download_and_prepare(download_dir=unused)
        try:
            prepared.write_checksums(Path(builder.data_dir))
        except BaseException:
            shutil.rmtree(builder.data_dir)
            raise
    # array_record raises the second where a disk is full.
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot store {name!r} in {root}: {reason(error)}") from error
    return Path(builder.data_dir)


def _is_text(path: Path) -> bool:
    """Whether a path is more than bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _features(tfds: Any, standard: Standard | None, raw: Raw, classes: int) -> Any:
    # PNG and not raw bytes: another program reading a standard set decodes it with the features
    # of its own definition, which are Image.
    features = {"image": tfds.features.Image(shape=raw.shape, encoding_format="png")}
    names = standard.class_names if standard else raw.class_names
    if names:
        features["label"] = tfds.features.ClassLabel(names=names)
    elif classes:
        features["label"] = tfds.features.ClassLabel(num_classes=classes)
    if standard and standard.id_digits:
        features["id"] = tfds.features.Text()
    return tfds.features.FeaturesDict(features)


def _examples(
    key: str,
    split: RawSplit,
    standard: Standard | None,
    official: bool,
    description: str,
    progress: Progress,
) -> Iterator[tuple[int | str, dict[str, Any]]]:
    digits = standard.id_digits if standard else None
    seen: collections.Counter[str] = collections.Counter()
    for position in progress(range(split.count), description, split.count):
        image = split.read(position)
        example: dict[str, Any] = {"image": images.encode(image)}
        if split.labels is not None:
            example["label"] = int(split.labels[position])
        if digits:
            example["id"] = f"{key}_{position:0{digits}d}"
        if official:
            yield position, example
            continue
        digest = _digest(image, example.get("label"))
        # No two examples may have one key.
        yield f"{digest}-{seen[digest]}", example
        seen[digest] += 1


def _digest(image: images.Image, label: int | None) -> str:
    digest = hashlib.blake2b(f"{image.shape} {label} ".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
