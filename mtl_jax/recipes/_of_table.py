"""Recipes of tables: columns as the trunk's input, a network of one of three kinds, a task per target."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from mtl_jax import nn
from mtl_jax.adapters import from_linen
from mtl_jax.arch import chain
from mtl_jax.data import Description
from mtl_jax.data import table as tables
from mtl_jax.data.arrays import take
from mtl_jax.recipes._recipe import Files, Parts, Predicted, Recipe, Splits, adamw_cosine, choose
from mtl_jax.recipes._table_rows import Table, table_of

Network = Literal["mlp", "periodic", "resnet"]
"""The trunk of a table, see `TableShape`."""
NETWORKS: tuple[Network, ...] = get_args(Network)
"""All of them."""


@dataclasses.dataclass(frozen=True)
class TableShape:
  """The network of a table.

  Attributes:
    network: `"mlp"`; `"periodic"`, the same with periodic features of numbers; `"resnet"`, residual blocks.
    width: The width of the trunk.
    layers: Its layers, or blocks.
    dropout: The share of units that are dropped when training.
    class_weights: Whether rare classes count as much as frequent ones.
    focal: The exponent by which examples that are classified well count less, see `mtl.tasks.classification`.
  """

  network: Network = "mlp"
  width: int = 128
  layers: int = 2
  dropout: float = 0.1
  class_weights: bool = False
  focal: float = 0.0


def of_table(
  rows: Callable[[], tables.Rows],
  targets: Any,
  shape: TableShape = TableShape(),
  *,
  name: str = "table",
  summary: str = "A table of your own: see mtl-jax train --table.",
  ignore: Sequence[str] = (),
  scaling: tables.Scaling = "quantile",
  read: Callable[[Path], Table] = table_of,
) -> Recipe:
  """The recipe of any table in parts.

  Args:
    rows: Gives the table and its parts.
    targets: As in `mtl.data.table.parse`.
    shape: The network.
    name: Of the recipe.
    summary: One line for the list of recipes.
    ignore: Columns that are not read.
    scaling: Of numbers, as in `mtl.data.table.fit`.
    read: Reads a file of new rows.

  Returns:
    The recipe.

  Raises:
    UserError: Targets that cannot be understood.
  """
  wanted = tables.parse(targets)

  def data(seed: int) -> Splits:
    table, origin, *parts = rows()
    prepared = tables.fit(table, parts[0], wanted, ignore, origin, scaling)
    whole = prepared.arrays(table, origin)
    train, valid, test = (take(whole, numbers) for numbers in parts)
    return Splits(train, valid, test, prepared.as_json())

  def unknown(names: Sequence[str]) -> Parts:
    raise AssertionError("the network of a table is known when its data are: see adapt")

  bare = Recipe(
    name=name,
    summary=summary,
    data=data,
    net=unknown,
    tasks={name: tables.Target(name, "regression").task() for name in wanted},
    optimizer=adamw_cosine,
    learning_rate=2e-3,
    steps=2000,
    batch_size=256,
    eval_every=100,
  )
  return dataclasses.replace(bare, adapt=lambda described: _adapted(bare, described, shape, read))


def _adapted(bare: Recipe, described: Description, shape: TableShape, read: Callable[[Path], Table]) -> Recipe:
  prepared = tables.read_preparation(described.about)
  heads = {name: nn.MLP((shape.width // 2,), target.outputs) for name, target in prepared.targets.items()}

  def net(names: Sequence[str]) -> Parts:
    trunk = chain(from_linen(_columns(prepared, shape)), *nn.stages(_trunk(shape)))
    return Parts(trunk, {name: from_linen(head) for name, head in choose(heads, names).items()})

  def read_file(path: Path, tasks: Sequence[str]) -> tuple[dict[str, Any], Sequence[str]]:
    table, origin = read(path)
    return prepared.arrays(table, origin, tasks), list(map(str, range(table.num_rows)))

  def write(path: Path, found: Predicted) -> None:
    tables.write(path, prepared.answers(found.outputs))

  def records(found: Predicted) -> Iterator[dict[str, Any]]:
    columns = {name: np.asarray(values).tolist() for name, values in prepared.answers(found.outputs).items()}
    for i, name in enumerate(found.names):
      yield {"name": name, **{column: values[i] for column, values in columns.items()}}

  return dataclasses.replace(
    bare,
    net=net,
    tasks={name: target.task(shape.class_weights, shape.focal) for name, target in prepared.targets.items()},
    files=Files(read_file, write, ".csv", records=records),
  )


def _columns(prepared: tables.Preparation, shape: TableShape) -> nn.Columns:
  knots, heights = prepared.curves()
  periodic = 8 if shape.network == "periodic" else 0
  sizes = {block: prepared.sizes(block) for block in ("words", "tokens")}
  return nn.Columns(knots, heights, prepared.indicated(), sizes["words"], sizes["tokens"], periodic=periodic)


def _trunk(shape: TableShape) -> nn.MLP | nn.TabularResNet:
  if shape.network == "resnet":
    return nn.TabularResNet(shape.width, shape.layers, dropout=shape.dropout)
  return nn.MLP((shape.width,) * shape.layers, dropout=shape.dropout)
