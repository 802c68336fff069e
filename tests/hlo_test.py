"""The text of compiled programs: what it says of real ones, beside what JAX says of them."""

import jax
import jax.numpy as jnp
import pytest

from genjax.targets.hlo import group_size, parse_program, shape_bytes
from genjax.targets.layers import layer_of
from genjax.targets.runs import count_kernels, fullest_moment, run_bytes, run_flops, runs

CUDNN = """
ENTRY %main (x: f32[8,14,14,64], k: f32[5,5,64,128], dy: f32[8,7,7,128]) -> f32[8,14,14,64] {
  %x = f32[8,14,14,64]{3,2,1,0} parameter(0)
  %k = f32[5,5,64,128]{3,2,1,0} parameter(1)
  %dy = f32[8,7,7,128]{3,2,1,0} parameter(2)
  %f = (f32[8,7,7,128]{3,2,1,0}, u8[0]{0}) custom-call(%x, %k), window={size=5x5 stride=2x2 pad=1_2x1_2}, dim_labels=b01f_01io->b01f, custom_call_target="__cudnn$convForward"
  %w = (f32[5,5,64,128]{3,2,1,0}, u8[0]{0}) custom-call(%x, %dy), window={size=5x5 stride=2x2 pad=1_2x1_2}, dim_labels=b01f_01io->b01f, custom_call_target="__cudnn$convBackwardFilter"
  ROOT %b = (f32[8,14,14,64]{3,2,1,0}, u8[0]{0}) custom-call(%dy, %k), window={size=5x5 stride=2x2 pad=1_2x1_2}, dim_labels=b01f_01io->b01f, custom_call_target="__cudnn$convBackwardInput"
}
"""  # noqa: E501

TPU = """
%picking (data: u8[10000,784], index: s32[128]) -> u8[128,784] {
  %data = u8[10000,784]{1,0} parameter(0)
  %index = s32[128]{0} parameter(1)
  ROOT %gather.1 = u8[128,784]{1,0} gather(%data, %index), offset_dims={1}
}

%body (c: (s32[], f32[16])) -> (s32[], f32[16]) {
  %c = (s32[], f32[16]{0}) parameter(0)
  %g = f32[16]{0} get-tuple-element(%c), index=1
  %double = f32[16]{0} add(%g, %g), backend_config={"estimated_cycles":"10"}
  ROOT %t = (s32[], f32[16]{0}) tuple(%i, %double)
}

ENTRY %main (data: u8[10000,784], index: s32[128], c: (s32[], f32[16])) -> u8[128,784] {
  %data = u8[10000,784]{1,0} parameter(0)
  %index = s32[128]{0} parameter(1)
  %c = (s32[], f32[16]{0}) parameter(2)
  %while.1 = (s32[], f32[16]{0}) while(%c), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %copy-start = (f32[16]{0:T(128)S(1)}, f32[16]{0}, u32[]) copy-start(%g)
  %copy-done = f32[16]{0:T(128)S(1)} copy-done(%copy-start)
  ROOT %pick = u8[128,784]{1,0} fusion(%data, %index), kind=kLoop, calls=%picking, metadata={op_name="jit(f)/gather"}
}
"""  # noqa: E501


def found(function, *shapes):
    return (
        jax.jit(function).lower(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)).compile()
    )


def flops_of(text):
    program = parse_program(text)
    return sum(run.times * run_flops(program, run) for run in runs(program))


def convolve(x, kernel, **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=numbers, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (2, 2), "padding": "SAME"},
        {"window_strides": (1, 1), "padding": "VALID", "rhs_dilation": (2, 1)},
        {"window_strides": (1, 1), "padding": [(3, 3), (2, 2)], "lhs_dilation": (2, 2)},
        {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 4},
    ],
    ids=["strided", "dilated", "transposed", "grouped"],
)
def test_flops_of_a_convolution_are_the_compilers(options):
    inputs = 8 // options.get("feature_group_count", 1)
    done = found(lambda x, k: convolve(x, k, **options), (4, 12, 10, 8), (5, 3, inputs, 16))
    assert flops_of(done.as_text()) == pytest.approx(done.cost_analysis()["flops"], rel=0.01)


def test_flops_of_products_within_fusions_are_the_compilers():
    done = found(lambda a, b: jnp.tanh(a @ b) @ b.T, (32, 64), (64, 48))
    assert flops_of(done.as_text()) == 2 * 2 * 32 * 64 * 48


def test_a_loop_counts_as_often_as_it_turns():
    def function(a):
        return jax.lax.scan(lambda x, _: (x @ x, None), a, length=7)[0]

    done = found(function, (16, 16))
    assert flops_of(done.as_text()) == 7 * 2 * 16**3
    assert done.cost_analysis()["flops"] < 2 * 2 * 16**3


def test_a_loop_on_a_tpu_counts_to_its_limit():
    """Their programs don't say how often a loop turns."""
    condition = """
%cond (c: (s32[], f32[16])) -> pred[] {
  %limit = s32[]{:T(128)} constant(5)
  %c = (s32[]{:T(128)}, f32[16]{0}) parameter(0)
  %number = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{:T(512)} compare(%number, %limit), direction=LT
}
"""
    silent = TPU.replace(', backend_config={"known_trip_count":{"n":"5"}}', "")
    assert silent != TPU
    assert next(run.times for run in runs(parse_program(silent))) == 1
    assert next(run.times for run in runs(parse_program(condition + silent))) == 5
    unknown = condition.replace("constant(5)", "parameter(1)")
    assert next(run.times for run in runs(parse_program(unknown + silent))) == 1


