"""The table of a comparison: undefined scores are left out of means, and models without steps have no cost."""

import math

from mtl_jax.experiment import Comparison, Method


def test_means_of_many_tasks_leave_out_undefined_scores():
  scores = {f"t{i}": [0.5, 0.7] for i in range(8)} | {"none": [math.nan, math.nan], "some": [math.nan, 0.7]}
  network = Method("equal", scores, [], 1.0, 0.002, 0.1, 1234)
  trees = Method("boosted trees", {name: [0.6, 0.6] for name in scores}, [], 2.0, 0.0, 0.0, 0)
  told = str(Comparison([network, trees], dict.fromkeys(scores, "roc_auc")))
  assert "0.6000 ± 0.1000" in told and "nan" not in told
  assert "2.0" in told and "1,234" in told
  line = next(line for line in told.splitlines() if "boosted trees" in line)
  assert line.rstrip().endswith("│      │            │")
