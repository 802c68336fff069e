"""Faulty sources: each is accepted properly, or refused by name with nothing left behind."""

import gzip
import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from in_process import genjax, refusal
from PIL import Image

from genjax.config import DataConfig
from genjax.data import sources
from genjax.data.prepared import scan

IMAGES = (np.arange(6 * 8 * 8) % 251).astype(np.uint8).reshape(6, 8, 8)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)
PNG = b"\x89PNG\r\n\x1a\n"


def encode(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def idx(fault: Callable[[bytes], bytes], which: str = "images", suffix: str = "") -> Callable:
    """A pair of IDX files; `fault` changes one of them."""

    def write(folder: Path) -> Path:
        paths = {}
        for kind, array in (("images", IMAGES), ("labels", LABELS)):
            paths[kind] = folder / f"train-{kind}-idx{array.ndim}-ubyte{suffix}"
            content = encode(array)
            paths[kind].write_bytes(gzip.compress(content, mtime=0) if suffix else content)
        paths[which].write_bytes(fault(paths[which].read_bytes()))
        return paths[which]

    return write


def file(name: str, content: bytes, culprit: str | None = None) -> Callable:
    """A file beside images of two classes; the culprit is the file unless it says otherwise."""

    def write(folder: Path) -> Path:
        for label in ("cat", "dog"):
            (folder / label).mkdir()
            Image.fromarray(IMAGES[0]).save(folder / label / "0.png")
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path if culprit is None else folder / culprit

    return write


def made(name: str, make: Callable[[Path], object]) -> Callable:
    """Something else than a file beside images of two classes."""

    def write(folder: Path) -> Path:
        file("cat/1.png", png("L"))(folder)
        make(folder / name)
        return folder / name

    return write


def png(mode: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (8, 8)).save(stream, "PNG", **options)
    return stream.getvalue()


def archive(name: str, content: dict[str, bytes]) -> Callable:
    """A zip file whose members need not be arrays."""

    def write(folder: Path) -> Path:
        with zipfile.ZipFile(folder / name, "w") as zipped:
            for member, data in content.items():
                zipped.writestr(member, data)
        return folder / name

    return write


def npy(header: str) -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text


def npz(**arrays: np.ndarray) -> Callable:
    def write(folder: Path) -> Path:
        np.savez(folder / "set.npz", **arrays)
        return folder / "set.npz"

    return write


def changed(write: Callable, fault: Callable[[bytes], bytes]) -> Callable:
    def write_changed(folder: Path) -> Path:
        path = write(folder)
        path.write_bytes(fault(path.read_bytes()))
        return path

    return write_changed


def cifar(label: int = 9, odd: tarfile.TarInfo | None = None, cut: int = 0) -> Callable:
    """CIFAR-10's archive with two images a batch, and perhaps with an odd member."""

    def write(folder: Path) -> Path:
        path = folder / "cifar-10-binary.tar.gz"
        batch = (bytes([0]) + bytes(3072) + bytes([label]) + bytes(3072))[: 6146 - cut]
        with tarfile.open(path, "w:gz") as tar:
            for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = len(batch)
                tar.addfile(member, io.BytesIO(batch))
            if odd is not None:
                tar.addfile(odd, io.BytesIO(bytes(odd.size)))
        return path

    return write


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 6146) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    info.size = size if kind == tarfile.REGTYPE else 0
    return info


def svhn(labels: list[int]) -> Callable:
    def write(folder: Path) -> Path:
        from scipy import io as scipy_io

        path = folder / "train_32x32.mat"
        content = {"X": np.zeros((32, 32, 3, len(labels)), np.uint8), "y": np.array([labels]).T}
        scipy_io.savemat(path, content)
        return path

    return write


