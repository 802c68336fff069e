"""The report of benchmarks: tables by benchmark and machine, and a roofline."""

import json

import pytest

from benchmarks.report import main, make_report, read_records
from genjax.errors import UserError

MACHINE = {
    "cpu": "A processor",
    "cores": 2,
    "load": 0.1,
    "gpu": None,
    "jax_device": "1 x cpu",
    "system": "Linux",
    "python": "3.12.0",
    "date": "2026-01-02",
    "command": "python -m benchmarks.adversarial_step",
    "commit": "abc",
    "versions": {"jax": "1.0"},
}
STEP = {
    "benchmark": "adversarial_step",
    "preset": "dcgan-mnist",
    "part": "step",
    "penalty": None,
    "norm": "batch",
    "side": "genjax",
    "mode": "jit",
    "devices": 1,
    "dtype": "float32",
    "batch": 128,
    "image": [28, 28, 1],
    "steps_per_call": 1,
    "compile_s": 3.25,
    "first_s": 4.0,
    "seconds": [0.3, 0.25, 0.4],
    "ms": 300.0,
    "images_per_second": 426.7,
    "flops": 27e9,
    "compiler_flops": 30e9,
    "compiler_bytes": 1e9,
    "ceiling": 180e9,
    "bandwidth": 20e9,
    "share": 0.5,
    "memory_bytes": 3 * 2**20,
    "memory_kind": "planned",
    "joules_per_1000_images": None,
    "energy_note": "no meter",
    **MACHINE,
}
PEER = {
    "benchmark": "peers",
    "preset": "dcgan-mnist",
    "part": "step",
    "side": "pytorch eager",
    "mode": "eager",
    "dtype": "float32",
    "batch": 128,
    "image": [28, 28, 1],
    "steps_per_call": 1,
    "first_s": 1.0,
    "seconds": [0.6, 0.5, 0.8],
    "images_per_second": 213.3,
    "ratio": 2.0,
    "ratio_min": 1.5,
    "ratio_max": 2.5,
    **MACHINE,
}
OTHER = {
    "benchmark": "loop",
    "preset": "dcgan-mnist",
    "lost_s": [0.1, 0.3, 0.2],
    "kept": 0.98,
    "kept_min": 0.97,
    "kept_max": 0.99,
    "events": 12,
    "windows": [],
    "traffic": {"bytes": 1},
    **MACHINE,
    "load": 1.5,
    "cpu": "Another",
    "commit": "def",
}
# What `genjax compile --json` appends.
COMPILED = {
    "benchmark": "compile",
    "estimated": True,
    "preset": "dcgan-mnist",
    "target": "tpu-v5e:2x2",
    "devices": 4,
    "mode": "mesh",
    "dtype": "float32",
    "precision": "default",
    "feed": "device",
    "batch_size": 128,
    "examples": 128,
    "flops": 27e9,
    "product_flops": 54e9,
    "compiler_bytes": 1e9,
    "bytes": 59e6,
    "memory": {"state": 2**20, "temporaries": 2**21},
    "fits": True,
    "seconds": [0.001],
    "ceiling": 197e12,
    "bandwidth": 819e9,
    "kernels": {"scalar": 900, "loop fusion": 41, "copy": 9},
    "cycles": 724_370,
    "bounds": {"compute": 34e-6, "memory": 72e-6, "interconnect": 14e-6, "cycles": 486e-6},
    "collectives": [{"kind": "all-reduce", "axis": "data", "number": 10, "bytes": 4_200_000}],
    "source": "a data sheet",
    "date": "2026-01-03",
    "versions": {"jax": "1.0"},
}


@pytest.fixture
def lines(tmp_path):
    """A file of records of three benchmarks, from two machines."""
    ours = {**PEER, "side": "genjax", "ratio": None, "ratio_min": None, "ratio_max": None}
    records = [
        STEP,
        {**STEP, "batch": 256, "ceiling": 200e9, "flops": None, "share": None, "seconds": [0.6]},
        ours,
        PEER,
        OTHER,
        {**OTHER, "events": 13},
    ]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(x) + "\n" for x in records))
    return path


