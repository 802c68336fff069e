"""Data, weights and runs of strangers: nothing in them is run or written where they lead."""

import contextlib
import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from in_process import contents, genjax, refusal
from PIL import Image
from rich.console import Console
from safetensors.numpy import save_file

from genjax.commands.columns import lay_out
from genjax.config import MLP, DataConfig, Experiment, GANConfig
from genjax.config import json as config_json
from genjax.data.importer import import_dataset
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.evals.classifier import classifier_path, read_classifier
from genjax.run.console import TrainingDisplay
from genjax.run.loop import train
from genjax.run.rerun import compare_runs


class Bomb:
    """What leaves a file behind where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.marker), "w")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that is there once code of a stranger has run."""
    path = tmp_path / "marker"
    pickle.loads(pickle.dumps(Bomb(path)))
    assert path.exists()
    path.unlink()
    return path


# Pickles


def bombed_array(marker: Path) -> bytes:
    array = np.empty(1, object)
    array[0] = Bomb(marker)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def npz(path: Path, content: bytes, **others: np.ndarray) -> Path:
    np.savez(path, **others)
    with zipfile.ZipFile(path, "a") as zipped:
        zipped.writestr("images.npy" if not others else "labels.npy", content)
    return path


def npz_of_objects(path: Path, marker: Path) -> None:
    npz(path, bombed_array(marker))


def npz_with_labels_of_objects(path: Path, marker: Path) -> None:
    npz(path, bombed_array(marker), images=np.zeros((1, 8, 8), np.uint8))


def npy_of_objects(path: Path, marker: Path) -> None:
    path.write_bytes(bombed_array(marker))


def bare_pickle(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(marker)))


ARRAYS = (npz_of_objects, npz_with_labels_of_objects, npy_of_objects, bare_pickle)


@pytest.mark.parametrize("write", ARRAYS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("command", ["import", "evaluate"])
def test_pickled_arrays_are_not_loaded(tmp_path, marker, command, write):
    path = tmp_path / "set.npz"
    write(path, marker)
    if command == "import":
        arguments = ("data", "import", "mine", "--from", path, "--directory", tmp_path / "out")
    else:
        arguments = ("evaluate", "--real", path, "--fake", path)
    assert str(path) in refusal(*arguments)
    assert list(contents(tmp_path)) == ["set.npz"]


def zipped_weights(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/byteorder", "little")


def legacy_weights(path: Path, content: bytes) -> None:
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in head) + content)


def bare_weights(path: Path, content: bytes) -> None:
    path.write_bytes(content)


WEIGHTS = (zipped_weights, legacy_weights, bare_weights)


@pytest.mark.parametrize("write", WEIGHTS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickled_weights_are_not_run(tmp_path, marker, write, name, protocol):
    path = tmp_path / name
    write(path, pickle.dumps({"a": Bomb(marker)}, protocol))
    flags = ("--features", "inception", "--weights", path)
    assert str(path) in refusal("evaluate", "--real", "digits", "--fake", "digits", *flags)
    assert list(contents(tmp_path)) == [name]


def test_headers_of_safetensors_that_lie_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    flags = ("--features", "inception", "--weights", path)
    for header in (
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [-8, 8]}},
        {"../../a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
    ):
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
        line = refusal("evaluate", "--real", "digits", "--fake", "digits", *flags)
        assert "weights" in line
    assert list(contents(tmp_path)) == [path.name]


# Data sets

FOREIGN = "stranger.Feature"


@pytest.mark.parametrize(
    "feature",
    [
        {"pythonClassName": FOREIGN, "text": {}},
        {"python_class_name": FOREIGN, "text": {}},
        {
            "pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
            "jsonFeature": {"json": json.dumps({"feature": {"type": FOREIGN, "content": {}}})},
        },
    ],
    ids=["camel", "snake", "nested"],
)
def test_descriptions_of_data_import_no_module(tmp_path, marker, monkeypatch, feature):
    (tmp_path / "stranger.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    np.savez(tmp_path / "set.npz", images=np.zeros((4, 8, 8), np.uint8))
    path = import_dataset("mine", tmp_path / "set.npz", tmp_path / "sets").path
    (path / "sha256.json").unlink()
    description = json.loads((path / "features.json").read_text())
    description["featuresDict"]["features"]["more"] = feature
    (path / "features.json").write_text(json.dumps(description))
    before = contents(tmp_path)
    chosen = ("--data.name", "mine", "--data.directory", tmp_path / "sets")
    line = refusal("train", *chosen, "--out", tmp_path / "run")
    assert f"features.json asks for the code {FOREIGN!r}" in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["../mine", "../../mine", "/mine", "a/../../mine", "mine\n", ".."])
@pytest.mark.parametrize("command", ["import", "prepare", "train"])
def test_names_of_data_sets_lead_nowhere(tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "raw" / "0.png")
    (tmp_path / "a" / "sets").mkdir(parents=True)
    before = contents(tmp_path)
    arguments = {
        "import": ("data", "import", name, "--from", "raw", "--directory", "a/sets"),
        "prepare": ("data", "prepare", name, "--directory", "a/sets"),
        "train": ("train", "--data.name", name, "--data.directory", "a/sets", "--out", "run"),
    }
    assert repr(name)[1:-1] in refusal(*arguments[command])
    assert contents(tmp_path) == before


