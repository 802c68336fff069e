"""Archives: unpacked beside the data sets, and refused where they lead out, lie or are damaged."""

import io
import lzma
import os
import shutil
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from in_process import refusal
from PIL import Image

from genjax.config import DataConfig
from genjax.data import archives
from genjax.data.importer import import_dataset
from genjax.data.sources import load

TEXT = "".join(f"{number} green bottles\n" for number in range(100)).encode()
MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def member(name, content=b"", kind=tarfile.REGTYPE, link="", size=None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content) if size is None else size
    return info, content


def pack(path, *members):
    with tarfile.open(path, MODES["".join(path.suffixes)]) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def png(shade, size=8):
    stream = io.BytesIO()
    Image.new("L", (size, size), shade).save(stream, "PNG")
    return stream.getvalue()


def assert_nothing_left(directory):
    assert not [path for path in directory.rglob("*") if not path.is_dir()]
    assert not list(directory.glob(".unpacked*"))


@pytest.mark.parametrize("suffix", MODES)
def test_text_in_an_archive_of_every_kind(tmp_path: Path, suffix):
    path = pack(tmp_path / f"song{suffix}", member("./song.txt", TEXT), member(".hidden", b"x"))
    result = import_dataset("song", path, tmp_path / "out")
    assert sum(result.splits.values()) == len(TEXT)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["song"]


def test_what_is_hidden_beside_the_only_folder_does_not_count(tmp_path: Path):
    hidden = member("._photos", b"x"), member(".DS_Store", b"x"), member("photos/hat/._0.png", b"x")
    shown = [member(f"photos/{name}/0.png", png(9)) for name in ("hat", "shoe")]
    path = pack(tmp_path / "photos.tar", *hidden, *shown)
    assert import_dataset("photos", path, tmp_path / "out").classes == 2


def test_the_suffix_may_say_another_compression(tmp_path: Path):
    pack(tmp_path / "song.tar.xz", member("song.txt", TEXT)).rename(tmp_path / "song.tar.gz")
    assert import_dataset("song", tmp_path / "song.tar.gz", tmp_path / "out").splits["train"]


@pytest.mark.parametrize("top", ["", "photos-1.0/"])
def test_images_of_three_splits_below_a_folder_or_not(tmp_path: Path, top):
    members = [
        member(f"{top}{split}/{name}/{number}.png", png(100 * label + number))
        for split, count in (("train", 3), ("validation", 2), ("test", 1))
        for label, name in enumerate(("hat", "shoe"))
        for number in range(count)
    ]
    if not top:
        members.append(member("LICENSE", b"CC0"))
    result = import_dataset("photos", pack(tmp_path / "photos.tar.gz", *members), tmp_path / "out")
    assert result.splits == {"train": 6, "validation": 4, "test": 2}
    assert (result.shape, result.classes) == ((8, 8, 1), 2)
    source = load(DataConfig("photos", "validation", directory=str(tmp_path / "out")))
    shades = source.arrays["image"][:, 0, 0, 0].tolist()
    assert sorted(zip(shades, source.arrays["label"].tolist(), strict=True)) == [
        (0, 0),
        (1, 0),
        (100, 1),
        (101, 1),
    ]


def test_a_split_alone_stays_one(tmp_path: Path):
    members = [member(f"train/{label}/x.png", png(9)) for label in ("cat", "dog")]
    result = import_dataset("pets", pack(tmp_path / "x.tar", *members), tmp_path / "out")
    assert (result.splits, result.classes) == ({"train": 2}, 2)


def test_medmnist(tmp_path: Path):
    random = np.random.default_rng(0)
    arrays = {
        f"{split}_{kind}": (
            random.integers(0, 256, (count, 6, 6), dtype=np.uint8)
            if kind == "images"
            else np.arange(count, dtype=np.uint8)[:, None] % 2
        )
        for split, count in (("train", 9), ("val", 4), ("test", 5))
        for kind in ("images", "labels")
    }
    np.savez(tmp_path / "x.npz", **arrays)
    result = import_dataset("scans", tmp_path / "x.npz", tmp_path / "out")
    assert result.splits == {"train": 9, "validation": 4, "test": 5}
    assert (result.shape, result.classes) == ((6, 6, 1), 2)
    source = load(DataConfig("scans", "validation", directory=str(tmp_path / "out")))
    stored = {
        (image.tobytes(), int(label))
        for image, label in zip(source.arrays["image"], source.arrays["label"], strict=True)
    }
    given = zip(arrays["val_images"], arrays["val_labels"][:, 0], strict=True)
    assert stored == {(image.tobytes(), int(label)) for image, label in given}
    line = refusal(
        *("data", "import", "pneumonia_mnist", "--from", tmp_path / "x.npz"),
        *("--directory", tmp_path / "out"),
    )
    assert "numbers of images {'train': 9, 'validation': 4, 'test': 5} but" in line


class Fault(NamedTuple):
    """An archive that is refused, and what is said of it."""

    members: tuple[tuple[tarfile.TarInfo, bytes], ...]
    message: str


