"""The table of chips, and topologies as users write them."""

from types import SimpleNamespace

import jax
import pytest

import mtl_jax as mtl
from mtl_jax.plan import chip
from mtl_jax.plan._chips import names
from mtl_jax.plan._cuda import target_config
from mtl_jax.plan._topology import open_topology, parse


@pytest.mark.parametrize("name", names())
def test_figures_are_of_the_right_order_and_have_a_source(name):
  found = chip(name)
  assert 4e13 < found.flops < 1e16
  assert 16e9 <= found.memory < 300e9
  # A byte from HBM costs tens to hundreds of FLOPs, one from another chip several bytes of HBM.
  assert 50 < found.flops / found.bandwidth < 700 and 2 < found.bandwidth / found.links < 15
  assert len(found.source) > 8


def test_newer_generations_are_faster():
  flops = [chip(name).flops for name in ("v2", "v3", "v4", "v5p", "v6e", "tpu7x")]
  assert flops == sorted(flops)


@pytest.mark.parametrize("name", [name for name in names() if chip(name).platform == "gpu"])
def test_descriptions_of_gpus_name_memory_and_bandwidth(name):
  assert f"memory_bandwidth: {int(chip(name).bandwidth)}" in target_config(chip(name))


@pytest.mark.parametrize(
  ("name", "parsed"),
  [
    ("v5e:2x4", ("v5e", (2, 4))),
    ("v3:32x32", ("v3", (32, 32))),
    ("v5p:4x8x8", ("v5p", (4, 8, 8))),
    ("h100:8", ("h100", (8,))),
    ("cpu:3", ("cpu", (3,))),
  ],
)
def test_parse(name, parsed):
  assert parse(name) == parsed


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("v5e", "topology is 'v5e', expected CHIP:SIZE, for example v5e:4x4"),
    ("v5e:", "expected CHIP:SIZE"),
    ("v5e:4x", "expected CHIP:SIZE"),
    ("v5e:0x4", "expected CHIP:SIZE"),
    ("v5:2x2", r"unknown chip 'v5' \(did you mean 'v5p'\?\): choose from v2, v3, v4"),
    ("v5e:3x5", "topology 'v5e:3x5' does not exist: v5e comes as 1x1, 2x2, 2x4, 4x4, 4x8, 8x8, 8x16, 16x16"),
    ("v5e:32x32", "does not exist"),
    ("v5e:2x2x2", "does not exist"),
    ("v5p:2x2", "v5p comes as 2x2x1, 2x2x2, 2x2x4, 2x4x4 and AxBxC with A <= B <= C multiples of 4, up to 6144"),
    ("v5p:4x4", "does not exist"),
    ("v4:32x32x32", "does not exist"),
    ("h100:16", "h100 comes as 1, 2, 4, 8"),
    ("cpu:2x4", "expected a number of CPU devices"),
  ],
)
def test_mistakes(name, message):
  with pytest.raises(mtl.UserError, match=message):
    parse(name)


@pytest.mark.parametrize(("name", "extra"), [("v5e:2x4", "'tpu'"), ("h100:8", "'cuda12' or 'cuda13'")])
def test_a_missing_compiler_names_its_extras(monkeypatch, name, extra):
  monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
  first = extra.split("'")[1]
  with pytest.raises(mtl.UserError, match=rf"of the extra {extra}: pip install 'mtl-jax\[{first}\]'"):
    open_topology(name)


@pytest.mark.parametrize("plugin", ["jax_cuda12_plugin", "jax_cuda13_plugin"])
def test_gpus_are_described_by_the_plugin_of_either_cuda(monkeypatch, plugin):
  from jax.experimental import topologies

  asked = {}
  monkeypatch.setattr("importlib.util.find_spec", lambda package: object() if package == plugin else None)
  described = SimpleNamespace(devices=jax.devices("cpu")[:1])
  monkeypatch.setattr(topologies, "get_topology_desc", lambda **options: asked.update(options) or described)
  assert open_topology("h100:1").platform == "gpu" and asked["platform"] == "cuda" and asked["topology"] == "1x1x1"

  def refuse(**_):
    raise RuntimeError("INVALID_ARGUMENT: no such GPU")

  monkeypatch.setattr(topologies, "get_topology_desc", refuse)
  with pytest.raises(mtl.UserError, match=f"the installed {plugin} cannot describe h100:1: INVALID_ARGUMENT"):
    open_topology("h100:1")


def test_a_compiler_that_does_not_know_the_topology_is_quoted(monkeypatch):
  from jax.experimental import topologies

  def refuse(*_, **__):
    raise RuntimeError("INVALID_ARGUMENT: Invalid TPU external name: TPU7x\nmore")

  monkeypatch.setattr("importlib.util.find_spec", lambda package: object())
  monkeypatch.setattr(topologies, "get_topology_desc", refuse)
  with pytest.raises(mtl.UserError, match="cannot describe tpu7x:2x2x1: INVALID_ARGUMENT: Invalid TPU external name"):
    open_topology("tpu7x:2x2x1")


def test_too_few_cpu_devices():
  with pytest.raises(mtl.UserError, match="cpu:4096 needs 4096 CPU devices and JAX has started with"):
    import jax

    jax.devices()
    open_topology("cpu:4096")
