"""Collectives read off HLO as compilers write it; the texts are cut from programs compiled with jax 0.10.2."""

import pytest

from mtl_jax.plan import Collective, collectives
from mtl_jax.plan._hlo import repetitions, size


def program(*instructions, before=""):
  return f"HloModule jit_f\n{before}\nENTRY %main (p: f32[]) -> f32[] {{\n  " + "\n  ".join(instructions) + "\n}\n"


def only(text, devices=4):
  (found,) = collectives(text, devices)
  return found


MESH = "replica_groups=mesh['axis_0'=1,'axis_1'=8,'axis_2'=1] {'axis_1'}"


def test_tuple_with_numbered_elements_and_tpu_layouts():
  text = program(
    "%all-reduce.20 = (f32[3,256]{1,0:T(4,128)S(1)}, f32[3,3,32,3,64]{4,3,2,1,0:T(4,128)S(1)}, f32[10]{0:T(128)S(1)},"
    " f32[]{:T(128)}, bf16[32,10]{0,1:T(8,128)(2,1)S(1)}, /*index=5*/f32[32]{0:T(128)S(1)}) all-reduce(%a, %b, %c, %d,"
    f" %e, /*index=5*/%f), channel_id=1, {MESH}, use_global_device_ids=true, to_apply=%region_2.3.clone"
  )
  total = 4 * (3 * 256 + 3 * 3 * 32 * 3 * 64 + 10 + 1 + 32) + 2 * 320
  assert only(text, 8) == Collective("all-reduce", 1, total, 2 * 7 / 8 * total)


def test_asynchronous_fusions_repeat_an_instruction_under_one_channel():
  gather = "pred[1024,3,3,64]{0,3,2,1:T(8,128)(4,1)S(1)} all-gather(%p), channel_id=25, " + MESH
  one, two = (
    f"%async_collective_fusion.{i} (p: pred[128,3,3,64]) -> pred[1024,3,3,64] {{\n  %all-gather.{i} = {gather}\n}}\n"
    for i in (1, 2)
  )
  reduce = f"%all-reduce.1 = f32[4]{{0}} all-reduce(%p), channel_id=25, {MESH}, to_apply=%add"
  found = collectives(program(reduce, before=one + two), 8)
  gathered = 1024 * 3 * 3 * 64
  assert found == (
    Collective("all-gather", 1, gathered, 7 / 8 * gathered),
    Collective("all-reduce", 1, 16, 28.0),  # channels of other opcodes are others
  )


def test_tpu_writes_a_reduce_scatter_as_an_all_reduce_in_a_computation_of_that_name():
  inner = (
    "%all-reduce-scatter.1 (input: f32[512,512]) -> f32[128,512] {\n"
    "  %input = f32[512,512]{1,0:T(8,128)S(1)} parameter(0)\n"
    "  %all-reduce.2 = f32[512,512]{1,0:T(8,128)} all-reduce(%input), channel_id=2, replica_groups={{0,1,2,3}},"
    " use_global_device_ids=true, to_apply=%add.1.clone\n}\n"
  )
  text = program("ROOT %fusion = f32[128,512] fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1", before=inner)
  assert only(text) == Collective("reduce-scatter", 1, 2**20, 3 / 4 * 2**20)


def test_fused_reduce_scatters_that_were_combined_share_a_channel():
  inner = [
    f"%all-reduce-scatter.{i} (a: f32[64], b: f32[8]) -> (f32[16], f32[2]) {{\n"
    f"  %all-reduce.{i} = (f32[64]{{0}}, f32[8]{{0}}) all-reduce(%a, %b), channel_id=1,"
    " replica_groups={{0,1,2,3}}, to_apply=%add\n}\n"
    for i in (1, 2)
  ]
  assert only(program("%p = f32[] parameter(0)", before="".join(inner))) == Collective("reduce-scatter", 2, 576, 432.0)


def test_collectives_of_a_program_per_device_share_a_channel():
  lines = [f"%psum.{i} = f32[8]{{0}} all-reduce(%p), channel_id=1, replica_groups={{{{0,1,2,3}}}}" for i in (1, 2)]
  assert only(program(*lines)) == Collective("all-reduce", 2, 64, 96.0)


def test_reduce_scatter_counts_its_input():
  text = program("%r = f32[128]{0} reduce-scatter(%p), channel_id=1, replica_groups=[1,4]<=[4], dimensions={0}")
  assert only(text) == Collective("reduce-scatter", 1, 2048, 1536.0)