GOOD = member("a.txt", TEXT)
FAULTS = {
    "upwards": Fault((GOOD, member("../b.txt", TEXT)), "'../b.txt', which leads out of it"),
    "upwards within": Fault((GOOD, member("a/../../b.txt", TEXT)), "which leads out of it"),
    "absolute": Fault((GOOD, member("/tmp/b.txt", TEXT)), "'/tmp/b.txt', which leads out of it"),
    "symbolic link": Fault((GOOD, member("b", kind=tarfile.SYMTYPE, link="/etc")), "'b', a link"),
    "hard link": Fault((GOOD, member("b", kind=tarfile.LNKTYPE, link="a.txt")), "'b', a link"),
    "device": Fault((member("b", kind=tarfile.CHRTYPE), GOOD), "'b', a link or a device"),
    "pipe": Fault((member("b", kind=tarfile.FIFOTYPE), GOOD), "'b', a link or a device"),
    "twice": Fault((GOOD, GOOD), "holds 'a.txt' twice"),
    "a folder and a file": Fault((member("a.txt", kind=tarfile.DIRTYPE), GOOD), "'a.txt' twice"),
    "a file as a folder": Fault((GOOD, member("a.txt/b.txt", TEXT)), "cannot unpack"),
    "control characters": Fault((GOOD, member("b\n\x1b.md", b"x")), r"x.tar:b\n\x1b.md isn't"),
    "not UTF-8": Fault((GOOD, member("b.txt", b"\xff")), "x.tar:b.txt isn't UTF-8"),
    "nothing": Fault((), "is empty"),
    "only folders": Fault((member("a", kind=tarfile.DIRTYPE),), "is empty"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_refused_by_name_and_leave_nothing(tmp_path: Path, name):
    path = pack(tmp_path / "x.tar", *FAULTS[name].members)
    line = refusal("data", "import", "mine", "--from", path, "--directory", tmp_path / "out")
    assert FAULTS[name].message in line
    assert str(path) in line
    assert ".unpacked" not in line
    assert_nothing_left(tmp_path / "out")
    assert not (tmp_path / "b.txt").exists()


@pytest.mark.parametrize("suffix", MODES)
def test_a_cut_archive_is_refused_wherever_it_is_cut(tmp_path: Path, suffix):
    # What does not compress, so that every byte counts.
    noise = np.random.default_rng(0).bytes(3000)
    path = pack(tmp_path / f"x{suffix}", GOOD, member("b.bin", noise))
    content = path.read_bytes()
    # A plain archive ends with zeros, of which two blocks count.
    end = content.index(noise) + 3072 if suffix == ".tar" else len(content)
    for cut in (0, 1, 100, 600, len(content) // 3, end // 2, end - 600, end - 1):
        path.write_bytes(content[:cut])
        line = refusal("data", "import", "mine", "--from", path, "--directory", tmp_path / "out")
        assert f"cannot unpack {path}" in line, cut
        assert_nothing_left(tmp_path / "out")


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_flipped_bit_is_noticed(tmp_path: Path, suffix):
    noise = np.random.default_rng(0).bytes(3000)
    path = pack(tmp_path / f"x{suffix}", GOOD, member("b.bin", noise))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    line = refusal("data", "import", "mine", "--from", path, "--directory", tmp_path / "out")
    assert f"cannot unpack {path}" in line
    assert_nothing_left(tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path: Path):
    (tmp_path / "x.tar.gz").write_bytes(b"hello" * 300)
    places = ("--from", tmp_path / "x.tar.gz", "--directory", tmp_path / "out")
    assert "cannot unpack" in refusal("data", "import", "mine", *places)


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked(tmp_path: Path):
    """A bomb: little that becomes much; and a header that says much more than there is."""
    room = shutil.disk_usage(tmp_path).free
    block = member("a.txt", size=room * 2 // 3)[0].tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "x.tar.xz").write_bytes(lzma.compress(block + bytes(10**6)))
    places = ("--from", tmp_path / "x.tar.xz", "--directory", tmp_path / "out")
    assert "needs more than half of the room in" in refusal("data", "import", "mine", *places)
    assert_nothing_left(tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_huge_header_is_not_read_into_memory(tmp_path: Path, kind):
    block = member("x", kind=kind, size=2**33)[0].tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "x.tar.xz").write_bytes(lzma.compress(block + bytes(2**20)))
    places = ("--from", tmp_path / "x.tar.xz", "--directory", tmp_path / "out")
    assert "a header has 8,589,934,592 bytes" in refusal("data", "import", "mine", *places)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 3)
    path = pack(tmp_path / "x.tar", *[member(f"{number}.txt", TEXT) for number in range(4)])
    places = ("--from", path, "--directory", tmp_path / "out")
    assert "holds more than 3 files" in refusal("data", "import", "mine", *places)


def test_the_folder_is_removed_whatever_happens(tmp_path: Path):
    path = pack(tmp_path / "x.tar", GOOD)

    def interrupted():
        with archives.unpacked(path, tmp_path / "out") as folder:
            assert folder.parent == tmp_path / "out"
            assert os.listdir(folder) == ["a.txt"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_nothing_left(tmp_path / "out")
