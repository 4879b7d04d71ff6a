"""Spoken digits from a small file of their layout, the real one where it is, and what is said of damaged files."""

import numpy as np
import pytest

import mtl_jax as mtl


@pytest.fixture
def write(tmp_path):
  def written(**changed):
    (tmp_path / "fsdd").mkdir(exist_ok=True)
    arrays = {
      "wav": np.arange(12, dtype=np.int16), "off": np.array([0, 2, 5, 9, 12]),
      "digit": np.array([3, 1, 4, 1], np.uint8),
      "speaker": np.array([0, 5, 2, 1], np.uint8), "index": np.array([4, 5, 8, 24], np.uint8),
    }  # fmt: skip
    arrays = {key: value for key, value in {**arrays, **changed}.items() if value is not None}
    np.savez(tmp_path / "fsdd" / "fsdd_wav8k_idx0-24.npz", **arrays)
    return tmp_path

  return written


def test_parts(write):
  found = mtl.data.source.spoken_digits(write())
  assert [len(found[part].waves) for part in ("train", "valid", "test")] == [2, 1, 1]
  assert [wave.tolist() for wave in found["train"].waves] == [[5, 6, 7, 8], [9, 10, 11]]
  assert found["test"].digit.tolist() == [3] and found["valid"].speaker.tolist() == [5]


def test_no_place_no_file_and_damage(tmp_path, monkeypatch, write):
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)
  with pytest.raises(mtl.UserError, match="set MTL_JAX_DATA to the directory D"):
    mtl.data.source.spoken_digits()
  with pytest.raises(mtl.UserError, match="spoken digits are not at .*npz: make it of https"):
    mtl.data.source.spoken_digits(tmp_path)
  with pytest.raises(mtl.UserError, match="has no index, expected the arrays wav, off"):
    mtl.data.source.spoken_digits(write(index=None))
  with pytest.raises(mtl.UserError, match="holds arrays that do not fit each other"):
    mtl.data.source.spoken_digits(write(off=np.array([0, 2, 5, 9, 13])))
  (tmp_path / "fsdd" / "fsdd_wav8k_idx0-24.npz").write_bytes(b"PK no zip")
  with pytest.raises(mtl.UserError, match="cannot read .*npz"):
    mtl.data.source.spoken_digits(tmp_path)


def test_the_real_ones(real_data):
  found = mtl.data.source.spoken_digits(real_data("fsdd", "fsdd_wav8k_idx0-24.npz"))
  for part, count in (("train", 17), ("valid", 3), ("test", 5)):
    own = found[part]
    assert len(own.waves) == count * 60 and min(map(len, own.waves)) > 1000
    pairs = np.bincount(own.digit * 6 + own.speaker, minlength=60)
    assert (pairs == count).all()
