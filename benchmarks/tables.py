"""Tables of users' own, one command each: the network beside linear models and boosted trees, calibration and coverage.

`python benchmarks/tables.py`, half an hour; `--cases wine diabetes` some of them. `MTL_JAX_DATA` names the folder with
the census. Each table is trained in a process of its own, whose memory and time are told.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro
from _machine import RESULTS, describe, write
from _markdown import table

import mtl_jax as mtl
from mtl_jax.analysis.plots import standard_error
from mtl_jax.data.source.adult import COLUMNS

CASES = {
  "census": "income,hours_per_week:regression --names {names} --test {folder}/adult.test --ignore fnlwgt --minutes 12",
  "diabetes": "progression,bp --folds 5",
  "wine": "cultivar,alcohol --folds 5",
  "linnerud": "Weight,Waist,Pulse --folds 5",
  "wide": "risk,kind --minutes 10",
}
FILES = {"census": "adult.data"}


def main(
  cases: tuple[str, ...] = tuple(CASES), seed: int = 0, kept: Path | None = None, one: str | None = None
) -> None:
  """Writes benchmarks/results/tables.md.

  Args:
    cases: The tables.
    seed: Of the networks.
    kept: A directory that keeps tables, runs and figures; what is there is not trained again.
    one: Trains this one here, and prints its figures.
  """
  folder = kept or Path(tempfile.mkdtemp())
  folder.mkdir(exist_ok=True)
  if one is not None:
    print(json.dumps(trained(one, folder, seed)))
    return
  for case in cases:
    if not (folder / f"{case}.json").exists():
      words = [sys.executable, __file__, "--one", case, "--kept", str(folder), "--seed", str(seed)]
      done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
      (folder / f"{case}.json").write_text(done.stdout.strip().splitlines()[-1])
  found = [json.loads((folder / f"{case}.json").read_text()) for case in CASES if (folder / f"{case}.json").exists()]
  write("tables.md", text_of(found))
  (RESULTS / "tables.json").write_text(json.dumps(found, indent=1) + "\n")


def trained(case: str, folder: Path, seed: int) -> dict:
  """The figures of one table, by the command."""
  path = folder / FILES.get(case, f"{case}.csv")
  if not path.exists():
    MAKE[case](path)
  targets, *rest = CASES[case].format(names=",".join(COLUMNS), folder=folder).split()
  words = ["train", "--table", str(path), "--targets", targets, *rest, "--seed", str(seed)]
  run, begun = folder / f"run_{case}", time.time()
  assert mtl_jax_main([*words, "--run-dir", str(run)]) == 0
  seconds = time.time() - begun
  shown = " ".join(word.replace(str(folder) + "/", "") for word in words)
  comparison = json.loads((run / "comparison" / "comparison.json").read_text())
  return {
    "case": case,
    "command": f"mtl-jax {shown}",
    "minutes": seconds / 60,
    "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "steps": comparison["config"]["steps"],
    "network": comparison["config"]["recipe_options"][comparison["config"]["recipe_options"].index("--network") + 1],
    "metrics": comparison["metrics"],
    "methods": {one["name"]: {"scores": one["scores"], "delta_m": one["delta_m"]} for one in comparison["methods"]},
    "calibration": calibration(case, path, run, folder),
  }


def mtl_jax_main(words: list[str]) -> int:
  """The command, its news on the screen."""
  from contextlib import redirect_stdout

  from mtl_jax.cli.main import main as command

  with redirect_stdout(sys.stderr):
    return command(words)


def calibration(case: str, path: Path, run: Path, folder: Path) -> dict:
  """Of test rows: the calibration error of probabilities before and after, the share that intervals hold."""
  names = COLUMNS if case == "census" else ()
  if case == "census":
    test = mtl.recipes.table_of(folder / "adult.test", names=names).rows
  else:
    parts = mtl.recipes.rows_of(mtl.recipes.table_of(path))
    test = parts.table.take(parts.test)
  model = mtl.table.load(run)
  answers, labels = model.predict(test), model.prepared.arrays(*mtl.recipes.table_of(test))
  values = json.loads((run / "calibration.json").read_text())["tasks"]
  found = {}
  for name, target in model.prepared.targets.items():
    y = labels[name]
    if target.classes:
      columns = [answers[key] for key in answers if key.startswith(f"{name}_probability_")]
      p = np.stack([1 - columns[0], *columns] if len(columns) == 1 else columns, axis=1).astype(np.float64)
      before = np.log(np.clip(p, 1e-12, 1)) * values[name]["temperature"]
      before = np.exp(before - before.max(axis=1, keepdims=True))
      before /= before.sum(axis=1, keepdims=True)
      found[name] = {"rows": len(y), "before": error_of(before, y), "after": error_of(p, y), **values[name]}
    elif name in values:
      held = (answers[f"{name}_low"] <= y) & (y <= answers[f"{name}_high"])
      found[name] = {"rows": len(y), "held": float(np.mean(held)), **values[name]}
  return found


def error_of(probabilities: np.ndarray, labels: np.ndarray) -> float:
  """The expected calibration error of the most likely class."""
  metric = mtl.tasks.metrics.calibration_error(lambda p: p, probabilities.shape[1])
  return float(
    metric.compute(metric.update(probabilities.astype(np.float32), labels, np.ones(len(labels), np.float32)))
  )


def make_census(path: Path) -> None:
  """The files as UCI has them, without a header, with blanks behind commas."""
  for part, name in (("train", path.name), ("test", "adult.test")):
    text = gzip.decompress((Path(os.environ["MTL_JAX_DATA"]) / "adult" / f"adult_{part}.csv.gz").read_bytes()).decode()
    lines = text.splitlines()[1:]
    (path.parent / name).write_text("\n".join(line.replace(",", ", ") for line in lines) + "\n")


def make_diabetes(path: Path) -> None:
  """scikit-learn's, with its target by a name."""
  from sklearn.datasets import load_diabetes

  load_diabetes(as_frame=True).frame.rename(columns={"target": "progression"}).to_csv(path, index=False)


