"""Checkpoints: whole or not at all, restored exactly, damaged ones set aside."""

import contextlib
import gc
import json
import random
import resource
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from benchmarks import _corruptions
from mtl_jax.train.checkpoint import Checkpoints
from tests._coroutines import never_started


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
  shutil.rmtree(path / "tree")


def _spoil_notes(path):
  (path / "notes" / "metadata").write_text("{")


def _take_the_tree_of_another_step(path):
  shutil.rmtree(path / "tree")
  shutil.copytree(path.parent / "2" / "tree", path / "tree")


def _take_the_notes_of_another_step(path):
  shutil.rmtree(path / "notes")
  shutil.copytree(path.parent / "2" / "notes", path / "notes")


def _edit_notes(path):
  file = path / "notes" / "metadata"
  file.write_text(file.read_text().replace('\\"best\\": 3', '\\"best\\": 2'))


DAMAGES = [
  _truncate,
  _lose_arrays,
  _spoil_notes,
  _take_the_tree_of_another_step,
  _take_the_notes_of_another_step,
  _edit_notes,
]


@pytest.mark.parametrize("damage", DAMAGES)
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
  assert not half.exists()  # and takes no more room
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


def test_opened_read_only_nothing_is_moved_or_made(tmp_path):
  _save(tmp_path / "c", [2, 3])
  _lose_arrays(tmp_path / "c" / "3")
  messages = []
  with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
    assert checkpoints.restore_newest(_tree(), messages.append)[0] == 2
  assert len(messages) == 1 and (tmp_path / "c" / "3").is_dir() and not (tmp_path / "damaged").exists()
  with Checkpoints(tmp_path / "none", read_only=True) as checkpoints:
    assert checkpoints.restore_newest(_tree(), pytest.fail) is None
  assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("1", "step 1 is damaged (it was saved at step 3)"),
    ("3.bak", "3.bak is no complete checkpoint: it is left out"),
  ],
)
def test_a_step_under_another_name_is_not_believed(tmp_path, name, message):
  _save(tmp_path / "c", [2, 3])
  (tmp_path / "c" / "3").rename(tmp_path / "c" / name)
  messages = []
  with Checkpoints(tmp_path / "c") as checkpoints:
    assert checkpoints.restore_newest(_tree(), messages.append)[0] == 2
  assert len(messages) == 1 and message in messages[0]


def test_checkpoints_of_older_versions_are_refused(tmp_path):
  _save(tmp_path / "c", [1])
  (tmp_path / "c" / "1" / "notes" / "metadata").write_text(json.dumps({"leaves": {}, "notes": {}}))
  with Checkpoints(tmp_path / "c") as checkpoints:
    with pytest.raises(mtl.UserError, match="step 1 has no checksums, it is of an older version: train anew"):
      checkpoints.restore_newest(_tree(), pytest.fail)
  assert (tmp_path / "c" / "1").is_dir()


def test_paths_that_join_to_one_name(tmp_path):
  tree = {"a.b": jnp.ones(3), "a": {"b": jnp.zeros(3)}, "a%2Eb": jnp.full(3, 2.0)}
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(1, tree, {})
  with Checkpoints(tmp_path / "c") as checkpoints:
    _assert_same(checkpoints.restore(1, tree)[0], tree)


def test_values_of_64_bits(tmp_path):
  with jax.enable_x64(True):
    tree = {"x": jnp.array([1.0, 1e-300], jnp.float64)}
    with Checkpoints(tmp_path / "c") as checkpoints:
      checkpoints.save(1, tree, {})
    with Checkpoints(tmp_path / "c") as checkpoints:
      found = checkpoints.restore(1, tree)[0]["x"]
    assert found.dtype == jnp.float64
    np.testing.assert_array_equal(found, tree["x"])


