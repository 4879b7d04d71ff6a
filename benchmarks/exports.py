"""What exported models are worth: how far they are from the model, their size, and the time of a call.

`MTL_JAX_DATA=FOLDER taskset -c 0 python benchmarks/exports.py` with the extras `export`, `onnx`, `safetensors`,
`savedmodel` and `tflite`. Each recipe is trained for some steps, a process each. Writes
`benchmarks/results/exports.md`; with `--kept FOLDER` recipes whose figures are there are not measured again.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from _exported import PROGRAMS, seconds_elsewhere, seconds_here
from _machine import describe, write
from _markdown import number, table
from _options import words_of

import mtl_jax as mtl
from mtl_jax import UserError
from mtl_jax.data.arrays import leaves_of
from mtl_jax.experiment import configure, open_trained, train_run
from mtl_jax.experiment.config import data_of
from mtl_jax.export import FORMATS, deployed, export

CASES = {"digits": 100, "tox21": 50, "detect_classify": 200, "nyuv2 width=8": 5, "joint_nlu": 50}
"""The recipes, with options such as `width=8`, and for how many steps they are trained."""
SIZES = (1, 32)
BAR = 1e-5


def main(
  cases: tuple[str, ...] = tuple(CASES),
  formats: tuple[str, ...] = tuple(FORMATS),
  kept: Path | None = None,
  one: str = "",
) -> None:
  """Measures, and writes the table.

  Args:
    cases: Some of the recipes.
    formats: Some of the formats.
    kept: A directory that keeps figures.
    one: Measures this one here, and prints its figures.
  """
  if one:
    print(json.dumps(measured(one, formats)))
    return
  folder, rows = kept or Path(tempfile.mkdtemp()), {}
  folder.mkdir(exist_ok=True)
  for case in cases:
    file = folder / f"{case.replace(' ', '-')}.json"
    if not file.exists():
      words = [sys.executable, __file__, "--one", case, "--formats", *formats]
      done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
      file.write_text(done.stdout.strip().splitlines()[-1])
    rows[case] = json.loads(file.read_text())
  write("exports.md", page(rows))


def measured(case: str, formats: tuple[str, ...]) -> dict[str, Any]:
  """All figures of a recipe."""
  name, *options = case.split()
  experiment = configure(name, recipe_options=words_of(options), steps=CASES[case])
  splits = data_of(experiment)
  with tempfile.TemporaryDirectory() as directory:
    train_run(experiment, splits, run_dir=Path(directory, "run"), progress=False)
    trained = open_trained(Path(directory, "run"))
    test = mtl.data.as_source(splits.test).rows(np.arange(max(SIZES)))
    leaves, model = leaves_of(test), deployed(trained)
    arrays = {key: np.asarray(leaves[key], leaf.dtype) for key, leaf in model.inputs.items()}
    call = jax.jit(model.function)
    found: dict[str, Any] = {"JAX": {"ms": [1e3 * seconds_here(call, some(arrays, size)) for size in SIZES]}}
    for format in formats:
      for quantize in (None, *FORMATS[format].quantize):
        key = " ".join(filter(None, [format, quantize]))
        found[key] = of_format(trained, Path(directory), arrays, test, format, quantize)
        print(case, key, found[key], file=sys.stderr)
    if "objects" in trained.problem.tasks and "difference" in found.get("tflite", {}):
      found["mAP"] = precision(trained, Path(directory), splits.test)
  return found


def some(arrays: dict[str, Any], size: int) -> dict[str, Any]:
  """The first examples."""
  return {name: values[:size] for name, values in arrays.items()}


def of_format(
  trained: Any, directory: Path, arrays: dict[str, Any], test: Any, format: str, quantize: str | None
) -> dict[str, Any]:
  """The figures of a format: for any number of examples where it can be, else for just so many."""
  words = {"format": format, "quantize": quantize}
  place, free = directory / f"{format}-{quantize}", ""
  try:
    done = export(trained, place, test, **words)
  except UserError as error:
    free = str(error)
    try:
      done = export(trained, place, test, batch=1, **words)
    except UserError:
      return {"refused": free}
  found = {"difference": done.difference, "bytes": done.size, "batch": done.batch, "free": free}
  if format not in PROGRAMS:  # weights alone: this library runs them
    return found
  places = {size: place for size in SIZES}
  if done.batch is not None:
    places[SIZES[1]] = place.with_name(f"{place.name}-{SIZES[1]}")
    export(trained, places[SIZES[1]], test, batch=SIZES[1], **words)
  return found | {"ms": [1e3 * seconds_elsewhere(format, places[size], some(arrays, size)) for size in SIZES]}


def precision(trained: Any, directory: Path, test: Any, count: int = 20) -> dict[str, float]:
  """The mean average precision of objects, of the model and of its TFLite file, on some test images."""
  rows = mtl.data.as_source(test).rows(np.arange(count))
  task, inputs = trained.problem.tasks["objects"], {"x": np.asarray(rows["x"])}
  run = functools.partial(FORMATS["tflite"].run, deployed(trained), directory / "tflite-None")
  said = {"model": trained.predict(inputs)["objects"], "tflite": run(inputs, 1)}
  said["tflite"] = {name: said["tflite"][f"objects.{name}"] for name in said["model"]}
  metric = mtl.tasks.metrics.mean_average_precision(overlaps=(0.5,))
  label, weights = task.label(rows), np.ones(count, np.float32)
  return {name: float(metric.compute(metric.update(found, label, weights))) for name, found in said.items()}


def page(rows: dict[str, dict[str, Any]]) -> str:
  """The page."""
  header = ["recipe", "format", "examples at once", "difference", "MB", "ms, 1 example", f"ms, {SIZES[1]} examples"]
  lines, refusals = [], []
  for case, found in rows.items():
    for format, own in found.items():
      if told := own.get("refused") or own.get("free"):
        refusals.append(f"- {case}, {format}: {told}")
      if "refused" in own:
        lines.append([case, format, "refused", "", "", "", ""])
      elif format != "mAP":
        lines.append([case, format, *cells(own)])
  precise = [
    f"Mean average precision at an overlap of 0.5 on 20 test images of {case}, after {CASES[case]} steps: "
    f"{found['mAP']['model']:.4f} of the model, {found['mAP']['tflite']:.4f} of its TFLite file."
    for case, found in rows.items()
    if "mAP" in found
  ]
  steps = ", ".join(f"{case} {CASES[case]}" for case in rows)
  return (
    "# Exported models\n\n`taskset -c 0 python benchmarks/exports.py`\n\n"
    f"{describe('flax', 'tensorflow-cpu', 'ai-edge-litert', 'jax2onnx', 'onnxruntime')}; one core. Models after some "
    f"steps of training ({steps}). The difference is the largest of any output on {SIZES[1]} test images, in units of "
    f"the largest value of that output, at least 1; the bar is {BAR:g} for what is not quantized. Times are medians of "
    "a call from numpy arrays to numpy arrays, in a process that has the runtime and not this library; JAX is the "
    f"jitted model. The load of the machine was {os.getloadavg()[2]:.0f}: other programs make times rough. Where 8 or "
    f"16 bits change which box is the best, boxes are compared with others.\n\n{table(header, lines)}\n\n"
    + (
      "\n".join(["Refused, for any number of examples where the table has `as told`, else at all:\n", *refusals, "\n"])
      if refusals
      else ""
    )
    + "\n".join(precise)
  )


def cells(own: dict[str, Any]) -> list[str]:
  """Of a row, behind recipe and format."""
  batch = "" if "batch" not in own else "any" if own["batch"] is None else "as told"
  difference = f"{own['difference']:.1e}" if "difference" in own else ""
  size = f"{own['bytes'] / 1e6:.2f}" if "bytes" in own else ""
  return [batch, difference, size, *(map(number, own["ms"]) if "ms" in own else ("", ""))]


if __name__ == "__main__":
  tyro.cli(main)
