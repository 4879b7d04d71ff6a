"""One model of images for all tests: a run of a recipe of the user's own, and its service in this process."""

import dataclasses

import pytest
from starlette.testclient import TestClient

from mtl_jax import serve
from mtl_jax.cli.main import main
from mtl_jax.experiment import open_trained
from mtl_jax.experiment.files import own_files
from mtl_jax.experiment.trained import recipe_of

RECIPE = """
import dataclasses, numpy as np, optax, mtl_jax as mtl

def recipe() -> mtl.recipes.Recipe:
  x = np.random.default_rng(0).integers(0, 255, (24, 3, 4, 1), np.uint8)
  arrays = {"x": x, "bright": (x.mean((1, 2, 3)) > 127).astype(np.int32), "mean": x.mean((1, 2, 3), np.float32)}
  tasks = {"bright": mtl.tasks.binary("bright"), "mean": mtl.tasks.regression("mean", mean=127, std=10)}
  drawn = {"draw": lambda axes, outputs: axes.plot([0, 3], [0, 2])}
  tasks["mean"] = dataclasses.replace(tasks["mean"], record=lambda outputs: float(outputs["value"]), **drawn)

  def net(names):
    trunk = mtl.arch.chain(mtl.from_linen(mtl.nn.Pixels(0.5, 0.25)), mtl.from_linen(mtl.nn.CNN((2,), features=4)))
    return mtl.recipes.Parts(trunk, {name: mtl.from_linen(mtl.nn.MLP((), 1)) for name in names})

  about = {"unit": {"mean": "grey values"}}
  return mtl.recipes.Recipe(
    "bright", "Is it bright.", lambda seed: mtl.recipes.Splits(arrays, arrays, arrays, about), net, tasks,
    lambda rate, steps: optax.adam(rate), 1e-3, steps=2, batch_size=8, eval_every=2,
    files=mtl.recipes.photos((3, 4), 1),
  )
"""
LIMITS = serve.Limits(max_batch_size=4, max_wait_ms=1, queue=10, max_bytes=20_000, timeout=20)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
  """A directory with the recipe, `my.py`, and its run, `run`."""
  path = tmp_path_factory.mktemp("serve")
  (path / "my.py").write_text(RECIPE)
  assert main(["train", str(path / "my.py"), "--run-dir", str(path / "run")]) == 0
  return path


@pytest.fixture(scope="session")
def trained(place):
  recipe = recipe_of(place / "run", str(place / "my.py"))
  opened = open_trained(place / "run", recipe)
  return opened, own_files(recipe, opened)


@pytest.fixture(scope="session")
def app(trained):
  return serve.app(*trained, limits=LIMITS, about={"run": {"recipe": "bright"}})


@pytest.fixture(scope="session")
def client(app):
  with TestClient(app, raise_server_exceptions=False) as opened:
    wait_for(opened)
    yield opened


def wait_for(client):
  """Asks until the model is ready."""
  while (status := client.get("/health").json()["status"]) != "ready":
    assert status == "compiling"


def with_limits(**changes):
  """The limits of the tests, but for some."""
  return dataclasses.replace(LIMITS, **changes)
