"""The plan of a backward pass: played through on paper, no step lacks what it reads, and none is made for nothing."""

import random

import jax.numpy as jnp
import pytest

from mtl_jax.engine._backward.program import Equation, Program
from mtl_jax.engine._backward.schedule import schedule


def program(equations, *, constants, cotangents):
  """A backward pass of `(inputs, outputs)` by name."""
  tasked, makers = set(cotangents), {}
  for i, (inputs, outputs) in enumerate(equations):
    makers |= dict.fromkeys(outputs, i)
    if tasked & set(inputs):
      tasked |= set(outputs)
  names = [*constants, *cotangents, *makers]
  return Program(
    equations=tuple(Equation(None, jnp.add, inputs, outputs) for inputs, outputs in equations),
    constants=dict.fromkeys(constants),
    own={},
    cotangents=tuple(cotangents),
    leaves={},
    parameters={},
    passed=frozenset(tasked),
    tasked=frozenset(tasked),
    makers=makers,
    ranks=dict.fromkeys(names, 0),
    linear=True,
  )


def drawn(seed):
  """Two constants, two cotangents, equations of up to three inputs and two outputs; and what five stages want."""
  draw = random.Random(seed)
  known, equations = [0, 1, 2, 3], []
  for _ in range(draw.randint(1, 25)):
    inputs = tuple(draw.choices(known, k=draw.randint(1, 3)))
    outputs = tuple(len(known) + i for i in range(draw.randint(1, 2)))
    equations.append((inputs, outputs))
    known += outputs
  wanted = [set(draw.choices(known, k=draw.randint(0, 2))) for _ in range(draw.randint(1, 5))]
  return program(equations, constants=[0, 1], cotangents=[2, 3]), wanted


def needed(program, wanted):
  """All equations that lead to what is wanted, by walking back."""
  found, names = set(), set(wanted)
  for i in reversed(range(len(program.equations))):
    if names & set(program.equations[i].outputs):
      found.add(i)
      names |= set(program.equations[i].inputs)
  return found


@pytest.mark.parametrize("keep", [False, True])
def test_any_program_played_through(keep):
  for seed in range(300):
    backward, wanted = drawn(seed)
    shared, tasked, ran = {0, 1}, {2, 3}, []
    stages = schedule(backward, wanted, keep)
    for i, (stage, names) in enumerate(zip(stages, wanted, strict=True)):
      for index in stage.shared:
        assert shared.issuperset(backward.equations[index].inputs)
        shared |= set(backward.equations[index].outputs)
      assert tasked.issuperset(stage.reads)
      inside = shared | set(stage.reads)
      for index in stage.tasked:
        assert inside.issuperset(backward.equations[index].inputs)
        inside |= set(backward.equations[index].outputs)
      assert inside.issuperset(stage.makes) and backward.tasked.issuperset(stage.makes)
      tasked |= set(stage.makes)
      assert (shared | tasked).issuperset(names)
      ran += [*stage.shared, *stage.tasked]
      later = {n for s in stages[i + 1 :] for j in (*s.shared, *s.tasked) for n in backward.equations[j].inputs}
      later |= {name for s in wanted[i + 1 :] for name in s}
      kept = {name for s in wanted for name in s} if keep else set()
      assert set(stage.ended) == set(stage.reads) - later - set(names) - kept
      assert stage.stay == (shared | tasked) & (later | kept)
      shared &= stage.stay
      tasked &= stage.stay
    assert sorted(ran) == sorted(needed(backward, set().union(*wanted)))  # each once, and nothing else


def test_a_chain_of_two_layers():
  """The second layer's kernel gradient is wanted before the first layer's: nothing of the first runs until then.

  Constants: 0 the first layer's inputs, 1 the second's, 2 the second's kernel. 3 is the cotangent at its outputs,
  4 its kernel's gradient, 5 the cotangent at its inputs, 6 the first kernel's gradient.
  """
  backward = program([((1, 3), (4,)), ((3, 2), (5,)), ((0, 5), (6,))], constants=[0, 1, 2], cotangents=[3])
  second, first = schedule(backward, [{4}, {6}])
  assert (second.tasked, second.reads, second.makes, second.ended) == ((0,), (3,), (4,), frozenset())
  assert (first.tasked, first.reads, first.makes, first.ended) == ((1, 2), (3,), (6,), frozenset({3}))
  assert second.stay == {0, 2, 3} and first.stay == set()
