"""`genjax compile`: figures for the CPU are the real step's, for TPUs those of the formula."""

import dataclasses
import importlib.util
import json
import os

import jax
import numpy as np
import pytest
from in_process import genjax, refusal
from jax.experimental.compilation_cache import compilation_cache

from genjax.commands import columns
from genjax.core.parallel import compile_step
from genjax.data.schema import image_schema
from genjax.data.sources import known_schema
from genjax.families.registry import make_algorithm
from genjax.presets import preset
from genjax.targets.cache import _key, report_of
from genjax.targets.devices import parse_target, prepare_process
from genjax.targets.lowering import lower

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENJAX_CACHE", str(tmp_path / "cache"))
    # Changed for TPUs, and wanted back by the processes of other tests.
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    kept = jax.config.jax_enable_compilation_cache
    yield tmp_path / "cache" / "compile"
    jax.config.update("jax_enable_compilation_cache", kept)
    compilation_cache.reset_cache()


def real_step(experiment, devices):
    """The step as the loop compiles it, with real arrays."""
    algorithm = make_algorithm(experiment, image_schema((8, 8, 1), 10))
    mode = "jit" if devices == 1 else "mesh"
    compiled = compile_step(algorithm, mode, jax.devices()[:devices])
    batch = {
        "image": np.zeros((1, algorithm.examples, 8, 8, 1), np.uint8),
        "label": np.zeros((1, algorithm.examples), np.int32),
    }
    state = compiled.init(jax.random.key(0))
    return state, compiled.step.lower(state, None, compiled.place(batch)).compile()


@pytest.mark.parametrize("devices", [1, 2])
def test_figures_for_the_cpu_are_those_of_the_real_step(dense_experiment, cache, devices):
    experiment = dataclasses.replace(dense_experiment, mode="auto")
    report = report_of(experiment, known_schema("digits"), parse_target(f"cpu:{devices}"))
    state, step = real_step(experiment, devices)
    plan = step.memory_analysis()
    assert report.compiler_flops == devices * step.cost_analysis()["flops"]
    assert report.compiler_bytes == step.cost_analysis()["bytes accessed"]
    used = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
    used += plan.generated_code_size_in_bytes
    assert report.memory_bytes == used - plan.alias_size_in_bytes
    leaves = (leaf for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array))
    assert report.memory["state"] == pytest.approx(sum(leaf.nbytes for leaf in leaves), abs=8)
    assert report.flops <= report.product_flops
    assert bool(report.collectives) == (devices > 1)
    assert report.bounds is report.cycles is None


def test_the_command_says_it_and_keeps_it(cache, tmp_path, monkeypatch):
    arguments = ("compile", "vae-digits", "--target", "cpu", "--json", tmp_path / "out.jsonl")
    first, again = genjax(*arguments), genjax(*arguments)
    assert (first.status, again.status) == (0, 0)
    assert first.out.startswith("compiling vae-digits with a batch of 64 for cpu:1")
    # The second time nothing is compiled.
    assert again.out == first.out.partition("\n")[2]
    for words in (
        "vae-digits on 1 x cpu",
        "5.54 MFLOP a step by the formula",
        "autoencoder 17,477",
    ):
        assert words in again.out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns.console, "_width", 80)
        patch.setattr(columns.console, "_force_terminal", True)
        narrow = genjax(*arguments[:4]).out
    assert max(map(len, narrow.splitlines())) <= 80
    words = set(narrow.split()) | set(narrow.replace(":", " ").split())
    assert set(again.out.rpartition("appended to")[0].split()) <= words
    [one, two] = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert one == two
    assert (one["benchmark"], one["estimated"], one["flops"]) == ("compile", True, 5_537_792)
    other = genjax(*arguments, "--batch-size", 32, "--dtype", "bfloat16")
    assert "batch 32" in other.out
    assert "bfloat16" in other.out
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("place", ["_reader", "name_processor", "count_flops", "versions"])
def test_a_report_of_something_else_is_not_found(dense_experiment, monkeypatch, place):
    lowered = lower(dense_experiment, known_schema("digits"), parse_target("cpu"))
    keys = {_key(lowered), _key(lowered)}
    assert len(keys) == 1
    monkeypatch.setattr(f"genjax.targets.cache.{place}", lambda *arguments: "another")
    keys.add(_key(lowered))
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--another")
    keys.add(_key(lowered))
    assert len(keys) == 3


def test_programs_that_xla_keeps_are_compiled_again(cache, tmp_path):
    """Otherwise a compilation would seem to take no time, and programs of TPUs can't be read."""
    folder = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "xla"))
    compilation_cache.reset_cache()
    try:
        jax.jit(lambda x: x + 1)(0)
        [*kept] = tmp_path.glob("xla/*")
        aimed = parse_target("cpu")
        prepare_process(aimed)
        report_of(preset("gaussians-8"), known_schema("gaussians-8"), aimed)
        assert kept
        assert [*tmp_path.glob("xla/*")] == kept
    finally:
        jax.config.update("jax_compilation_cache_dir", folder)


def test_a_damaged_report_is_made_again(dense_experiment, cache, monkeypatch):
    said = []
    arguments = dense_experiment, known_schema("digits"), parse_target("cpu"), said.append
    first = report_of(*arguments)
    [file] = cache.iterdir()
    whole = file.read_bytes()
    monkeypatch.setattr("genjax.targets.cache.compile_report", lambda lowered: first)
    for damage in (b"", whole[:-5], b"[1]", b"\xff", b'{"preset": 1}'):
        file.write_bytes(damage)
        said.clear()
        assert report_of(*arguments) == first
        assert len(said) == 1, damage
        assert file.read_bytes() == whole
        assert report_of(*arguments).to_json() == json.loads(whole)
        assert len(said) == 1, damage


