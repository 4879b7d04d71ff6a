"""Files of safetensors: all, or what was trained, there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import UserError
from mtl_jax.transfer import load_into, read_safetensors, save_safetensors

PARAMS = {
  "shared": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T, "scale": jnp.ones((), jnp.bfloat16)},
  "task": {"a": {"bias": np.arange(3.0, dtype=np.float32)}},
}


def zeros():
  return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), PARAMS)


def same(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_there_and_back(tmp_path):
  """Transposed arrays too, and numbers without axes."""
  path = tmp_path / "all.safetensors"
  assert save_safetensors(path, PARAMS) == ["shared/kernel", "shared/scale", "task/a/bias"]
  same(load_into(zeros(), path), PARAMS)
  assert [file.name for file in tmp_path.iterdir()] == ["all.safetensors"]


@pytest.mark.parametrize("chosen", [{"only": "task/"}, {"frozen": ["shared/"]}])
def test_what_was_trained(tmp_path, chosen):
  path = tmp_path / "trained.safetensors"
  assert save_safetensors(path, PARAMS, **chosen) == ["task/a/bias"] == list(read_safetensors(path))
  same(load_into(zeros(), path), zeros() | {"task": PARAMS["task"]})


def test_mistakes(tmp_path):
  path = tmp_path / "w.safetensors"
  with pytest.raises(UserError, match="nothing is left to write with only='head'"):
    save_safetensors(path, PARAMS, only="head")
  with pytest.raises(UserError, match="is no regular expression"):
    save_safetensors(path, PARAMS, frozen="(")
  with pytest.raises(UserError, match="two leaves have one path"):
    save_safetensors(path, {"a": {"b": np.ones(1)}, "a/b": np.ones(1)})
  save_safetensors(path, PARAMS)
  with pytest.raises(UserError, match=r"w.safetensors has 'shared/kernel', which is no parameter"):
    load_into({"task": PARAMS["task"]}, path)
  with pytest.raises(UserError, match=r"'task/a/bias' is float32\[3\], expected float32\[2\]"):
    load_into(PARAMS | {"task": {"a": {"bias": np.ones(2, np.float32)}}}, path)
  for end in (0, 4, 60, -1):
    (tmp_path / "cut").write_bytes(path.read_bytes()[:end])
    with pytest.raises(UserError, match="cut is no file of safetensors"):
      read_safetensors(tmp_path / "cut")