@pytest.mark.parametrize(
  ("line", "expected"),
  [
    (
      "%all-gather-start = (f32[2,8]{1,0}, f32[16,8]{1,0}) all-gather-start(%p), channel_id=1, "
      "replica_groups=[1,8]<=[8], dimensions={0}",
      Collective("all-gather", 1, 512, 448.0),
    ),
    (
      "%all-gather-start = ((f32[2], bf16[2]), (f32[16], bf16[16])) all-gather-start(%p, %q), channel_id=1, "
      "replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}",
      Collective("all-gather", 1, 96, 84.0),
    ),
    (
      f"%all-reduce-start = f32[3,256,512]{{2,1,0}} all-reduce-start(%bitcast.1.0), channel_id=1, {MESH}, to_apply=%a",
      Collective("all-reduce", 1, 1572864, 2752512.0),
    ),
    (
      "%reduce-scatter-start = ((f32[64]{0}, f32[16,4]{1,0}), (f32[8]{0}, f32[2,4]{1,0})) reduce-scatter-start(%p, %q),"
      " channel_id=1, replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}",
      Collective("reduce-scatter", 1, 512, 448.0),
    ),
    (
      "%collective-permute-start = (f32[1,512]{1,0:T(1,128)S(1)}, f32[1,512]{1,0:T(1,128)S(1)}, u32[]{:S(2)}, "
      "u32[]{:S(2)}) collective-permute-start(%slice.6), channel_id=1, source_target_pairs={{0,1},{1,0}}",
      Collective("collective-permute", 1, 2048, 2048.0),
    ),
    (
      f"%all-to-all = f32[256,4,128]{{2,0,1:T(8,128)S(1)}} all-to-all(%p), channel_id=1, {MESH}, dimensions={{1}}",
      Collective("all-to-all", 1, 524288, 458752.0),
    ),
    (
      "%send.1 = (f32[8]{0}, u32[]{:S(2)}, token[]) send(%p, %token), channel_id=3, is_host_transfer=false",
      Collective("send", 1, 32, 32.0),
    ),
  ],
)
def test_asynchronous_starts_and_other_kinds(line, expected):
  done = line.split(" ")[0].replace("start", "done") + " = f32[16,8]{1,0} all-gather-done(%all-gather-start)"
  assert only(program(line, done), 8) == expected


def test_groups_of_one_send_nothing():
  assert collectives(program("%r = f32[8]{0} all-reduce(%p), replica_groups={{0},{1}}, to_apply=%add"), 2) == ()
  assert collectives(program("%p = f32[8]{0} parameter(0)"), 2) == ()


def test_no_groups_means_all_devices_and_no_channel_means_no_repetition():
  lines = [f"%r.{i} = f32[8]{{0}} all-reduce(%p), replica_groups={{}}, to_apply=%add" for i in (1, 2)]
  assert only(program(*lines), 4) == Collective("all-reduce", 2, 64, 96.0)


LOOP = """
%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %g = f32[8]{0} all-reduce(%x), channel_id=1, replica_groups={{0,1}}, to_apply=%add
}
%condition (p: (s32[], f32[8])) -> pred[] {
  %constant.14 = s32[]{:T(128)} constant(7)
  ROOT %lt = pred[]{:T(512)} compare(%gte, %constant.14), direction=LT
}
"""


@pytest.mark.parametrize(
  ("condition", "config", "rounds"),
  [
    ("condition", "", 7),  # TPU: only the comparison tells
    ("unknown", ', backend_config={"known_trip_count":{"n":"5"},"known_init_step":{"init":"0"}}', 5),  # CPU
    ("unknown", "", 1),
  ],
)
def test_loops_repeat_their_bodies(condition, config, rounds):
  loop = f"%w = (s32[], f32[8]{{0}}) while(%t), condition=%{condition}, body=%body{config}"
  text = program(loop, before=LOOP)
  assert only(text, 2) == Collective("all-reduce", rounds, 32 * rounds, 32.0 * rounds)
  assert repetitions(text)["body"] == rounds


def test_sizes_of_narrow_and_odd_types():
  assert size("f8e4m3fn[10]{0}") == 10 and size("s4[5]") == 3 and size("pred[]") == 1 and size("c64[2]") == 16
  assert size("token[]") == 0 and size("(f32[0,8], u8[3])") == 3
