"""Plans on the CPU: what a compiled step needs, without running it; the command line with eight virtual devices."""

import dataclasses
import json
import os
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._core import devices
from mtl_jax.cli.main import main
from mtl_jax.plan import _step as steps
from mtl_jax.plan import chip, plan, plan_step, table
from mtl_jax.plan._collectives import Collective
from mtl_jax.plan._report import roofline
from mtl_jax.plan._topology import open_topology
from tests.engine._problem import problem


@pytest.fixture(scope="module")
def reports():
  net, tasks, batch, inputs = problem(3)
  tx = optax.adam(1e-2)
  engines = [mtl.engine.gram(), mtl.engine.stacked()]
  return plan(net, tasks, mtl.balance.pcgrad(), tx, batch, "cpu:1", engines, inputs=inputs)


@pytest.mark.slow
def test_one_report_an_engine(reports):
  assert [report.engine for report in reports] == ["gram", "stacked"]
  assert all(report.devices == 1 and report.topology == "cpu:1" for report in reports)
  assert all(report.fits is None and report.roofline is None and report.collectives == () for report in reports)


def test_arguments_are_the_state_and_the_batch(reports):
  net, tasks, batch, inputs = problem(3)
  state = mtl.init_train_state(net, tasks, mtl.balance.pcgrad(), optax.adam(1e-2), batch, jax.random.key(0))
  leaves = jax.tree.leaves(jax.tree.map(lambda a: jax.random.key_data(a) if a.dtype == state.key.dtype else a,
                                        (state, batch)))  # fmt: skip
  size = sum(np.asarray(leaf).nbytes for leaf in leaves)
  for report in reports:
    # Buffers of a few bytes each are rounded up; the state is donated, so all of it is overwritten in place.
    assert size <= report.memory.arguments < 1.1 * size
    assert 0 < report.memory.aliased <= report.memory.outputs
    assert report.memory.peak >= report.memory.arguments + report.memory.temporary
    assert report.flops > 0 and report.accessed > 0


def test_nothing_is_computed(monkeypatch):
  def fail(*_, **__):
    raise AssertionError("ran")

  state, batch = jax.ShapeDtypeStruct((4,), np.float32), {"x": jax.ShapeDtypeStruct((6, 4), np.int64)}

  def step(state, batch):
    jax.debug.callback(fail)
    return state + batch["x"].sum(0).astype(jnp.float32), {}

  report = plan_step(step, state, batch, "cpu:1", "mine")
  assert report.engine == "mine" and report.memory.arguments == 16 + 6 * 4 * 4  # 64-bit labels become 32-bit


def test_shapes_of_64_bits_are_planned_as_the_32_bits_that_they_become():
  net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(2)), {"top": mtl.from_linen(nn.Dense(3))})
  tasks = {"top": mtl.tasks.classification("top", 3)}
  batch = {"x": jax.ShapeDtypeStruct((4, 2), np.float32), "top": jax.ShapeDtypeStruct((4,), np.int64)}
  narrow = batch | {"top": jax.ShapeDtypeStruct((4,), np.int32)}
  wide, expected = (
    plan(net, tasks, mtl.balance.equal(), optax.sgd(0.1), each, "cpu:1", [mtl.engine.losses()])[0]
    for each in (batch, narrow)
  )
  assert wide.memory.arguments == expected.memory.arguments


def test_engines_hear_of_the_target_while_they_are_traced():
  heard = []
  target = open_topology("cpu:1")

  def step(state, batch):
    heard.append(jax.sharding.get_abstract_mesh())
    return state, {}

  plan_step(step, jnp.zeros(2), jnp.zeros((2, 2)), target)
  assert set(heard) == {target.mesh.abstract_mesh} and devices.platform() == "cpu"
  assert jax.sharding.get_abstract_mesh().empty


def test_all_engines_that_serve_by_default(monkeypatch):
  net, tasks, batch, inputs = problem(2)
  asked = []

  def planned(*args, **_):
    asked.append(args[-1])
    return mtl.plan.Report._make([None] * len(mtl.plan.Report._fields))

  monkeypatch.setattr("mtl_jax.plan._plan.plan_step", planned)
  plan(net, tasks, mtl.balance.graddrop(), optax.sgd(0.1), batch, "cpu:1", inputs=inputs)
  serving = [name for name in mtl.engine.names() if "rows" in getattr(mtl.engine, name)().serves]
  assert sorted([*asked, "auto"]) == sorted(serving) and "stacked" in asked and "gram" not in asked


def test_out_of_memory_is_a_report_that_names_the_largest_buffers(monkeypatch):
  message = (
    "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.0G of 15.75G hbm.\n\n"
    "Largest program allocations in hbm:\n"
    '  1. Size: 8.00G\n     Operator: op_name="jit(step)/dot"\n     Shape: f32[2]\n'
    "  2. Size: 4.00G\n     Shape: f32[1024]{0}\n"
  )

  def refuse(self, compiler_options=None):
    raise jax.errors.JaxRuntimeError(message)

  monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
  target = open_topology("cpu:1")._replace(chip=chip("v3"), devices_per_chip=2)
  report = plan_step(lambda state, batch: (state, {}), jnp.zeros(2), jnp.zeros((2, 2)), target, "gram")
  assert report.fits is False and report.memory is None and report.capacity == 16 * 2**30
  assert "Used 20.0G of 15.75G hbm; largest: 8.00G jit(step)/dot, 4.00G f32[1024]{0}: take a smaller" in report.reason
  assert "\n" not in report.reason
  assert table([report]).row_count == 1 and json.dumps(report.as_json())