def test_of_a_branch_the_most_expensive_side_counts():
    def cubed(x):
        return x @ x @ x

    def function(choice, x):
        return jax.lax.switch(choice, [jnp.sin, cubed, lambda x: x @ x], x)

    def either(wanted, x):
        return jax.lax.cond(wanted, cubed, jnp.sin, x)

    numbers = (jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((), bool))
    x = jax.ShapeDtypeStruct((16, 16), jnp.float32)
    for choosing, number in zip((function, either), numbers, strict=True):
        done = jax.jit(choosing).lower(number, x).compile()
        assert flops_of(done.as_text()) == 2 * 2 * 16**3


def test_the_library_on_gpus_does_the_same_work_in_all_directions():
    program = parse_program(CUDNN)
    expected = 2 * 8 * (5 * 7 - 3) ** 2 * 64 * 128
    assert [run_flops(program, run) for run in runs(program)] == [expected] * 3
    assert count_kernels(runs(program)) == {
        "cudnn convForward": 1,
        "cudnn convBackwardFilter": 1,
        "cudnn convBackwardInput": 1,
    }


def test_what_runs_how_often_and_what_it_moves():
    program = parse_program(TPU)
    double, start, done, pick = runs(program)
    assert (double.times, double.instruction.cycles) == (5, 10)
    assert run_bytes(program, double) == 3 * 64
    assert run_bytes(program, start) == 0
    # To the chip's own memory.
    assert run_bytes(program, done) == 0
    # What is picked of the data, its numbers, and the result.
    assert run_bytes(program, pick) == 128 * 784 + 128 * 4 + 128 * 784
    assert count_kernels(runs(program)) == {"add": 5, "copy": 1, "loop fusion": 1}


SLICES = """
%stacking (all: f32[100,16], new: f32[16], at: s32[]) -> (f32[100,16], f32[16]) {
  %all = f32[100,16]{1,0} parameter(0)
  %flat = f32[1600]{0} bitcast(%all)
  %new = f32[16]{0} parameter(1)
  %at = s32[] parameter(2)
  %twice = f32[16]{0} add(%new, %new)
  %put = f32[1600]{0} dynamic-update-slice(%flat, %twice, %at)
  %back = f32[100,16]{1,0} bitcast(%put)
  ROOT %both = (f32[100,16]{1,0}, f32[16]{0}) tuple(%back, %twice)
}

ENTRY %main (all: f32[100,16], row: f32[1,16], at: s32[]) -> f32[100,16] {
  %all = f32[100,16]{1,0} parameter(0)
  %row = f32[1,16]{1,0} parameter(1)
  %at = s32[] parameter(2)
  %zero = s32[] constant(0)
  %part = f32[1,16]{1,0} dynamic-slice(%all, %at, %zero), dynamic_slice_sizes={1,16}
  %first = f32[2,16]{1,0} slice(%all), slice={[0:2], [0:16]}
  %slice-start = ((f32[100,16]{1,0}), f32[4,16]{1,0:S(1)}, s32[]) slice-start(%all), slice={[0:4], [0:16]}
  %slice-done = f32[4,16]{1,0:S(1)} slice-done(%slice-start)
  %updated = f32[100,16]{1,0} dynamic-update-slice(%all, %row, %at, %zero)
  ROOT %stack = (f32[100,16]{1,0}, f32[16]{0}) fusion(%updated, %row, %at), kind=kLoop, calls=%stacking
}
"""  # noqa: E501


def test_of_what_is_sliced_the_slice_moves():
    program = parse_program(SLICES)
    part, first, start, done, updated, stack = (run_bytes(program, run) for run in runs(program))
    # Read and written, at one or two numbers.
    assert part == 64 + 64 + 8
    assert first == 128 + 128
    # Onto the chip.
    assert (start, done) == (0, 256)
    assert updated == 64 + 64 + 8
    # The row twice, as a part of the whole and by itself; read once.
    assert stack == 64 + 64 + 64 + 4


def test_the_fullest_moment_is_what_the_compiler_plans():
    def function(x, y):
        wide = jnp.sin(x @ y)
        again = jnp.cos(wide @ y.T)
        return (wide @ y.T @ y + again @ y).sum()

    done = found(function, (256, 512), (512, 512))
    sizes = [shape_bytes(shape) for shape in fullest_moment(parse_program(done.as_text()))]
    assert sum(sizes) == pytest.approx(done.memory_analysis().temp_size_in_bytes, rel=0.35)


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("{{0,1},{2,3}}", 2),
        ("[1,4]<=[4]", 4),
        ("[2,4]<=[4,2]T(1,0)", 4),
        ("mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", 4),
        ("", 0),
    ],
)
def test_sizes_of_groups(groups, size):
    assert group_size(groups) == size


@pytest.mark.parametrize(
    ("scope", "layer"),
    [
        (
            "jit(steps)/Generator/decoder/Dense_0/dot_general",
            ("Generator/decoder/Dense_0", "forward"),
        ),
        ("jit(f)/transpose(jvp(D))/Conv_1/Conv_1.convolve/conv", ("D/Conv_1", "backward")),
        ("jit(steps)/jvp(vmap())/vmap(jit(_fold))/stream", ("stream", "forward")),
        (
            "jit(steps)/while/body/closed_call/transpose(jvp(D))/Conv_1/conv",
            ("D/Conv_1", "backward"),
        ),
        ("jit(steps)/while/body/closed_call/add", ("add", "forward")),
        ("jit(steps)/while", ("(compiler)", "forward")),
        ("", ("(compiler)", "forward")),
    ],
)
def test_layers(scope, layer):
    assert layer_of(scope) == layer
