"""Collectives are found in the text of programs, each once, with the bytes of its result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.core.parallel import spread
from genjax.core.types import AXIS
from genjax.targets.hlo import shape_bytes
from genjax.targets.runs import Traffic, count_collectives

PROGRAM = """
HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8,4]{1,0})->f32[8,4]{1,0}}

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}

ENTRY %main (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0:T(8,128)} parameter(0), metadata={op_name="all-reduce(x)"}
  %all-reduce.1 = (f32[8,4]{1,0:T(8,128)}, /*index=1*/bf16[3]{0}) all-reduce(%p, %q), to_apply=%add
  %gte = f32[8,4]{1,0} get-tuple-element(%all-reduce.1), index=0
  %all-reduce-start = f32[5]{0} all-reduce-start(%r), channel_id=1, to_apply=%add
  %all-reduce-done = f32[5]{0} all-reduce-done(%all-reduce-start)
  %ag = (f32[2]{0}, f32[16]{0}) all-gather-start(%s), dimensions={0}
  %all-gather-done.2 = f32[16]{0} all-gather-done(%ag)
  reduce-scatter.7 = s8[10]{0} reduce-scatter(t), dimensions={0}, to_apply=add
  %cp = (f32[6], f32[6], u32[], u32[]) collective-permute-start(%u), source_target_pairs={{0,1}}
  %cpd = f32[6]{0} collective-permute-done(%cp)
  ROOT %all-to-all.3 = pred[7]{0} all-to-all(%v), dimensions={0}
}
"""


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("f32[]", 4),
        ("bf16[3,5]{1,0}", 30),
        ("pred[7]", 7),
        ("s4[3]", 2),
        ("f8e4m3fn[9]{0}", 9),
        ("c64[2]", 16),
        ("f32[0]", 0),
        ("(f32[2]{0:T(128)}, (token[], u8[<=3]))", 11),
    ],
)
def test_bytes_of_a_shape(shape: str, size: int) -> None:
    assert shape_bytes(shape) == size


def test_every_collective_counts_once() -> None:
    assert count_collectives(PROGRAM) == {
        "all-reduce": Traffic(2, 8 * 4 * 4 + 3 * 2 + 5 * 4),
        "all-gather": Traffic(1, 16 * 4),
        "reduce-scatter": Traffic(1, 10),
        "collective-permute": Traffic(1, 6 * 4),
        "all-to-all": Traffic(1, 7),
    }


def test_compiled_sum_over_eight_devices() -> None:
    devices = spread(jax.devices())

    def total(x: jax.Array) -> jax.Array:
        return jax.lax.psum(x, AXIS)

    mapped = jax.shard_map(
        total, mesh=devices.split.mesh, in_specs=devices.split.spec, out_specs=devices.whole.spec
    )
    x = jax.device_put(np.ones((8, 30), np.float32), devices.split)
    assert count_collectives(jax.jit(mapped).lower(x).compile().as_text()) == {
        "all-reduce": Traffic(1, 30 * 4)
    }


def test_program_of_one_device_has_none() -> None:
    assert count_collectives(jax.jit(jnp.sum).lower(jnp.ones(3)).compile().as_text()) == {}