@contextlib.contextmanager
def _no_file_above(size):
  """A disk that is full, as far as this process can tell."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("after", ["", ', {"cache_pool": "cache_pool#remote", "recheck_cached_data": false}' * 5])
def test_what_the_system_says_is_told_however_long_the_error(tmp_path, monkeypatch, after):
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(1, {"x": jnp.zeros(2)}, {})
    checkpoints._finish()
    long = f"OUT_OF_RANGE: writing \"w/.zarray\"{' in a database' * 20}: File too large{after} [os_error_code='27']"
    monkeypatch.setattr(checkpoints, "_write", lambda *_: (_ for _ in ()).throw(ValueError(long)))
    checkpoints.save(2, {"x": jnp.ones(2)}, {})
    with pytest.raises(mtl.UserError, match=r'"w/.zarray".*File too large.*resume the run from step 1') as caught:
      checkpoints._finish()
  assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_what_orbax_schedules_and_never_runs_is_not_warned_of(tmp_path, monkeypatch):
  def save(*_):
    never_started("orbax")
    raise OSError("no space left")

  with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    with Checkpoints(tmp_path / "c") as checkpoints:
      monkeypatch.setattr(checkpoints, "_write", save)
      checkpoints.save(1, {"x": jnp.ones(2)}, {})
      with pytest.raises(mtl.UserError, match="no space left"):
        checkpoints._finish()
    gc.collect()
  assert not [each for each in told if "never awaited" in str(each.message)]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(tmp_path, capfd):
  tree = {name: jax.random.normal(jax.random.key(i), (50_000,)) for i, name in enumerate("vw")}
  checkpoints = Checkpoints(tmp_path / "c")
  checkpoints.save(1, tree, {})
  checkpoints.save(2, {**tree, "w": tree["w"] + 1}, {})  # returns when the first one is complete
  checkpoints._finish()
  with _no_file_above(50_000):
    checkpoints.save(3, tree, {})
    with pytest.raises(
      mtl.UserError, match=r"cannot write checkpoints to .*c: .*File too large.*resume the run from step 2"
    ) as caught:
      checkpoints.close()
  assert "\n" not in str(caught.value)
  del caught
  gc.collect()  # of the tasks that failed, too
  assert capfd.readouterr().err == ""
  with Checkpoints(tmp_path / "c") as checkpoints:
    step, found, _ = checkpoints.restore_newest(tree, pytest.fail)
    assert step == 2
    _assert_same(found, {**tree, "w": tree["w"] + 1})
    checkpoints.save(3, tree, {})
  assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["2", "3"]  # no rest of the write that failed


@pytest.mark.parametrize("again", [False, True])
def test_a_directory_that_is_moved_meanwhile(tmp_path, again):
  """Nothing is written under the old name, also where there is a new directory of that name."""
  checkpoints = Checkpoints(tmp_path / "run" / "c")
  checkpoints.save(1, _tree(), {})
  (tmp_path / "run").rename(tmp_path / "moved")
  if again:
    (tmp_path / "run" / "c").mkdir(parents=True)
  with pytest.raises(mtl.UserError, match="run/c has been moved or deleted while the run was writing to it"):
    checkpoints.save(2, _tree(2.0), {})
  checkpoints.close()
  assert Checkpoints(tmp_path / "moved" / "c").steps() == [1]
  assert [path.name for path in (tmp_path / "run").rglob("*")] == (["c"] if again else [])


def test_a_file_in_place_of_the_directory(tmp_path):
  (tmp_path / "c").write_text("mine")
  with pytest.raises(mtl.UserError, match=r"cannot use .*/c: "):
    Checkpoints(tmp_path / "c")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """Two checkpoints with arrays too random to be compressed, which Orbax believes whatever becomes of them."""
  directory = tmp_path_factory.mktemp("corruption") / "c"
  noise = np.random.default_rng(0).normal(size=(2, 3000)).astype(np.float32)
  trees = {step: {**_tree(float(step)), "w": jnp.asarray(w)} for step, w in zip(_corruptions.STEPS, noise, strict=True)}
  with Checkpoints(directory) as checkpoints:
    for step, tree in trees.items():
      checkpoints.save(step, tree, {"best": step})
  return directory, trees


@pytest.mark.parametrize("name", _corruptions.CORRUPTIONS)
def test_damage_is_never_believed(saved, tmp_path, name):
  """The long version is benchmarks/corruption.py."""
  directory, trees = saved
  shutil.copytree(directory, tmp_path / "c")
  _corruptions.CORRUPTIONS[name](tmp_path / "c", random.Random(name))
  found = _corruptions.outcome(tmp_path / "c", trees)
  assert found in (_corruptions.KEPT, _corruptions.EARLIER, _corruptions.REFUSED)


def test_a_flipped_bit_of_an_array_shows(saved, tmp_path):
  directory, trees = saved
  shutil.copytree(directory, tmp_path / "c")
  file = max((tmp_path / "c" / "30").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
  data = bytearray(file.read_bytes())
  data[len(data) // 2] ^= 16
  file.write_bytes(data)
  messages = []
  with Checkpoints(tmp_path / "c") as checkpoints:
    step, found, _ = checkpoints.restore_newest(trees[30], messages.append)
  assert step == 20 and len(messages) == 1 and "step 30 is damaged ('w' is not what was saved)" in messages[0]
  _assert_same(found, trees[20])
