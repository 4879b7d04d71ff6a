"""The recipes of the census: tasks of the right rows, and learned."""

import pytest

from mtl_jax import data, recipes
from mtl_jax.experiment import configure, train_run


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "tasks"),
  [
    ("two_binary", {"income": ("roc_auc", 0.8), "never_married": ("roc_auc", 0.9)}),
    (
      "census",
      {
        "income": ("roc_auc", 0.75),
        "marital_status": ("accuracy", 0.55),
        "hours_per_week": ("r2", 0.1),
        "education_num": ("r2", 0.2),
      },
    ),
  ],
)
def test_it_is_learned(real_data, monkeypatch, name, tasks):
  monkeypatch.setenv("MTL_JAX_DATA", real_data("adult", "adult_train.csv.gz"))
  recipe = recipes.load(name, width=32)
  splits = recipe.data(0)
  assert [len(part["income"]) for part in splits[:3]] == [29305, 3256, 16281]
  adapted = recipe.adapt(data.describe(splits.train, splits.about))
  assert list(adapted.tasks) == list(tasks)
  _, test = train_run(configure(recipe, steps=60, learning_rate=1e-2), splits, progress=False)
  for task, (metric, least) in tasks.items():
    assert test[task][metric] > least
