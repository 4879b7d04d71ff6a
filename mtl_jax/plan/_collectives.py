"""What devices send to each other, read off the optimized HLO of a compiled program."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from mtl_jax.plan._hlo import Instruction, instructions, pieces, repetitions, size


class Collective(NamedTuple):
  """All collectives of one kind in a program.

  Attributes:
    kind: The HLO opcode, for example `all-reduce`.
    calls: How many one execution runs.
    bytes: Their size, in full: of the sum for all-reduce, of the whole array for all-gather and reduce-scatter.
    sent: The bytes that each device sends if they run around a ring.
  """

  kind: str
  calls: int
  bytes: float
  sent: float


_OPCODES = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "ragged-all-to-all",
  "all-to-all",
  "collective-broadcast",
  "collective-permute",
  "send",
)
# Their tuple holds (operand, result, ...).
_WITH_OPERANDS = ("all-gather-start", "reduce-scatter-start", "collective-permute-start", "send")


def collectives(text: str, devices: int) -> tuple[Collective, ...]:
  r"""The collectives of a compiled program, `compiled.as_text()`, added up by kind.

  In a group of n devices a ring sends of S bytes, from each device,

  $$ 2 \tfrac{n-1}{n} S \text{ (all-reduce)}, \quad \tfrac{n-1}{n} S \text{ (all-gather, reduce-scatter, all-to-all)} $$

  and a permutation S. What a conditional may run counts as run; so does, once, the body of a loop whose number of
  rounds the program does not show.

  Args:
    text: The optimized HLO.
    devices: How many devices the program runs on.

  Returns:
    One entry a kind, sorted by it; none for programs that do not communicate.

  >>> text = '''
  ... ENTRY %main (p: f32[8]) -> f32[8] {
  ...   %p = f32[8]{0} parameter(0)
  ...   ROOT %r = f32[8]{0} all-reduce(%p), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
  ... }'''
  >>> collectives(text, 4)
  (Collective(kind='all-reduce', calls=1, bytes=32, sent=48.0),)
  """
  rounds = repetitions(text)
  unique: dict[tuple[str, str], tuple[str, int, float, float]] = {}
  for found in _found(text):
    kind, total, group = _measure(found, devices)
    if group > 1:
      key = (kind, _identity(found))
      times = max(rounds.get(found.computation, 1), unique[key][1] if key in unique else 1)
      unique[key] = (kind, times, total, _sent(kind, total, group))
  return tuple(
    Collective(
      kind,
      sum(times for k, times, _, _ in unique.values() if k == kind),
      sum(times * total for k, times, total, _ in unique.values() if k == kind),
      sum(times * sent for k, times, _, sent in unique.values() if k == kind),
    )
    for kind in sorted({kind for kind, *_ in unique.values()})
  )


def _found(text: str) -> Iterator[Instruction]:
  for found in instructions(text):
    if found.opcode.removesuffix("-start") in _OPCODES:
      yield found


def _measure(found: Instruction, devices: int) -> tuple[str, int, int]:
  """The kind, the full size in bytes and the number of devices that take part."""
  kind = found.opcode.removesuffix("-start")
  parts = pieces(found.type)
  total = size(parts[0 if kind == "send" else 1]) if found.opcode in _WITH_OPERANDS and parts else size(found.type)
  group = _group(found.rest, devices)
  if kind == "all-reduce" and found.computation.startswith("all-reduce-scatter"):
    return "reduce-scatter", total, group  # how the TPU compiler writes one; the size is the unscattered one
  return kind, total * group if kind == "reduce-scatter" else total, group


def _identity(found: Instruction) -> str:
  """What tells one collective from another.

  Asynchronous fusions repeat an instruction in several computations, under one channel. Channels alone are not enough:
  those of `shard_map` and of combined reduce-scatters have all the same.
  """
  channel = re.search(r"channel_id=(\d+)", found.rest)
  if channel and found.computation.startswith("async_collective_fusion"):
    return f"{channel.group(1)} {found.type}"
  return f"{found.computation} {found.name}"


def _group(rest: str, devices: int) -> int:
  """How many devices a replica group has, in the three ways HLO writes them."""
  mesh = re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", rest)
  if mesh:
    axes = dict(re.findall(r"'([^']+)'=(\d+)", mesh.group(1)))
    return math.prod(int(axes[axis]) for axis in re.findall(r"'([^']+)'", mesh.group(2)) if axis in axes)
  iota = re.search(r"replica_groups=\[\d+,(\d+)\]", rest)
  if iota:
    return int(iota.group(1))
  listed = re.search(r"replica_groups=\{\{([\d, ]+)\}", rest)
  return len(listed.group(1).split(",")) if listed else devices


def _sent(kind: str, total: float, group: int) -> float:
  if kind in ("collective-permute", "collective-broadcast", "send"):
    return float(total)
  return (2 if kind == "all-reduce" else 1) * total * (group - 1) / group
