"""Tasks that read different inputs: each example is answered by those whose inputs it has."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from starlette.testclient import TestClient

import mtl_jax as mtl
from mtl_jax import serve
from tests.serve.conftest import LIMITS, wait_for

RNG = np.random.default_rng(0)
EXAMPLES = {
  "x": {"a": RNG.normal(size=(3, 2)).astype(np.float32), "b": RNG.normal(size=3).astype(np.float32)},
  "on": RNG.normal(size=(3, 4)) > 0,
}
LABELS = {"sum": np.ones(3, np.float32), "any": np.ones(3, np.float32)}


def _trunk(params, state, x):
  if isinstance(x, dict):
    return params["w"] * jax.numpy.concatenate([x["a"], x["b"][:, None]], axis=1), state
  return params["w"] * x[:, :3].astype(np.float32), state


@pytest.fixture(scope="module")
def trained():
  trunk = mtl.Net(lambda key, x: ({"w": jax.numpy.float32(2)}, {}), _trunk)
  net = mtl.arch.hard_sharing(trunk, {name: mtl.from_linen(nn.Dense(1)) for name in LABELS})
  params, state = net.init(jax.random.key(0), EXAMPLES["x"])
  tasks = {name: mtl.tasks.regression(name) for name in LABELS}
  problem = mtl.Problem(net, tasks, {"sum": "x", "any": "on"})
  return mtl.Trained(problem, params, state, 7, mtl.data.describe(EXAMPLES | LABELS))


@pytest.fixture(scope="module")
def client(trained):
  with TestClient(serve.app(trained, limits=LIMITS)) as opened:
    wait_for(opened)
    yield opened


def example(*paths):
  leaves = {"x/a": EXAMPLES["x"]["a"], "x/b": EXAMPLES["x"]["b"], "on": EXAMPLES["on"]}
  return {path: leaves[path][0].tolist() for path in paths}


@pytest.mark.parametrize(
  ("paths", "tasks"), [(["x/a", "x/b"], ["sum"]), (["on"], ["any"]), (["on", "x/b", "x/a"], ["sum", "any"])]
)
def test_the_tasks_whose_inputs_are_there(client, trained, paths, tasks):
  (answer,) = client.post("/predict", json={"examples": [example(*paths)]}).json()["answers"]
  assert list(answer) == ["name", *tasks]
  outputs = trained.predict({"x": EXAMPLES["x"], "on": EXAMPLES["on"]})
  for task in tasks:
    assert answer[task]["value"] == pytest.approx(float(outputs[task]["value"][0]), rel=1e-5)


@pytest.mark.parametrize(
  ("paths", "more", "message"),
  [
    (["on"], {"tasks": ["sum"]}, "there is no input 'x/a', 'x/b', only 'on'"),
    (["x/a"], {}, "there is no input 'x/a', 'x/b', only 'x/a'"),
  ],
)
def test_an_input_that_is_missing(client, paths, more, message):
  found = client.post("/predict", json={"examples": [example(*paths)]} | more)
  assert found.status_code == 422 and message in found.json()["error"]


@pytest.mark.parametrize(
  ("value", "message"),
  [
    ({"on": [1, 0, 1, 0]}, "input 'on' holds 1, expected numbers of dtype bool"),
    ({"x/a": [0, 1e39], "x/b": 1}, "input 'x/a' has 1 NaN or infinite values, the first in example 0"),
    ({"x/a": "AACAfwAAAAA=", "x/b": 1}, "input 'x/a' has 1 NaN or infinite values"),
    ({"x/a": [0, 1], "x/b": [1]}, "input 'x/b' holds a list, expected numbers of dtype float32 in shape ()"),
  ],
)
def test_values_that_cannot_be(client, value, message):
  found = client.post("/predict", json={"examples": [value]})
  assert found.status_code == 422 and message in found.json()["error"], found.text


def test_numbers_that_are_not_finite_are_told_as_null(client, trained):
  app = serve.app(trained._replace(params=jax.tree.map(lambda leaf: leaf * np.float32("nan"), trained.params)))
  with TestClient(app) as broken:
    wait_for(broken)
    found = broken.post("/predict", json={"examples": [example("on")]})
    assert found.status_code == 200 and found.json()["answers"][0]["any"]["value"] is None


def test_the_description_asks_for_the_inputs_of_one_task_or_more(client):
  asked = client.get("/openapi.json").json()["components"]["schemas"]["Asked"]
  assert asked["properties"]["examples"]["items"]["anyOf"] == [{"required": ["x/a", "x/b"]}, {"required": ["on"]}]
