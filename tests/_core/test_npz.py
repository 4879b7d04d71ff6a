"""Files of arrays: damaged and foreign ones are one clear line, and a failed write leaves the old file."""

import io
import os
import zipfile

import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax._core.npz import check_writable, read_npz, write_npz

X = np.arange(600.0).reshape(100, 6)


def _npz(save=np.savez, **arrays):
  file = io.BytesIO()
  save(file, **arrays)
  return file.getvalue()


def _flipped(content, place):
  """`content` with a byte changed, so that the checksum or the compressed stream is wrong."""
  return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def _zip(name, content):
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:
    archive.writestr(name, content)
  return file.getvalue()


def _npy():
  file = io.BytesIO()
  np.save(file, X)
  return file.getvalue()


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "is no .npz file, or only a part of one"),
    (b"x,y\n1,2\n", "is no .npz file"),
    (_npy(), "is no .npz file"),
    (_npz(x=X)[:2000], "is no .npz file, or only a part of one"),
    (_flipped(_npz(x=X), 1000), "Bad CRC-32 for file 'x.npy'"),
    (_flipped(_npz(np.savez_compressed, x=X), 300), "as .npz: "),
    (_zip("x.npy", _npy()[:500]), "as .npz: "),
    (_zip("x.npy", b"\x93NUMPY\x01\x00v\x00{'descr': __import__('os'), 'fortran_order': False}"), "as .npz: "),
    (_npz(x=np.array([{}, 1], object)), "Object arrays cannot be loaded"),
    (_npz(xs=X), "has no array 'x', only 'xs' (did you mean 'xs'?)."),
    (_npz(y=X), "has no array 'x', only 'y'."),
    (_npz(), "has no array 'x', it is empty."),
  ],
)
def test_files_that_cannot_be_read(tmp_path, content, message):
  path = tmp_path / "in.npz"
  path.write_bytes(content)
  with pytest.raises(mtl.UserError) as caught:
    read_npz(path, ["x"])
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_and_directory(tmp_path):
  for path in (tmp_path / "none.npz", tmp_path):
    with pytest.raises(mtl.UserError, match="cannot read .* as .npz: .*(No such file|Is a directory)"):
      read_npz(path, ["x"])


def test_arrays_that_are_not_asked_for_do_not_matter(tmp_path):
  np.savez(tmp_path / "in.npz", x=X, names=np.array([{}], object))
  np.testing.assert_array_equal(read_npz(tmp_path / "in.npz", ["x"])["x"], X)


@pytest.mark.parametrize(
  ("name", "message"),
  [(".", "it is no file"), ("none/out.npz", "there is no directory"), (os.devnull, "it is no file")],
)
def test_places_where_no_file_can_be(tmp_path, name, message):
  with pytest.raises(mtl.UserError, match=message):
    check_writable(tmp_path / name)


@pytest.mark.parametrize("name", ["out.npz", "out", "out.2024"])
def test_written_to_just_that_path(tmp_path, name):
  check_writable(tmp_path / name)
  for values in (X, -X):
    write_npz(tmp_path / name, {"a.b": values})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(read_npz(tmp_path / name, ["a.b"])["a.b"], values)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "out.npz"
  write_npz(path, {"x": X})

  def full(file, **arrays):
    file.write(b"half")
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(np, "savez", full)
  with pytest.raises(mtl.UserError, match="cannot write .*: No space left on device"):
    write_npz(path, {"x": -X})
  assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]
  np.testing.assert_array_equal(read_npz(path, ["x"])["x"], X)
