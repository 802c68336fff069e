"""Runs of earlier formats are opened, sampled, scored and taken up again, with their numbers.

Each lies in tests/fixtures/runs beside what its own code made of it.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from in_process import genjax, refusal

from genjax.config.formats import FORMAT
from genjax.config.json import hash_of_text
from genjax.run.directory import read_config, read_manifest

FIXTURES = Path(__file__).with_name("fixtures") / "runs"
RUNS = sorted(f"{path.parent.name}/{path.stem}" for path in FIXTURES.glob("format-*/*.json"))
# One of each format; those with convolutions take longest to compile.
QUICK = ("format-1/points", "format-2/vae", "format-3/points")
TIMES = {"images_per_second", "seconds_per_step"}


@pytest.fixture
def copy(request, tmp_path):
    """A copy of a run, and what is expected of it."""
    source = request.param
    shutil.copytree(source, tmp_path / source.name)
    return tmp_path / source.name, json.loads(source.with_suffix(".json").read_text())


def succeed(*words):
    outcome = genjax(*words)
    assert outcome.status == 0, outcome
    return outcome


def sample(run, checkpoint):
    file = run.with_name("samples.npz")
    command = ("sample", run, "--n", "4", "--seed", "1", "--checkpoint", checkpoint)
    succeed(*command, "--npz", file)
    with np.load(file) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(FIXTURES / name, id=name, marks=() if name in QUICK else pytest.mark.full)
        for name in RUNS
    ],
    indirect=True,
)
@pytest.mark.usefixtures("digits_classifier")
def test_a_run_goes_on(copy):
    run, expected = copy
    read_config(run)
    made = expected["samples"]
    for checkpoint in ("last", "best", "4"):
        arrays = sample(run, checkpoint)
        [values] = [
            array for name, array in arrays.items() if name not in ("labels", "class_names")
        ]
        assert values.dtype == made["dtype"]
        flat = values.reshape(-1)
        assert flat.size == np.prod(made["shape"])
        # Another processor may round a pixel the other way.
        atol = 1 if values.dtype == np.uint8 else 1e-4
        np.testing.assert_allclose(flat[made["at"]], made["values"], rtol=0, atol=atol)
        np.testing.assert_allclose(flat.mean(), made["mean"], rtol=1e-4)
        if "labels" in made:
            assert arrays["labels"].tolist() == made["labels"]
    evaluated = succeed("evaluate", run, "--samples", "100")
    assert evaluated.out

    succeed("resume", run, "--steps", "6")
    found = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["step"] == 6:
            found |= row
    resumed = expected["resumed"]
    assert set(resumed) <= set(found)
    for name, value in resumed.items():
        if "labels" in made and name.startswith("evaluation/"):
            # Scored samples had their labels in turn then, and have the data's shares now.
            continue
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    manifest = read_manifest(run)
    assert manifest["format"] == 3
    assert [session.get("resumed_at") for session in manifest["sessions"]] == [None, 4]
    hashes = [session["config_hash"] for session in manifest["sessions"]]
    assert hashes[0] == expected["config_hash"] != hashes[1]
    assert json.loads((run / "config.json").read_text())["format"] == FORMAT
    # What both formats have written is read side by side.
    succeed("resume", run, "--steps", "8")
    sample(run, "best")


def one(name):
    return pytest.mark.parametrize("copy", [FIXTURES / name], ids=[name], indirect=True)


@one("format-1/points")
def test_a_score_of_format_1_that_is_lost_is_damage(copy):
    run, _ = copy
    (run / "checkpoints" / "4" / "metrics" / "metrics").write_text("{}")
    assert "metrics/metrics is missing or damaged" in refusal("sample", run, "--checkpoint", "best")


@one("format-2/points")
@pytest.mark.parametrize("lost", ["files", "notes"])
def test_half_a_seal_is_damage_and_no_checkpoint_of_format_1(copy, lost):
    run, _ = copy
    folder = run / "checkpoints" / "4"
    notes = folder / "_CHECKPOINT_METADATA"
    if lost == "files":
        (folder / "default" / "files.json").unlink()
    else:
        notes.write_text(json.dumps(json.loads(notes.read_text()) | {"custom_metadata": {}}))
    assert "is missing or damaged" in refusal("sample", run, "--n", "1")


@one("format-1/vae")
def test_an_edited_configuration_of_format_1_is_refused(copy):
    run, _ = copy
    config = run / "config.json"
    config.write_text(config.read_text().replace('"latent": 2', '"latent": 3'))
    assert "is not what the run was trained with" in refusal("sample", run)


@one("format-2/vae")
def test_what_a_network_did_not_read_may_be_anything(copy):
    """The hash of its time counts it, though the field is gone."""
    run, _ = copy
    config, manifest = run / "config.json", run / "manifest.json"
    plain = json.loads(config.read_text())
    plain["model"]["encoder"]["convolutions"] = "stock"
    config.write_text(json.dumps(plain))
    described = json.loads(manifest.read_text())
    described["sessions"][-1]["config_hash"] = hash_of_text(config.read_text())
    manifest.write_text(json.dumps(described))
    succeed("resume", run, "--steps", "6")
    succeed("sample", run, "--n", "1")
