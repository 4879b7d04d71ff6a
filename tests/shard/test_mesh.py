"""Meshes from one line: shapes, and what is refused."""

import subprocess
import sys

import jax
import pytest

import mtl_jax as mtl


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("data", "found 'data', expected axes like data=4,model=2"),
    ("data=x", "found 'data=x'"),
    ("data=1,data=1", "each once"),
    ("data=0", "sizes must be at least 1"),
    ("data=-1,model=-1", "at most one of them -1"),
    ("data=4,model=2", "data 4 x model 2 is 8, but there are 1 devices"),
    ("data=-1,model=3", "model 3 is 3, but there are 1 devices"),
  ],
)
def test_mistakes(spec, message):
  with pytest.raises(mtl.UserError, match=message):
    mtl.make_mesh(spec, jax.devices()[:1])


@pytest.mark.slow
def test_shapes_on_eight_devices(monkeypatch):
  script = """
import mtl_jax as mtl
for spec in ("data=8", "data=4,model=2", "data=-1", "model=2,data=-1"):
  mesh = mtl.make_mesh(spec)
  print(*mesh.shape.items(), [d.id for d in mesh.devices.flat], {t.name for t in mesh.axis_types})
"""
  monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
  done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
  ids = str(list(range(8)))
  assert done.stdout.splitlines() == [
    f"('data', 8) {ids} {{'Auto'}}",
    f"('data', 4) ('model', 2) {ids} {{'Auto'}}",
    f"('data', 8) {ids} {{'Auto'}}",
    f"('model', 2) ('data', 4) {ids} {{'Auto'}}",
  ]
