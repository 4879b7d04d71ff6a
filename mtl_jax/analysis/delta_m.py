"""`delta_m`, the usual figure of merit of multi-task learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtl_jax._core.errors import UserError


def delta_m(metrics: Mapping[str, Any], baseline: Mapping[str, Any], directions: Mapping[str, Any]) -> float:
  r"""The mean relative change over tasks against single-task baselines, in percent; negative is better.

  $$ \Delta_m = \frac{100}{T} \sum_i \frac{1}{K_i} \sum_k s_{ik} \frac{M_{m,ik} - M_{b,ik}}{|M_{b,ik}|} $$

  with $s = -1$ where higher is better and $+1$ where lower is better. Deviation: the paper divides by the baseline
  itself, which is the same unless it is negative, such as R² of a model that is worse than the mean.

  Args:
    metrics: Of the multi-task model, `{task: value}` or `{task: {metric: value}}`.
    baseline: Of single-task training of the same network with the same budget, laid out alike.
    directions: `{task: higher_is_better}` or `{task: {metric: higher_is_better}}`, laid out alike.

  Returns:
    Percent.

  Raises:
    UserError: The three do not name the same tasks and metrics, or a baseline is 0.

  >>> delta_m({"kind": 0.99, "size": 1.1}, {"kind": 0.90, "size": 1.0}, {"kind": True, "size": False})
  0.0

  References:
    Maninis, Radosavovic, Kokkinos, *Attentive Single-Tasking of Multiple Tasks*, CVPR 2019.
  """
  if not metrics:
    raise UserError("delta_m needs at least one task, found none.")
  total = 0.0
  for task in _same(metrics, baseline, directions, "tasks"):
    m, b, d = (x[task] if isinstance(x[task], Mapping) else {"": x[task]} for x in (metrics, baseline, directions))
    changes = []
    for key in _same(m, b, d, f"metrics of task {task!r}"):
      if b[key] == 0:
        where = f"task {task!r}" + (f", {key!r}," if key else "")
        raise UserError(f"delta_m: the baseline of {where} is 0: a relative change has no meaning.")
      changes.append((-1.0 if d[key] else 1.0) * (m[key] - b[key]) / abs(b[key]))
    total += sum(changes) / len(changes)
  return 100.0 * total / len(metrics)


def _same(metrics: Mapping[str, Any], baseline: Mapping[str, Any], directions: Mapping[str, Any], what: str) -> list:
  names = [sorted(x) for x in (metrics, baseline, directions)]
  if not names[0] == names[1] == names[2]:
    raise UserError(f"delta_m: the {what} differ: metrics {names[0]}, baseline {names[1]}, directions {names[2]}.")
  return names[0]
