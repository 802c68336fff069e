"""A run repeated from its configuration has the same bits, and a difference is named."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from genjax.cli import main
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.run.loop import train
from genjax.run.rerun import compare_runs, rerun

QUIET = Console(quiet=True)


def test_a_repetition_is_identical(dense_experiment, tmp_path, monkeypatch, capsys):
    dataset = load(dense_experiment.data)
    first, other = tmp_path / "first", tmp_path / "other"
    train(dense_experiment, first, dataset, QUIET)
    manifest = json.loads((first / "manifest.json").read_text())
    manifest["sessions"][-1]["versions"]["jax"] = "0.1"
    (first / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(sys, "argv", ["genjax", "rerun", str(first)])
    main()
    said = capsys.readouterr().out
    assert "changed: versions: jax was 0.1, is " in said
    assert "identical: metrics and weights" in said

    train(dataclasses.replace(dense_experiment, seed=1), other, dataset, QUIET)
    different, _ = compare_runs(first, other)
    assert different[0].startswith("metrics differ from step 2, line 1, on: discriminator/")
    assert " tensors differ in discriminator.safetensors, first " in different[1]
    assert " tensors differ in generator.safetensors, first " in different[2]
    # What has been resumed or cut short differs in its lines.
    (other / "metrics.jsonl").write_text((first / "metrics.jsonl").read_text() + '{"step": 9}\n')
    lines = len((first / "metrics.jsonl").read_text().splitlines())
    assert compare_runs(first, other).different[0] == (
        f"there are {lines} lines of metrics, and {lines + 1}"
    )
    # As genjax directions writes one.
    save_file({"directions": np.zeros(2)}, first / "directions.safetensors")
    (other / "generator.safetensors").unlink()
    assert compare_runs(first, other).different[-1] == (
        f"{other / 'generator.safetensors'} is missing"
    )

    # Given more steps after its end, it has a score of that end, which is no difference.
    longer = dataclasses.replace(dense_experiment, steps=9)
    train(dataclasses.replace(longer, steps=7), tmp_path / "twice", dataset, QUIET)
    train(longer, tmp_path / "twice", dataset, QUIET, resume=True)
    train(longer, tmp_path / "once", dataset, QUIET)
    metrics = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("once", "twice")]
    assert [text.count("evaluation/diversity") for text in metrics] == [5, 6]
    assert compare_runs(tmp_path / "once", tmp_path / "twice").different == []

    with pytest.raises(UserError, match="already exists"):
        rerun(first, tmp_path / "first-rerun", dataset, QUIET)
    metrics = (first / "metrics.jsonl").read_text()
    (first / "metrics.jsonl").write_text("".join(metrics.splitlines(keepends=True)[:2]))
    with pytest.raises(UserError, match="has not come to its end"):
        rerun(first, tmp_path / "third", dataset, QUIET)
    (first / "metrics.jsonl").write_text(metrics)
    for path in first.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(UserError, match="has not come to its end"):
        rerun(first, tmp_path / "third", dataset, QUIET)
