"""A baseline trains on the examples that its task labels, whatever the data are."""

import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax.data.source import npz, stream
from mtl_jax.data.source.chosen import Chosen
from mtl_jax.experiment.labelled import labelled
from tests.train._run import NET, TASKS, arrays

TASK = mtl.tasks.classification("y", num_classes=3, mask="has")
ROWS = [1, 4, 5]


def some(size=7):
  """Examples 1, 4 and 5 are labelled, the last two by one of two entries."""
  has = np.zeros((size, 2), np.float32)
  has[[1, 1, 4, 5], [0, 1, 0, 1]] = 1
  return {"x": np.arange(size), "y": np.ones((size, 2), np.int32), "has": has}


def rows_of(data, least):
  found = labelled(data, TASK, least)
  source = mtl.data.as_source(found)
  return source.rows(np.arange(len(source)))["x"].tolist()


@pytest.mark.parametrize("kind", ["arrays", "file", "batches"])
def test_what_is_labelled_stays_in_order_and_is_repeated(kind, tmp_path, monkeypatch):
  data = some()
  if kind == "file":
    np.savez(tmp_path / "a.npz", **data)
    data = npz(tmp_path / "a.npz")
  if kind == "batches":
    monkeypatch.setattr("mtl_jax.experiment.labelled._AT_ONCE", 3)
  assert rows_of(data, 2) == ROWS
  assert rows_of(data, 7) == [*ROWS, *ROWS, 1]


def test_data_without_anything_to_leave_out_are_themselves():
  data = some()
  assert labelled(data, mtl.tasks.classification("y", num_classes=3), 4) is data
  for has in (0.0, 1.0):
    same = {**data, "has": np.full((7, 2), has, np.float32)}
    assert labelled(same, TASK, 4) is same
  endless = stream(lambda: iter([data]))
  assert labelled(endless, TASK, 4) is endless


def test_chosen_examples_of_later_epochs_are_those_of_later_epochs():
  class Numbers:
    spec = mtl.data.as_source({"x": np.arange(5)}).spec

    def __len__(self):
      return 5

    def rows(self, numbers):
      return {"x": numbers}

  assert Chosen(Numbers(), np.array([3, 1])).rows(np.array([0, 1, 2, 5]))["x"].tolist() == [3, 1, 8, 11]


@pytest.mark.slow
def test_baselines_of_mixtures_train_on_what_their_tasks_label():
  """Half of the rows of `size` have a label; that of a mixture is looked for in the source of the task."""

  def mixed(size, seed):
    return mtl.data.mixture({name: arrays(size, seed) for name in TASKS})

  splits = recipes.Splits(mixed(200, 0), mixed(40, 1), mixed(40, 2))
  recipe = recipes.Recipe(
    "small", "Small.", lambda seed: splits, lambda names: NET.only(names), TASKS,
    lambda rate, steps: optax.adam(rate), 1e-2, 20, 32, 10,
  )  # fmt: skip
  compared = mtl.compare(recipe, ["equal"], progress=False)
  assert [method.name for method in compared.methods] == ["single-task", "equal"]
  assert np.isfinite([score for method in compared.methods for score in method.scores["size"]]).all()
