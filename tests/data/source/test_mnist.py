"""MNIST: from a file, from TensorFlow Datasets (faked, as it needs a network), and what is said when both fail."""

import os
import sys
import types

import numpy as np
import pytest

from mtl_jax import UserError, data


@pytest.fixture(autouse=True)
def _no_data_dir(monkeypatch):
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)


@pytest.fixture
def arrays():
  rng = np.random.default_rng(0)
  parts = {"train": 3, "test": 2}
  images = {f"{part}_x": rng.integers(256, size=(n, 28, 28), dtype=np.uint8) for part, n in parts.items()}
  return images | {f"{part}_y": rng.integers(10, size=n, dtype=np.uint8) for part, n in parts.items()}


def _write(directory, arrays):
  (directory / "mnist").mkdir()
  np.savez(directory / "mnist" / "mnist.npz", **arrays)


def _assert_same(found, expected):
  assert found.keys() == expected.keys()
  for key, value in expected.items():
    assert found[key].dtype == np.uint8
    np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("rename", [lambda key: key, lambda key: "_".join(reversed(key.split("_")))])
@pytest.mark.parametrize("by_environment", [False, True])
def test_from_file(tmp_path, monkeypatch, arrays, rename, by_environment):
  _write(tmp_path, {rename(key): value for key, value in arrays.items()})
  if by_environment:
    monkeypatch.setenv("MTL_JAX_DATA", os.fspath(tmp_path))
  _assert_same(data.source.mnist(None if by_environment else tmp_path), arrays)


def test_missing_file(tmp_path):
  with pytest.raises(UserError, match=r"MNIST is not at .*mnist\.npz: get it from https://") as error:
    data.source.mnist(tmp_path)
  assert "\n" not in str(error.value)


def test_incomplete_file(tmp_path, arrays):
  del arrays["test_y"]
  _write(tmp_path, arrays)
  with pytest.raises(UserError, match="has no test_y"):
    data.source.mnist(tmp_path)


def test_no_pickles(tmp_path, arrays):
  _write(tmp_path, arrays | {"train_y": np.array([1, None, 3], object)})
  with pytest.raises(ValueError, match="allow_pickle=False"):
    data.source.mnist(tmp_path)


def _fake_tfds(monkeypatch, data_source):
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", types.SimpleNamespace(data_source=data_source))


def test_from_tfds(monkeypatch, arrays):
  def data_source(name, split):
    assert name == "mnist"
    pairs = [zip(arrays[f"{part}_x"], arrays[f"{part}_y"], strict=True) for part in split]
    return [[{"image": x[..., None], "label": int(y)} for x, y in pair] for pair in pairs]

  _fake_tfds(monkeypatch, data_source)
  _assert_same(data.source.mnist(), arrays)


def test_tfds_fails(monkeypatch):
  def data_source(name, split):
    raise OSError("no route to host\nlong trace")

  _fake_tfds(monkeypatch, data_source)
  with pytest.raises(UserError, match=r"OSError: no route to host.*MTL_JAX_DATA") as error:
    data.source.mnist()
  assert "\n" not in str(error.value)


def test_tfds_is_missing(monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
  with pytest.raises(UserError, match="tensorflow_datasets .ModuleNotFoundError"):
    data.source.mnist()
