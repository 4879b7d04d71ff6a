"""A table of people from a CSV file: words and numbers, missing answers, rare classes."""

import csv
import pathlib
import tempfile

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

import mtl_jax as mtl


def stand_in(count=3000):
  """In place of your file: the path of a CSV file with a line per person, "?" where the answer is missing."""
  rng = np.random.default_rng(0)
  path = pathlib.Path(tempfile.mkdtemp()) / "census.csv"
  with path.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["age", "hours", "job", "region", "income", "marital"])
    for _ in range(count):
      age, hours, job, region = rng.integers(18, 80), rng.integers(10, 60), rng.integers(12), rng.integers(4)
      rich = age / 30 + hours / 20 + job / 4 + rng.normal(scale=0.5) > 6.5
      marital = "never" if age + rng.normal(scale=5) < 35 else "widowed" if age > 72 and job % 2 else "married"
      income = "?" if rng.random() < 0.3 else ">50K" if rich else "<=50K"
      table.writerow([age, hours, f"job {job}", f"region {region}", income, marital])
  return path


def read(path):
  """The table as arrays, and its words: the integer i stands for the word `words[column][i]`."""
  with path.open(newline="") as file:
    people = list(csv.DictReader(file))
  column = {key: np.array([person[key] for person in people]) for key in people[0]}
  words, codes = {}, {}
  for key in ("job", "region", "marital"):
    words[key], codes[key] = np.unique(column[key], return_inverse=True)
  return words, {
    "numbers": np.stack([column["age"], column["hours"]], axis=1).astype(np.float32),
    "words": np.stack([codes["job"], codes["region"]], axis=1),
    "income": column["income"] == ">50K",
    "has_income": column["income"] != "?",
    "marital": codes["marital"],
  }


class Trunk(nn.Module):
  """Scaled numbers beside learned vectors of the words, then two layers."""

  scale: tuple[float, ...]
  words: tuple[int, ...]

  @nn.compact
  def __call__(self, x):
    """Takes `{"numbers": (B, N), "words": (B, W)}`, the words as integers; gives (B, 32)."""
    vectors = [nn.Embed(count, 4)(x["words"][:, i]) for i, count in enumerate(self.words)]
    x = jnp.concatenate([x["numbers"] / jnp.array([self.scale]), *vectors], axis=1)
    return nn.relu(nn.Dense(32)(nn.relu(nn.Dense(32)(x))))


words, data = read(stand_in())
train, valid = ({key: values[rows] for key, values in data.items()} for rows in (slice(500, None), slice(500)))

rich = train["income"][train["has_income"]].mean()
count = np.bincount(train["marital"])
tasks = {
  "income": mtl.tasks.binary("income", mask="has_income", positive_weight=(1 - rich) / rich),
  "marital": mtl.tasks.classification("marital", 3, class_weights=list(count.mean() / count)),
}
trunk = mtl.from_linen(Trunk((50.0, 40.0), (len(words["job"]), len(words["region"]))))
net = mtl.arch.hard_sharing(trunk, {"income": mtl.from_linen(nn.Dense(1)), "marital": mtl.from_linen(nn.Dense(3))})

inputs = ("numbers", "words")
balancer, tx = mtl.balance.uncertainty(), optax.adam(3e-3)
run = mtl.fit(net, tasks, balancer, tx, train, valid=valid, inputs=inputs, steps=400)
scores = mtl.train.make_evaluate(net, tasks, inputs)(run.params, run.net_state, valid)
print(f"income: area under ROC {scores['income']['roc_auc']:.3f}; marital: F1 {scores['marital']['f1']:.3f}")
