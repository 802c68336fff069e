"""Downloads standard data sets and prepares them; the only module here that uses the network."""

import contextlib
import dataclasses
import hashlib
import http.client
import queue
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from genjax.data import importer, prepared, stored
from genjax.data.bundled import SOURCES
from genjax.data.corpora import remote_files
from genjax.data.imports import Imported, in_words
from genjax.data.progress import Progress, no_progress
from genjax.data.standard import STANDARD, Remote
from genjax.errors import UserError, reason

_REACH_SECONDS = 4.0
_STALL_SECONDS = 30.0
_CHUNK = 1 << 20


def prepare_dataset(
    name: str, directory: str | Path | None = None, progress: Progress = no_progress
) -> Imported:
    """Downloads a data set and prepares it.

    MNIST, Fashion-MNIST, CIFAR-10, SVHN and tinyshakespeare come from their official addresses,
    with checksums, and need no TensorFlow. Any other data set is prepared by TensorFlow Datasets'
    own code, which may need TensorFlow this once.

    Args:
      name: the data set.
      directory: folder of prepared data sets; None means TFDS_DATA_DIR or ~/tensorflow_datasets.
      progress: shows how far the download and the import are.

    Returns:
      A summary.

    Raises:
      UserError: the network cannot be reached, a download differs from its checksum, the set is
        unknown, or it is prepared already.
    """
    if name in SOURCES:
        where = SOURCES[name].where
        raise UserError(f"{name!r} is embedded in {where} and needs no preparation")
    root = prepared.data_directory(directory)
    present = prepared.find(name, root) or stored.find(name, root)
    if present:
        raise UserError(
            f"{name!r} is already prepared in {present.path}; delete that folder to do it again"
        )
    files = remote_files(STANDARD).get(name)
    if files is None:
        return _prepare_by_tfds(name, root)
    if not files:
        raise UserError(f"genjax can't download {name!r}; {_alternative(name)}")
    with tempfile.TemporaryDirectory() as temporary:
        for remote in files:
            _download(remote, Path(temporary), name, progress)
        result = importer.import_dataset(name, Path(temporary), root, progress)
    # The files' checksums were right, which is more than comparing the contents could say.
    return dataclasses.replace(result, warnings=())


def _prepare_by_tfds(name: str, root: Path) -> Imported:
    tfds = prepared.import_tfds()
    builders = prepared.list_builders()
    if name.split("/")[0] not in builders:
        raise prepared.unknown(name, builders)
    try:
        builder = tfds.builder(name, data_dir=str(root))
        addresses = list(builder.url_infos) or ["https://storage.googleapis.com/"]
        for origin in sorted({urljoin(url, "/") for url in addresses}):
            _reach(origin, name).close()
        builder.download_and_prepare(file_format=prepared.FILE_FORMAT)
        prepared.write_checksums(Path(builder.data_dir))
    except UserError:
        raise
    except ImportError as error:
        raise UserError(
            f"preparing {name!r} needs {_package(error)} once: pip install {_package(error)}, "
            "then run this again; training never needs it"
        ) from error
    # TFDS has no common base for what its builders raise.
    except Exception as error:
        raise UserError(
            f"TensorFlow Datasets could not prepare {name!r}: {reason(error)}; {_alternative(name)}"
        ) from error
    features = dict(builder.info.features.items())
    label = features.get("label")
    image = features.get("image")
    shape = tuple(image.shape) if image else (None, None, 3)
    classes = int(getattr(label, "num_classes", 0) or 0)
    return Imported(
        name,
        Path(builder.data_dir),
        {key: split.num_examples for key, split in builder.info.splits.items()},
        in_words(shape, classes),
        shape,
        classes,
        tuple(getattr(label, "names", None) or ()),
        warnings=() if image else (f"{name} has no feature 'image', so genjax cannot load it",),
    )


def _package(error: ImportError) -> str:
    return error.name.split(".")[0] if error.name else "tensorflow"


def _download(remote: Remote, folder: Path, name: str, progress: Progress) -> None:
    """Downloads a file and checks it."""
    file_name = urlsplit(remote.url).path.rpartition("/")[2]
    digest, size = hashlib.sha256(), 0

    def chunks(response: Any) -> Iterator[bytes]:
        while chunk := response.read(_CHUNK):
            yield chunk

    try:
        with (
            contextlib.closing(_reach(remote.url, name)) as response,
            (folder / file_name).open("wb") as file,
        ):
            total = -(-remote.size // _CHUNK)
            for chunk in progress(chunks(response), f"downloading {file_name}", total):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"the download of {remote.url} broke off: {error}; run this again, or "
            f"{_alternative(name)}"
        ) from error
    if (size, digest.hexdigest()) != (remote.size, remote.sha256):
        raise UserError(
            f"{remote.url} isn't the official file any more: {size} bytes, sha256 "
            f"{digest.hexdigest()[:12]}..., expected {remote.size}, {remote.sha256[:12]}...; "
            f"{_alternative(name)}"
        )


def _reach(url: str, name: str) -> Any:
    """Opens a URL, giving up after a few seconds whatever name servers and routers do."""
    # Looking up a name has no timeout of its own, so it happens in a thread that can be left.
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=_STALL_SECONDS))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=_REACH_SECONDS)
    except queue.Empty:
        answer = TimeoutError(f"no answer in {_REACH_SECONDS:g} s")
    if isinstance(answer, urllib.error.HTTPError) and urlsplit(url).path == "/":
        return answer  # The host is there, even if it shows nothing at its root.
    if isinstance(answer, Exception):
        refused = isinstance(answer, urllib.error.HTTPError)
        reason = answer if refused else getattr(answer, "reason", None) or answer
        raise UserError(f"cannot reach {url} ({reason}); {_alternative(name)}") from answer
    return answer


def _alternative(name: str) -> str:
    return f"with files you have: genjax data import {name.split('/')[0]} --from DIR"
