"""The page of recipes is what its script makes of the results, and tells of every kind of them."""

import json

from docs import recipes


def test_page_is_that_of_the_results():
  found = [json.loads(path.read_text()) for path in sorted(recipes.RESULTS.glob("recipe_*.json"))]
  assert (recipes.DOCS / "recipes.md").read_text() == recipes.page(found), "python docs/recipes.py"


RECORD = {
  "recipe": "own",
  "summary": "Two numbers.",
  "command": "python benchmarks/recipes.py own",
  "machine": "two cores",
  "minutes": 3.2,
  "seeds": 2,
  "steps": 1000,
  "batch_size": 8,
  "examples": {"train": 80, "valid": 10, "test": 1000},
  "tasks": 2,
  "metrics": {"a": "roc_auc", "b": "roc_auc"},
  "methods": [
    {
      "name": "equal",
      "mean": [0.75, 0.0123],
      "scores": {"a": [0.7, 0.01], "b": [0.8, None]},
      "delta_m": [-1.5, 0.25],
      "parameters": 12345,
    },
    {"name": "random forest", "mean": [0.7, None], "scores": {"a": [0.7, None], "b": [None, None]}},
  ],
  "published": {"source": "a paper", "figures": {"equal": 0.76}},
}


def test_section():
  text = recipes.section(RECORD)
  assert "| method | mean ROC-AUC | a, ROC-AUC | b, ROC-AUC | Δm in % | parameters |" in text
  assert "| equal | 0.75 ± 0.01 | 0.7 ± 0.01 | 0.8 | -1.5 ± 0.2 | 12,345 |" in text
  assert "| random forest | 0.7 | 0.7 |  |  |  |" in text
  assert "80 examples to train" in text and "equal 0.76 (a paper)" in text


def test_means_are_of_one_metric_without_a_unit():
  for metrics in ({"a": "mae", "b": "mae"}, {"a": "roc_auc", "b": "accuracy"}):
    assert "mean" not in recipes.section(RECORD | {"metrics": metrics}).split("| method |")[1].split("\n")[0]