def make_wine(path: Path) -> None:
  """scikit-learn's, likewise."""
  from sklearn.datasets import load_wine

  load_wine(as_frame=True).frame.rename(columns={"target": "cultivar"}).to_csv(path, index=False)


def make_linnerud(path: Path) -> None:
  """scikit-learn's: twenty men, three exercises, three measures."""
  from sklearn.datasets import load_linnerud

  load_linnerud(as_frame=True).frame.to_csv(path, index=False)


def make_wide(path: Path, rows: int = 100_000, numbers: int = 400, words: int = 98) -> None:
  """Synthetic: 400 numbers, 98 columns of words, missing cells; a number and one of three classes to be predicted."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(rows, numbers)).astype(np.float32)
  codes = rng.integers(0, rng.integers(2, 60, words), size=(rows, words))
  effects = [rng.normal(size=60) for _ in range(10)]
  hidden = x[:, :20] @ rng.normal(size=(20, 2)) / 4 + np.tanh(x[:, 20:24]) @ rng.normal(size=(4, 2))
  hidden[:, 0] += sum(one[codes[:, i]] for i, one in enumerate(effects)) / 4 + x[:, 30] * x[:, 31]
  risk = hidden[:, 0] + 0.5 * rng.normal(size=rows)
  kind = np.digitize(hidden[:, 1] + 0.3 * hidden[:, 0] + 0.5 * rng.normal(size=rows), [-0.7, 0.7])
  with path.open("w") as file:
    file.write(",".join([*(f"n{i}" for i in range(numbers)), *(f"w{i}" for i in range(words)), "risk", "kind"]) + "\n")
    for i in range(rows):
      cells = [f"{value:.4f}" for value in x[i]]
      for j in rng.integers(0, numbers, 8):
        cells[j] = ""
      cells += [f"c{code}" for code in codes[i]]
      file.write(",".join([*cells, f"{risk[i]:.4f}", "abc"[kind[i]]]) + "\n")


MAKE = {
  "census": make_census,
  "diabetes": make_diabetes,
  "wine": make_wine,
  "linnerud": make_linnerud,
  "wide": make_wide,
}


def text_of(found: list[dict]) -> str:
  """The page."""
  parts = []
  for one in found:
    columns = [f"{task}, {metric}" for task, metric in one["metrics"].items()]
    rows = [
      [
        name,
        *(told(own["scores"][task]) for task in one["metrics"]),
        "" if name == "single-task" else told(own["delta_m"], 1),
      ]
      for name, own in one["methods"].items()
    ]
    lines = []
    for name, own in one["calibration"].items():
      if "held" in own:
        lines.append(f"Intervals of `{name}` hold {own['held']:.1%} of {own['rows']} test rows.")
      else:
        lines.append(
          f"Calibration error of `{name}` on {own['rows']} test rows: {own['before']:.4f} before, {own['after']:.4f} "
          f"after dividing logits by {own['temperature']:.2f}."
        )
    parts.append(
      f"## {one['case']}\n\n`{one['command']}`\n\n{one['minutes']:.1f} minutes, {one['gigabytes']:.1f} GB; network "
      f"`{one['network']}`, {one['steps']} steps.\n\n{table(['model', *columns, 'Δm in %'], rows)}\n\n"
      + "\n".join(lines)
    )
  body = "\n\n".join(parts)
  return f"""# Tables

`python benchmarks/tables.py`

{describe("scikit-learn", "pyarrow")}; load average {os.getloadavg()[0]:.1f}, which times depend on. Test scores; with
`--folds` the mean and standard error over folds. Δm is the mean relative change against one network per target; lower
is better.

{body}"""


def told(values: list[float], digits: int = 4) -> str:
  """The mean, and its standard error where there are several."""
  error = f" ± {standard_error(values):.{digits}f}" if len(values) > 1 else ""
  return f"{np.mean(values):.{digits}f}{error}"


if __name__ == "__main__":
  tyro.cli(main)
