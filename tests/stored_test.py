"""What genjax stores itself is whole or not there, and checked; images that stay on the disk."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import genjax, refusal
from patience import PATIENCE_S
from PIL import Image
from scipy.io import wavfile

from genjax.config import DataConfig
from genjax.core.schema import Field
from genjax.data import memory, stored
from genjax.data.digest import content_digest
from genjax.data.importer import import_dataset
from genjax.data.listing import list_datasets
from genjax.data.schema import schema_from_json, token_schema
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.run.feed import fits_on_device, is_whole, make_feeder

# Dies while it stores the second split, or right before the set gets its name.
KILLED = """
import os, signal, sys
from pathlib import Path
from genjax.data import stored
from genjax.data.importer import import_dataset

def die(*unused):
    os.kill(os.getpid(), signal.SIGKILL)

def progress(items, description, total):
    for count, item in enumerate(items):
        if sys.argv[3] == "storing" and description.startswith("storing") and count == total - 1:
            die()
        yield item

if sys.argv[3] == "naming":
    Path.rename = die
import_dataset("mine", Path(sys.argv[1]), sys.argv[2], progress)
"""
# Writes no file beyond a size, as on a disk that is full.
FULL = """
import resource, sys
from genjax import cli

resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
sys.argv = ["genjax", "data", "import", "mine", "--from", sys.argv[1], "--directory", sys.argv[2]]
cli.main()
"""
KINDS = ("text", "audio", "captions")


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Files of a kind that take more than 4,000 bytes."""
    random = np.random.default_rng(0)
    if request.param == "text":
        text = "".join(map(str, random.integers(0, 10, 9000)))
        (tmp_path / "raw.txt").write_text(text)
        return tmp_path / "raw.txt"
    if request.param == "captions":
        (tmp_path / "raw").mkdir()
        rows = []
        for number in range(20):
            pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "raw" / f"{number}.png")
            caption, category = f"picture {number}", "ab"[number % 2]
            rows.append({"file": f"{number}.png", "caption": caption, "category": category})
        (tmp_path / "raw" / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return tmp_path / "raw"
    for label in ("cat", "dog"):
        (tmp_path / "raw" / label).mkdir(parents=True)
        for number in range(3):
            wave = random.integers(-999, 999, 1000 + number).astype(np.int16)
            wavfile.write(tmp_path / "raw" / label / f"{number}.wav", 8000, wave)
    return tmp_path / "raw"


def config(directory: Path) -> DataConfig:
    return DataConfig("mine", directory=str(directory))


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def assert_nothing_is_taken_for_whole(source: Path, directory: Path) -> None:
    """Neither listed nor trained on; and a second import works."""
    listed = genjax("data", "list", "--directory", directory)
    assert listed.status == 0, listed
    assert not re.search(r"^mine\b", listed.out, re.MULTILINE)
    with pytest.raises(UserError, match="unknown data set 'mine'"):
        load(config(directory))
    import_dataset("mine", source, directory)
    assert load(config(directory)).count > 1


@pytest.mark.parametrize("moment", ["storing", "naming"])
def test_a_kill_leaves_nothing_that_counts(source: Path, tmp_path: Path, moment: str) -> None:
    killed = python(KILLED, source, tmp_path / "out", moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_nothing_is_taken_for_whole(source, tmp_path / "out")


def test_a_full_disk_leaves_nothing(source: Path, tmp_path: Path) -> None:
    full = python(FULL, source, tmp_path / "out")
    assert full.returncode == 2, full.stderr
    assert full.stderr.count("\n") == 1
    assert f"cannot store 'mine' in {tmp_path / 'out'}: " in full.stderr
    assert not [path for path in tmp_path.rglob("out/**/*") if path.is_file()]
    assert_nothing_is_taken_for_whole(source, tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=f"cannot store 'mine' in {tmp_path / 'out'}"):
        import_dataset("mine", source, tmp_path / "out")


def test_an_import_does_not_replace_another(source: Path, tmp_path: Path) -> None:
    path = import_dataset("mine", source, tmp_path / "out").path
    np.savez(tmp_path / "set.npz", images=np.zeros((3, 4, 4), np.uint8))
    for again in (source, tmp_path / "set.npz"):
        with pytest.raises(UserError, match=f"already in {path}; delete"):
            import_dataset("mine", again, tmp_path / "out")


def test_later_damage_is_refused_by_name(source: Path, tmp_path: Path) -> None:
    """A single bit, a file that is cut, one that is empty and one that is missing."""
    path = import_dataset("mine", source, tmp_path / "out").path
    before = load(config(tmp_path / "out"))
    files = [file for file in path.rglob("*") if file.is_file()]
    used = [file for file in files if file.parent.name != "test"]
    assert len(used) == (2 if source.is_file() else 4)
    for file in used:
        content = file.read_bytes()
        middle = len(content) // 2
        for broken in (
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            content[:-9],
            b"",
            None,
        ):
            if broken is None and file.name == "source.json":
                continue
            file.unlink()
            if broken is not None:
                file.write_bytes(broken)
            with pytest.raises(UserError) as caught:
                load(config(tmp_path / "out"))
            assert str(file) in str(caught.value)
            assert f"delete the folder {path} and import 'mine' again" in str(caught.value)
            file.write_bytes(content)
    assert load(config(tmp_path / "out")).digest() == before.digest()


def test_damage_is_refused_by_the_command(source: Path, tmp_path: Path) -> None:
    path = import_dataset("mine", source, tmp_path / "out").path
    file = next((path / "train").iterdir())
    file.write_bytes(file.read_bytes() + b"x")
    chosen = ("--data.name", "mine", "--data.directory", tmp_path / "out")
    line = refusal("train", *chosen, "--out", tmp_path / "run")
    assert f"{file} is damaged: it has " in line
    assert not (tmp_path / "run").exists()


def test_large_files_are_checked_by_their_size_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = import_dataset("mine", source, tmp_path / "out").path
    monkeypatch.setattr(stored, "_MOST_HASHED", 1)
    largest = max((path / "train").iterdir(), key=lambda file: file.stat().st_size)
    file, name = largest, largest.stem
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    load(config(tmp_path / "out"))
    file.write_bytes(content[:-1])
    with pytest.raises(UserError, match=rf"{name}\.npy is damaged: it has"):
        load(config(tmp_path / "out"))


def rewrite(path: Path, **changes: object) -> None:
    """Describes a set otherwise, with checksums that are right, as a stranger could."""
    content = json.loads((path / "source.json").read_text())
    schema = schema_from_json(changes.pop("schema", content["schema"]))
    splits = {key: stored.Split(**value) for key, value in content["splits"].items()}
    (path / "source.json").unlink()
    stored.describe(path, schema, {**splits, **changes})


@pytest.mark.parametrize(
    ("source", "file", "array", "message"),
    [
        ("text", "tokens", np.full(8100, 10, np.uint8), "it holds 8,100 tokens from 10 to 10, not"),
        ("text", "tokens", np.full(8100, -1, np.int32), "from -1 to -1, not 8,100 below 10"),
        ("text", "tokens", np.zeros(8101, np.uint8), "8,101 tokens"),
        ("text", "tokens", np.zeros((8100, 1), np.uint8), r"it holds uint8 of shape \(8100, 1\)"),
        ("text", "tokens", np.zeros(8100, np.float32), "it holds float32"),
        ("text", "tokens", np.zeros(0, np.uint8), "tokens.npy"),
        ("text", "tokens", np.array([None]), "tokens.npy: .*delete the folder"),
        ("audio", "offsets", np.arange(7) * 1002, "does not cut 6,006 samples into 6 recordings"),
        ("audio", "offsets", np.array([0, 3000, 6006]), "does not cut 6,006 samples"),
        ("audio", "offsets", np.array([0, 9, 9, 9, 9, 9, 6006]), "does not cut 6,006 samples"),
        ("audio", "offsets", np.array([0, 9, 7, 8, 9, 10, 6006]), "does not cut 6,006 samples"),
        ("audio", "label", np.full(6, 2, np.int32), "6 labels from 2 to 2, not 6 below 2"),
        ("audio", "label", np.zeros(5, np.int32), "5 labels"),
        ("audio", "label", np.full(6, -1, np.int32), "labels from -1"),
        ("captions", "label", np.full(18, 2, np.int32), "18 from 2 to 2, not 18 below 2"),
        ("captions", "caption", np.full((18, 1, 3), 999, np.int16), "from 999 to 999, not 18 "),
        ("captions", "caption", np.full((18, 1, 3), -2, np.int32), "from -2 to -2"),
        ("captions", "caption", np.zeros((18, 1, 4), np.int16), r"int16 of shape \(18, 1, 4\)"),
        ("captions", "caption", np.zeros((18, 1, 3), np.uint8), "it holds uint8"),
        ("captions", "image", np.zeros((17, 16, 16, 3), np.uint8), "it holds 17 from 0 to 0"),
        ("captions", "image", np.zeros((18, 16, 16, 1), np.uint8), "of shape .18, 16, 16, 1"),
        ("captions", "image", np.zeros((18, 16, 16, 3), np.float32), "it holds float32"),
        ("captions", "image", np.zeros((0, 16, 16, 3), np.uint8), "image.npy"),
    ],
    indirect=["source"],
)
def test_sets_of_strangers_are_refused(
    source: Path, tmp_path: Path, file: str, array: np.ndarray, message: str
) -> None:
    path = import_dataset("mine", source, tmp_path / "out").path
    np.save(path / "train" / f"{file}.npy", array, allow_pickle=True)
    rewrite(path)
    with pytest.raises(UserError, match=message) as caught:
        load(config(tmp_path / "out"))
    assert str(path / "train" / f"{file}.npy") in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format": 1', '"format": 2', "is of format 2, and this genjax reads 1"),
        ('"count"', '"cuont"', "damaged"),
        ('"format"', '"formta"', "damaged"),
        ('"sha256"', '"md5"', "damaged"),
        ("{", "[" * 100_000, "damaged"),
        ("{", "[", "damaged"),
    ],
)
@pytest.mark.parametrize("source", ["text"], indirect=True)
def test_other_descriptions_are_refused_without_a_traceback(
    source: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = import_dataset("mine", source, tmp_path / "out").path / "source.json"
    file.write_text(file.read_text().replace(old, new))
    for command in (
        ("train", "--data.name", "mine", "--data.directory", tmp_path / "out"),
        ("data", "list", "--directory", tmp_path / "out"),
    ):
        line = refusal(*command)
        assert message in line
        assert str(file) in line


@pytest.mark.parametrize("source", ["text"], indirect=True)
def test_an_unknown_kind_of_data_is_refused(source: Path, tmp_path: Path) -> None:
    path = import_dataset("mine", source, tmp_path / "out").path
    odd = {"domain": "smell", "fields": {"x": {"shape": [1], "dtype": "u1", "levels": 0}}}
    rewrite(path, schema={**odd, "facts": {}})
    with pytest.raises(UserError, match=r"unknown kind of data in .*mine/1\.0\.0 'smell'"):
        load(DataConfig("mine", directory=str(tmp_path / "out")))


def test_the_newest_version_is_used(tmp_path: Path) -> None:
    schema = token_schema(64, 256, {"tokenizer": "byte"})
    for version in ("2.0.0", "1.0.0", "10.0.0"):
        with stored.storing("mine", tmp_path / version) as folder:
            stored.describe(folder, schema, {"train": stored.Split(1, version)})
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / version / "mine" / "1.0.0").rename(tmp_path / "mine" / version)
    (tmp_path / "mine" / "11.0.0").mkdir()
    found = stored.find("mine", tmp_path)
    assert found is not None
    assert found.path.name == "10.0.0"
    assert found.schema == schema
    assert found.splits == {"train": stored.Split(1, "10.0.0")}
    assert stored.find("../mine", tmp_path / "1.0.0") is None