def test_tables(lines):
    text = make_report(read_records([lines]), None)
    rows = text.splitlines()
    assert "**Machine 1**: A processor, 2 cores, Linux  " in rows
    assert "**Machine 2**: Another, 2 cores, Linux  " in rows
    assert rows.count("Python 3.12.0, jax 1.0  ") == 2
    assert "ceilings of float32 on 1 device: 180 to 200 GFLOP/s, 20 GB/s  " in rows
    assert "python -m benchmarks.adversarial_step  # 2026-01-02, commit abc" in rows
    assert "python -m benchmarks.adversarial_step  # 2026-01-02, commit def" in rows
    assert "other programs were running: a load of up to 1.5 at the start" in text
    assert [x for x in rows if x.startswith("## ")] == [
        "## adversarial_step",
        "## peers",
        "## loop",
    ]
    assert (
        "preset dcgan-mnist, side genjax, part step, norm of D batch, mode jit, "
        "devices 1, dtype float32, image 28 x 28 x 1, steps a call 1"
    ) in rows
    assert (
        "| batch | compile, s | first step, s | ms/step | min to max | images/s | GFLOP a step "
        "| by the compiler | of the ceiling | MiB a device |"
    ) in rows
    assert "| 128 | 3.25 | 4 | 300 | 250 to 400 | 427 | 27 | 30 | 50 % | 3 (planned) |" in rows
    assert "| 256 | 3.25 | 4 | 600 | 600 to 600 | 427 | - | 30 | - | 3 (planned) |" in rows
    assert "| pytorch eager | 1 | 600 | 500 to 800 | 213 | 2.00 (1.50 to 2.50) |" in rows
    assert "| events | lost s | kept |" in rows
    assert "| 12 | 0.2 (0.1 to 0.3) | 0.98 (0.97 to 0.99) |" in rows


def test_what_was_estimated_stands_apart(lines, tmp_path):
    alone = make_report(read_records([lines]), None)
    assert alone.startswith("# Measured\n")
    assert "Estimated" not in alone
    gpu = {**COMPILED, "target": "h100:1", "cycles": None, "date": "2026-01-04", "collectives": []}
    gpu |= {"devices": 1, "precision": "highest", "accumulate": 2, "steps_per_call": 1}
    gpu["bounds"] = {"compute": 3e-6, "memory": 5e-6, "interconnect": 0, "cycles": None}
    with lines.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in (COMPILED, gpu))
    text = make_report(read_records([lines]), None)
    measured, estimated = text.split(
        "\n# Estimated by the compiler, for devices that were absent\n"
    )
    assert measured == alone
    assert "jax 1.0, 2026-01-03 to 2026-01-04" in estimated
    assert "genjax compile PRESET --target TARGET" in estimated
    # What all rows have in common stands above them, without what is usual.
    assert "dcgan-mnist, mode mesh, dtype float32, batch 128, feed device\n" in estimated
    assert "| target | devices | precision | parts of it | GFLOP a step |" in estimated
    tpu, other = (row for row in estimated.splitlines() if row.startswith(("| tpu", "| h100")))
    work = "27 | 200 % | 59 | 3 | yes"
    assert tpu == (
        f"| tpu-v5e:2x2 | 4 | default | - | {work} | 10 all-reduce, 4.2 | 50 | 724 | 486 | 34 | 72 "
        "| 14 | memory | 256,000 |"
    )
    rest = "- | 50 | - | - | 3 | 5 | 0 | memory | 25,600,000 |"
    assert other == f"| h100:1 | 1 | highest | 2 | {work} | {rest}"
    assert "ceilings of" not in estimated


def test_no_estimate_has_a_place_in_the_roofline(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps({**STEP, "estimated": True}))
    with pytest.raises(UserError, match="no record has what a roofline needs"):
        main((path,), tmp_path / "out.md", tmp_path / "plot.png")


def test_the_plot_is_linked_from_where_the_report_is(lines, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra genjax-models[bench]")
    out, plot = tmp_path / "results.md", tmp_path / "images" / "roofline.png"
    plot.parent.mkdir()
    main((lines,), out, plot)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "(images/roofline.png)" in out.read_text()


def test_what_can_not_be_reported(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text("")
    with pytest.raises(UserError, match="no records"):
        main((path,), tmp_path / "out.md")
    path.write_text(json.dumps(OTHER))
    with pytest.raises(UserError, match="no record has what a roofline needs"):
        main((path,), tmp_path / "out.md", tmp_path / "plot.png")
    path.write_text("[]")
    with pytest.raises(UserError, match="line 1"):
        main((path,), tmp_path / "out.md")
    with pytest.raises(UserError, match="cannot read"):
        main((tmp_path / "nothing",), tmp_path / "out.md")
