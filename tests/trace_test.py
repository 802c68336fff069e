"""An XLA trace of a run: whole calls after the warm-up, whatever becomes of the run."""

import contextlib
import dataclasses
import io

import jax
import pytest
from in_process import contents, genjax, refusal
from rich.console import Console

from benchmarks.trace import main, read_layers, read_trace
from genjax.data.sources import load
from genjax.errors import UserError
from genjax.presets import preset
from genjax.run.interrupts import Stopped
from genjax.run.loop import train

FLAGS = ("gaussians-8", "--steps", 12, "--sample-every", 12, "--checkpoint-every", 12)
FLAGS += ("--eval.samples", 50, "--log-every", 4)


@pytest.fixture
def experiment():
    """Of eight steps."""
    fields = {"steps": 8, "sample_every": 8, "checkpoint_every": 8}
    return dataclasses.replace(preset("gaussians-8"), **fields)


def run(experiment, directory, stop=lambda step: None):
    """Trains with a trace of three steps; returns what was said."""
    console = Console(file=io.StringIO(), width=400)
    with contextlib.suppress(Stopped):
        train(experiment, directory, load(experiment.data), console, stop=stop, profile=3)
    return " ".join(console.file.getvalue().split())


@pytest.mark.full
def test_whole_calls_are_traced_and_no_number_changes(tmp_path, capsys):
    plain, traced = tmp_path / "plain", tmp_path / "traced"
    flags = (*FLAGS, "--steps-per-call", 2, "--out")
    assert genjax("train", *flags, plain).status == 0
    outcome = genjax("train", *flags, traced, "--profile", 3)
    assert outcome.status == 0, outcome
    assert f"wrote a trace of steps 5 to 8 into {traced / 'profile'}" in outcome.out
    files = [path.name for path in (traced / "profile").glob("plugins/profile/*/*.xplane.pb")]
    assert len(files) == 1
    found = read_trace(traced / "profile", "jit_steps")
    assert len(found.begins) == 2
    assert found.own.total() > 0
    for name in ("generator.safetensors", "discriminator.safetensors", "config.json"):
        assert (traced / name).read_bytes() == (plain / name).read_bytes()
    assert not (plain / "profile").exists()
    main(traced / "profile", most=3)
    first, _, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("2 calls of ")
    assert len(rows) == 5
    with pytest.raises(UserError, match=r"no operation of a program with 'other'.*: .*jit_steps"):
        main(traced / "profile", program="other")
    with pytest.raises(UserError, match="holds no trace"):
        main(plain)


@pytest.mark.full
def test_a_run_that_ends_early_closes_its_trace(experiment, tmp_path):
    said = run(experiment, tmp_path / "a", stop=lambda step: step == 4)
    assert "wrote a trace of steps 3 to 4 into" in said
    assert len(read_trace(tmp_path / "a" / "profile", "steps").begins) == 2
    # Another can begin in the same process; one that has not begun leaves nothing.
    said = run(experiment, tmp_path / "b", stop=lambda step: step == 2)
    assert "trace" not in said
    assert not (tmp_path / "b" / "profile").exists()
    assert "wrote a trace of steps 3 to 5 into" in run(experiment, tmp_path / "c")


@pytest.mark.full
def test_a_run_goes_on_without_a_trace_that_can_not_be_written(experiment, tmp_path, monkeypatch):
    folder = tmp_path / "a" / "profile"
    said = run(experiment, tmp_path / "a", stop=lambda step: step == 1 and folder.touch())
    assert f"cannot write a trace into {folder}: " in said
    assert "; the run goes on" in said
    assert "done" in said
    real = jax.profiler.stop_trace

    def full():
        real()
        raise jax.errors.JaxRuntimeError("INTERNAL: no space\nleft on device")

    monkeypatch.setattr(jax.profiler, "stop_trace", full)
    said = run(experiment, tmp_path / "b")
    assert "INTERNAL: no space left on device; the run goes on" in said
    assert "done" in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--profile", 0), "--profile is 0; it must be at least 1, at most 10: the run has 12"),
        (("--profile", 11), "--profile is 11; it must be at least 1, at most 10: the run has 12"),
        (("--profile", 9, "--steps-per-call", 2), "at most 8: the run has 12 steps, and the first"),
        (("--profile", 1, "--steps-per-call", 6), "--profile needs a longer run: this one has 12"),
    ],
)
def test_what_can_not_be_traced(tmp_path, flags, message):
    assert message in refusal("train", *FLAGS, *flags, "--out", tmp_path / "run")
    assert contents(tmp_path) == {}


def test_layers_of_a_compiled_program(tmp_path):
    text = (
        '  %dot.1 = f32[2]{0} dot(%a, %b), metadata={op_name="jit(steps)/G/Dense_0/dot_general"}\n'
        '  ROOT %add.2 = f32[2]{0} add(%dot.1, %c), metadata={op_name="jit(steps)/add" id=3}\n'
        "  %copy.3 = f32[2]{0} copy(%add.2)\n"
    )
    (tmp_path / "module_1.jit_steps.cpu_after_optimizations.txt").write_text(text)
    other = text.replace("/G/", "/D/").replace("steps", "sample")
    (tmp_path / "module_2.jit_sample.cpu_after_optimizations.txt").write_text(other)
    layers = {"dot.1": "jit(steps)/G/Dense_0/dot_general", "add.2": "jit(steps)/add"}
    assert read_layers(tmp_path, "steps") == layers
    assert not read_layers(tmp_path, "init")