def test_other_failures_of_the_compiler_are_not_hidden(monkeypatch):
  def refuse(self, compiler_options=None):
    raise jax.errors.JaxRuntimeError("INTERNAL: broken")

  monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
  with pytest.raises(jax.errors.JaxRuntimeError, match="broken"):
    plan_step(lambda state, batch: (state, {}), jnp.zeros(2), jnp.zeros((2, 2)), "cpu:1")


def test_a_program_larger_than_the_memory_does_not_fit():
  target = open_topology("cpu:1")
  small = dataclasses.replace(chip("h100"), memory=64.0)
  report = plan_step(lambda s, b: (s + b.sum(), {}), jnp.zeros(32), jnp.zeros((2, 2)), target._replace(chip=small))
  assert report.fits is False and report.capacity == 48.0 and "it needs 0.00 GiB of 0.00 GiB: take" in report.reason


def test_roofline_is_the_slowest_part():
  v3 = chip("v3")
  found = (Collective("all-reduce", 1, 10, 328e9 / 4), Collective("all-gather", 1, 10, 328e9 / 4))
  result = roofline(v3, 2, 123e12, 450e9, found)
  assert result == pytest.approx((2.0, 1.0, 1.0)) and result.seconds == pytest.approx(2.0) and result.bound == "compute"
  assert roofline(v3, 1, None, None, found).bound == "links"


def test_mistakes():
  net, tasks, batch, inputs = problem(3)
  rest = (net, tasks, mtl.balance.pcgrad(), optax.sgd(0.1))
  with pytest.raises(mtl.UserError, match="engine 'losses' cannot serve this balancer"):
    plan(*rest, batch, "nowhere", [mtl.engine.gram(), mtl.engine.losses()], inputs=inputs)  # before anything else
  with pytest.raises(mtl.UserError, match="at least one engine"):
    plan(*rest, batch, "cpu:1", [], inputs=inputs)
  eight = open_topology("cpu:1")._replace(mesh=jax.sharding.AbstractMesh((8,), ("data",)))
  with pytest.raises(mtl.UserError, match="cannot be split over 8 devices x 2 pieces: .* 16"):
    plan(*rest, batch, eight, [mtl.engine.gram()], inputs=inputs, accumulate=2)
  with pytest.raises(
    mtl.UserError, match=r"'x' has shape \(9, 2\): it cannot be split over 2 devices x 2 pieces: .* 4\."
  ):
    steps.check_batch({"x": np.zeros((9, 2))}, 2, 2)
  with pytest.raises(mtl.UserError, match=r"'y' has shape \(\): it cannot be split over 1 devices: "):
    steps.check_batch({"y": np.zeros(())}, 1)


def _command(*words):
  environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
  code = "import sys; from mtl_jax.cli import main; sys.exit(main())"
  command = [sys.executable, "-c", code, "plan", "digits", *words]
  return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_on_eight_virtual_devices(tmp_path):
  out = tmp_path / "plan.json"
  options = "--topology cpu:8 --balancer pcgrad --batch-size 64 --tasks left tilt --engines stacked"
  done = _command(*options.split(), "--stacked.one-by-one", "True", "--out", str(out))
  assert done.returncode == 0, done.stderr[-2000:]
  assert "cpu:8: 8 devices" in done.stdout and "plan.json" in done.stdout
  record = json.loads(out.read_text())
  assert record["config"]["balancer"] == "pcgrad" and record["config"]["batch_size"] == 64
  (stacked,) = record["reports"]
  assert stacked["engine"] == "stacked" and stacked["devices"] == 8
  shared = 4 * (9 * 32 + 32 + 9 * 32 * 64 + 64 + 576 * 256 + 256)
  heads = 4 * (2 * (256 * 32 + 32) + 33 * 10 + 33)
  (reduced,) = [entry for entry in stacked["collectives"] if entry["kind"] == "all-reduce"]
  # Both tasks' gradients of the shared parameters and each head's own are summed over the devices, and few scalars.
  assert 2 * shared + heads <= reduced["bytes"] < 2 * shared + heads + 200
  assert reduced["sent"] == pytest.approx(2 * 7 / 8 * reduced["bytes"])


@pytest.mark.slow
def test_the_command_with_a_mesh_and_rules(tmp_path):
  out = tmp_path / "plan.json"
  options = "--topology cpu:8 --mesh data=4,model=2 --batch-size 4 --tasks left --engines losses --rules fsdp".split()
  done = _command(*options, "--out", str(out))
  assert done.returncode == 0, done.stderr[-2000:]
  found = json.loads(out.read_text())["reports"][0]["memory"]["arguments"]
  shared = 4 * (9 * 32 + 32 + 9 * 32 * 64 + 64 + 576 * 256 + 256)
  head = 4 * (256 * 32 + 32 + 330)
  # Parameters and Adam's two moments, divided by four; few small ones stay whole.
  assert found == pytest.approx(3 * (shared + head) / 4, rel=0.02)


def test_the_command_tells_mistakes_in_one_line(capsys):
  assert main("plan digits --topology cpu:1 --accumulate 8 --batch-size 100".split()) == 2
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert "cannot be split over 1 devices x 8 pieces: choose a batch size that is a multiple of 8" in line
