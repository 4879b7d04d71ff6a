"""The page of recipes, from what `benchmarks/recipes.py` has measured: `python docs/recipes.py` writes it anew."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
FEW = 12
"""Up to so many tasks have a column each."""
ALIKE = {"roc_auc": "ROC-AUC", "accuracy": "accuracy", "r2": "R²"}
"""Metrics without a unit, of which a mean over tasks says something."""
BEGIN = """# Recipes

What the recipes reach, measured by `benchmarks/recipes.py`, which says how; this page is written by `docs/recipes.py`.

Scores are of the test data, by the model that was best on the validation data; mean ± standard error over seeds,
which change initialisation and order, while the parts of the data stay the same: another test set would move them by
more. Δm is the mean relative change against single-task training of the same network with the same steps, lower is
better. Classical baselines are scikit-learn's, one model per task: for tables with settings chosen on validation
data, else with default settings. Networks were tuned little, on validation data; those of molecules have the rate
that suited one of them, ClinTox, whose test data were looked at more than once, and ToxCast one for its many tasks,
by a second look at its test data. Where rows are packed with several sentences, examples and batches are counted in
rows. A model of one of the six sets of `sentences` sees six times as many rows of it as the shared one in as many
steps; with 1800 steps the shared one has seen as many. With `own=1` the last of three trained layers is each task's
own. Of blood cells the labels leave out some, so counts of single photographs are off, and those of all together
within 2 %. Minutes are those of all trainings of the table on the machine named, which had other work to do."""


def cell(pair: Sequence[float | None] | None, digits: int = 4) -> str:
  """Mean and standard error."""
  if not pair or pair[0] is None:
    return ""
  mean, error = (None if value is None else f"{value:.{digits}g}" for value in pair)
  return f"{mean}" + ("" if error is None else f" ± {pair[1]:.1g}")


def rows(record: Mapping[str, Any]) -> Iterator[list[str]]:
  """The table of methods, its heading first."""
  metrics = record["metrics"]
  kinds = set(metrics.values()) if isinstance(metrics, dict) else set(metrics)
  columns = list(metrics) if isinstance(metrics, dict) and len(metrics) <= FEW else []
  alike = ALIKE.get(next(iter(kinds))) if len(kinds) == 1 else None
  compared = any(method.get("delta_m") for method in record["methods"])
  judged = [f"{task}, {ALIKE.get(metrics[task], metrics[task])}" for task in columns]
  heading = ["method", *([f"mean {alike}"] if alike else []), *judged]
  yield [*heading, *(["Δm in %"] if compared else []), "parameters"]
  for method in record["methods"]:
    line = [method["name"], *([cell(method["mean"])] if alike else [])]
    line += [cell(method["scores"].get(task)) for task in columns]
    change = "" if method["name"] == "single-task" else cell(method.get("delta_m"), 3)
    line += [change] if compared else []
    yield [*line, f"{method['parameters']:,}" if "parameters" in method else ""]


def section(record: Mapping[str, Any]) -> str:
  """What is told of one recipe."""
  examples, (heading, *lines) = record["examples"], rows(record)
  table = [heading, ["---"] * len(heading), *lines]
  told = [
    f"## {record['recipe']}",
    record["summary"] + f" {record['tasks']} tasks; {examples['train']:,} examples to train, {examples['valid']:,} to "
    f"tune and {examples['test']:,} to test on; {record['steps']:,} steps of {record['batch_size']}, "
    f"{record['seeds']} seed{'s' * (record['seeds'] > 1)}, {record['minutes']:.0f} minutes.",
    f"`{record['command']}`; {record['machine']}.",
    "\n".join("| " + " | ".join(line) + " |" for line in table),
  ]
  if not any(method.get("delta_m") for method in record["methods"]):
    told.append("Single-task baselines were not trained, so there is no Δm.")
  if record["published"]:
    figures = ", ".join(f"{method} {value:g}" for method, value in record["published"]["figures"].items())
    told.append(f"Published: {figures} ({record['published']['source']}).")
  return "\n\n".join(told)


def page(records: Sequence[Mapping[str, Any]]) -> str:
  """The page."""
  return "\n\n".join([BEGIN, *map(section, records)]) + "\n"


def main() -> None:
  """Writes the page."""
  found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("recipe_*.json"))]
  (DOCS / "recipes.md").write_text(page(found))


if __name__ == "__main__":
  sys.exit(main())
