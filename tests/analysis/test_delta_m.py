"""Delta_m against published figures, and its mistakes."""

import pytest

import mtl_jax as mtl


def test_delta_m_of_published_figures():
  """The linear-scalarisation line of the NYUv2 table of the Nash-MTL papers: +5.59 %."""
  baseline = [38.30, 63.76, 0.6754, 0.2780, 25.01, 19.21, 30.14, 57.20, 69.15]
  linear = [39.29, 65.33, 0.5493, 0.2263, 28.15, 23.96, 22.09, 47.50, 61.08]
  higher = [True, True, False, False, False, False, True, True, True]
  tasks = (
    {"all": {str(i): v for i, v in enumerate(linear)}},
    {"all": {str(i): v for i, v in enumerate(baseline)}},
    {"all": {str(i): v for i, v in enumerate(higher)}},
  )
  assert mtl.delta_m(*tasks) == pytest.approx(5.59, abs=0.01)


def test_delta_m_averages_metrics_within_tasks_first():
  metrics = {"a": {"x": 1.1, "y": 1.3}, "b": 0.9}
  baseline = {"a": {"x": 1.0, "y": 1.0}, "b": 1.0}
  directions = {"a": {"x": False, "y": False}, "b": True}
  assert mtl.delta_m(metrics, baseline, directions) == pytest.approx(100 * (0.2 + 0.1) / 2)


def test_better_is_negative_whatever_the_sign_of_the_baseline():
  for up in (True, False):
    for base in (-2.0, 2.0):
      better = base + (0.5 if up else -0.5)
      assert mtl.delta_m({"a": better}, {"a": base}, {"a": up}) == pytest.approx(-25.0)


def test_delta_m_errors():
  with pytest.raises(mtl.UserError, match="the tasks differ"):
    mtl.delta_m({"a": 1.0}, {"b": 1.0}, {"a": True})
  with pytest.raises(mtl.UserError, match="the baseline of task 'a' is 0"):
    mtl.delta_m({"a": 1.0}, {"a": 0.0}, {"a": True})
  with pytest.raises(mtl.UserError, match="at least one task"):
    mtl.delta_m({}, {}, {})
