"""Devices that are absent: which there are, what their figures bound, which batches fit them."""

import dataclasses
import json

import jax
import pytest
from matplotlib.axes import Axes

from genjax.commands.compile import _scaling_rows
from genjax.config import LARGEST_BATCH
from genjax.errors import UserError
from genjax.presets import preset
from genjax.targets.batches import largest_batch
from genjax.targets.bounds import bounds_of, sent_bytes
from genjax.targets.chips import CHIPS
from genjax.targets.devices import Target, parse_target, slice_of
from genjax.targets.report import Collective, Operation, Report, precision_of
from genjax.targets.scaling import fitting_points, plot_scaling, scaling_points

SIZE = 2**30


def make_report(experiment, target, **changes):
    batch = experiment.batch_size
    collectives = [("all-reduce", 4_000_000)] if target.devices > 1 else []
    report = Report(
        preset=experiment.name,
        target=str(target),
        devices=target.devices,
        mode="mesh",
        dtype="float32",
        precision="default",
        batch_size=batch,
        accumulate=experiment.accumulate,
        steps_per_call=experiment.steps_per_call,
        examples=batch,
        feed="host",
        compile_s=1.0,
        parameters={"generator": 10},
        flops=10**9 * batch,
        product_flops=10**9 * batch,
        compiler_flops=None,
        compiler_bytes=None,
        bytes=10**6 * batch // target.devices,
        memory={"state": SIZE, "temporaries": 3 * 2**20 * batch // target.devices},
        capacity=target.chip and target.chip.memory,
        fits=True,
        collectives=[Collective(kind, "data", 1, size) for kind, size in collectives],
        kernels={"fusion": 1},
        cycles=None,
        bounds=None,
        operations=[Operation("G/Conv_0", "forward", "fusion", 1, 1.0, 1, 1)],
        source="somebody",
        versions={"jax": "1"},
        date="2026-11-28",
    )
    if target.chip:
        flops, moved = report.flops / target.devices, report.bytes
        bounds = bounds_of(target.chip, 1e14, flops, moved, collectives, target.devices, None)
        fits = report.memory_bytes <= target.chip.memory
        report = dataclasses.replace(report, bounds=bounds, fits=fits)
    return dataclasses.replace(report, **changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tpu-v5", "did you mean 'tpu-v5p'"),
        ("h100:2x2", "takes a number of devices, such as h100:4"),
        ("tpu-v5e:2x2x1", "2 axes, such as tpu-v5e:2x2"),
        ("tpu-v4:4x4", "3 axes, such as tpu-v4:2x2x1"),
        ("tpu-v5e:3", "no slice of 3; choices: 1, 4, 8"),
        ("tpu-v5e:32x32", "1,024 devices; choices: 1 to 256"),
        ("cpu:0", "0 devices"),
        ("tpu v5e", "a name and a shape"),
        ("", "a name and a shape"),
    ],
)
def test_mistakes_in_a_target(text, message):
    with pytest.raises(UserError, match=message):
        parse_target(text)


def test_targets_say_what_they_are():
    assert parse_target("tpu-v4") == Target("tpu-v4", (1, 1, 1))
    assert parse_target("tpu-v4:4") == Target("tpu-v4", (2, 2, 1))
    assert parse_target("tpu-v5e:8x16").devices == 128
    assert [slice_of("tpu-v6e", n).shape for n in (1, 8, 256)] == [(1, 1), (2, 4), (16, 16)]
    assert parse_target("cpu:4").platform == "cpu"


def test_published_figures_agree_with_each_other():
    """Clocks follow from peaks: TPU v4's is published to be 1,050 MHz (Jouppi et al. 2023)."""
    assert CHIPS["tpu-v4"].clock == pytest.approx(1.05e9, rel=0.001)
    for name, chip in CHIPS.items():
        assert chip.source
        assert (chip.clock is not None) == name.startswith("tpu")
        assert (chip.gpu is not None) == (chip.platform == "gpu")


def test_precision_costs_passes():
    for name, passes in (("tpu-v5e", 6), ("h100", 494.7 / 66.9)):
        chip = CHIPS[name]
        found = chip.peak("float32", "default") / chip.peak("float32", "highest")
        assert found == pytest.approx(passes)
        # There is nothing to round in what is bfloat16 already.
        assert chip.peak("bfloat16", "highest") == chip.peak("bfloat16", "default")


def test_jax_s_own_precision_counts_where_the_configuration_has_none():
    experiment = preset("dcgan-digits")
    with jax.default_matmul_precision("float32"):
        assert precision_of(experiment) == "highest"
        assert precision_of(dataclasses.replace(experiment, precision="high")) == "high"
    assert precision_of(experiment) == "default"


def test_bounds_by_hand():
    chip = CHIPS["tpu-v5e"]
    found = bounds_of(
        chip, chip.peak("bfloat16", "default"), 197e9, 819e6, [("all-reduce", 10**6)], 4, 1_503_000
    )
    assert found.compute == pytest.approx(1e-3)
    assert found.memory == pytest.approx(1e-3)
    assert found.interconnect == pytest.approx(2 * 3 / 4 * 1e6 / 200e9)
    assert found.cycles == pytest.approx(1e-3, rel=0.001)
    assert found.step == (found.cycles, found.cycles + found.interconnect)
    assert bounds_of(chip, 1e12, 0, 0, [("all-gather", 8)], 2, None).name == "interconnect"


def test_collectives_send_what_rings_send():
    """Of 4 devices: each passes on three quarters, a sum does so twice."""
    sent = {kind: sent_bytes(kind, 400, 4) for kind in ("all-reduce", "all-gather", "all-to-all")}
    assert sent == {"all-reduce": 600, "all-gather": 300, "all-to-all": 300}
    # Each device keeps 400 of 1,600 and sends the rest.
    assert sent_bytes("reduce-scatter", 400, 4) == 1200


