"""Downloads, from a local server: official files, faults and a network that isn't there."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import socket
import struct
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from genjax.config import DataConfig
from genjax.data import corpora, importer, prepare, sources
from genjax.data.standard import STANDARD, Remote, Standard
from genjax.errors import UserError

Bytes = npt.NDArray[np.uint8]
RNG = np.random.default_rng(0)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serves a folder; gives the folder and its URL."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def publish(
    monkeypatch: pytest.MonkeyPatch, server: tuple[Path, str], name: str, files: dict[str, bytes]
) -> None:
    """Puts files on the server as the official ones of a set with 20 + 10 images."""
    remotes = []
    for file_name, content in files.items():
        (server[0] / file_name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        remotes.append(Remote(server[1] + file_name, len(content), digest))
    describe(monkeypatch, name, counts={"train": 20, "test": 10}, files=tuple(remotes))


def describe(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    table: dict[str, Standard] = {name: dataclasses.replace(STANDARD[name], **changes)}
    monkeypatch.setattr(importer, "STANDARD", table)
    monkeypatch.setattr(prepare, "STANDARD", table)


def pixels(*shape: int) -> Bytes:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def gzipped_idx(array: Bytes) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes())


def idx_files(train: Bytes, test: Bytes) -> dict[str, bytes]:
    files = {}
    for prefix, raw in (("train", train), ("t10k", test)):
        labels = np.arange(len(raw), dtype=np.uint8) % 10
        files[f"{prefix}-images-idx3-ubyte.gz"] = gzipped_idx(raw)
        files[f"{prefix}-labels-idx1-ubyte.gz"] = gzipped_idx(labels)
    return files


def check(directory: Path, name: str, train: Bytes, labels: Bytes) -> None:
    data = sources.load(DataConfig(name, directory=str(directory)))
    assert "label" in data.arrays
    given = sorted((x.tobytes(), int(y)) for x, y in zip(train, labels, strict=True))
    pairs = zip(data.arrays["image"], data.arrays["label"], strict=True)
    kept = sorted((x.tobytes(), int(y)) for x, y in pairs)
    assert kept == given


def test_mnist(tmp_path: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = pixels(20, 28, 28), pixels(10, 28, 28)
    publish(monkeypatch, server, "mnist", idx_files(train, test))
    result = prepare.prepare_dataset("mnist", tmp_path / "out")
    assert result.splits == {"train": 20, "test": 10}
    assert result.warnings == ()
    check(tmp_path / "out", "mnist", train, np.arange(20, dtype=np.uint8) % 10)
    with pytest.raises(UserError, match="already prepared in"):
        prepare.prepare_dataset("mnist", tmp_path / "out")


def test_cifar10(tmp_path: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    raw, labels = pixels(30, 32, 32, 3), np.arange(30, dtype=np.uint8) % 10
    planes = raw.transpose(0, 3, 1, 2).reshape(30, -1)
    records = np.concatenate([labels[:, None], planes], axis=1)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        parts = {f"data_batch_{i + 1}.bin": records[4 * i : 4 * i + 4] for i in range(5)}
        for name, part in {**parts, "test_batch.bin": records[20:]}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = part.nbytes
            archive.addfile(member, io.BytesIO(part.tobytes()))
    publish(monkeypatch, server, "cifar10", {"cifar-10-binary.tar.gz": stream.getvalue()})
    prepare.prepare_dataset("cifar10", tmp_path / "out")
    check(tmp_path / "out", "cifar10", raw[:20], labels[:20])


def test_text(tmp_path: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"To be, or not to be\n" * 20
    (server[0] / "input.txt").write_bytes(content)
    remote = Remote(f"{server[1]}input.txt", len(content), hashlib.sha256(content).hexdigest())
    small = dataclasses.replace(corpora.TEXTS["tinyshakespeare"], files=(remote,))
    monkeypatch.setitem(corpora.TEXTS, "tinyshakespeare", small)
    result = prepare.prepare_dataset("tinyshakespeare", tmp_path / "out")
    assert result.splits == {"train": 360, "test": 40}
    assert result.warnings == ()
    data = sources.load(DataConfig("tinyshakespeare", directory=str(tmp_path / "out")))
    assert data.count == 360 - 64 + 1
    with pytest.raises(UserError, match="already prepared in"):
        prepare.prepare_dataset("tinyshakespeare", tmp_path / "out")


def test_svhn(tmp_path: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy import io as scipy_io

    raw, files = pixels(30, 32, 32, 3), {}
    for split, part in (("train", raw[:20]), ("test", raw[20:])):
        stream = io.BytesIO()
        # MATLAB counts from 1, and 10 stands for the digit 0.
        labels = (np.arange(len(part)) % 10 + 1).astype(np.uint8)[:, None]
        content = {"X": np.moveaxis(part, 0, -1), "y": labels}
        scipy_io.savemat(stream, content, do_compression=True)
        files[f"{split}_32x32.mat"] = stream.getvalue()
    publish(monkeypatch, server, "svhn_cropped", files)
    prepare.prepare_dataset("svhn_cropped", tmp_path / "out")
    expected = (np.arange(20) + 1).astype(np.uint8) % 10
    check(tmp_path / "out", "svhn_cropped", raw[:20], expected)


def test_a_changed_file_is_refused(
    tmp_path: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, server, "mnist", idx_files(pixels(20, 28, 28), pixels(10, 28, 28)))
    path = server[0] / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"t10k-labels.*isn't the official file any more"):
        prepare.prepare_dataset("mnist", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_refused(
    tmp_path: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(monkeypatch, "mnist", files=(Remote(f"{server[1]}gone.gz", 1, ""),))
    with pytest.raises(UserError, match=r"cannot reach .*gone\.gz \(HTTP Error 404.*import mnist"):
        prepare.prepare_dataset("mnist", tmp_path / "out")


@pytest.mark.parametrize("silent", [True, False])
def test_no_network_is_reported_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """A port that nobody listens on, and one that takes connections but never answers."""
    with socket.socket() as quiet:
        quiet.bind(("127.0.0.1", 0))
        if silent:
            quiet.listen()
        url = f"http://127.0.0.1:{quiet.getsockname()[1]}/file.gz"
        describe(monkeypatch, "mnist", files=(Remote(url, 1, ""),))
        reason = "no answer in 4 s" if silent else "refused"
        message = f"cannot reach {url} .*{reason}.*data import mnist --from"
        with pytest.raises(UserError, match=message):
            prepare.prepare_dataset("mnist", tmp_path / "out")


def test_tfds_is_not_left_to_retry_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(host: str, *args: Any, **kwargs: Any) -> None:
        asked.append(host)
        raise socket.gaierror("no name server")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(UserError, match=r"cannot reach http.*data import kmnist --from"):
        prepare.prepare_dataset("kmnist", tmp_path / "out")
    assert len(asked) == 1
    assert not (tmp_path / "out" / "kmnist").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("no", name="tensorflow"), "needs tensorflow once: pip install"),
        (OSError("disk full\ndetails"), "could not prepare 'kmnist': disk full details; "),
    ],
)
def test_what_tfds_raises_becomes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    import tensorflow_datasets as tfds

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(prepare, "_reach", lambda url, name: io.BytesIO())
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match=message) as caught:
        prepare.prepare_dataset("kmnist", tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("digits", "embedded"), ("mnits", "did you mean 'mnist'"), ("a:b", "unknown data set")],
)
def test_names_without_a_download(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare.prepare_dataset(name, tmp_path / "out")
