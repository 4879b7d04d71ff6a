"""What commands show of many tasks, and of the library's choices."""

import logging
from pathlib import Path

import pytest

import mtl_jax as mtl
from mtl_jax.cli.output import choices_told, print_metrics
from mtl_jax.experiment.comparison import Comparison, Method, told


def test_metrics_of_many_tasks_are_summed_up(capsys):
  tasks = {f"t{i}": mtl.tasks.binary(f"t{i}") for i in range(9)} | {"size": mtl.tasks.regression("size")}
  found = {f"t{i}": {"roc_auc": i / 10, "loss": 1.0} for i in range(9)} | {"size": {"rmse": 7.0, "loss": 2.0}}
  print_metrics({"test": found}, tasks, Path("runs/mine/test.json"))
  shown = capsys.readouterr().out
  lines = [line for line in (" ".join(row.replace("│", " ").split()) for row in shown.splitlines()) if "test " in line]
  assert lines == [
    "test mean of 9 tasks roc_auc 0.4000",
    "test mean of 9 tasks loss 1.0000",
    *(f"test worst: t{i} roc_auc 0.{i}000" for i in (0, 1, 2)),
    *(f"test best: t{i} roc_auc 0.{i}000" for i in (8, 7, 6)),
    "test mean of 1 tasks rmse 7.0000",
    "test mean of 1 tasks loss 2.0000",
  ]
  assert "all metrics of all 10 tasks: runs/mine/test.json" in shown


def test_metrics_of_a_few_tasks_are_all_shown(capsys):
  print_metrics({"test": {"a": {"rmse": 7.0}}}, {"a": mtl.tasks.regression("a")}, Path("test.json"))
  shown = capsys.readouterr().out
  assert "7.0000" in shown and "mean" not in shown and "test.json" not in shown


def test_a_comparison_of_many_tasks_has_a_column_a_metric():
  metrics = {f"t{i}": "roc_auc" for i in range(9)} | {"size": "r2"}
  method = Method("equal", {task: [i / 10, i / 10] for i, task in enumerate(metrics)}, [1.0, 1.0], 2.0, 0.001, 1.0, 10)
  shown = str(Comparison([method], metrics))
  assert "mean of 9 tasks" in shown and "0.4000 ± 0.0000" in shown and "0.9000 ± 0.0000" in shown and "t3" not in shown
  few = str(Comparison([method._replace(scores={"t3": [0.3]})], {"t3": "roc_auc"}))
  assert "t3" in few and "0.3000" in few
  scores = {task: (metric, {metric: 0.5}) for task, metric in metrics.items()}
  assert told(scores) == "mean roc_auc of 9 tasks 0.5000  mean r2 of 1 tasks 0.5000"


@pytest.mark.parametrize("verbose, lines", [(False, ["engine: gram"]), (True, ["engine: gram", "counted"])])
def test_each_choice_is_told_once(verbose, lines, capsys):
  log = logging.getLogger("mtl_jax")
  with choices_told(verbose):
    for _ in range(2):
      log.info("engine: gram")
      log.debug("counted")
  assert [line.strip() for line in capsys.readouterr().out.splitlines()] == lines
