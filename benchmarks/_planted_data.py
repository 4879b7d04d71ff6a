"""Data of two groups of tasks, each with features of its own."""

from __future__ import annotations

import numpy as np

GROUPS = (("a0", "a1", "a2"), ("b0", "b1", "b2"))
NAMES = [name for group in GROUPS for name in group]
INPUTS, HIDDEN, FEATURES, NOISE = 32, 8, 2, 0.1
SIZES = {"train": 4096, "valid": 2048, "test": 4096}


def planted(seed: int) -> dict[str, dict[str, np.ndarray]]:
  """The splits of a data set."""
  rng = np.random.default_rng(seed)
  inner = 2 * rng.standard_normal((len(GROUPS), INPUTS, HIDDEN)) / INPUTS**0.5
  outer = 2 * rng.standard_normal((len(GROUPS), HIDDEN, FEATURES)) / HIDDEN**0.5
  # Each label leans on both features: two orthogonal columns, one row per task.
  mix = np.stack([np.linalg.svd(rng.standard_normal((len(group), FEATURES)), False)[0] for group in GROUPS])
  mix /= np.linalg.norm(mix, axis=-1, keepdims=True)

  def features(x, g):
    return np.tanh(np.tanh(x @ inner[g]) @ outer[g])

  many = [features(rng.standard_normal((20_000, INPUTS)), g) for g in range(len(GROUPS))]
  white = [np.linalg.inv(np.linalg.cholesky(np.cov(found.T))).T for found in many]
  splits = {}
  for split, count in SIZES.items():
    x = rng.standard_normal((count, INPUTS))
    splits[split] = {"x": x}
    for g, group in enumerate(GROUPS):
      y = (features(x, g) - many[g].mean(axis=0)) @ white[g] @ mix[g].T
      y += NOISE * rng.standard_normal(y.shape)
      splits[split] |= {name: y[:, i] for i, name in enumerate(group)}
    splits[split] = {key: value.astype(np.float32) for key, value in splits[split].items()}
  return splits
