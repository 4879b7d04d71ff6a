"""What runs log of terms and of nets, and its picture."""

import dataclasses

import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.analysis import plots
from mtl_jax.train.log import read_log
from tests.engine._problem import problem


@pytest.mark.slow
def test_reports_of_a_run(tmp_path):
  net, tasks, batch, _ = problem(3)
  net = mtl.arch.with_terms(net, {"sparse": mtl.terms.l1("kernel", strength=1e-3)})
  net = dataclasses.replace(net, report=lambda params, state: {"bias": params["shared"]["Dense_1"]["bias"]})
  tasks = {**tasks, "t2": mtl.tasks.auxiliary(tasks["t2"])}
  arrays = {key: np.asarray(value) for key, value in batch.items()}
  options = {"steps": 4, "batch_size": 8, "loop": mtl.train.Loop(log_every=2), "valid": arrays, "progress": False}
  run = mtl.fit(net, tasks, mtl.balance.pcgrad(), optax.sgd(0.1), arrays, run_dir=tmp_path / "run", **options)
  lines = [line for line in read_log(tmp_path / "run") if line["kind"] == "train"]
  assert lines == [line for line in run.history if line["kind"] == "train"]
  for line in lines:
    assert len(line["net/bias"]) == 12 and line["terms/sparse"] > 1.0
    assert {key for key in line if key.startswith("weights/")} == {"weights/t0", "weights/t1"}
  valid = next(line for line in run.history if line["kind"] == "valid")
  assert valid["t2/loss"] > 0.0  # an auxiliary task is evaluated like any other
  assert plots.reports(tmp_path / "reports.png", {"pcgrad": run.history})
  assert (tmp_path / "reports.png").stat().st_size > 5000
  plain = [{key: value for key, value in line.items() if not key.startswith("net/")} for line in run.history]
  assert not plots.reports(tmp_path / "none.png", {"pcgrad": plain}) and not (tmp_path / "none.png").exists()
