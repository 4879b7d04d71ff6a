"""Sets of MoleculeNet: the same two networks and splits for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import optax

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax._core.errors import check_choice
from mtl_jax.adapters import from_linen
from mtl_jax.data import parts, smiles, source
from mtl_jax.data.arrays import take
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose
from mtl_jax.train import mean_metric

SplitBy = Literal["random", "scaffold"]
Network = Literal["fingerprint", "graph"]


def recipe(
  name: str,
  tasks: Sequence[str],
  split: SplitBy,
  net: Network,
  rate: float = 0.1,
  **settings: Any,
) -> Recipe:
  """The recipe of a set.

  Args:
    name: That of `mtl.data.source.molecules`.
    tasks: Names for the columns of its labels, in their order.
    split: "random", or "scaffold": tested on molecules whose scaffolds are rare and were not trained on.
    net: "fingerprint", a dense layer on ECFP4 bits, or "graph", message passing along bonds, which needs RDKit.
    rate: The learning rate of the fingerprint network; the more tasks add up their gradients, the smaller.
    **settings: Further attributes of the recipe.

  Returns:
    The recipe, all of whose tasks are judged by ROC-AUC.
  """
  check_choice(name, "split", split, ("random", "scaffold"))
  check_choice(name, "net", net, ("fingerprint", "graph"))

  def data(seed: int) -> Splits:
    found = source.molecules(name)
    scaffolds = {"groups": found.scaffolds, "largest_first": True} if split == "scaffold" else {}
    x = smiles.graphs(found.smiles) if net == "graph" else found.fingerprints.astype(np.float32)
    labels = dict(zip(tasks, found.labels.T, strict=True))

    def rows(part: np.ndarray) -> dict[str, Any]:
      own = {task: np.maximum(column[part], 0) for task, column in labels.items()}
      known = {f"has {task}": column[part] >= 0 for task, column in labels.items()}
      return take({"x": x}, part) | own | known

    # Whatever the seed, so that what one model was trained on tests no other.
    return Splits(*map(rows, parts(len(found.labels), **scaffolds)), about={"columns": list(found.tasks)})

  def network(names: Sequence[str]) -> Parts:
    choose(dict.fromkeys(tasks), names)
    graph = nn.MessagePassing(bonds=5, width=64, layers=3, pool="mean", dropout=0.2)
    trunk = graph if net == "graph" else nn.MLP((512,), dropout=0.5)
    return Parts(from_linen(trunk), {task: from_linen(nn.MLP((), 1)) for task in names})

  return Recipe(
    name=name,
    data=data,
    net=network,
    tasks={task: families.binary(task, mask=f"has {task}") for task in tasks},
    optimizer=adamw_cosine if net == "graph" else momentum,
    learning_rate=2e-3 if net == "graph" else rate,
    score=mean_metric("roc_auc"),  # losses rise earlier, as the network grows too sure
    **settings,
  )


def momentum(learning_rate: float, steps: int) -> optax.GradientTransformation:
  """Gradient descent with momentum. Adam's steps are as long for rare bits as for others, and overfit."""
  schedule = optax.cosine_decay_schedule(learning_rate, steps)
  return optax.chain(optax.add_decayed_weights(1e-3), optax.sgd(schedule, momentum=0.9))
