"""A recipe of images on photographs of a user's: JSON lines, and a picture."""

import json

import numpy as np
import pytest
from PIL import Image

from mtl_jax.cli.main import main

RECIPE = """
import dataclasses, jax.numpy as jnp, numpy as np, optax, mtl_jax as mtl

def draw(axes, outputs):
  assert outputs["value"].shape == () and axes.get_images()
  axes.plot([0, 3], [0, 3])

def recipe() -> mtl.recipes.Recipe:
  rng = np.random.default_rng(0)
  x = rng.integers(0, 255, (24, 6, 8, 3), np.uint8)
  arrays = {"x": x, "bright": (x.mean((1, 2, 3)) > 127).astype(np.int32), "mean": x.mean((1, 2, 3), np.float32)}
  tasks = {"bright": mtl.tasks.binary("bright"), "mean": mtl.tasks.regression("mean", mean=127, std=10)}
  seen = {"draw": draw, "record": lambda outputs: round(float(outputs["value"]), 1)}
  tasks["mean"] = dataclasses.replace(tasks["mean"], **seen)
  flip = lambda batch, key: {**batch, "x": batch["x"][:, :, ::-1].astype(jnp.float32) / 255}

  def net(names):
    trunk = mtl.arch.chain(mtl.from_linen(mtl.nn.Pixels(0.5, 0.25)), mtl.from_linen(mtl.nn.CNN((4,), features=8)))
    return mtl.recipes.Parts(trunk, {name: mtl.from_linen(mtl.nn.MLP((), 1)) for name in names})

  return mtl.recipes.Recipe(
    "bright", "Is it bright.", lambda seed: mtl.recipes.Splits(arrays, arrays, arrays), net, tasks,
    lambda rate, steps: optax.adam(rate), 1e-3, steps=2, batch_size=8, eval_every=2,
    files=mtl.recipes.photos((6, 8)), transform=flip,
  )
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  path = tmp_path_factory.mktemp("photos")
  (path / "my.py").write_text(RECIPE)
  assert main(["train", str(path / "my.py"), "--run-dir", str(path / "run")]) == 0
  (path / "in").mkdir()
  for name, colour in (("a.png", "white"), ("b.jpg", "black")):
    Image.new("RGB", (30, 20), colour).save(path / "in" / name)
  (path / "in" / "broken.png").write_bytes(b"no image")
  return path


def _predict(place, *words, given="in"):
  return main(["predict", str(place / "run"), "--recipe", str(place / "my.py"), "--input", str(place / given), *words])


@pytest.mark.slow
def test_a_line_per_photograph_and_a_picture(place, capsys):
  out = place / "out.jsonl"
  assert _predict(place, "--output", str(out), "--skip-bad", "--show", "1") == 0
  told = capsys.readouterr()
  assert "1 of 3 left out" in told.out and "broken.png" in told.err
  lines = [json.loads(line) for line in out.read_text().splitlines()]
  assert [line["name"] for line in lines] == ["a.png", "b.jpg"]
  assert {*lines[0]["bright"]} == {"class", "probability"} and isinstance(lines[0]["mean"], float)
  with Image.open(place / "out.png") as picture:
    assert picture.size[1] > 100 and np.asarray(picture.convert("L")).std() > 1


def test_arrays_in_and_out(place):
  np.savez(place / "in.npz", x=np.zeros((3, 6, 8, 3), np.uint8))
  assert _predict(place, "--output", str(place / "out.npz"), given="in.npz") == 0
  with np.load(place / "out.npz") as found:
    assert found["mean.value"].shape == (3,)
  assert _predict(place, "--output", str(place / "three.jsonl"), "--show", "2", given="in.npz") == 0
  assert len((place / "three.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
  ("words", "given", "message"),
  [
    ([], "in", "broken.png as an image"),
    (["--show", "0"], "in", "--show is 0, expected at least 1"),
    (["--skip-bad"], "in.npz", "is one file, and is read as a whole"),
    ([], "none", "is not there: give a folder of png or jpg files"),
  ],
)
def test_mistakes(place, capsys, words, given, message):
  np.savez(place / "in.npz", x=np.zeros((3, 6, 8, 3), np.uint8))
  assert _predict(place, "--output", str(place / "no.jsonl"), *words, given=given) == 2
  assert message in capsys.readouterr().err
  assert not (place / "no.jsonl").exists()
