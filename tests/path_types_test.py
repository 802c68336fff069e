"""A path may be a string wherever Python's interface takes one."""

from pathlib import Path

import numpy as np
import pytest
from ablation_records import make_record, write_records
from PIL import Image

from genjax.ablation.grid import load_ablation
from genjax.ablation.results import read_results
from genjax.config import json as config_json
from genjax.config.choose import read_config_file
from genjax.data.importer import import_dataset
from genjax.domains.domain import Picture
from genjax.domains.previews import save_previews
from genjax.errors import UserError
from genjax.evals.records import append_records, read_records
from genjax.run import directory as run_directory
from genjax.run.checkpoint import open_checkpoints
from genjax.run.listing import find_runs
from genjax.run.opening import open_run
from genjax.run.rerun import compare_runs
from genjax.run.sampling import sample_run

RUN = str(Path(__file__).parent / "fixtures" / "runs" / "format-1" / "vae")


def test_runs():
    experiment = run_directory.read_config(RUN)
    assert run_directory.read_schema(RUN).domain == "image"
    assert run_directory.read_manifest(RUN)["data"]["name"] == experiment.data.name
    assert run_directory.read_metrics(RUN, 4)
    assert [str(listed.path) for listed in find_runs(RUN)] == [RUN]
    assert config_json.load(f"{RUN}/config.json") == experiment
    assert read_config_file(f"{RUN}/config.json")["name"] == experiment.name
    assert not compare_runs(RUN, RUN).different


@pytest.mark.parametrize("open_it", [open_run, lambda path, which: sample_run(path, 0, which, 1)])
def test_a_run_that_is_not_there(tmp_path, open_it):
    with pytest.raises(UserError, match="is not a folder"):
        open_it(str(tmp_path / "none"), "last")


def test_files(tmp_path):
    picture = Picture(np.zeros((4, 4, 1), np.uint8))
    assert save_previews(str(tmp_path / "grid.png"), [picture]) == [tmp_path / "grid.png"]
    with open_checkpoints(str(tmp_path / "checkpoints"), 1) as manager:
        assert manager.folder == tmp_path / "checkpoints"
    append_records(str(tmp_path / "scores.jsonl"), [])
    with pytest.raises(UserError, match="holds no scores"):
        read_records(str(tmp_path / "scores.jsonl"))
    file = write_records(tmp_path / "results.jsonl", [make_record()])
    assert len(read_results([str(file)]).records) == 1
    with pytest.raises(UserError, match=r"gone\.py"):
        load_ablation(str(tmp_path / "gone.py"))


def test_data(tmp_path):
    (tmp_path / "raw").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "raw" / "0.png")
    assert import_dataset("mine", str(tmp_path / "raw"), str(tmp_path / "out")).splits
