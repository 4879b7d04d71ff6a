"""Uncompressed `.npz` files: their members are mapped where they lie."""

import pickle

import numpy as np
import pytest

import mtl_jax as mtl
from tests.data.source._files import ARRAYS, assert_reads


def test_reads(tmp_path):
  np.savez(tmp_path / "data.npz", **ARRAYS)
  source = mtl.data.source.npz(tmp_path / "data.npz")
  assert_reads(source)
  assert_reads(pickle.loads(pickle.dumps(source)))


def test_names_with_slashes_are_parts(tmp_path):
  np.savez(tmp_path / "data.npz", **{"x/image": np.arange(4), "x/text": -np.arange(4), "y": np.ones(4)})
  found = mtl.data.source.npz(tmp_path / "data.npz").rows(np.array([3]))
  assert found["x"]["image"].tolist() == [3] and found["x"]["text"].tolist() == [-3]


def cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
  ("write", "message"),
  [
    (lambda path: None, "cannot use .*data.npz: No such file"),
    (lambda path: np.savez_compressed(path, **ARRAYS), "data.npz is compressed, so x.npy cannot be mapped: .*np.savez"),
    (lambda path: (np.savez(path, **ARRAYS), cut(path)), "data.npz is no .npz file, or only a part of one"),
    (lambda path: path.write_bytes(b"text"), "data.npz is no .npz file"),
    (lambda path: np.savez(path), "holds no array"),
    (lambda path: np.savez(path, x=np.array([{}])), "'x' in .*data.npz holds object, expected numbers"),
    (lambda path: np.savez(path, x=np.zeros(3), y=np.zeros(2)), "array 'y' has 2 examples, expected 3"),
  ],
)
def test_mistakes_are_told_in_one_line(tmp_path, write, message):
  write(tmp_path / "data.npz")
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.data.source.npz(tmp_path / "data.npz")
  assert "\n" not in str(error.value)
