"""Users, items and impressions from latent factors: a synthetic log."""

from __future__ import annotations

import numpy as np

GROUPS, CATEGORIES, POSITIONS = 20, 60, 10
_RANK = 4

Population = dict[str, np.ndarray]


def population(count: int, clusters: int, rng: np.random.Generator) -> Population:
  """Users or items: how often they come, their cluster, and factors and biases of clicks and conversions."""
  cluster = rng.integers(0, clusters, count)
  return {
    "popularity": rng.permutation(1 / (10 + np.arange(count))),
    "cluster": cluster,
    "factors": rng.normal(size=(clusters, 2, _RANK))[cluster] + 0.6 * rng.normal(size=(count, 2, _RANK)),
    "bias": 0.5 * rng.normal(size=(count, 2)),
  }


def impressions(user: Population, item: Population, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
  """As many impressions of items to users, with clicks, conversions, and what would convert if it were clicked."""

  def come(population):
    share = np.cumsum(population["popularity"])
    return np.searchsorted(share, rng.uniform(0, share[-1], count))

  def drawn(logits):
    return (rng.uniform(size=count) < 1 / (1 + np.exp(-logits))).astype(np.int32)

  who, what, position = come(user), come(item), rng.integers(0, POSITIONS, count)
  match = np.einsum("ntr,ntr->nt", user["factors"][who], item["factors"][what]) / _RANK**0.5
  bias = user["bias"][who] + item["bias"][what]
  click = drawn(match[:, 0] + bias[:, 0] - 0.2 * position - 2.5)
  would = drawn(0.8 * match[:, 1] + 0.5 * match[:, 0] + bias[:, 1] - 3.0)
  x = np.stack([who, what, user["cluster"][who], item["cluster"][what], position], axis=1).astype(np.int32)
  return {"x": x, "user": x[:, 0], "click": click, "conversion": click & would, "would_convert": would}