def test_list(source: Path, tmp_path: Path) -> None:
    result = import_dataset("mine", source, tmp_path / "out")
    rows = {row.name: row for row in list_datasets(tmp_path / "out")}
    assert rows["mine"].status == "prepared"
    assert rows["mine"].where == str(result.path)
    assert rows["mine"].splits == result.splits
    assert rows["spoken_digits"].where == "genjax data import spoken_digits --from DIR"
    assert rows["pneumonia_mnist"].where == "genjax data import pneumonia_mnist --from DIR"
    assert rows["tinyshakespeare"].where == "genjax data prepare tinyshakespeare"


def test_missing_standard_sets_say_how_to_get_them(tmp_path: Path) -> None:
    for name, command in (
        ("spoken_digits", "run: genjax data import spoken_digits --from DIR"),
        ("pneumonia_mnist", "run: genjax data import pneumonia_mnist --from DIR"),
        ("tinyshakespeare", "run: genjax data prepare tinyshakespeare"),
    ):
        with pytest.raises(UserError, match=f"isn't prepared in {tmp_path}; {command}"):
            load(DataConfig(name, directory=str(tmp_path)))
    line = refusal("data", "prepare", "spoken_digits", "--directory", tmp_path)
    assert "genjax can't download 'spoken_digits'" in line