def test_one_s_own_data_are_held_as_on_the_device(cache, tmp_path, monkeypatch):
    """By accelerators, and where it is asked for."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    np.savez(tmp_path / "mine.npz", images=np.arange(3200).astype(np.uint8).reshape(50, 8, 8, 1))
    assert genjax("data", "import", "mine", "--from", tmp_path / "mine.npz").status == 0
    flags = ("compile", "vae-digits", "--data.name", "mine", "--target", "cpu", "--feed", "device")
    outcome = genjax(*flags, "--batch-size", 8)
    assert "batches from the device" in outcome.out, outcome
    assert "data 3.12 KiB" in outcome.out
    text = refusal("compile", "gpt-shakespeare", "--target", "cpu", "--feed", "device")
    assert "feed is 'device', but tinyshakespeare is read from the disk; set host" in text


@pytest.mark.parametrize(("flags", "unit"), [((), 12), (("--mode", "jit"), 3)])
def test_the_largest_batch_can_be_split(dense_experiment, cache, monkeypatch, flags, unit):
    """Over the devices that a mode uses, and each part into those that are accumulated."""
    own = report_of(dense_experiment, known_schema("digits"), parse_target("cpu"))
    tried = []

    def report(experiment, schema, target, say, count):
        tried.append(experiment.batch_size)
        fits = experiment.batch_size <= 5000
        memory = {"state": 2**20 * experiment.batch_size}
        changes = {"batch_size": experiment.batch_size, "memory": memory, "fits": fits}
        return dataclasses.replace(own, **changes, target=str(target), capacity=5000 * 2**20)

    monkeypatch.setattr("genjax.targets.cache.report_of", report)
    flags = (*flags, "--batch-size", 66, "--accumulate", 3, "--largest-batch")
    outcome = genjax("compile", "vae-digits", "--target", "h100:4", *flags)
    assert outcome.status == 0, outcome
    assert not any(batch % unit for batch in tried)
    fitting = max(batch for batch in tried if batch <= 5000)
    assert f"batch {fitting:,}, " in outcome.out
    assert 5000 / (17 / 16) - unit <= fitting


def test_what_is_not_installed_is_named(cache, monkeypatch):
    monkeypatch.setattr("genjax.targets.devices.importlib.util.find_spec", lambda name: None)
    tpu = refusal("compile", "--target", "tpu-v5e:2x2")
    assert "libtpu is not installed" in tpu
    assert "pip install 'genjax-models[targets]'" in tpu
    gpu = refusal("compile", "--target", "h100")
    assert "pip install 'jax[cuda12]'" in gpu


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--target"),
        (("--target", "v5e"), "unknown target 'v5e'"),
        (("--target", "cpu", "--mode", "pmap"), "choices: jit, mesh"),
        (("--target", "cpu", "--largest-batch"), "a memory of its own, not cpu:1"),
        (("--target", "cpu:2", "--scaling"), "share its cores"),
        (("--target", "h100", "--scaling", "--largest-batch"), "give one of them"),
        (("--target", "cpu", "--out", "x.png"), "--scaling, which is missing"),
        (("--target", "cpu:3", "--mode", "mesh"), "a multiple of 3"),
        (("--target", "cpu", "--json", "/no/such/folder/x"), "is not a folder"),
        (("--target", "cpu", "--dtype", "float16"), "--dtype"),
    ],
)
def test_mistakes(cache, arguments, words):
    assert words in refusal("compile", *arguments)


FAMILIES = (
    "dcgan-digits",
    "gaussians-8",
    "vae-digits",
    "vae-gan-mnist",
    "gpt-shakespeare",
    "wavegan-digits",
)


@pytest.mark.full
@needs_libtpu
@pytest.mark.parametrize(
    ("name", "target"),
    # A chip alone has the same program but for what joins devices.
    [("dcgan-digits", "tpu-v5e:1x1"), *((name, "tpu-v5e:2x2") for name in FAMILIES)],
)
def test_every_family_compiles_for_tpus(cache, name, target):
    """The products are the formula's, and what is sent is what data parallelism needs."""
    experiment = preset(name)
    aimed = parse_target(target)
    prepare_process(aimed)
    report = report_of(experiment, known_schema(experiment.data.name), aimed)
    # Products by matrices of one or two columns, which points have, are sums to the compiler.
    least = 0.85 if experiment.data.name.startswith("gaussians") else 0.95
    assert least * report.flops <= report.product_flops <= 1.05 * report.flops
    assert report.fits
    assert report.cycles > 0
    assert report.bounds.cycles > max(report.bounds.compute, report.bounds.memory) / 2
    if aimed.devices == 1:
        assert not report.collectives
        return
    [sums] = report.collectives
    updates = getattr(experiment.model, "discriminator_updates", 1)
    needed = 4 * sum(
        count * (updates if player == "discriminator" else 1)
        for player, count in report.parameters.items()
    )
    assert (sums.kind, sums.axis) == ("all-reduce", "data")
    # Beside gradients, statistics of batch norm, losses and metrics.
    assert needed <= sums.bytes <= 1.02 * needed + 8192


@pytest.mark.full
@needs_libtpu
def test_what_is_too_large_does_not_fit(cache):
    experiment = dataclasses.replace(preset("dcgan-mnist"), batch_size=2**17)
    aimed = parse_target("tpu-v5e:1x1")
    prepare_process(aimed)
    report = report_of(experiment, known_schema("mnist"), aimed)
    assert not report.fits
    assert report.memory_bytes > 15.7 * 2**30
