"""What importing the package costs, and the small public functions."""

import importlib.resources
import subprocess
import sys

import numpy as np
import pytest

import mtl_jax as mtl


def test_import_is_light():
  heavy = [
    "tensorflow",
    "matplotlib",
    "sklearn",
    "tensorflow_datasets",
    "equinox",
    "orbax",
    "grain",
    "tyro",
    "tensorboardX",
  ]
  code = f"import mtl_jax, sys; print([m for m in {heavy} if m in sys.modules])"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"


def test_names_lead_to_functions():
  for module in (mtl.balance, mtl.engine):
    assert list(module.names()) == sorted(module.names())
    assert all(callable(getattr(module, name)) for name in module.names())


def test_delta_m_of_published_figures():
  """The linear-scalarisation line of the NYUv2 table of the Nash-MTL papers: +5.59 %."""
  baseline = [38.30, 63.76, 0.6754, 0.2780, 25.01, 19.21, 30.14, 57.20, 69.15]
  linear = [39.29, 65.33, 0.5493, 0.2263, 28.15, 23.96, 22.09, 47.50, 61.08]
  higher = [True, True, False, False, False, False, True, True, True]
  tasks = (
    {"all": {str(i): v for i, v in enumerate(linear)}},
    {"all": {str(i): v for i, v in enumerate(baseline)}},
    {"all": {str(i): v for i, v in enumerate(higher)}},
  )
  assert mtl.delta_m(*tasks) == pytest.approx(5.59, abs=0.01)


def test_delta_m_averages_metrics_within_tasks_first():
  metrics = {"a": {"x": 1.1, "y": 1.3}, "b": 0.9}
  baseline = {"a": {"x": 1.0, "y": 1.0}, "b": 1.0}
  directions = {"a": {"x": False, "y": False}, "b": True}
  assert mtl.delta_m(metrics, baseline, directions) == pytest.approx(100 * (0.2 + 0.1) / 2)


def test_delta_m_errors():
  with pytest.raises(mtl.UserError, match="the tasks differ"):
    mtl.delta_m({"a": 1.0}, {"b": 1.0}, {"a": True})
  with pytest.raises(mtl.UserError, match="the baseline of task 'a' is 0"):
    mtl.delta_m({"a": 1.0}, {"a": 0.0}, {"a": True})
  with pytest.raises(mtl.UserError, match="at least one task"):
    mtl.delta_m({}, {}, {})


def test_gradient_cosines():
  from mtl_jax.analysis import gradient_cosines
  from tests.engine._problem import problem

  net, tasks, batch, _ = problem(3)
  import jax

  params, state = net.init(jax.random.key(0), batch["x"])
  objective = mtl.objective(net, tasks)
  cosines = gradient_cosines(objective)(params, state, batch)
  rows = jax.jacrev(lambda shared: [*objective({**params, "shared": shared}, state, batch)[0].values()])(
    params["shared"]
  )
  flat = [np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(row)]) for row in rows]
  for i, j in ((0, 1), (0, 2), (1, 2)):
    expected = flat[i] @ flat[j] / np.linalg.norm(flat[i]) / np.linalg.norm(flat[j])
    assert float(cosines[f"t{i},t{j}"]) == pytest.approx(expected, abs=1e-5)


def test_annotations_are_published():
  assert importlib.resources.files("mtl_jax").joinpath("py.typed").is_file()