def test_batches_are_fed_from_a_stored_set(source: Path, tmp_path: Path, small_experiment) -> None:
    import_dataset("mine", source, tmp_path / "out")
    opened = load(config(tmp_path / "out"))
    assert is_whole(opened) == (not source.is_file())
    assert not fits_on_device(opened)

    class Here:
        load = staticmethod(dict)
        place = staticmethod(dict)

    feeder = make_feeder([small_experiment], opened, Here(), 4)
    batch = feeder.batches(0)
    for name, field in opened.schema.fields.items():
        assert batch[name].shape == (1, 4, *field.shape)
        assert batch[name].dtype == field.dtype


@pytest.mark.parametrize("labelled", [False, True])
def test_images_that_do_not_fit_are_decoded_when_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: bool
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2100, 5, 4, 3), dtype=np.uint8)
    labels = {"labels": np.arange(2100) % 3} if labelled else {}
    np.savez(tmp_path / "set.npz", images=images, **labels)
    import_dataset("mine", tmp_path / "set.npz", tmp_path / "out")
    numbers = np.random.default_rng(1).integers(0, 2100, 300)
    for resolution, side in ((None, (5, 4, 3)), (6, (6, 6, 3))):
        chosen = DataConfig("mine", resolution=resolution, directory=str(tmp_path / "out"))
        whole = load(chosen)
        size = 2100 * int(np.prod(side))
        monkeypatch.setattr(memory, "physical_memory", lambda size=size: 4 * size)
        assert "image" in load(chosen).arrays
        monkeypatch.setattr(memory, "physical_memory", lambda size=size: 4 * size - 1)
        streamed = load(chosen)
        monkeypatch.undo()
        assert streamed.arrays.keys() == ({"label"} if labelled else set())
        assert streamed.schema == whole.schema
        assert streamed.count == whole.count == 2100
        assert streamed.schema.fields["image"] == Field(side, "uint8")
        found, expected = streamed.read(numbers), whole.read(numbers)
        assert found.keys() == expected.keys() == streamed.schema.fields.keys()
        for name in found:
            assert found[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(found[name], expected[name])
        assert streamed.digest() == whole.digest() == content_digest(whole)


def test_streamed_images_of_several_sizes_are_refused_when_they_are_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").mkdir()
    for side in (4, 5):
        Image.new("L", (side, side)).save(tmp_path / "raw" / f"{side}.png")
    import_dataset("mixed", tmp_path / "raw", tmp_path / "out")
    monkeypatch.setattr(memory, "physical_memory", lambda: 1)
    source = load(DataConfig("mixed", directory=str(tmp_path / "out")))
    with pytest.raises(UserError, match=r"several sizes.*--data\.resolution"):
        source.read(np.arange(2))


def test_the_memory_of_this_machine() -> None:
    listed = Path("/proc/meminfo")
    if not listed.exists():
        pytest.skip("only Linux lists it in a file")
    total = int(listed.read_text().split()[1]) * 1024
    assert memory.physical_memory() == pytest.approx(total, rel=0.01)
    assert memory.fits(total // 5)
    assert not memory.fits(total // 3)


def test_memory_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    assert memory.fits(2**60)