def flip(content: bytes) -> bytes:
    """Changes a bit in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


ANIMATED = png("L", save_all=True, append_images=[Image.new("L", (8, 8), 9)])
NOT_UTF8 = os.fsdecode(b"\xff")
BAD = "bad\nname \x1b[31m.png"
GOOD_NPZ = npz(images=IMAGES, labels=LABELS)
HUGE = "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999, 8, 8)}"

FAULTS = {
    "idx, truncated": (idx(half), "truncated"),
    "idx, cut in its header": (idx(lambda x: x[:9]), "header"),
    "idx, empty": (idx(lambda x: b""), "no IDX file"),
    "idx, wrong magic": (idx(lambda x: b"\x12" + x[1:]), "no IDX file"),
    "idx, floats": (idx(lambda x: x[:2] + b"\x0d" + x[3:]), "0x0d"),
    "idx, huge header": (idx(lambda x: x[:4] + b"\xff" * 12 + x[16:]), "truncated"),
    "idx, trailing bytes": (idx(lambda x: x + b"x"), "trailing"),
    "idx, fewer labels": (idx(lambda x: encode(LABELS[:-1]), "labels"), "6 images but"),
    "idx, labels of rank 3": (idx(lambda x: encode(IMAGES), "labels"), "3 dimensions"),
    "gzip, truncated": (idx(half, suffix=".gz"), "cannot read"),
    "gzip, a bit flipped": (idx(flip, suffix=".gz"), "cannot read"),
    "gzip, wrong checksum": (idx(lambda x: x[:-8] + b"12345678", suffix=".gz"), "cannot read"),
    "npz, truncated": (changed(GOOD_NPZ, half), "cannot read"),
    "npz, a bit flipped": (changed(GOOD_NPZ, flip), "cannot read"),
    "npz, empty": (file("set.npz", b""), "cannot read"),
    "npz, one array": (file("set.npz", npy(HUGE.replace("99999999999999", "0"))), "one array"),
    "npz, text": (archive("set.npz", {"images": b"not an array"}), "type |S12"),
    "npz, header nested": (archive("set.npz", {"images.npy": npy("-" * 9000 + "1")}), "cannot"),
    "npz, header lies": (archive("set.npz", {"images.npy": npy(HUGE)}), "cannot read"),
    "npz, labels below 0": (npz(images=IMAGES, labels=LABELS.astype(int) - 1), "from -1 to 1"),
    "npz, labels too large": (npz(images=IMAGES, labels=LABELS.astype(int) * 99999), "199998"),
    "image, 0 bytes": (file(f"cat/{BAD}", b""), "0 bytes"),
    "image, truncated": (file("cat/a b.png", half(png("RGB"))), "cannot read the image"),
    "image, a bit flipped": (file("cat/é.png", flip(png("RGB"))), "cannot read the image"),
    "image, text": (file("cat/x.jpeg", b"hello"), "neither PNG nor JPEG"),
    "image, only a signature": (file("cat/x.png", PNG), "cannot read the image"),
    "image, animated": (file(f"cat/{BAD}", ANIMATED), "animated"),
    "image, 16 bits": (file("cat/x.png", png("I;16")), "8 bits"),
    "image, other suffix": (file("cat/x.tiff", b"II*\0"), "isn't PNG or JPEG"),
    "link, to itself": (made("dog/x.png", lambda p: p.symlink_to(p)), "leads nowhere"),
    "link, to nothing": (made("bird", lambda p: p.symlink_to("nowhere")), "leads nowhere"),
    "link, to a folder above": (made("dog/up", lambda p: p.symlink_to("..")), "class folder"),
    "named pipe": (made("dog/x.png", os.mkfifo), "is no file"),
    "class, empty": (made("bird", Path.mkdir), "is empty"),
    "class, line break": (file("a\nb/0.png", png("L"), "a\nb"), "can't name a class"),
    "class, space at its end": (file("cat /0.png", png("L"), "cat "), "can't name a class"),
    "class, not UTF-8": (file(NOT_UTF8 + "/0.png", png("L"), NOT_UTF8), "can't name a class"),
    "tar, truncated": (changed(cifar(), half), "cannot read"),
    "tar, not gzipped": (changed(cifar(), gzip.decompress), "cannot read"),
    "tar, batch cut": (cifar(cut=1), "truncated batch"),
    "tar, label 10": (cifar(label=10), "label 10"),
    "tar, upwards": (cifar(odd=member("a/../../data_batch_1.bin")), "leads out"),
    "tar, absolute": (cifar(odd=member("/tmp/data_batch_1.bin")), "leads out"),
    "tar, symbolic link": (cifar(odd=member("data_batch_1.bin", tarfile.SYMTYPE)), "is a link"),
    "tar, hard link": (cifar(odd=member("data_batch_1.bin", tarfile.LNKTYPE)), "is a link"),
    "tar, device": (cifar(odd=member("data_batch_1.bin", tarfile.CHRTYPE)), "or a device"),
    "tar, too large": (cifar(odd=member("data_batch_1.bin", size=40_000_000)), "40000000"),
    "mat, text": (file("train_32x32.mat", b"hello"), "cannot read"),
    "mat, label 0": (svhn([0, 1]), "labels from 0 to 1"),
    "mat, label 11": (svhn([1, 11]), "labels from 1 to 11"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_refused_by_name_and_leave_nothing(tmp_path: Path, name: str) -> None:
    write, message = FAULTS[name]
    (tmp_path / "raw").mkdir()
    bad = write(tmp_path / "raw")
    arguments = ("--from", tmp_path / "raw", "--directory", tmp_path / "out")
    line = refusal("data", "import", "mine", *arguments)
    assert message in line
    assert repr(bad.name)[1:-1] in line
    assert not [path for path in tmp_path.rglob("out/**/*") if not path.is_dir()]
    assert scan(tmp_path / "out") == []


def test_odd_files_that_are_images_are_read(tmp_path: Path) -> None:
    """CMYK, palettes, transparency, links, and names with spaces, breaks and other scripts."""
    red, blue = tmp_path / "raw" / "red and more", tmp_path / "raw" / "синий"
    red.mkdir(parents=True)
    blue.mkdir()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(red / "a\nb.jpg", quality=100)
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(red / "a b.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).quantize(4).save(red / os.fsdecode(b"\xff.PNG"))
    Image.new("RGB", (8, 8), (0, 0, 255)).save(blue / "\u202e1.png")
    (blue / "-link.png").symlink_to("\u202e1.png")
    directory = tmp_path / "out"
    outcome = genjax("data", "import", "odd", "--from", tmp_path / "raw", "--directory", directory)
    assert outcome.status == 0, outcome
    assert "train 5 images of 8x8x3, 2 classes" in outcome.out
    data = sources.load(DataConfig("odd", directory=str(directory)))
    assert data.schema.classes == 2
    colours = np.array([[255, 0, 0], [0, 0, 255]])
    assert sorted(data.arrays["label"]) == [0, 0, 0, 1, 1]
    # JPEG and its CMYK are exact to a few steps.
    difference = data.arrays["image"].astype(int) - colours[data.arrays["label"]][:, None, None]
    assert np.abs(difference).max() <= 3


def test_images_of_mixed_sizes(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for side in (8, 12):
        Image.new("L", (side, side + 1), 77).save(tmp_path / "raw" / f"{side}.png")
    directory = ("--directory", tmp_path / "out")
    assert genjax("data", "import", "mixed", "--from", tmp_path / "raw", *directory).status == 0
    chosen = ("--data.name", "mixed", "--data.directory", tmp_path / "out")
    line = refusal("train", *chosen, "--out", tmp_path / "run")
    assert "'mixed' has images of several sizes" in line
    assert "--data.resolution" in line
    assert not (tmp_path / "run").exists()
    data = sources.load(DataConfig("mixed", resolution=8, directory=str(tmp_path / "out")))
    assert data.arrays["image"].shape == (2, 8, 8, 1)
    assert (data.arrays["image"] == 77).all()