def test_names_in_checksums_lead_nowhere(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((4, 8, 8), np.uint8))
    path = import_dataset("mine", tmp_path / "set.npz", tmp_path / "sets").path
    (path / "sha256.json").write_text(json.dumps({"../../../set.npz": "0"}))
    with pytest.raises(UserError, match=r"1\.0\.0/set\.npz"):
        load(DataConfig("mine", directory=str(tmp_path / "sets")))


# Runs


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run of two steps of a small model."""
    network = MLP(width=8, depth=1, norm="none")
    every = {"log_every": 1, "sample_every": 2, "checkpoint_every": 2}
    model = GANConfig(generator=network, discriminator=network, latent=4)
    experiment = Experiment(
        "small", DataConfig("digits"), model, steps=2, batch_size=8, mode="jit", **every
    )
    directory = tmp_path_factory.mktemp("untrusted") / "run"
    train(experiment, directory, load(experiment.data), Console(quiet=True))
    return directory


@pytest.fixture
def run(whole_run, tmp_path):
    """A copy of it, two folders deep, so that there is something above to write into."""
    return shutil.copytree(whole_run, tmp_path / "a" / "b" / "run")


def doctor(path: Path, place: str, value: object) -> None:
    """Sets a field of a JSON file, with dots between nested names and numbers."""
    whole = json.loads(path.read_text())
    *parents, last = place.split(".")
    part = whole
    for name in parents:
        part = part[int(name) if name.isdecimal() else name]
    part[last] = value
    path.write_text(json.dumps(whole))


def approve(run: Path) -> None:
    """Writes the hash of a configuration into the manifest, as a stranger can."""
    digest = config_json.config_hash(config_json.load(run / "config.json"))
    doctor(run / "manifest.json", "sessions.0.config_hash", digest)


NAMES = {"upwards": "../../x", "absolute": "/x", "markup": "[/bold]\n{task}", "long": "x" * 5000}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_name_in_a_configuration_is_no_path(run, tmp_path, name):
    outside = {path: data for path, data in contents(tmp_path).items() if "run" not in path}
    doctor(run / "config.json", "name", str(tmp_path) + name if name == "/x" else name)
    approve(run)
    assert genjax("resume", run, "--steps", "4").status == 0
    assert genjax("sample", run, "--n", "2").status == 0
    assert (run / "samples.png").exists()
    written = {path: data for path, data in contents(tmp_path).items() if "a/b/run" not in path}
    assert written == outside


def test_a_name_that_looks_like_markup_is_shown_as_it_is():
    screen = io.StringIO()
    with TrainingDisplay(Console(file=screen, force_terminal=True), "[/bold]", 0, 2) as display:
        display.advance(1)
    assert "[/bold]" in screen.getvalue()


def test_a_name_gives_no_orders_to_a_terminal():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    with TrainingDisplay(console, "a\x1b]0;b\x07", 0, 2) as display:
        display.say("c\x1b[31m\x9bd\n\te")
    assert r"a\x1b]0;b" in screen.getvalue()
    assert "c\\x1b[31m\\x9bd\n" in screen.getvalue()
    assert not any(order in screen.getvalue() for order in ("\x1b]", "c\x1b", "\x07", "\x9b"))
    assert lay_out([["a\nb", "\x1b[31m"]]) == [r"a\nb  \x1b[31m"]


HUGE = 10**400
CONFIGURATIONS = {
    "deep": (None, "[" * 100_000, "not valid JSON"),
    "deep within": (None, '{"name": ' + "[" * 900 + "]" * 900 + "}", "lacks the field"),
    "bytes": (None, b"\xff\xfe\x00", "not a text in UTF-8"),
    "digits": (None, '{"steps": ' + "9" * 9999 + "}", "not valid JSON"),
    "list": (None, "[]", "it must be an object"),
    "null": (None, "null", "it must be an object"),
    "unknown field": ("model.run_this", "rm", "no field 'run_this'"),
    "unknown deeper": ("model.generator.module", "os", "no field 'module'"),
    "unknown family": ("model.family", "os.system", "unknown family"),
    "family a list": ("model.family", [[]], "unknown family"),
    "half a character": ("name", "\ud800", "not valid JSON"),
    "name a number": ("name", 3, "must be of type str"),
    "data upwards": ("data.name", "../../x", "unknown data set '../../x'"),
    "data absolute": ("data.name", "/etc/passwd", "unknown data set '/etc/passwd'"),
    "split upwards": ("data.split", "../test", "unknown split"),
    "huge steps": ("steps", HUGE, "must be at most"),
    "huge width": ("model.generator.width", HUGE, "must be at most"),
    "huge rate": ("model.generator_optimizer.learning_rate", HUGE, "must be at most"),
    "huge depth": ("model.generator.depth", 10**9, "at most 1,000"),
    "huge images": ("data.resolution", 10**9, "at most 8192"),
    "wide": ("model.generator.width", 60_000, "belongs to another model"),
    "NaN": ("model.generator_optimizer.learning_rate", float("nan"), "must be a number"),
    "NaN penalty": ("model.penalties", {"r1": [float("nan"), 1]}, "must be a number"),
    "true": ("steps", True, "must be of type int"),
    "text": ("seed", "0", "must be of type int"),
    "nested text": ("steps", [[[[[[["x"] * 9999]]]]]], "must be of type int"),
    "unknown loss": ("model.loss", "__import__('os')", "unknown adversarial loss"),
}


def test_a_plugin_of_strangers_is_not_run(run, tmp_path, monkeypatch):
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "cache"))
    plugin = run / "plugin.py"
    plugin.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    doctor(run / "config.json", "plugins", [str(plugin)])
    assert f"the plugin {plugin}, which was never used here" in refusal("sample", run)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_configurations_of_strangers(run, tmp_path, case):
    place, value, message = CONFIGURATIONS[case]
    path = run / "config.json"
    if place is None:
        path.write_bytes(value if isinstance(value, bytes) else value.encode())
    else:
        doctor(path, place, value)
        with contextlib.suppress(UserError):
            approve(run)
    before = contents(tmp_path)
    line = refusal("resume", run, "--steps", "4")
    assert message in line
    assert len(line) < 1000
    after = contents(tmp_path)
    # What claims a run stays.
    after.pop("a/b/run/.lock", None)
    before.pop("a/b/run/.lock", None)
    assert after == before


MANIFESTS = {
    "deep": (None, "[" * 100_000, "is damaged"),
    "bytes": (None, b"\xff\xfe\x00", "is damaged"),
    "larger": ("data.fields.image.shape", [16, 16, 1], "belongs to another model"),
    "colour": ("data.fields.image.shape", [8, 8, 3], "belongs to another model"),
    "huge": ("data.fields.image.shape", [2**40, 2**40, 1], "there are no arrays of"),
    "endless": ("data.fields.image.shape", [float("inf"), 8, 1], "is damaged"),
    "nothing": ("data.fields.image.shape", [0, 8, 1], "there are no arrays of"),
    "negative": ("data.fields.image.shape", [-8, -8, 1], "there are no arrays of"),
    "flat": ("data.fields.image.shape", [8, 8], "image data have 3 axes"),
    "text": ("data.fields.image.shape", "8x8", "is damaged"),
    "classes": ("data.fields.label.levels", 10**12, "there are no 1000000000000 levels"),
    "no sessions": ("sessions", [], "is damaged"),
    "sessions of text": ("sessions", ["x"], "is damaged"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_manifests_that_lie(run, tmp_path, case):
    place, value, message = MANIFESTS[case]
    path = run / "manifest.json"
    if place is None:
        path.write_bytes(value if isinstance(value, bytes) else value.encode())
    else:
        doctor(path, place, value)
    before = contents(tmp_path)
    assert message in refusal("sample", run, "--n", "2")
    assert contents(tmp_path) == before


LINKS = ("metrics.jsonl", ".lock", "samples.png", "scores.jsonl", "config.json.part")


@pytest.mark.parametrize("name", LINKS)
def test_links_out_of_a_run_are_not_written_through(run, tmp_path, name):
    precious = tmp_path / "precious"
    precious.write_text("thesis")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to("../../../precious")
    for command in (("resume", run, "--steps", "4"), ("sample", run), ("evaluate", run)):
        assert f"{run / name} is a link that leads out of the run" in refusal(*command)
    assert precious.read_text() == "thesis"


def test_folders_that_are_links_out_of_a_run(run, tmp_path):
    shutil.rmtree(run / "samples")
    (tmp_path / "elsewhere").mkdir()
    (run / "samples").symlink_to(tmp_path / "elsewhere")
    assert "is a link that leads out of the run" in refusal("resume", run, "--steps", "4")
    assert contents(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize("name", ["generator.safetensors", "metrics.jsonl"])
@pytest.mark.parametrize("content", [b"\xff" * 99, b"[" * 100_000], ids=["bytes", "deep"])
def test_what_is_compared_may_be_damaged(whole_run, run, name, content):
    assert compare_runs(whole_run, run) == ([], [])
    (run / name).write_bytes(content)
    with pytest.raises(UserError, match=f"cannot read {run / name}"):
        compare_runs(whole_run, run)


def test_classifiers_that_lie_are_refused(tmp_path, monkeypatch):
    """The arrays of an image of this size would not fit into any memory."""
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path))
    path = classifier_path("mine")
    path.parent.mkdir(parents=True)
    notes = {"image": f"[{2**20}, {2**20}, 3]", "classes": "10", "recipe": '{"epochs": 1}'}
    save_file({"a": np.zeros(1)}, path, notes)
    with pytest.raises(UserError, match="the file of the classifier of 'mine' is damaged"):
        read_classifier("mine")
