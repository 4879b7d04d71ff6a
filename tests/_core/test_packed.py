"""A packed dictionary is read like a dictionary, and is few arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax._core.packed import Opened, Packed, assembled, groups_of, packed, stack, unpacked

ENTRIES = {"b": {"w": np.arange(3.0)}, "a": {"w": np.arange(3.0) + 9}, "c": {"w": np.arange(2.0)}}


@pytest.mark.parametrize("axis", [0, 1])
def test_it_is_read_like_a_dictionary(axis):
  entries = {n: {"w": e["w"] if axis == 0 else np.stack([e["w"]] * 2)} for n, e in ENTRIES.items()}
  found = packed(entries, groups_of(entries, fewest=2), axis)
  assert list(found) == ["b", "a", "c"] and len(found) == 3 and "a" in found and "d" not in found
  jax.tree.map(np.testing.assert_array_equal, dict(found), entries)
  assert [leaf.shape[axis] for leaf in jax.tree.leaves(found)][:1] == [2]
  doubled = jax.jit(lambda tree: jax.tree.map(lambda leaf: 2 * leaf, tree))(found)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, 2 * b), dict(doubled), dict(entries))
  assert type(unpacked({"x": found})["x"]) is dict
  with pytest.raises(KeyError):
    found["d"]


def test_few_entries_stay_a_dictionary():
  assert packed(ENTRIES, groups_of(ENTRIES)) is ENTRIES


def test_assembled_is_from_stacks_and_from_single_trees():
  like = packed(ENTRIES, groups_of(ENTRIES, fewest=2))
  stacked = assembled(like, {("b", "a"): {"w": jnp.zeros((2, 3))}, ("c",): {"w": jnp.ones(2)}})
  assert stacked["a"]["w"].tolist() == [0, 0, 0] and stacked["c"]["w"].tolist() == [1, 1]
  single = assembled(like, {("a",): {"w": np.zeros(3)}})
  assert single["a"]["w"].tolist() == [0, 0, 0] and single["b"]["w"].tolist() == [0, 1, 2]


def test_what_lies_in_one_array_is_not_stacked_anew():
  batch = Packed([("a", "b", "c"), ("d",)], [jnp.arange(6.0).reshape(2, 3), jnp.zeros(2)], "abcd", axis=1)

  def program(batch):
    opened = Opened(batch)
    return [opened.stack([opened.entries[name] for name in some]) for some in ("abc", "ca", "cd")]

  (whole, at), (some, _), (mixed, front) = program(batch)
  assert (at, front) == (1, 0) and some.tolist() == [[2, 0], [5, 3]]
  assert whole.tolist() == [[0, 1, 2], [3, 4, 5]] and mixed.tolist() == [[2, 5], [0, 0]]
  program = jax.make_jaxpr(lambda b: (lambda o: o.stack([o.entries[name] for name in "abc"])[0])(Opened(b)))(batch)
  assert "concatenate" not in [eqn.primitive.name for eqn in program.eqns]


@pytest.mark.parametrize("axis", [0, 1])
def test_hundreds_are_stacked_by_programs_of_few_inputs(axis, monkeypatch):
  """One of hundreds takes seconds to compile."""
  entries, asked = [jnp.full((2, 3), i) for i in range(70)], []
  original = jnp.stack
  monkeypatch.setattr(jnp, "stack", lambda leaves, axis: asked.append(len(leaves)) or original(leaves, axis))
  np.testing.assert_array_equal(stack(entries, axis), np.stack(entries, axis))
  assert max(asked) <= 32
