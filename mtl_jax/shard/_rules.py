"""Rules: which device holds which part of which parameter, by regular expressions of their paths."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jax.sharding import PartitionSpec as P

from mtl_jax._core.devices import DATA, largest_dimension
from mtl_jax._core.errors import UserError, check_choice

Place = Callable[[str, tuple[int, ...], Mapping[str, int]], P]
"""`place(path, shape, axis_sizes)`: a placement that depends on the parameter and on the sizes of the mesh's axes."""
Rule = tuple[str, P | Place]


class Rules(NamedTuple):
  """Where parameters and their optimizer state live.

  Attributes:
    params: Pairs of a regular expression, searched for in paths like `shared/Dense_0/kernel`, and the placement of the
      parameters whose path it matches: a `jax.sharding.PartitionSpec`, or a function `(path, shape, axis_sizes)` that
      returns one. The first match wins; parameters that nothing matches are replicated.
    optimizer: The same for the arrays of the optimizer state that belong to a parameter, by that parameter's path;
      None: they are where their parameter is.
  """

  params: Sequence[Rule] = ()
  optimizer: Sequence[Rule] | None = None


AnyRules = str | Rules | Sequence[Any] | None
"""The name of ready-made rules, rules, pairs for the parameters alone, or None: replicated."""


def replicated() -> Rules:
  """Every device holds everything: plain data parallelism."""
  return Rules()


def fsdp(min_size: int = 1024) -> Rules:
  """Parameters and optimizer state divided over the axis `data` (fully sharded data parallelism, ZeRO-3).

  Of each parameter the largest dimension that the axis divides is divided. Layers gather their parameters when they
  need them, and gradients are summed where their part of the parameters lives.

  Args:
    min_size: Parameters with fewer entries stay replicated, as sending them costs more than holding them.

  Returns:
    The rules.

  References:
    Rajbhandari et al., *ZeRO: Memory Optimizations Toward Training Trillion Parameter Models*, 2020.
  """
  return Rules([(".*", _largest_dimension(min_size))])


def zero(min_size: int = 1024) -> Rules:
  """Parameters replicated, optimizer state divided over the axis `data` as `fsdp` does (ZeRO-1).

  The update is computed in parts, and the new parameters are gathered once a step.

  Args:
    min_size: The optimizer state of parameters with fewer entries stays replicated.

  Returns:
    The rules.

  References:
    Rajbhandari et al., *ZeRO: Memory Optimizations Toward Training Trillion Parameter Models*, 2020.
  """
  return Rules((), [(".*", _largest_dimension(min_size))])


def tensor_parallel(axis: str = "model") -> Rules:
  """The layers of the built-in trunks divided over an axis of their own; heads are replicated.

  For layers with Linen's names of them: of `Dense_0`, `Dense_2`, ... the outputs are divided, of `Dense_1`, `Dense_3`,
  ... the inputs, so that two layers need one sum over devices; of `Conv_*` the output channels. A layer whose dimension
  the axis does not divide is replicated.

  Args:
    axis: The axis of the mesh.

  Returns:
    The rules.

  References:
    Shoeybi et al., *Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism*, 2019.
  """

  def where(dimension: int) -> Place:
    def place(path: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> P:
      at = dimension % len(shape)
      if shape[at] % sizes.get(axis, 1):
        return P()
      return P(*[None] * at, axis)

    return place

  layers = [
    (r"Dense_\d*[02468]/(kernel|bias)$", where(-1)),
    (r"Dense_\d*[13579]/kernel$", where(0)),
    (r"Conv_\d+/(kernel|bias)$", where(-1)),
  ]

  def first(path: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> P:
    return next((place(path, shape, sizes) for pattern, place in layers if re.search(pattern, path)), P())

  return Rules([("^shared/", first)])


def expert_parallel(axis: str = "expert") -> Rules:
  """The experts and towers of an architecture divided over an axis of their own; everything else is replicated.

  Of `mmoe`, `ple`, `cross_stitch` and all others whose copies of a net are called `experts` or `towers` among the
  parameters, where they lie in one tree of arrays, along the first axis. Each device runs its own experts on its
  examples; what is sent are the mixtures, never parameters. Copies whose number the axis does not divide are
  replicated.

  Args:
    axis: The axis of the mesh.

  Returns:
    The rules.

  References:
    Lepikhin et al., *GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding*, 2021.
  """

  def place(path: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> P:
    return P(axis) if shape and shape[0] % sizes.get(axis, 1) == 0 else P()

  return Rules([(r"(^|/)(experts|towers)/", place)])


def row_wise(axis: str | None = None) -> Rules:
  """The rows of tables, and of the optimizer's arrays for them, divided; everything else is replicated.

  Of `mtl.nn.Embeddings`, and of all other parameters called `table`, (..., R, D). With `sparse=` of `mtl.fit` devices
  send each other the rows that a batch names, never a table.

  Args:
    axis: The axis of the mesh; None: the axis `table`, or where the mesh has none, all axes together.

  Returns:
    The rules. A table whose number of rows the axis does not divide is an error: see `multiple` of `mtl.nn.Embeddings`.

  References:
    Mudigere et al., *Software-Hardware Co-design for Fast and Scalable Training of Deep Learning Recommendation
    Models*, ISCA 2022.
  """

  def place(path: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> P:
    axes = (axis,) if axis else ("table",) if "table" in sizes else tuple(sizes)
    return P(*[None] * (len(shape) - 2), axes)

  return Rules([("(^|/)table$", place)])


def _largest_dimension(min_size: int) -> Place:
  def place(path: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> P:
    if DATA not in sizes:
      return P(DATA)  # an axis that the mesh lacks, which is told as of any rule
    at = largest_dimension(shape, sizes[DATA])
    return P() if at is None or math.prod(shape) < min_size else P(*[None] * at, DATA)

  return place


_NAMED = {
  "replicated": replicated,
  "fsdp": fsdp,
  "zero": zero,
  "tensor_parallel": tensor_parallel,
  "expert_parallel": expert_parallel,
  "row_wise": row_wise,
}


def rules_of(rules: AnyRules) -> Rules:
  """Rules from the name of ready-made ones, from pairs for the parameters alone, or from None: replicated.

  Raises:
    UserError: An unknown name, or anything else.

  >>> rules_of(None)
  Rules(params=(), optimizer=None)
  """
  if rules is None:
    return replicated()
  if isinstance(rules, Rules):
    return rules
  if isinstance(rules, str):
    check_choice("shard", "rules", rules.replace("-", "_"), _NAMED)
    return _NAMED[rules.replace("-", "_")]()
  if all(isinstance(rule, tuple) and len(rule) == 2 and isinstance(rule[0], str) for rule in rules):
    return Rules(tuple(rules))
  raise UserError(
    f"rules are {rules!r}, expected a name, mtl.shard.Rules or pairs (regular expression, PartitionSpec)."
  )
