"""Whether architectures find which tasks belong together, on data where it is known, and whether it helps them.

`python benchmarks/planted.py`, about three minutes on one core.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Products as small as these take longer on several threads, which JAX starts as many of as there are cores.
if hasattr(os, "sched_setaffinity"):
  os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import tyro  # noqa: E402
from _machine import describe, write  # noqa: E402
from _markdown import table  # noqa: E402
from _planted_data import FEATURES, GROUPS, HIDDEN, INPUTS, NAMES, NOISE, SIZES, planted  # noqa: E402

import mtl_jax as mtl  # noqa: E402
from mtl_jax.analysis.plots import standard_error  # noqa: E402

TASKS = {name: mtl.tasks.regression(name) for name in NAMES}
RATES = (7e-3, 2e-2, 5e-2)
BUDGET = 1100


class Row(NamedTuple):
  """A line of the table.

  Attributes:
    arch: The name of a function of `mtl.arch`.
    options: Its options, of which it gets those that it has.
    features: What the trunk gives.
    label: What the line says of it.
    shared: How many of its gates' weights are for what tasks can have in common, from the first; None: all.
  """

  arch: str
  options: Mapping[str, Any] = {}
  features: int = FEATURES
  label: str = ""
  shared: int | None = None


def main(steps: int = 3000, seeds: int = 5, batch_size: int = 64) -> None:
  """Writes benchmarks/results/planted.md.

  Args:
    steps: Steps of each training.
    seeds: Data sets, each with an initialisation of its own.
    batch_size: Examples per step.
  """
  data = {split: [planted(seed)[split] for seed in range(seeds)] for split in SIZES}
  data = {split: jax.tree.map(lambda *each: jnp.stack(each), *found) for split, found in data.items()}
  rows = [
    Row("hard_sharing"),
    Row("mmoe", {"experts": 4, "gate": constant(4)}, label="a gate of one vector per task"),
    Row("mmoe", {"experts": 2}, label="gates that read the input"),
    Row("cross_stitch"),
    Row("ple", {"shared_experts": 2, "task_experts": 1, "gate": constant}, label="gates of one vector", shared=2),
    Row("ltb", {"temperature": optax.exponential_decay(5.0, steps, 0.1)}),
    Row("hard_sharing", features=2 * FEATURES, label="features for both groups"),
  ]
  lines, missing, base = [], [], None
  for row in rows:
    if getattr(mtl.arch, row.arch, None) is None:
      missing.append(row.arch)
      continue
    net, width = fitted(row, NAMES, BUDGET)
    rate, losses, similarity = result(net, data, steps, batch_size, row.shared)
    base = losses if base is None else base
    lines.append(line(row, f"{width}-{row.features}", size(net), rate, losses, base, similarity))
    print(lines[-1], flush=True)
  nets = [fitted(rows[0], group, BUDGET // len(GROUPS)) for group in GROUPS]
  found = [result(net, data, steps, batch_size) for net, _ in nets]
  row = Row("hard_sharing", label="a net for each group")
  rates, losses = " ".join(rate for rate, _, _ in found), np.mean([own for _, own, _ in found], axis=0)
  lines.append(line(row, f"{nets[0][1]}-{FEATURES}", sum(size(net) for net, _ in nets), rates, losses, base, None))
  header = ["architecture", "widths", "parameters", "rate", "test loss", "better by", "in standard errors", "groups"]
  absent = f"Not in this version: {', '.join(missing)}.\n\n" if missing else ""
  write(
    "planted.md",
    f"# Planted sharing\n\n`python benchmarks/planted.py --steps {steps} --seeds {seeds} --batch-size {batch_size}`\n\n"
    f"{describe('flax', 'optax')}.\n\n"
    f"Two groups of three regressions on {INPUTS} inputs. The labels of a group are mixtures of {FEATURES} features, "
    f"which a random network of {HIDDEN} hidden units makes of the input, with variance 1 and noise of {NOISE**2:.2g}, "
    "the least possible loss; each group has features of its own. Trunks are perceptrons of a hidden layer and of a "
    f"layer of {FEATURES} features, enough for one group and half of what both need. The hidden layer is as wide as "
    f"about {BUDGET} parameters allow, in trunk, gates and heads. Adam with a cosine schedule and equal weights, "
    f"{steps} steps of {batch_size} out of {SIZES['train']} examples, the rate of the least validation loss among "
    f"{', '.join(f'{rate:g}' for rate in RATES)}.\n\n"
    f"*test loss*: mean over tasks, and over {seeds} data sets with its standard error. *better by*: the paired "
    "difference to hard sharing, the first line. *groups*: the cosine similarity of what gates, stitches or branches "
    "of two tasks say, in the mean over pairs within groups less that over pairs across; 1 where the groups are found, "
    "0 where they are not. The last two lines are for comparison: hard sharing with room for the features of both "
    "groups, and nets that are told the groups.\n\n" + absent + table(header, lines),
  )


def constant(count: int) -> mtl.Net:
  """A gate that reads nothing: logits which belong to the task."""

  def init(key, x):
    return {"logits": 0.1 * jax.random.normal(key, (count,))}, {}

  def apply(params, state, x):
    return jnp.broadcast_to(params["logits"], (x.shape[0], count)), state

  return mtl.Net(init, apply)


def fitted(row: Row, names: Sequence[str], budget: int) -> tuple[mtl.Net, int]:
  """The architecture with the hidden layer whose parameters come nearest to the budget, and the width of the layer."""
  make = getattr(mtl.arch, row.arch)
  known = inspect.signature(make).parameters
  options = {name: value for name, value in row.options.items() if name in known}
  heads = {name: mtl.from_linen(nn.Dense(1)) for name in names}

  def net(width):
    return make(mtl.from_linen(mtl.nn.MLP((width, row.features), activation=jnp.tanh)), heads, **options)

  least, second = size(net(1)), size(net(2))  # The count is linear in the width.
  width = max(1 + round((budget - least) / (second - least)), 1)
  return net(width), width


def size(net: mtl.Net) -> int:
  """The number of parameters."""
  params, _ = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((1, INPUTS)))
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def result(
  net: mtl.Net, data: Any, steps: int, batch_size: int, shared: int | None = None
) -> tuple[str, np.ndarray, float | None]:
  """The rate that is best on validation data, the test loss of each seed there, and whether the groups are found."""
  params, state = trained(net, data["train"], steps, batch_size)
  best = int(losses_of(net, params, state, data["valid"]).mean(axis=1).argmin())
  params, state = jax.tree.map(lambda leaf: leaf[best], (params, state))
  alone = jax.tree.map(lambda leaf: leaf[None], (params, state))
  report = jax.device_get(jax.vmap(net.report)(params, state))
  return f"{RATES[best]:g}", losses_of(net, *alone, data["test"])[0], similarity_of(report, shared)


def trained(net: mtl.Net, data: Any, steps: int, batch_size: int) -> tuple[Any, Any]:
  """Parameters and state after training, (rates, seeds, ...). All trainings run as one."""
  names = list(jax.eval_shape(net.init, jax.random.key(0), data["x"][0, :1])[0]["task"])
  tasks, balancer = {name: TASKS[name] for name in names}, mtl.balance.equal()
  objective = mtl.objective(net, tasks)
  count = data["x"].shape[1]
  per_epoch = count // batch_size

  def one(key, data, rate):
    tx = optax.adam(lambda number: rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(number / steps, 1))))
    step = mtl.make_train_step(objective, balancer, tx)
    state = mtl.init_train_state(net, tasks, balancer, tx, jax.tree.map(lambda leaf: leaf[:1], data), key)

    def epoch(state, number):
      order = jax.random.permutation(jax.random.fold_in(key, number), count)
      rows = order[: per_epoch * batch_size].reshape(per_epoch, batch_size)
      batches = jax.tree.map(lambda leaf: leaf[rows], data)
      return jax.lax.scan(lambda state, batch: (step(state, batch)[0], None), state, batches)[0], None

    state, _ = jax.lax.scan(epoch, jax.tree.map(jnp.asarray, state), jnp.arange(-(-steps // per_epoch)))
    return state.params, state.state, state.skipped

  keys = jax.random.split(jax.random.key(0), data["x"].shape[0])
  over_all = jax.vmap(jax.vmap(one, (0, 0, None)), (None, None, 0))
  params, state, skipped = jax.jit(over_all)(keys, data, jnp.asarray(RATES))
  assert not skipped.any()
  return params, state


def losses_of(net: mtl.Net, params: Any, state: Any, data: Any) -> np.ndarray:
  """The loss, in the mean over tasks, (rates, seeds)."""

  def one(params, state, data):
    predictions, _ = net.apply(params, state, data["x"])
    return jnp.mean(jnp.stack([jnp.mean((y[:, 0] - data[name]) ** 2) for name, y in predictions.items()]))

  return np.asarray(jax.jit(jax.vmap(jax.vmap(one), (0, 0, None)))(params, state, data))


def similarity_of(report: Mapping[str, np.ndarray], shared: int | None) -> float | None:
  """How much more alike gates, stitches or branches are within groups than across them; None where there are none."""
  rows: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
  for entry, value in report.items():
    kind, _, last = entry.rpartition("/")
    if last in rows:
      rows[last].append(value[:, :shared])
    elif kind == "stitch":
      for i, name in enumerate(NAMES):
        rows[name].append(value[:, i])
  if not all(rows.values()):
    return None
  vectors = np.abs(np.stack([np.concatenate(found, axis=1) for found in rows.values()], axis=1))
  vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
  group = np.repeat(np.arange(len(GROUPS)), [len(names) for names in GROUPS])
  alike = np.einsum("sid,sjd->ij", vectors, vectors) / len(vectors)
  within = (group[:, None] == group) & ~np.eye(len(group), dtype=bool)
  return float(alike[within].mean() - alike[group[:, None] != group].mean())


def line(
  row: Row, widths: str, count: int, rate: str, losses: np.ndarray, base: Any, similarity: float | None
) -> list[str]:
  """A line of the table."""
  better = base - losses
  apart = [f"{better.mean():.3f}", f"{better.mean() / standard_error(better):.1f}"] if better.any() else ["", ""]
  name = f"`{row.arch}`" + (f", {row.label}" if row.label else "")
  test = f"{losses.mean():.3f} +- {standard_error(losses):.3f}"
  return [name, widths, str(count), rate, test, *apart, "" if similarity is None else f"{similarity:.2f}"]


if __name__ == "__main__":
  tyro.cli(main)
