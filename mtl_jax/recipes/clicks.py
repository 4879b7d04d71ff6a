"""Synthetic clicks and conversions: many users and items by a power law, and conversions that only clicks show."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from mtl_jax import nn, tasks
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.recipes._click_log import CATEGORIES, GROUPS, POSITIONS, impressions, population
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose


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
  columns = nn.Embeddings((users, items, GROUPS, CATEGORIES, POSITIONS), features)

  def data(seed: int) -> Splits:
    rng = np.random.default_rng(seed)
    user, item = population(users, GROUPS, rng), population(items, CATEGORIES, rng)
    counts = (num_impressions, num_impressions // 10, num_impressions // 5)
    return Splits(*(impressions(user, item, count, rng) for count in counts), about={"synthetic": True})

  def net(names: Sequence[str]) -> Parts:
    trunk = chain(from_linen(columns), from_linen(nn.MLP((64, 32))))
    heads = choose(dict.fromkeys(("click", "conversion"), nn.MLP((16,), 1)), names)
    return Parts(trunk, {name: from_linen(head) for name, head in heads.items()})

  conversion = tasks.binary("conversion", mask="click" if given_click else None)
  return Recipe(
    name="clicks",
    summary="Synthetic clicks and conversions: large tables, selection bias. Offline, minutes to train.",
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
