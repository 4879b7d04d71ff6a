"""ArrayRecord files: records of the default coding, of one's own, and damaged ones."""

import struct

import numpy as np
import pytest
from array_record.python import array_record_module
from flax.serialization import msgpack_serialize

import mtl_jax as mtl
from tests.data.source._files import ARRAYS, assert_reads


def write(path, records):
  writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
  for record in records:
    writer.write(record)
  writer.close()
  return path


def records(rows=range(20)):
  return [msgpack_serialize({key: values[i] for key, values in ARRAYS.items()}) for i in rows]


def test_reads_one_file_and_several(tmp_path):
  assert_reads(mtl.data.source.array_record(write(tmp_path / "all", records())))
  parts = [write(tmp_path / "a", records(range(12))), str(write(tmp_path / "b", records(range(12, 20))))]
  assert_reads(mtl.data.source.array_record(parts))


def test_a_coding_of_ones_own(tmp_path):
  path = write(tmp_path / "own", [struct.pack("<if", i, i / 2) for i in range(5)])

  def decode(record):
    return dict(zip("ab", map(np.float32, struct.unpack("<if", record)), strict=True))

  found = mtl.data.source.array_record(path, decode).rows(np.array([3, 1]))
  assert found["a"].tolist() == [3, 1] and found["b"].tolist() == [1.5, 0.5]


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda path: None, "there is no ArrayRecord file .*data"),
    (lambda path: path.write_bytes(b"text"), "ArrayRecord .*data cannot be read, it is damaged or no ArrayRecord file"),
    (lambda path: write(path, []), "ArrayRecord .*data is empty"),
    (
      lambda path: write(path, [b"\xc1"]),
      "record 0 of ArrayRecord .* cannot be decoded by msgpack_restore .*give decode=",
    ),
    (lambda path: write(path, [msgpack_serialize({"x": "word"})]), "entry 'x' of ArrayRecord .* holds no numbers"),
    (lambda path: write(path, [msgpack_serialize(np.zeros(3))]), "is ndarray, expected a dictionary"),
  ],
)
def test_mistakes_are_told_in_one_line(tmp_path, make, message):
  make(tmp_path / "data")
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.data.source.array_record(tmp_path / "data")
  assert "\n" not in str(error.value)