def test_a_report_survives_json():
    report = make_report(preset("dcgan-digits"), parse_target("tpu-v5e:2x2"))
    value = json.loads(json.dumps(report.to_json()))
    assert value["estimated"] is True
    assert Report.from_json(value) == report


@pytest.mark.parametrize(("target", "unit"), [("tpu-v5e:1x1", 1), ("h100:4", 4)])
def test_the_largest_batch_fits_and_a_sixteenth_more_does_not(target, unit):
    aimed = parse_target(target)
    tried = []

    def compiled(experiment):
        tried.append(experiment.batch_size)
        assert experiment.batch_size % unit == 0
        return make_report(experiment, aimed)

    found = largest_batch(preset("dcgan-digits"), unit, compiled)
    more = dataclasses.replace(
        preset("dcgan-digits"), batch_size=found.batch_size * 17 // 16 + unit
    )
    assert found.fits
    assert not make_report(more, aimed).fits
    assert len(tried) <= 8


def test_the_largest_batch_is_one_that_a_configuration_takes():
    """Small models would fit with more, and the search must not end before it."""
    aimed, tried = parse_target("tpu-v5e:2x2"), []

    def compiled(experiment):
        tried.append(experiment.batch_size)
        report = make_report(experiment, aimed)
        return dataclasses.replace(report, memory={"state": 10 + experiment.batch_size}, fits=True)

    experiment = dataclasses.replace(preset("dcgan-digits"), accumulate=2, batch_size=1000)
    assert largest_batch(experiment, 24, compiled).batch_size == LARGEST_BATCH // 24 * 24
    assert len(tried) <= 6
    with pytest.raises(UserError, match="has at most 1,048,576"):
        largest_batch(experiment, LARGEST_BATCH + 2, compiled)


def test_the_largest_batch_is_not_sought_one_by_one():
    """Of memory that grows ever faster, each line through two batches ends below the capacity."""
    aimed, tried = parse_target("tpu-v5e:1x1"), []

    def compiled(experiment):
        batch = experiment.batch_size
        tried.append(batch)
        size = int(2**34 * (1 - 1 / (1 + batch / 100))) if batch < 3000 else 2**35
        report = make_report(experiment, aimed)
        return dataclasses.replace(report, memory={"state": size}, fits=size <= 2**34)

    found = largest_batch(preset("dcgan-digits"), 1, compiled)
    assert 3000 * 15 / 16 <= found.batch_size < 3000
    assert len(tried) <= 12


def test_no_batch_fits():
    full = {"state": 10**12}
    aimed = parse_target("tpu-v5e:1x1")
    with pytest.raises(UserError, match="not even 1 examples fit"):
        largest_batch(
            preset("dcgan-digits"), 1, lambda own: make_report(own, aimed, memory=full, fits=False)
        )


def test_scaling_over_chips(tmp_path):
    experiment = dataclasses.replace(preset("dcgan-digits"), batch_size=64)
    points = scaling_points(experiment, parse_target("tpu-v5e:1x1"), make_report)
    weak = {p.report.devices: p for p in points if p.scaling == "weak"}
    strong = {p.report.devices: p for p in points if p.scaling == "strong"}
    assert list(weak) == [1, 4, 16, 64, 256]
    assert list(strong) == [1, 4, 16, 64]
    assert weak[256].report.batch_size == 64 * 256
    # Weak scaling loses at most what it sends; on one chip nothing is sent.
    assert weak[256].rates[1] == pytest.approx(256 * weak[1].rates[1])
    assert weak[256].rates[0] < weak[256].rates[1]
    assert weak[1].rates[0] == weak[1].rates[1]
    plot_scaling(points, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
    with pytest.raises(UserError, match="share its cores"):
        scaling_points(experiment, parse_target("cpu:4"), make_report)
    mapped = dataclasses.replace(experiment, mode="jit")
    with pytest.raises(UserError, match="leave out --mode jit"):
        scaling_points(mapped, parse_target("tpu-v5e"), make_report)
    large = dataclasses.replace(experiment, batch_size=2**14)
    points = scaling_points(large, parse_target("tpu-v4"), make_report)
    # No configuration has a batch of 2 ** 22.
    assert [p.report.devices for p in points if p.scaling == "weak"] == [1, 4, 16, 64]


def test_scaling_of_what_does_not_fit_one_chip(tmp_path):
    """Those chips are in the table, and what fits is compared with itself."""

    def compiled(experiment, target):
        report = make_report(experiment, target)
        refused = {"fits": False, "bounds": None}
        return dataclasses.replace(report, **refused) if target.devices < 16 else report

    points = scaling_points(preset("dcgan-digits"), parse_target("tpu-v5e"), compiled)
    fitting = fitting_points(points)
    rows = list(_scaling_rows(points, fitting[0]))
    assert [row[-1].endswith("does NOT fit") for row in rows] == [True] * 4 + [False] * 5
    assert rows[0][3:7] == ("-",) * 4
    assert rows[4][6].endswith("to 100 %")
    plot_scaling(fitting, tmp_path / "scaling.png")
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Axes, "legend", lambda panel, **_: drawn.extend(panel.get_lines()))
        plot_scaling(fitting, tmp_path / "scaling.png")
    labels = {line.get_label() for line in drawn}
    assert {"weak: 64 on each chip", "strong: 64 over all chips"} <= labels
    with pytest.raises(UserError, match="fits on no number of chips"):
        fitting_points(points[:4])
