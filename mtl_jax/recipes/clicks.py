"""Synthetic clicks and conversions: many users and items by a power law, and conversions that only clicks show."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from mtl_jax import nn, tasks
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose

_GROUPS, _CATEGORIES, _POSITIONS = 50, 200, 10
_RANK = 8


def _flat(logits: jax.Array) -> jax.Array:
  return logits.reshape(-1)


_METRICS = {
  "user_auc": tasks.metrics.group_auc("user", _flat),
  "log_loss": tasks.metrics.log_loss(_flat),
  "calibration": tasks.metrics.calibration_error(lambda logits: jax.nn.sigmoid(_flat(logits))),
}


def clicks(
  num_impressions: int = 1_000_000,
  users: int = 200_000,
  items: int = 50_000,
  features: int = 16,
  given_click: bool = False,
) -> Recipe:
  """A synthetic log of impressions, made of latent factors: no real users, and the truth is known.

  Tastes of users and traits of items are vectors around those of the user's group and the item's category. Clicks and
  conversions have factors of their own and some in common, so who clicks is no random sample of who would convert.

  Args:
    num_impressions: Impressions to train on; a tenth and a fifth as many to validate and test.
    users: Users; how often they come follows a power law.
    items: Items, likewise.
    features: The length of the embedding vectors.
    given_click: The task `conversion` is whether a click leads to a conversion, learned from clicks alone. False: it is
      click and conversion together, learned from all impressions, as `esmm` and `aitm` need it.

  Returns:
    The recipe, with the tasks `click` and `conversion`. Experts and towers take `--arch.shared-stages 1`: one table
    for all. Test data also hold `would_convert`, the conversion where every impression had been clicked.
  """
  columns = nn.Embeddings((users, items, _GROUPS, _CATEGORIES, _POSITIONS), features)

  def data(seed: int) -> Splits:
    rng = np.random.default_rng(seed)
    user, item = _population(users, _GROUPS, rng), _population(items, _CATEGORIES, rng)
    counts = (num_impressions, num_impressions // 10, num_impressions // 5)
    return Splits(*(_log(user, item, count, rng) for count in counts), about={"synthetic": True})

  def net(names: Sequence[str]) -> Parts:
    trunk = chain(from_linen(columns), from_linen(nn.MLP((64, 32))))
    heads = choose(dict.fromkeys(("click", "conversion"), nn.MLP((16,), 1)), names)
    return Parts(trunk, {name: from_linen(head) for name, head in heads.items()})

  conversion = tasks.binary("conversion", mask="click" if given_click else None)
  return Recipe(
    name="clicks",
    summary="Synthetic clicks and conversions: large embedding tables and selection bias. Offline, minutes to train.",
    data=data,
    net=net,
    tasks={
      "click": tasks.with_metrics(tasks.binary("click"), **_METRICS),
      "conversion": tasks.with_metrics(conversion, **_METRICS),
    },
    optimizer=adamw_cosine,
    learning_rate=2e-3,
    steps=2000,
    batch_size=1024,
    eval_every=200,
    sparse={"table$": lambda batch: columns.rows(batch["x"])},
  )


def _population(count: int, clusters: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
  """Users or items: how often they come, their cluster, and factors and biases of clicks and conversions."""
  cluster = rng.integers(0, clusters, count)
  return {
    "popularity": rng.permutation(1 / (10 + np.arange(count))),
    "cluster": cluster,
    "factors": rng.normal(size=(clusters, 2, _RANK))[cluster] + 0.6 * rng.normal(size=(count, 2, _RANK)),
    "bias": 0.5 * rng.normal(size=(count, 2)),
  }


def _log(user: dict[str, np.ndarray], item: dict[str, np.ndarray], count: int, rng: np.random.Generator):
  """As many impressions of items to users."""

  def come(population):
    share = np.cumsum(population["popularity"])
    return np.searchsorted(share, rng.uniform(0, share[-1], count))

  def drawn(logits):
    return (rng.uniform(size=count) < 1 / (1 + np.exp(-logits))).astype(np.int32)

  who, what, position = come(user), come(item), rng.integers(0, _POSITIONS, count)
  match = np.einsum("ntr,ntr->nt", user["factors"][who], item["factors"][what]) / _RANK**0.5
  bias = user["bias"][who] + item["bias"][what]
  click = drawn(match[:, 0] + bias[:, 0] - 0.2 * position - 2.5)
  would = drawn(0.8 * match[:, 1] + 0.5 * match[:, 0] + bias[:, 1] - 3.0)
  x = np.stack([who, what, user["cluster"][who], item["cluster"][what], position], axis=1).astype(np.int32)
  return {"x": x, "user": x[:, 0], "click": click, "conversion": click & would, "would_convert": would}
