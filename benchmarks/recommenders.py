"""What architectures reach on a synthetic log of clicks and conversions, whose truth is known.

`python benchmarks/recommenders.py`, a quarter of an hour on two cores. Finished runs are kept, so that it can be
interrupted.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from _machine import describe, write
from _markdown import table

import mtl_jax as mtl
from mtl_jax.analysis.plots import standard_error
from mtl_jax.experiment import configure, train_run
from mtl_jax.experiment.config import problem_of
from mtl_jax.experiment.run import compile_run
from mtl_jax.recipes.clicks import clicks

COLUMNS = {
  "click": "click: AUC",
  "click_user": "by user",
  "click_loss": "log loss",
  "click_calibration": "calibration",
  "bought": "click and conversion: AUC",
  "clicked": "conversion, of clicks: AUC",
  "everywhere": "conversion, of all: AUC",
}


class Row(NamedTuple):
  """A line of the table.

  Attributes:
    arch: The architecture; of `single`, each task is trained by itself.
    given_click: As in the recipe.
  """

  arch: str
  given_click: bool

  def __str__(self) -> str:
    return f"{self.arch}, {'clicks' if self.given_click else 'all'}"


ROWS = [Row(arch, given_click=True) for arch in ("single", "hard_sharing", "mmoe", "ple")]
ROWS += [Row(arch, given_click=False) for arch in ("hard_sharing", "aitm", "esmm")]


def main(seeds: int = 3, steps: int = 600, scale: int = 10, kept: Path = Path("runs/recommenders")):
  """Writes benchmarks/results/recommenders.md.

  Args:
    seeds: Worlds, each with a log, an initialisation and an order of its own.
    steps: Steps of 1024 impressions.
    scale: In how many of the recipe's impressions, users and items there is one.
    kept: Where finished runs are kept.
  """
  kept.mkdir(parents=True, exist_ok=True)
  sizes = {"num_impressions": 3_000_000 // scale, "users": 200_000 // scale, "items": 50_000 // scale}
  worlds = functools.cache(lambda seed: clicks(**sizes).data(seed))
  found: dict[Row, list[dict[str, float]]] = {row: [] for row in ROWS}
  for row in ROWS:
    programs: dict[Any, Any] = {}  # that seeds share
    for seed in range(seeds):
      file = kept / f"{row.arch}-{row.given_click}-{seed}-{steps}-{scale}.json"
      if not file.exists():
        recipe = clicks(**sizes, given_click=row.given_click)
        file.write_text(json.dumps(scores(row, recipe, worlds(seed), seed, steps, programs)))
        print(row, seed, file.read_text(), flush=True)
      found[row].append(json.loads(file.read_text()))
  lines = []
  for row, each in found.items():
    cells = {key: [one[key] for one in each] for key in COLUMNS}
    lines.append([str(row), *(f"{np.mean(v):.4f} +- {standard_error(v):.4f}" for v in cells.values())])
  base = {one: np.array([run["everywhere"] for run in runs]) for one, runs in found.items()}
  gap = base[Row("esmm", given_click=False)] - base[Row("hard_sharing", given_click=True)]
  write(
    "recommenders.md",
    f"""# Recommenders

`python benchmarks/recommenders.py --seeds {seeds} --steps {steps} --scale {scale}`

{describe("flax", "optax")}.

Recipe `clicks`, a synthetic log: {sizes["num_impressions"]:,} impressions of {sizes["items"]:,} items to
{sizes["users"]:,} users, by a power law. Adam with updates of the rows of a batch alone, equal weights, {steps} steps
of 1024, the recipe's rate and no tuning; the model of the best validation score, tested once. Mean and standard error
over {seeds} seeds, each with a world of its own. Experts and towers share the table.

*clicks*: the second task is the conversion after a click, learned from clicks alone. *all*: it is click and conversion
together, learned from all impressions, and the conversion after a click is the quotient of both predictions; the click
and conversion of *clicks* is the product. *conversion, of all*: whether the impression would lead to a conversion if it
were clicked, which a real log does not tell. *by user*: the AUC within users. *single*: a network for each task.

{table(["architecture, learned from", *COLUMNS.values()], lines)}

ESMM less hard sharing on clicks, conversion of all, paired over seeds: {gap.mean():.4f} +- {standard_error(gap):.4f}.
""",
  )


def scores(row: Row, recipe: Any, splits: Any, seed: int, steps: int, programs: dict[Any, Any]) -> dict[str, float]:
  """The test scores of one training, or where tasks are trained apart of two."""
  apart = row.arch == "single"
  shares = row.arch in ("mmoe", "ple", "aitm")
  options = {"arch": None if apart else row.arch, "arch_options": ("--shared-stages", "1") if shares else ()}
  test: dict[str, Any] = {}
  probabilities: dict[str, np.ndarray] = {}
  for names in (("click",), ("conversion",)) if apart else (("click", "conversion"),):
    experiment = configure(recipe, tasks=names, steps=steps, seed=seed, **options)
    if names not in programs:
      programs[names] = compile_run(experiment, splits)
    fit, own = train_run(experiment, splits, progress=False, loop=mtl.train.Loop(programs=programs[names]))
    problem = problem_of(experiment, mtl.data.describe(splits.train, splits.about))
    predict = functools.partial(mtl.train.predict_all, problem, batch_size=4096)
    found = predict(fit.params, fit.net_state, {"x": splits.test["x"]})
    test |= own
    probabilities |= {name: one["probability"].reshape(-1).astype(np.float64) for name, one in found.items()}
  click, conversion = probabilities["click"], probabilities["conversion"]
  after = conversion if row.given_click else conversion / np.maximum(click, 1e-9)
  both = click * conversion if row.given_click else conversion
  label = splits.test
  return {
    "click": test["click"]["roc_auc"],
    "click_user": test["click"]["user_auc"],
    "click_loss": test["click"]["log_loss"],
    "click_calibration": test["click"]["calibration"],
    "bought": auc(both, label["conversion"]),
    "clicked": auc(after, label["would_convert"], label["click"]),
    "everywhere": auc(after, label["would_convert"]),
  }


def auc(score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> float:
  """The area under the ROC curve."""
  metric = mtl.tasks.metrics.roc_auc()
  state = metric.update(score, label, np.ones(len(score)) if weight is None else weight)
  return float(metric.compute(jax.device_get(state)))


if __name__ == "__main__":
  tyro.cli(main)
