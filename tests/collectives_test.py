"""Collectives are found in the text of programs, each once, with the bytes of its result."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.core.parallel import spread
from genjax.core.types import AXIS
from genjax.nn.conv import conv
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


@pytest.mark.parametrize(("examples", "kinds"), [(16, {"all-reduce"}), (12, None)], ids=str)
def test_grouped_convolutions_of_several_devices_gather_no_examples(
    examples: int, kinds: set[str] | None
) -> None:
    """With the gradient of a penalty on the gradient, equal to that of one device."""
    devices = spread(jax.devices())
    x = jax.random.normal(jax.random.key(0), (examples, 6, 6, 8))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 12))

    def total(kernel: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(conv(jnp.tanh(x), kernel, 1, "stock", groups=4)))

    def penalised(kernel: jax.Array, x: jax.Array) -> jax.Array:
        return total(kernel, x) + jnp.sum(jax.grad(total, 1)(kernel, x) ** 2)

    def on_mesh(kernel: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        with jax.sharding.use_abstract_mesh(devices.split.mesh.abstract_mesh):
            return jax.value_and_grad(penalised)(kernel, x)

    given = devices.split if kinds else devices.whole
    compiled = jax.jit(on_mesh, in_shardings=(devices.whole, given)).lower(kernel, x).compile()
    if kinds is not None:
        assert set(count_collectives(compiled.as_text())) == kinds
    found = compiled(jax.device_put(kernel, devices.whole), jax.device_put(x, given))
    wanted = jax.value_and_grad(penalised)(kernel, x)
    chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-4)
    # Of as many examples on each device as there are devices.
    mapped = jax.pmap(total, AXIS, in_axes=(None, 0))(kernel, jnp.stack([x[:8]] * 8))
    chex.assert_trees_all_close(mapped, jnp.full(8, total(kernel, x[:8])), rtol=1e-4)


def test_program_of_one_device_has_none() -> None:
    assert count_collectives(jax.jit(jnp.sum).lower(jnp.ones(3)).compile().as_text()) == {}
