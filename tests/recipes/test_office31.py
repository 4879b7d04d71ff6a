"""Office-31: tasks with examples of their own through every command, on a few images and a small trunk."""

import functools
import json

import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import data, nn
from mtl_jax.cli.main import main
from mtl_jax.data.source import Office31
from mtl_jax.experiment import compare

SMALL = functools.partial(nn.EfficientNetLite, blocks=((1, 3, 1, 1, 8),), features=8)


@pytest.fixture
def tiny(monkeypatch):
  """Images whose brightness tells the class, in place of the photographs, and a trunk of one block."""
  rng = np.random.default_rng(0)

  def part(count):
    y = np.resize(np.arange(31), count).astype(np.int32)
    noise = rng.integers(0, 4, (count, 8, 8, 3))
    return {"x": (8 * y[:, None, None, None] + noise).astype(np.uint8), "y": y}

  domains = {name: {"train": part(40), "valid": part(31), "test": part(31)} for name in ("amazon", "dslr", "webcam")}
  monkeypatch.setattr(data.source, "office31", lambda: Office31(tuple(map(str, range(31))), domains))
  monkeypatch.setattr(nn, "EfficientNetLite", SMALL)


@pytest.mark.slow
def test_commands(tiny, tmp_path):
  options = ["office31", "--recipe.no-pretrained", "--steps", "2", "--batch-size", "6"]
  assert main(["train", *options, "--run-dir", str(tmp_path / "run")]) == 0
  assert set(json.loads((tmp_path / "run" / "test.json").read_text())["test"]) == {"amazon", "dslr", "webcam"}
  some = [*options, "--tasks", "dslr", "webcam", "--init-from", str(tmp_path / "run"), "--init-parts", "trunk"]
  assert main(["train", *some, "--run-dir", str(tmp_path / "some")]) == 0
  assert json.loads((tmp_path / "some" / "config.json").read_text())["init_from"] == str(tmp_path / "run")
  assert main(["evaluate", str(tmp_path / "some")]) == 0
  np.savez(tmp_path / "new.npz", x=np.zeros((3, 8, 8, 3), np.uint8))
  output = tmp_path / "out.npz"
  assert main(["predict", str(tmp_path / "some"), "--input", str(tmp_path / "new.npz"), "--output", str(output)]) == 0
  assert np.load(output)["webcam.class"].shape == (3,)


@pytest.mark.slow
def test_compare_trains_baselines_on_their_own_domain(tiny):
  recipe = mtl.recipes.load("office31", pretrained=False)
  found = compare(recipe, ["equal"], steps=2, batch_size=6, progress=False, say=lambda line: None)
  assert [method.name for method in found.methods] == ["single-task", "equal"]
