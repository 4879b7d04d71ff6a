"""Counts: both losses against scipy and a formula, outputs in counts, metrics, and what users are told."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mtl_jax as mtl

COUNTS = np.array([0, 3, 11, 1], np.int32)
LOGS = np.array([-0.5, 0.2, 1.4, 0.0], np.float32)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_poisson(shape):
  task = mtl.tasks.counts("cells", mean=2.0)
  want = -stats.poisson.logpmf(COUNTS, 2 * np.exp(LOGS))
  np.testing.assert_allclose(task.loss(LOGS.reshape(shape), {"cells": COUNTS}), want, rtol=1e-5)
  np.testing.assert_allclose(task.output(LOGS.reshape(shape))["count"], 2 * np.exp(LOGS), rtol=1e-6)


def test_squared_error_of_logarithms():
  task = mtl.tasks.counts("cells", loss="log", mean=2.0)
  np.testing.assert_allclose(
    task.loss(LOGS, {"cells": COUNTS}), (LOGS + np.log(3) - np.log1p(COUNTS)) ** 2, rtol=1e-4, atol=1e-6
  )
  np.testing.assert_allclose(task.output(LOGS)["count"], 3 * np.exp(LOGS) - 1, rtol=1e-5)
  assert task.output(jnp.array([-3.0]))["count"] == 0


def test_metrics_are_in_counts():
  task = mtl.tasks.counts("cells", mask="seen")
  batch = {"cells": COUNTS, "seen": np.array([1, 1, 1, 0])}
  found = {
    name: float(m.compute(m.update(np.log(np.array([2, 3, 22, 9], np.float32)), task.label(batch), task.mask(batch))))
    for name, m in task.metrics.items()
  }
  expected = {"relative_error": (2 + 0 + 1) / 3, "mae": 13 / 3, "total_error": 13 / 14}
  assert found == pytest.approx(expected)
  assert task.main_metric == "relative_error" and not task.higher_is_better


@pytest.mark.parametrize("wrong", [-1.0, 2.5, np.inf])
def test_labels_that_are_no_counts(wrong):
  task = mtl.tasks.counts("cells", mask="seen")
  y = np.array([1.0, wrong])
  with pytest.raises(mtl.UserError, match="task 'red': label 'cells' holds .* in example 1, expected whole numbers"):
    task.check("red", {"cells": y, "seen": np.ones(2)})
  task.check("red", {"cells": y, "seen": np.array([1, 0])})


def test_options_and_shapes():
  with pytest.raises(mtl.UserError, match="mean is 0"):
    mtl.tasks.counts("cells", mean=0)
  with pytest.raises(mtl.UserError, match=r"has shape \(4,\) and its prediction \(4, 2\)"):
    mtl.tasks.counts("cells").loss(jnp.zeros((4, 2)), {"cells": COUNTS})
