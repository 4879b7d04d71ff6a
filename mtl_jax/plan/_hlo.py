"""Reading optimized HLO: instructions, sizes of their types, and how often loops repeat computations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple


class Instruction(NamedTuple):
  """One instruction: where it stands, its name, the text of its type, its opcode and what follows it."""

  computation: str
  name: str
  type: str
  opcode: str
  rest: str


_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.-]+) .*\{$")
_HEAD = re.compile(r"\s+(?:ROOT )?%?([\w.-]+)$")
_CALL = re.compile(r"([a-z][\w-]*)\((.*)$")
_SHAPE = re.compile(r"\b([a-z]+\d*[a-z\d]*)\[([\d,]*)\]")
_LAYOUT = re.compile(r"\{[^{}]*\}")


def instructions(text: str) -> Iterator[Instruction]:
  r"""All instructions of a program.

  >>> text = "ENTRY main () -> s32[] {\n  ROOT %c = s32[]{:T(128)} constant(7)\n}"
  >>> next(instructions(text))
  Instruction(computation='main', name='c', type='s32[]', opcode='constant', rest='7)')
  """
  computation = ""
  for line in text.splitlines():
    if not line.startswith(" "):
      start = _COMPUTATION.match(line)
      computation = start.group(2) if start else computation
      continue
    head, _, tail = line.partition(" = ")
    kind, call = _split_type(tail)
    name, called = _HEAD.match(head), _CALL.match(call)
    if name and called:
      yield Instruction(computation, name.group(1), _LAYOUT.sub("", kind), *called.groups())


def _split_type(text: str) -> tuple[str, str]:
  """The type at the start of `text`, and the rest after the first space outside of all parentheses.

  Layouts hold parentheses of their own, `f32[3,256]{1,0:T(4,128)S(1)}`, and long tuples comments, `/*index=5*/`.
  """
  depth = 0
  for i, letter in enumerate(text):
    depth += (letter == "(") - (letter == ")")
    if letter == " " and depth == 0:
      return text[:i], text[i + 1 :]
  return text, ""


def size(kind: str) -> int:
  """The bytes of all arrays in a type.

  >>> size("(f32[3,256], (bf16[2,4], pred[5]), s32[])")
  3097
  """
  return sum(
    math.ceil(_bits(dtype) * math.prod(map(int, filter(None, dims.split(",")))) / 8)
    for dtype, dims in _SHAPE.findall(kind)
  )


def _bits(dtype: str) -> int:
  number = re.search(r"\d+", dtype)
  return int(number.group()) if number else {"pred": 8}.get(dtype, 0)  # a token is nothing


def pieces(kind: str) -> list[str]:
  """The elements of a tuple type, [] for an array.

  >>> pieces("((f32[2], f32[3]), f32[4,5])")
  ['(f32[2], f32[3])', 'f32[4,5]']
  """
  if not kind.startswith("("):
    return []
  parts, depth = [""], 0
  for letter in kind[1:-1]:
    depth += (letter in "([") - (letter in ")]")
    if letter == "," and depth == 0:
      parts.append("")
    else:
      parts[-1] += letter
  return [part.strip() for part in parts]


def repetitions(text: str) -> dict[str, int]:
  """How often one execution runs each computation: the product of the rounds of the loops around it.

  Rounds are known from `known_trip_count`, or from a condition `counter < constant`, which is how scans count.
  """
  calls: dict[str, list[tuple[str, int]]] = {}
  limits: dict[str, list[int]] = {}
  smaller: set[str] = set()
  for found in instructions(text):
    if found.opcode == "constant" and found.type == "s32[]":
      limits.setdefault(found.computation, []).append(int(found.rest.split(")")[0]))
    if found.opcode == "compare" and "direction=LT" in found.rest:
      smaller.add(found.computation)
  for found in instructions(text):
    rounds = _rounds(found.rest, limits, smaller) if found.opcode == "while" else 1
    names = re.findall(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.-]+)", found.rest)
    for group in re.findall(r"(?:branch_computations|called_computations|calls)=\{([^}]*)\}", found.rest):
      names += [name.strip().lstrip("%") for name in group.split(",")]
    calls.setdefault(found.computation, []).extend((name, rounds) for name in names)
  entry = re.search(r"^ENTRY %?([\w.-]+)", text, re.MULTILINE)
  times: dict[str, int] = {}
  todo = [(entry.group(1), 1)] if entry else []
  while todo:
    name, count = todo.pop()
    if count > times.get(name, 0):
      times[name] = count
      todo += [(called, count * rounds) for called, rounds in calls.get(name, [])]
  return times


def _rounds(rest: str, limits: dict[str, list[int]], smaller: set[str]) -> int:
  known = re.search(r'known_trip_count":\{"n":"(\d+)"', rest)
  if known:
    return int(known.group(1))
  condition = re.search(r"condition=%?([\w.-]+)", rest)
  found = limits.get(condition.group(1), []) if condition and condition.group(1) in smaller else []
  return max(1, found[0]) if len(found) == 1 else 1
