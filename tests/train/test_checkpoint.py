"""Checkpoints: whole or not at all, restored exactly, damaged ones set aside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.train._checkpoint import Checkpoints


def _tree(scale=1.0):
  return {
    "a": {"b/c": jnp.arange(5.0) * scale, "n": jnp.int32(3)},
    "key": jax.random.key(7),
    "empty": (),
    "list": [jnp.ones((2, 3), jnp.bfloat16) * scale],
  }


def _save(directory, steps):
  checkpoints = Checkpoints(directory)
  for step in steps:
    checkpoints.save(step, _tree(float(step)), {"best": step})
  checkpoints.close()


def _assert_same(found, expected):
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    assert a.dtype == b.dtype
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
      a, b = jax.random.key_data(a), jax.random.key_data(b)
    np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


def test_restores_what_was_saved_and_keeps_the_newest(tmp_path):
  _save(tmp_path / "c", [1, 2, 3])
  checkpoints = Checkpoints(tmp_path / "c")
  assert checkpoints.steps() == [2, 3]
  step, tree, notes = checkpoints.restore_newest(_tree(0.0), pytest.fail)
  assert step == 3 and notes == {"best": 3}
  _assert_same(tree, _tree(3.0))
  checkpoints.close()


def test_saved_values_survive_donation(tmp_path):
  """A save goes on in the background while the next step reuses the donated buffers."""
  checkpoints = Checkpoints(tmp_path / "c")
  value = {"w": jnp.arange(1_000_000.0)}
  grow = jax.jit(lambda tree: {"w": tree["w"] + 1.0}, donate_argnums=0)
  checkpoints.save(1, value, {})
  for _ in range(5):
    value = grow(value)
  jax.block_until_ready(value)
  checkpoints.close()
  found, _ = Checkpoints(tmp_path / "c").restore(1, value)
  np.testing.assert_array_equal(found["w"], np.arange(1_000_000.0, dtype=np.float32))


def _truncate(path):
  for file in path.rglob("*"):
    if file.is_file() and file.parent.name == "d":
      file.write_bytes(file.read_bytes()[:5])


def _lose_arrays(path):
  import shutil

  shutil.rmtree(path / "tree")


def _spoil_notes(path):
  (path / "notes" / "metadata").write_text("{")


@pytest.mark.parametrize("damage", [_truncate, _lose_arrays, _spoil_notes])
def test_falls_back_from_a_damaged_checkpoint_and_says_so(tmp_path, damage):
  _save(tmp_path / "c", [2, 3])
  damage(tmp_path / "c" / "3")
  messages = []
  checkpoints = Checkpoints(tmp_path / "c")
  step, tree, _ = checkpoints.restore_newest(_tree(), messages.append)
  assert step == 2
  _assert_same(tree, _tree(2.0))
  assert len(messages) == 1 and "step 3 is damaged" in messages[0] and "\n" not in messages[0]
  assert (tmp_path / "damaged" / "c-3").is_dir()
  checkpoints.save(3, _tree(3.0), {})  # the step can be written again
  checkpoints.close()
  assert Checkpoints(tmp_path / "c").steps() == [2, 3]


def test_a_half_written_checkpoint_is_not_a_checkpoint(tmp_path):
  _save(tmp_path / "c", [2])
  half = tmp_path / "c" / "3.orbax-checkpoint-tmp-123"
  half.mkdir()
  (half / "tree").mkdir()
  checkpoints = Checkpoints(tmp_path / "c")
  assert checkpoints.restore_newest(_tree(), pytest.fail)[0] == 2
  checkpoints.close()


def test_all_damaged_is_an_error_and_none_is_none(tmp_path):
  assert Checkpoints(tmp_path / "none").restore_newest(_tree(), pytest.fail) is None
  _save(tmp_path / "c", [1])
  _lose_arrays(tmp_path / "c" / "1")
  with pytest.raises(mtl.UserError, match="none of the 1 checkpoints"):
    Checkpoints(tmp_path / "c").restore_newest(_tree(), lambda message: None)


def test_another_model_is_an_error_that_names_the_leaf(tmp_path):
  _save(tmp_path / "c", [1])
  other = {**_tree(), "list": [jnp.ones((2, 4), jnp.bfloat16)]}
  with pytest.raises(mtl.UserError, match=r"'list.0' is bfloat16\[2, 3\], expected bfloat16\[2, 4\]"):
    Checkpoints(tmp_path / "c").restore(1, other)
  assert (tmp_path / "c" / "1").is_dir()
