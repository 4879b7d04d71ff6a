"""What was found in a table, in lines."""

from __future__ import annotations

import numpy as np

from mtl_jax._core.errors import some
from mtl_jax.data.table import Preparation
from mtl_jax.experiment import Comparison
from mtl_jax.recipes import Splits
from mtl_jax.table.compared import MULTI

_MANY = 12  # columns of one kind are named up to so many


def told(prepared: Preparation, splits: Splits) -> list[str]:
  """What the columns of a table hold, and what is predicted.

  Args:
    prepared: How the table became arrays.
    splits: The arrays.

  Returns:
    The lines.
  """
  first = next(iter(prepared.targets))
  counts = [len(part[first]) for part in splits[:3]]
  lines = ["rows: {} to train, {} to tune, {} to test".format(*counts)]
  kinds: dict[str, list[str]] = {}
  for name, kind in prepared.columns.items():
    kinds.setdefault(kind.told, []).append(name)
  for kind, names in kinds.items():
    lines.append(f"{kind}: {some(names, _MANY)}")
  lines += [f"{name}: {note}" for name, note in list(prepared.notes.items())[:_MANY]]
  if len(prepared.notes) > _MANY:
    lines.append(f"and {len(prepared.notes) - _MANY} more notes in data.json")
  for name, target in prepared.targets.items():
    label, mask = target.keys
    missing = "" if mask is None else f", missing in {1 - float(np.mean(splits.train[mask])):.1%} of the rows"
    lines.append(f"target {name}: {target.told}{missing}")
  return lines


def verdict(comparison: Comparison) -> str:
  """Where the network is better than simpler models, and where it is not.

  Args:
    comparison: From `mtl_jax.table.fit`.

  Returns:
    A sentence for each target.
  """
  means = {method.name: {t: float(np.mean(v)) for t, v in method.scores.items()} for method in comparison.methods}
  lines = []
  for task, metric in comparison.metrics.items():
    own = means[MULTI][task]
    others = {name: scores[task] for name, scores in means.items() if name != MULTI}
    best = max(others, key=lambda name: others[name])
    how = "does better than" if own > others[best] else "is no better than"
    lines.append(f"{task}: the multi-task network ({metric} {own:.4f}) {how} {best} ({others[best]:.4f}).")
  return "\n".join(lines)
