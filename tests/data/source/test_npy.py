"""Directories of `.npy` files: read as they are needed, without running what is in them."""

import pickle

import numpy as np
import pytest

import mtl_jax as mtl
from tests.data.source._files import ARRAYS, assert_reads


def write(directory, arrays=ARRAYS):
  directory.mkdir(exist_ok=True)
  for key, values in arrays.items():
    np.save(directory / f"{key}.npy", values, allow_pickle=True)
  return directory


def test_reads(tmp_path):
  source = mtl.data.source.npy(write(tmp_path))
  assert_reads(source)
  assert_reads(pickle.loads(pickle.dumps(source)))  # as another process opens it


def test_parts_and_orders_of_axes(tmp_path):
  image = np.asfortranarray(np.arange(12.0).reshape(4, 3))
  write(tmp_path, {"y": np.arange(4)})
  write(tmp_path / "x", {"image": image, "text": np.arange(4)})
  found = mtl.data.source.npy(tmp_path).rows(np.array([2, 1]))
  np.testing.assert_array_equal(found["x"]["image"], image[[2, 1]])
  assert found["x"]["text"].tolist() == found["y"].tolist() == [2, 1]


def resident():
  with open("/proc/self/statm") as file:
    return int(file.read().split()[1]) * 4096


def test_memory_does_not_grow_with_what_has_been_read(tmp_path):
  path = tmp_path / "x.npy"
  np.lib.format.open_memmap(path, "w+", np.float32, (4096, 4096))  # 64 MiB of holes
  source = mtl.data.source.npy(tmp_path)
  source.rows(np.arange(8))
  before = resident()
  for start in range(0, 4096, 64):
    source.rows(np.arange(start, start + 64))
  assert resident() - before < 16 * 2**20


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda d: d.rename(d.with_name("moved")), "cannot use .*: No such file or directory"),
    (lambda d: [path.unlink() for path in d.iterdir()], "holds no .npy file, expected one KEY.npy"),
    (lambda d: (d / "y.npy").write_bytes(b""), "y.npy is empty"),
    (lambda d: (d / "y.npy").write_bytes(b"no array at all"), "y.npy is no array in numpy's format"),
    (lambda d: (d / "y.npy").write_bytes((d / "y.npy").read_bytes()[:-1]), r"y.npy is cut off: .* int32\[20\]"),
    (lambda d: write(d, {"y": np.array([1, None], object)}), "y.npy holds object, expected numbers: objects are not"),
    (lambda d: write(d, {"y": np.array(["a", "b"])}), "y.npy holds <U1, expected numbers"),
    (lambda d: write(d, {"y": np.zeros(3)}), "array 'y' has 3 examples, expected 20"),
    (lambda d: write(d, {"x": np.zeros(0), "y": np.zeros(0)}), "the data set is empty"),
    (lambda d: write(d, {"y": np.float32(1)}), "array 'y' is a scalar"),
  ],
)
def test_mistakes_are_told_in_one_line(tmp_path, change, message):
  directory = write(tmp_path / "data")
  change(directory)
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.data.source.npy(directory)
  assert "\n" not in str(error.value)
