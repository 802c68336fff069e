"""Turns WAV files into a stored set of recordings."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np

from genjax.data import folders, stored
from genjax.data.corpora import RECORDINGS, SAMPLES, StandardRecordings
from genjax.data.digest import ragged_digest
from genjax.data.imports import Imported, Request
from genjax.data.schema import audio_schema
from genjax.data.sounds import MOST_RATE, Header, read_header, read_sound
from genjax.errors import UserError

ACCEPTED = (
    "accepted: a folder of .wav, with labels.csv beside them or in folders named by class, perhaps "
    "below train/, validation/ and test/"
)
"""What an import of sound accepts, for errors."""

_KIND = folders.Kind((".wav",), "WAV", "sounds", ACCEPTED)


class _Listed(NamedTuple):
    """The recordings of a split, with their labels if any."""

    paths: Sequence[Path]
    labels: np.ndarray | None


class _Stream:
    """An array on the disk that grows; its file is whole once it is closed."""

    def __init__(self, path: Path) -> None:
        self._path, self._size = path, 0
        self._file: BinaryIO = path.open("wb")
        self._write_header()

    def append(self, wave: np.ndarray) -> None:
        """Adds samples, int16 [n]."""
        self._file.write(wave.astype("<i2").tobytes())
        self._size += len(wave)

    def _write_header(self) -> None:
        # NumPy leaves room in it for any number.
        described = {"descr": "<i2", "fortran_order": False, "shape": (self._size,)}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, described)

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if error is None:
                self._write_header()


def import_recordings(request: Request) -> Imported:
    """Imports a folder of WAV files, whole; how much of each is an example is said when it is read.

    Args:
      request: what is asked for.

    Returns:
      A summary.

    Raises:
      UserError: a file is no usable sound, or the folder isn't laid out so. Nothing is stored then.
    """
    if request.source.is_file():
        raise UserError(f"{request.source} is one file; {ACCEPTED}")
    rate = request.rate
    if rate is not None and not 1 <= rate <= MOST_RATE:
        raise UserError(f"rate must be at least 1, at most {MOST_RATE:,}, got {rate}")
    standard = RECORDINGS.get(request.name)
    if standard is None:
        splits, names, warnings = _list_own(request.source)
    else:
        splits, names = _list_standard(request.name, request.source, standard), standard.class_names
        warnings = ()
    paths = [path for listed in splits.values() for path in listed.paths]
    steps = request.progress(paths, "looking at sounds", len(paths))
    headers = {path: read_header(path) for path in steps}
    rate = rate or (standard.rate if standard else _common_rate(headers))
    classes = len(names or ())
    described = {}
    with stored.storing(request.name, request.directory) as folder:
        for split, listed in splits.items():
            (folder / split).mkdir()
            words = f"storing {request.name} {split}"
            steps = request.progress(listed.paths, words, len(listed.paths))
            lengths = []
            with _Stream(folder / split / "audio.npy") as stream:
                for path in steps:
                    wave = read_sound(path, rate)
                    if not len(wave):
                        raise UserError(f"{path} has no sample left at {rate:,} Hz; remove it")
                    stream.append(wave)
                    lengths.append(len(wave))
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            np.save(folder / split / "offsets.npy", offsets)
            if listed.labels is not None:
                np.save(folder / split / "label.npy", listed.labels)
            digest = ragged_digest(_examples(folder / split, offsets, listed.labels))
            described[split] = stored.Split(len(listed.paths), digest)
        stored.describe(folder, audio_schema(SAMPLES, rate, classes, names), described)
    counts = {split: value.count for split, value in described.items()}
    return Imported(
        request.name,
        request.directory / request.name / stored.VERSION,
        counts,
        f"recordings at {rate:,} Hz, {classes} classes",
        classes=classes,
        class_names=names or (),
        warnings=(*warnings, *_compare(request.name, standard, counts)),
    )


def _list_own(
    source: Path,
) -> tuple[dict[str, _Listed], tuple[str, ...] | None, tuple[str, ...]]:
    found = folders.find(source, _KIND)
    splits = {
        split: _Listed(paths, found.labels.get(split)) for split, paths in found.files.items()
    }
    return splits, found.class_names, found.warnings


def _list_standard(name: str, source: Path, standard: StandardRecordings) -> dict[str, _Listed]:
    folder = source / standard.folder
    folder = folder if folder.is_dir() else source
    found: dict[str, list[tuple[tuple[int | str, ...], int, Path]]] = {}
    for path in folders.entries(folder, _KIND.suffixes)[1]:
        match = standard.pattern.fullmatch(path.name)
        if match is not None:
            place = standard.place(match)
            found.setdefault(place.split, []).append((place.order, place.label, path))
        elif path.suffix.lower() in _KIND.suffixes:
            raise UserError(
                f"{path} isn't named as in {name}; rename it, or import it under another name"
            )
    missing = [split for split in standard.counts if split not in found]
    if missing:
        raise UserError(f"{folder} holds nothing of {name}'s split {missing[0]}; {ACCEPTED}")
    return {
        split: _Listed(
            [path for *_, path in sorted(found[split])],
            np.array([label for _, label, _ in sorted(found[split])], np.int32),
        )
        for split in standard.counts
    }


def _common_rate(headers: Mapping[Path, Header]) -> int:
    first = next(iter(headers))
    for path, header in headers.items():
        if header.rate != headers[first].rate:
            raise UserError(
                f"{first} has {headers[first].rate:,} samples a second and {path} {header.rate:,}; "
                "choose one rate with --rate"
            )
    return headers[first].rate


def _examples(
    folder: Path, offsets: np.ndarray, labels: np.ndarray | None
) -> Iterator[dict[str, np.ndarray]]:
    audio = np.load(folder / "audio.npy", mmap_mode="r")
    for number, (start, end) in enumerate(itertools.pairwise(offsets)):
        label = {} if labels is None else {"label": labels[number]}
        yield {"audio": audio[start:end], **label}


def _compare(
    name: str, standard: StandardRecordings | None, counts: Mapping[str, int]
) -> tuple[str, ...]:
    if standard is None or counts == standard.counts:
        return ()
    return (
        f"{name} has {dict(standard.counts)} recordings, these are {dict(counts)}: scores on them "
        "may not compare with published ones",
    )
