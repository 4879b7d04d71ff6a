"""The census of 1994 (UCI Adult): income, marital status and working hours of a person, from a CSV file."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

import mtl_jax as mtl
from mtl_jax.recipes import Parts, Recipe, Splits

NUMBERS = ("age", "education_num", "capital_gain", "capital_loss")
# Not `relationship`, which tells the marital status.
WORDS = ("workclass", "education", "occupation", "race", "sex", "native_country")


class Vectors(nn.Module):
  """Numbers beside learned vectors of words."""

  counts: tuple[int, ...]

  @nn.compact
  def __call__(self, x):
    """Takes `{"numbers": (B, N), "words": (B, W)}`; gives (B, N + 8 W)."""
    vectors = [nn.Embed(count, 8, name=f"word_{i}")(x["words"][:, i]) for i, count in enumerate(self.counts)]
    return jnp.concatenate([x["numbers"], *vectors], axis=1)


def _strings(people: Any) -> dict[str, np.ndarray]:
  """The columns of the census, "?" where an answer is missing."""
  return {name: np.array(people[name].fill_null("?").to_pylist()) for name in people.column_names}


def recipe() -> Recipe:
  """The people of `mtl.data.source.adult()`."""
  people = mtl.data.source.adult()
  train, test = _strings(people["train"]), _strings(people["test"])
  vocabulary = {key: np.unique(train[key]) for key in (*WORDS, "marital_status")}
  numbers = np.log1p(np.stack([train[key].astype(np.float32) for key in NUMBERS], axis=1))
  mean, std = numbers.mean(axis=0), numbers.std(axis=0)
  hours = train["hours_per_week"].astype(np.float32)

  def arrays(table):
    values = np.log1p(np.stack([table[key].astype(np.float32) for key in NUMBERS], axis=1))
    codes = [np.searchsorted(vocabulary[key], table[key]).clip(0, len(vocabulary[key]) - 1) for key in WORDS]
    return {
      "numbers": ((values - mean) / std).astype(np.float32),
      "words": np.stack(codes, axis=1).astype(np.int32),
      "income": (table["income"] == ">50K").astype(np.int32),
      "marital": np.searchsorted(vocabulary["marital_status"], table["marital_status"]).astype(np.int32),
      "hours": table["hours_per_week"].astype(np.float32),
    }

  def data(seed):
    order = np.random.default_rng(0).permutation(len(hours))
    whole = arrays(train)
    part = {key: (values[order[4000:]], values[order[:4000]]) for key, values in whole.items()}
    return Splits({k: v[0] for k, v in part.items()}, {k: v[1] for k, v in part.items()}, arrays(test))

  outs = {"income": 1, "marital": len(vocabulary["marital_status"]), "hours": 1}

  def net(names):
    words = mtl.from_linen(Vectors(tuple(len(vocabulary[key]) for key in WORDS)))
    trunk = mtl.arch.chain(words, *mtl.nn.stages(mtl.nn.MLP((64, 64))))
    return Parts(trunk, {name: mtl.from_linen(mtl.nn.MLP((32,), outs[name])) for name in names})

  return Recipe(
    name="census",
    summary="Income, marital status and hours of a person.",
    data=data,
    net=net,
    tasks={
      "income": mtl.tasks.binary("income"),
      "marital": mtl.tasks.classification("marital", outs["marital"]),
      "hours": mtl.tasks.regression("hours", mean=float(hours.mean()), std=float(hours.std())),
    },
    optimizer=mtl.recipes.load("digits").optimizer,
    learning_rate=3e-3,
    steps=1000,
    batch_size=256,
    eval_every=200,
    inputs=("numbers", "words"),
  )
