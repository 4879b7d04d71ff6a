"""What weights of 8 and 16 bits cost in test scores: `MTL_JAX_DATA=FOLDER python benchmarks/quantized.py`, minutes.

With the extras `onnx` and `tflite`. Each recipe is trained once and exported; the files are run by their own runtimes
on the whole test set. Writes `benchmarks/results/quantized.md`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _machine import describe, write
from _markdown import table
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

import mtl_jax as mtl
from mtl_jax.data.arrays import leaves_of
from mtl_jax.experiment import configure, open_trained, train_run
from mtl_jax.experiment.config import data_of
from mtl_jax.export import FORMATS, deployed, export

SCORES: dict[str, tuple[str, Callable[..., float]]] = {
  "accuracy": ("class", accuracy_score),
  "r2": ("value", r2_score),
  "roc_auc": ("probability", roc_auc_score),
}
"""The output that a metric judges, and how scikit-learn computes it."""
CASES = {"digits": 1000, "tox21": 300}
"""The recipes, and their steps."""
BATCH = 32


def main(cases: tuple[str, ...] = tuple(CASES), formats: tuple[str, ...] = ("tflite", "onnx")) -> None:
  """Measures, and writes the table.

  Args:
    cases: Some of the recipes.
    formats: Those whose weights can be quantized.
  """
  rows = []
  for case in cases:
    rows += scored(case, formats)
    print(*rows, sep="\n", flush=True)
  head = ["recipe", "format", "weights", "MB", "mean score", "each"]
  packages = ("tensorflow-cpu", "ai-edge-litert", "jax2onnx", "onnxruntime", "scikit-learn")
  steps = ", ".join(f"{case} {CASES[case]}" for case in cases)
  write(
    "quantized.md",
    f"# Weights of 8 and 16 bits\n\n{__doc__}\n{describe(*packages)}; steps: {steps}. {TOLD}\n\n{table(head, rows)}",
  )


TOLD = (
  "Scores are accuracy, R² and ROC-AUC of the test set by scikit-learn, of what the exported file says; of more than "
  "three tasks only the lowest and highest are told."
)


def scored(case: str, formats: tuple[str, ...]) -> list[list[str]]:
  """The rows of a recipe: the model itself, and its files."""
  experiment = configure(case, steps=CASES[case])
  splits = data_of(experiment)
  with tempfile.TemporaryDirectory() as directory:
    train_run(experiment, splits, run_dir=Path(directory, "run"), progress=False)
    trained = open_trained(Path(directory, "run"))
    test = mtl.data.as_source(splits.test)
    test = test.rows(np.arange(len(test)))
    leaves, model = leaves_of(test), deployed(trained)
    arrays = {key: np.asarray(leaves[key], leaf.dtype) for key, leaf in model.inputs.items()}
    said = trained.predict({key: test[key] for key in trained.entries()})
    rows = [row(case, "JAX", "32 bits", None, trained, test, said)]
    for format in formats:
      for quantize in (None, *FORMATS[format].quantize):
        place = Path(directory, f"{format}-{quantize}")
        done = export(trained, place, test, format=format, quantize=quantize, batch=BATCH)
        found = run(FORMATS[format].run, model, place, arrays)
        said = {task: {name: found[f"{task}.{name}"] for name in own} for task, own in said.items()}
        rows.append(row(case, format, quantize or "32 bits", done.size, trained, test, said))
  return rows


def run(runtime: Any, model: Any, place: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """What a file says of all examples, filled up to whole batches."""
  count = len(next(iter(arrays.values())))
  whole = -(-count // BATCH) * BATCH
  filled = {key: np.resize(values, (whole, *values.shape[1:])) for key, values in arrays.items()}
  return {name: np.asarray(values)[:count] for name, values in runtime(model, place, filled, BATCH).items()}


def row(case: str, format: str, weights: str, size: int | None, trained: Any, test: Any, said: Any) -> list[str]:
  """A row of the table."""
  scores = []
  for name, task in trained.problem.tasks.items():
    output, score = SCORES[task.main_metric]
    label = np.asarray(task.label(test))
    there = np.ones(len(label), bool) if task.mask is None else np.asarray(task.mask(test)) > 0
    scores.append(score(label[there], said[name][output][there]))
  told = scores if len(scores) <= 3 else [min(scores), max(scores)]
  each = (", " if len(scores) <= 3 else " to ").join(f"{score:.4f}" for score in told)
  return [case, format, weights, "" if size is None else f"{size / 1e6:.2f}", f"{np.mean(scores):.4f}", each]


if __name__ == "__main__":
  tyro.cli(main)
