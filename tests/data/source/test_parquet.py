"""Parquet files: numbers and lists of a fixed size, row groups kept or read again, and what is refused."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mtl_jax as mtl
from tests.data.source._files import ARRAYS, assert_reads


def lists(values):
  return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def write(path, columns=None, **options):
  columns = {"x": lists(ARRAYS["x"]), "y": ARRAYS["y"]} if columns is None else columns
  pq.write_table(pa.table(columns), path, **options)
  return path


@pytest.mark.parametrize("cache_bytes", [1, 2**20])
def test_reads_row_groups(tmp_path, cache_bytes):
  write(tmp_path / "data.parquet", row_group_size=3)
  source = mtl.data.source.parquet(tmp_path / "data.parquet", cache_bytes=cache_bytes)
  assert_reads(source)
  assert_reads(pickle.loads(pickle.dumps(source)))
  assert len(source._cache) == (1 if cache_bytes == 1 else 3)  # of seven


def test_a_directory_is_its_files_in_order(tmp_path):
  for name, rows in {"b": slice(12, 20), "a": slice(12)}.items():
    write(tmp_path / f"{name}.parquet", {"x": lists(ARRAYS["x"][rows]), "y": ARRAYS["y"][rows]})
  assert_reads(mtl.data.source.parquet(tmp_path))
  assert_reads(mtl.data.source.parquet(tmp_path, columns=["y"]), {"y": ARRAYS["y"]})


def test_missing_floats_are_nan_and_lists_may_be_nested(tmp_path):
  nested = pa.FixedSizeListArray.from_arrays(lists(np.arange(12.0).reshape(6, 2)), 3)
  write(tmp_path / "data.parquet", {"z": nested, "w": pa.array([None, 0.5]), "b": pa.array([True, False])})
  found = mtl.data.source.parquet(tmp_path / "data.parquet").rows(np.array([1, 0]))
  assert found["z"].shape == (2, 3, 2) and found["z"][0, 0].tolist() == [6, 7]
  assert found["w"][0] == 0.5 and np.isnan(found["w"][1]) and found["b"].tolist() == [False, True]


def test_without_pyarrow(tmp_path, monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
  with pytest.raises(mtl.UserError, match=r"need an extra: pip install 'mtl-jax\[parquet\]'"):
    mtl.data.source.parquet(tmp_path / "data.parquet")


@pytest.mark.parametrize(
  ("make", "options", "message"),
  [
    (lambda path: None, {}, "there is no Parquet file .*data.parquet"),
    (lambda path: path.mkdir(), {}, r"there is no \*.parquet file in .*data.parquet"),
    (lambda path: path.write_bytes(b"PAR1 text"), {}, "data.parquet cannot be read, it is damaged or no Parquet file"),
    (lambda path: write(path, {"y": np.zeros(0)}), {}, "data.parquet holds no rows"),
    (write, {"columns": ["z"]}, "has no column 'z', only 'x', 'y'"),
    (lambda path: write(path, {"s": ["a"]}), {}, "column 's' of .* is string, expected numbers or lists"),
    (lambda path: write(path, {"s": [[1], [1, 2]]}), {}, "column 's' of .* is list<.*>, expected numbers or lists"),
    (lambda path: write(path, {"s": pa.array([1, None])}), {}, "column 's' of .* has 1 missing values, expected none"),
  ],
)
def test_mistakes_are_told_in_one_line(tmp_path, make, options, message):
  make(tmp_path / "data.parquet")
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.data.source.parquet(tmp_path / "data.parquet", **options)
  assert "\n" not in str(error.value)


def test_files_of_other_columns_are_told(tmp_path):
  write(tmp_path / "a.parquet", {"y": np.zeros(2)})
  write(tmp_path / "b.parquet", {"y": np.zeros(2, np.float32)})
  source = mtl.data.source.parquet(tmp_path)
  with pytest.raises(mtl.UserError, match="b.parquet has columns of other shapes or dtypes than .*a.parquet"):
    source.rows(np.array([3]))
